"""The embedded server as a child: it is there again after whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from assistant.local import process as module
from assistant.local.process import SERVE_COMMAND, LocalServerProcess


class Troubles:
    """What was said about the server: what is wrong with it, or None."""

    def __init__(self) -> None:
        self.said: list[str | None] = []
        self._told = asyncio.Event()

    def __call__(self, trouble: str | None) -> None:
        self.said.append(trouble)
        self._told.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                self._told.clear()
                await self._told.wait()


FAKE = """\
import asyncio, sys

async def main():
    async def answer(reader, writer):
        await reader.read(1)
        writer.write(b"no")
        writer.close()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""
"""Serves nothing, but says so, and starts in no time."""


@contextlib.asynccontextmanager
async def server(*arguments: str, command: tuple[str, ...]) -> AsyncIterator[tuple[LocalServerProcess, Troubles]]:
    troubles = Troubles()
    one = LocalServerProcess(arguments, troubles, command=command)
    running = asyncio.create_task(one.run())
    try:
        await one.address()
        yield one, troubles
    finally:
        one.stop()
        await running


def after(happens: Callable[[LocalServerProcess], object]) -> list[str | None]:
    """What is said when something happens to a server that serves, until it serves again."""

    async def main() -> list[str | None]:
        async with server(command=(sys.executable, "-c", FAKE)) as (one, troubles):
            first, address = one.pid, await one.address()
            assert first is not None
            happens(one)
            await troubles.until(lambda: troubles.said.count(None) == 2)
            assert one.pid != first and await one.address() != address
            with pytest.raises(ProcessLookupError):
                os.kill(first, 0)
            return troubles.said[1:]

    return asyncio.run(main())


def send(number: int) -> Callable[[LocalServerProcess], object]:
    def to(one: LocalServerProcess) -> None:
        assert one.pid is not None
        os.kill(one.pid, number)

    return to


def test_a_server_that_is_killed_is_started_again() -> None:
    assert after(send(signal.SIGKILL)) == ["died with status -9; starting it again in 0.5 s", None]


def test_a_server_that_hangs_is_ended_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(module, "STOP_GRACE", 0.1)

    def freeze(one: LocalServerProcess) -> None:
        monkeypatch.setattr(module, "ANSWER_TIMEOUT", 1.0)
        send(signal.SIGSTOP)(one)

    assert after(freeze) == ["does not answer for 1 s; starting it again in 0.5 s", None]


def test_a_server_is_replaced_on_demand_without_delay() -> None:
    assert after(lambda one: one.replace("it has grown: replaced")) == ["it has grown: replaced", None]


def test_a_server_that_answers_each_time_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.001)
    looks = 0
    enough = asyncio.Event()
    answers = LocalServerProcess._answers

    async def counted(self: LocalServerProcess) -> bool:
        nonlocal looks
        answered = await answers(self)
        looks += answered
        if looks == 30:
            enough.set()
        return answered

    monkeypatch.setattr(LocalServerProcess, "_answers", counted)
    (tmp_path / "config.yaml").write_text("provider: local\nstate_dir: state\n")

    async def main() -> None:
        async with server("--config", str(tmp_path / "config.yaml"), command=SERVE_COMMAND) as (one, troubles):
            first = one.pid
            await enough.wait()
            assert one.pid == first
            assert troubles.said == [None]
            assert abs(one.grown_mb) < 50
            async with connect(f"{await one.address()}/realtime", additional_headers={"api-key": one.key}) as session:
                assert "session.created" in str(await session.recv())

    asyncio.run(main())
