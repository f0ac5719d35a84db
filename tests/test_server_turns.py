"""The server ends the utterance, by silence or by meaning: a daemon that neither commits nor asks for the response."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.types import SPEAKER_RATE
from tests.house import House, room

pytestmark = pytest.mark.daemon

TONE = (np.sin(np.arange(SPEAKER_RATE // 2) * 2 * np.pi * 330 / SPEAKER_RATE) * 5000).astype("<i2").tobytes()


async def patient_server(peer: Peer) -> None:
    """Takes two seconds of audio for an utterance, commits it and answers, unasked."""
    await peer.open_session()
    while len(peer.audio) < 2 * SPEAKER_RATE * 2:
        await peer.receive()
    await peer.send("input_audio_buffer.speech_started", item_id="user", audio_start_ms=0)
    await peer.send("input_audio_buffer.speech_stopped", item_id="user", audio_end_ms=1500)
    await peer.send("input_audio_buffer.committed", item_id="user")
    await peer.answer("A tone.", TONE)
    await peer.drain()


@pytest.mark.parametrize("kind", ["server_vad", "semantic_vad"])
def test_the_server_ends_the_utterance_and_answers(kind: str, tmp_path: Path) -> None:
    more = f"session: {{turn_detection: {kind}, keep_open_s: 30}}"
    stop = threading.Event()
    server = ScriptedServer(patient_server)
    ready = threading.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(5)
        config = CONFIG.replace("URL", server.url.removesuffix("/realtime"))
        with House(tmp_path, more=more, config=config) as house:
            # The uplink stays open over the pause: a server that hears nothing cannot tell that it is silent.
            house.start(room(1.0, "hey jarvis", 0.3, "turn on the light", 5.0))
            assert house.end() == 0, house.log
            assert [entry["outcome"] for entry in house.entries("end_turn")] == ["answered"], house.log
    finally:
        stop.set()
        thread.join(10)
    sent = [event["type"] for event in server.peers[0].received]
    assert "response.create" not in sent and "input_audio_buffer.commit" not in sent
    asked = server.peers[0].received[0]["session"]["audio"]["input"]["turn_detection"]
    assert (asked["type"], asked["create_response"], asked["interrupt_response"]) == (kind, True, False)


CONFIG = """\
provider: custom
custom: {{url: "URL", model: scripted}}
audio:
  input: {{device: "wav:room.wav"}}
  output: {{device: "wav:speaker.wav"}}
follow_up: {{mode: never}}
log: {{events_file: events.jsonl}}
state_dir: state
{more}
"""
