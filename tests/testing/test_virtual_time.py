from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from assistant.testing.virtual_time import START, VirtualTimeError, VirtualTimeLoop, run


def virtual_loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


def test_an_hour_of_sleeps_takes_milliseconds() -> None:
    async def main() -> float:
        for _ in range(3600):
            await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run(main(), limit_s=3601) == pytest.approx(START + 3600)
    assert time.monotonic() - began < 5


def test_timers_fire_in_order_and_at_their_time() -> None:
    async def main() -> list[tuple[str, float]]:
        heard: list[tuple[str, float]] = []
        loop = asyncio.get_running_loop()

        async def after(delay: float, name: str) -> None:
            await asyncio.sleep(delay)
            heard.append((name, loop.time() - START))

        await asyncio.gather(after(30, "late"), after(0.02, "early"), after(5, "middle"))
        return heard

    assert run(main()) == [
        ("early", pytest.approx(0.02)),
        ("middle", pytest.approx(5)),
        ("late", pytest.approx(30)),
    ]


def test_websockets_work_over_real_loopback_sockets() -> None:
    async def main() -> tuple[list[str | bytes], float]:
        async def echo_slowly(connection: ServerConnection) -> None:
            async for message in connection:
                await asyncio.sleep(2)
                await connection.send(message)

        loop = asyncio.get_running_loop()
        replies: list[str | bytes] = []
        async with serve(echo_slowly, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}") as client:
                began = loop.time()
                for n in range(100):
                    await client.send(f"message {n}")
                    async with asyncio.timeout(2.5):  # would fire if the clock ran ahead of the sockets
                        replies.append(await client.recv())
                took = loop.time() - began
        return replies, took

    replies, took = run(main())
    assert replies == [f"message {n}" for n in range(100)]
    assert took == pytest.approx(200)  # exactly: sockets take no virtual time


def test_a_timeout_on_a_silent_socket_fires_in_virtual_time() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs, pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await loop.sock_recv(ours, 1)
        return loop.time()

    began = time.monotonic()
    assert run(main()) == pytest.approx(START + 60)
    assert time.monotonic() - began < 5


def test_an_executor_job_takes_no_virtual_time() -> None:
    async def main() -> tuple[float, str]:
        release = threading.Event()

        def job() -> str:
            threading.Timer(0.05, release.set).start()  # a real clock outside the loop lets the job go
            release.wait(10)
            return "done"

        async with asyncio.timeout(1000):
            text = await asyncio.to_thread(job)
        return asyncio.get_running_loop().time(), text

    assert run(main()) == (START, "done")


def test_a_timeout_ends_the_wait_for_a_stuck_job() -> None:
    release = threading.Event()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await asyncio.to_thread(release.wait, 10)
            await asyncio.sleep(3000)  # the abandoned job no longer holds the clock
            return loop.time()
        finally:
            release.set()

    began = time.monotonic()
    assert run(main()) == pytest.approx(START + 3000.05)
    assert time.monotonic() - began < 5


def test_hold_waits_for_a_thread_of_ones_own() -> None:
    async def main() -> float:
        loop = virtual_loop()
        answer: asyncio.Future[str] = loop.create_future()
        thread = threading.Timer(0.05, loop.call_soon_threadsafe, [answer.set_result, "hello"])
        with loop.hold():
            thread.start()
            async with asyncio.timeout(500):
                await answer
        thread.join()
        return loop.time()

    assert run(main()) == START


def test_letting_go_on_another_thread_wakes_the_loop() -> None:
    async def main() -> float:
        loop = virtual_loop()
        entered = threading.Event()

        def hold_for_a_while() -> None:
            with loop.hold():
                entered.set()
                time.sleep(0.05)

        thread = threading.Thread(target=hold_for_a_while)
        thread.start()
        entered.wait()
        began = time.monotonic()
        await asyncio.sleep(20)
        assert time.monotonic() - began < 10  # jumped as soon as the thread let go, not after 20 real seconds
        thread.join()
        return loop.time()

    assert run(main()) == pytest.approx(START + 20)


def test_a_deadlock_is_an_error_that_names_the_waiting_task() -> None:
    async def wait_for_nothing() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait_for_nothing(), name="the forgetful one")

    with pytest.raises(VirtualTimeError, match=r"deadlock.*the forgetful one"):
        run(main())


def test_sockets_that_stay_silent_with_no_timer_are_an_error_too() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            await asyncio.get_running_loop().sock_recv(ours, 1)

    with (
        asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(patience_s=0.05)) as runner,
        pytest.raises(VirtualTimeError, match=r"nothing happened for 0\.05 real seconds"),
    ):
        runner.run(main())


def test_the_limit_ends_a_program_that_never_ends_and_lets_it_clean_up() -> None:
    cleaned_up: list[str] = []

    async def main() -> None:
        try:
            for _ in range(1000):
                await asyncio.sleep(1)
        finally:
            await asyncio.sleep(100)
            cleaned_up.append("main")

    with pytest.raises(VirtualTimeError, match="limit of virtual time"):
        run(main(), limit_s=50)
    assert cleaned_up == ["main"]


def test_a_blocked_loop_is_late() -> None:
    async def main() -> float:
        loop = virtual_loop()
        due: list[float] = []
        loop.call_later(1, lambda: due.append(loop.time()))
        loop.advance(3)
        await asyncio.sleep(0.5)
        return due[0]

    assert run(main()) == START + 3
