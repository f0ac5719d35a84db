"""A server that misbehaves on demand, and what the client of the ``openai`` package and ours see of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from assistant.core import events as ev
from assistant.errors import ConfigError
from assistant.local.faults import Fault, Faults, parse_fault
from assistant.realtime import providers
from assistant.realtime.session import Endpoint, RealtimeSession
from assistant.realtime.settings import SessionSettings
from tests.local.client import Client, client, run, server


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("handshake=429", Fault("handshake", "429")),
        ("close=1011*1", Fault("close", "1011", 1)),
        ("fail", Fault("fail", "server_error")),
        ("fail=rate_limit_exceeded*3", Fault("fail", "rate_limit_exceeded", 3)),
        ("slow=0.5", Fault("slow", "0.5")),
        ("stall", Fault("stall")),
    ],
)
def test_how_a_fault_is_written(spec: str, fault: Fault) -> None:
    assert parse_fault(spec) == fault


@pytest.mark.parametrize("spec", ["", "fire", "close=1006", "close", "handshake=200", "slow=-1", "stall=2", "drop*x"])
def test_what_is_no_fault(spec: str) -> None:
    with pytest.raises(ConfigError, match="--fault"):
        parse_fault(spec)


def test_a_fault_happens_as_often_as_it_was_asked_for() -> None:
    faults = Faults([Fault("fail", "a", 2), Fault("fail", "b", 1)])
    assert [getattr(faults.take("fail"), "value", None) for _ in range(4)] == ["a", "a", "b", None]


def faulty(*specs: str) -> Any:
    return server(faults=tuple(parse_fault(spec) for spec in specs))


async def help_text(session: Client) -> None:
    """Ask for a long answer."""
    await session.type("what can you do")
    await session.send("response.create")


def test_handshakes_are_refused_so_many_times() -> None:
    async def main() -> None:
        async with faulty("handshake=429*2") as port:
            for _ in range(2):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(f"ws://127.0.0.1:{port}/v1/realtime")
                assert refused.value.response.status_code == 429
                assert refused.value.response.headers["Retry-After"] == "1"
            async with client(port):
                pass

    run(main)


@pytest.mark.parametrize(("spec", "code"), [("close=1011*1", 1011), ("drop*1", None)])
def test_the_connection_ends_in_the_middle_of_an_answer(spec: str, code: int | None) -> None:
    async def main() -> None:
        async with faulty(spec) as port:
            async with client(port) as session:
                await session.manual()
                await help_text(session)
                with pytest.raises(ConnectionClosedError) as closed:
                    await session.until("response.done")
                assert getattr(closed.value.rcvd, "code", None) == code
                names = [event.type for event in session.events]
                assert names.count("response.output_audio.delta") in (1, 2)  # and a delta of the transcript
            async with client(port) as session:
                await help_text(session)
                await session.until("response.done")

    run(main)


def test_a_stalled_server_is_silent_and_open() -> None:
    async def main() -> None:
        async with faulty("stall") as port, client(port) as session:
            await session.manual()
            await help_text(session)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await session.until("response.done")
            await session.connection._connection.ping()  # it is open
            assert session.events[-1].type == "response.output_audio.delta"

    run(main)


def test_failed_and_slow_responses() -> None:
    async def main() -> None:
        async with faulty("fail=insufficient_quota*1", "slow=0.3*1") as port, client(port) as session:
            await session.type("hello")
            began = time.monotonic()
            failed = await session.respond()
            assert time.monotonic() - began >= 0.3
            assert (failed.status, failed.status_details.error.code) == ("failed", "insufficient_quota")
            assert (await session.respond()).status == "completed"

    run(main)


def test_announcements_may_come_late() -> None:
    async def main() -> None:
        async with faulty("disorder*1") as port, client(port) as session:
            await session.type("hello")
            await session.respond()
            names = session.types(since=2)
            first_delta = names.index("response.output_audio_transcript.delta")
            assert first_delta < names.index("response.output_item.added") < names.index("response.content_part.added")
            start = len(session.events)
            await session.type("hello")
            await session.respond()
            names = session.types(since=start)
            assert names.index("response.output_item.added") < names.index("response.output_audio_transcript.delta")

    run(main)


@pytest.mark.parametrize(
    ("spec", "failure"),
    [("handshake=401", "authentication"), ("handshake=429", "rate_limited"), ("handshake=503", "connect")],
)
def test_our_own_client_tells_refusals_apart(spec: str, failure: str) -> None:
    async def main() -> None:
        async with faulty(spec) as port:
            events: list[ev.Event] = []

            async def endpoint() -> Endpoint:
                return providers.local(f"ws://127.0.0.1:{port}/v1")

            await RealtimeSession(1, endpoint, SessionSettings(), events.append, ready_timeout=10).run()
            (lost,) = events
            assert isinstance(lost, ev.SessionLost)
            assert lost.failure.value == failure

    run(main)


def test_our_own_client_reports_a_close_and_bears_disorder() -> None:
    async def main() -> None:
        async with faulty("disorder*1", "close=1011") as port:
            events: asyncio.Queue[ev.Event] = asyncio.Queue()

            async def endpoint() -> Endpoint:
                return providers.local(f"ws://127.0.0.1:{port}/v1")

            session = RealtimeSession(1, endpoint, SessionSettings(), events.put_nowait, ready_timeout=10)
            session.create_response(announce="The washing is done, and the dryer is not, and so on and so on.")
            await session.run()
            kinds = [type(events.get_nowait()) for _ in range(events.qsize())]
            assert ev.AnswerAudio in kinds
            assert kinds[-1] is ev.SessionLost
            assert session.counters.malformed == 0

    run(main)
