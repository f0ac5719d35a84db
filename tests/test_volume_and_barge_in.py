"""The volume that is set while the assistant speaks decides, through the engine, whether speech may interrupt it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from assistant import wiring
from assistant.assembly import Assistant
from assistant.audio.echo_report import EchoReport, save
from assistant.config import load
from assistant.core import events as ev
from assistant.core.policy import State
from assistant.journal import Entry, Journal
from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.types import SPEAKER_RATE

TESTED = EchoReport(None, "none", 60, 80.0, -30.0, 35.0, 0, 0, 30.0, True)
TONE = (np.sin(np.arange(SPEAKER_RATE * 20) * 2 * np.pi * 330 / SPEAKER_RATE) * 5000).astype("<i2").tobytes()


async def talk_long(peer: Peer) -> None:
    await peer.open_session()
    await peer.answer_everything("A long tone.", TONE)


def test_a_volume_beyond_the_tested_one_leaves_the_wake_word_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        journal, speaks = Journal(), asyncio.Event()

        def hear(entry: Entry) -> None:
            if entry["name"] == "playback_started":
                speaks.set()

        journal.subscribe(hear)
        async with ScriptedServer(talk_long) as server:
            (tmp_path / "config.yaml").write_text(
                f'provider: custom\ncustom: {{url: "{server.url}", model: scripted}}\nstate_dir: state\n'
                "audio: {output: {device: none, volume: 50}}\necho: {canceller: webrtc}\ntools: {disabled: [volume]}\n"
            )
            save(tmp_path / "state", TESTED)
            assistant = Assistant(load(tmp_path / "config.yaml"), journal, wiring.speaker("none", loop))
            conversation = assistant.engine.conversation

            def speak() -> State:
                """Somebody speaks into the answer, for long enough to be believed."""
                assistant.engine.dispatch(ev.SpeechStarted(loop.time(), 0))
                assistant.engine.dispatch(ev.BargeInConfirmed(loop.time()))
                return conversation.state

            async with assistant.running():
                assistant.engine.dispatch(ev.TextSubmitted(loop.time(), "talk"))
                await speaks.wait()
                assistant.controls.set_volume(90)
                assert speak() is State.SPEAKING
                assistant.controls.set_volume(10, "media")
                assert speak() is State.SPEAKING, "it is the answer that is too loud"
                assistant.controls.set_volume(70, "answers")
                assert speak() is State.SPEAKING, "63 percent"
                assistant.controls.set_volume(80)
                assert speak() is State.LISTENING, "56 percent"

    asyncio.run(scene())
