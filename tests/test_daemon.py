"""The whole daemon as a subprocess, in real time, against a scripted server on loopback."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assistant.audio.resample import StreamResampler
from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.types import MIC_RATE, SPEAKER_RATE
from tests.house import CONFIG, House, read_wav, room

pytestmark = pytest.mark.daemon

TONE = (np.sin(np.arange(SPEAKER_RATE) * 2 * np.pi * 330 / SPEAKER_RATE) * 5000).astype("<i2").tobytes()


async def answer_everything(peer: Peer) -> None:
    await peer.open_session()
    await peer.answer_everything("A tone.", TONE)


@contextmanager
def serving(script: Callable[[Peer], Awaitable[None]], **options: Any) -> Iterator[ScriptedServer]:
    """A scripted server on a thread of its own, as the daemon is another process."""
    server = ScriptedServer(script, **options)
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        async with server:
            ready.set()
            await stop.wait()

    failure: list[BaseException] = []

    def run() -> None:
        try:
            loop.run_until_complete(main())
        except BaseException as error:
            failure.append(error)
        finally:
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(5)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
    if failure:
        raise failure[0]


def base(server: ScriptedServer) -> str:
    return server.url.removesuffix("/realtime")


def outcomes(house: House) -> list[str]:
    return [entry["outcome"] for entry in house.entries("end_turn")]


def test_one_breath_loses_no_sample_and_nothing_leaves_before_the_wake_word(tmp_path: Path) -> None:
    sound = room(1.0, "somebody talks about the weather", 1.0, "hey jarvis turn on the kitchen light", 2.5)
    with serving(answer_everything) as server, House(tmp_path, base(server)) as house:
        house.start(sound)
        assert house.end() == 0, house.log
        assert outcomes(house) == ["answered"]
        [peer] = server.peers
        # Every sample from the start of the uplink to the commit arrives, in order.
        [woken], [opened] = house.entries("woken"), house.entries("open_uplink")
        wanted = StreamResampler(MIC_RATE, SPEAKER_RATE).feed(sound[opened["from_sample"] :].tobytes())
        got = np.frombuffer(peer.audio, "<i2").astype(int)[:-480]  # a flushed tail is made without what follows it
        assert got.size > SPEAKER_RATE, "more than a second was said"
        # The resampler dithers, so two runs differ in the last bits; a lost or moved sample differs in much more.
        assert np.max(np.abs(got - np.frombuffer(wanted, "<i2")[: got.size])) < 8
        # In one breath: the uplink begins before the command, and after the talk about the weather.
        assert 0 <= woken["sample"] - opened["from_sample"] < 2 * MIC_RATE
        # The journal's counter, and the session's, agree with what the server got.
        assert house.entries("uplink")[-1]["sent_bytes"] == len(peer.audio)
        assert house.entries("session_closed")[-1]["audio_bytes"] == len(peer.audio)
        # And what was answered was heard: a second of a tone.
        heard = read_wav(tmp_path / "speaker.wav")
        assert 0.9 < np.count_nonzero(np.abs(heard) > 100) / SPEAKER_RATE < 1.1


@pytest.mark.parametrize("connect", ["after_speech", "wake"])
def test_a_wake_word_without_a_request_sends_no_audio(tmp_path: Path, connect: str) -> None:
    config = CONFIG.replace("session: {{", f"session: {{{{connect: {connect}, ")
    more = "endpointing: {no_speech_timeout_s: 1}"
    with serving(answer_everything) as server, House(tmp_path, base(server), more, config) as house:
        house.start(room(1.0, "hey jarvis", 3.0, "turn on the light", 1.0))
        assert house.end() == 0, house.log
        assert outcomes(house) == ["no_speech"]
        assert len(server.requests) == (0 if connect == "after_speech" else 1)
        assert all(peer.audio == b"" for peer in server.peers)
        assert house.entries("uplink")[-1]["sent_bytes"] == 0


def test_after_a_failed_turn_the_next_one_works(tmp_path: Path) -> None:
    """A server that refuses, one that closes in mid-air, and one that sends nonsense: three turns, then a good one."""

    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.expect("input_audio_buffer.commit")
        await peer.expect("response.create")
        if peer.number == 1:
            await peer.send("response.created", response={"id": "r"})
            await peer.send("response.output_item.done", response_id="r", item=CALL)
            await peer.close(1011)  # after a tool was called: must not be replayed
        elif peer.number == 2:
            for _ in range(30):
                await peer.send_raw('{"nonsense": true}')
            await peer.drain()
        else:
            await peer.answer("Fine.", TONE, response="r3", item="i3")
            await peer.drain()

    request: list[str | float] = [1.0, "hey jarvis", 0.5, "what time is it", 2.5]
    with serving(script) as server, House(tmp_path, base(server)) as house:
        house.start(room(*request, *request))
        assert house.end() == 0, house.log
    # The second turn met nonsense first, and was replayed to a third session.
    assert outcomes(house) == ["failed", "answered"]
    assert server.peers[1].audio == server.peers[2].audio
    assert "lost" in house.log


CALL = {"type": "function_call", "status": "completed", "call_id": "c", "name": "no_such_tool", "arguments": "{}"}


def test_a_refused_connection_is_retried_within_the_turn(tmp_path: Path) -> None:
    refusing = {"refuse": HTTPStatus.SERVICE_UNAVAILABLE, "refusals": 2}
    with serving(answer_everything, **refusing) as server, House(tmp_path, base(server)) as house:
        house.start(room(1.0, "hey jarvis", 0.5, "what time is it", 2.0))
        assert house.end() == 0, house.log
    assert outcomes(house) == ["answered"]
    assert len(server.requests) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_an_answer_ends_it_within_two_seconds(tmp_path: Path, number: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.expect("input_audio_buffer.commit")
        await peer.expect("response.create")
        await peer.answer("A long tone.", TONE * 20)
        await peer.drain()

    with serving(script) as server, House(tmp_path, base(server)) as house:
        process = house.start(room(1.0, "hey jarvis", 0.5, "what time is it", 30.0))
        house.wait_for("playback_started")
        began = time.monotonic()
        process.send_signal(number)
        assert house.end(within=5) == 0
        assert time.monotonic() - began < 2.0
        assert outcomes(house) == ["stopped"]
        deadline = time.monotonic() + 2
        while server.peers[0].socket.close_code is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.peers[0].socket.close_code == 1000, "the session is closed with a goodbye"
    assert "Traceback" not in house.log


def test_a_signal_while_the_server_does_not_answer(tmp_path: Path) -> None:
    async def stall(peer: Peer) -> None:
        await asyncio.sleep(60)

    with serving(stall) as server, House(tmp_path, base(server)) as house:
        process = house.start(room(1.0, "hey jarvis", 0.5, "what time is it", 30.0))
        house.wait_for("commit_input")
        began = time.monotonic()
        process.terminate()
        assert house.end(within=5) == 0
        assert time.monotonic() - began < 2.0
    assert server.peers
    assert "Traceback" not in house.log
