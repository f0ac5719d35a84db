"""A real sound server that crashes, comes back, freezes, or is told to use other devices: whole daemons and PyAudio."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from assistant.adapters.pyaudio_device import PyAudioMicrophone
from assistant.errors import EXIT_RESTART
from assistant.testing.scripted_server import Peer
from assistant.types import MIC_RATE, AudioFrame
from tests.house import House, room
from tests.test_daemon import TONE, base, serving
from tests.vsound import VSound, virtual_sound

pytestmark = [pytest.mark.sound, pytest.mark.daemon]

CONFIG = """\
provider: custom
custom: {{url: "{url}"}}
session: {{keep_open_s: 60}}
audio: {{earcons: false, output: {{volume: 100}}}}
follow_up: {{mode: never}}
log: {{events_file: events.jsonl}}
state_dir: state
"""


async def talk_long(peer: Peer) -> None:
    """Answers with three seconds of a tone."""
    await peer.open_session()
    await peer.answer_everything("A tone.", TONE * 3)


@pytest.fixture
def sound() -> Iterator[VSound]:
    with virtual_sound() as vsound:
        yield vsound


def ask(sound: VSound) -> None:
    sound.play(room(0.5, "hey jarvis", 0.6, "what time is it", 1.0).tobytes())


def troubles(house: House) -> dict[str, str]:
    """What the daemon says is wrong right now, by part."""
    parts: dict[str, str] = {}
    for entry in house.entries("health"):
        parts[entry["part"]] = entry["trouble"]
    return {part: trouble for part, trouble in parts.items() if trouble}


def wait_until_well(house: House, within: float) -> None:
    deadline = time.monotonic() + within
    while troubles(house):
        assert time.monotonic() < deadline, house.log
        time.sleep(0.02)


def test_a_sound_server_that_dies_within_an_answer_and_comes_back_costs_no_more_than_that_answer(
    tmp_path: Path, sound: VSound
) -> None:
    with serving(talk_long) as server, House(tmp_path, base(server), config=CONFIG) as house:
        process = house.start(**sound.changed_env)
        house.wait_for("ready", within=30)
        ask(sound)
        house.wait_for("playback_started")
        sound.kill()
        died = time.monotonic()
        house.wait_for("health", 2, within=10)
        assert set(troubles(house)) == {"microphone", "speaker"}, house.log
        assert all(entry["at"] - died < 5 for entry in house.entries("health")[:2])
        house.wait_for("end_turn")  # nobody hears the rest: it is not waited for

        sound.start()
        wait_until_well(house, within=10)
        ask(sound)
        house.wait_for("playback_started", 2)
        house.wait_for("end_turn", 2, within=20)
        assert house.entries("end_turn")[1]["outcome"] == "answered"
        process.terminate()
        assert house.end(10) == 0, house.log
    assert "Traceback" not in house.log


def test_a_sound_server_that_freezes_is_left_to_a_new_process(tmp_path: Path, sound: VSound) -> None:
    with serving(talk_long) as server, House(tmp_path, base(server), config=CONFIG) as house:
        house.start(**sound.changed_env)
        house.wait_for("ready", within=30)
        os.kill(sound.pid, signal.SIGSTOP)
        try:
            assert house.end(within=30) == EXIT_RESTART, house.log
        finally:
            os.kill(sound.pid, signal.SIGCONT)
        assert "the sound system does not answer" in house.log
        assert "Traceback" not in house.log
        assert "leaked" not in house.log, "what hangs holds nothing of ours"

        (tmp_path / "events.jsonl").unlink()
        house.start(**sound.changed_env)  # as systemd does
        house.wait_for("ready", within=30)
        ask(sound)
        house.wait_for("playback_started")


def test_another_default_microphone_is_heard_from_then_on(sound: VSound, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sound.changed_env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PULSE_SOURCE")

    def pactl(*words: str) -> None:
        subprocess.run(["pactl", *words], env=sound.env, check=True, capture_output=True, timeout=10)

    pactl("set-default-source", "mic")
    pactl("load-module", "module-null-sink", "sink_name=headset", f"rate={MIC_RATE}", "channels=1", "norewinds=1")
    frames: list[AudioFrame] = []
    microphone = PyAudioMicrophone(None)
    microphone.start(frames.append, lambda error: None)
    try:
        before = np.random.default_rng(1).integers(-9000, 9000, MIC_RATE, dtype="<i2")
        subprocess.run(_paplay("headset"), env=sound.env, input=before.tobytes(), check=True, timeout=20)
        assert not any(any(frame.pcm) for frame in frames), "it is not the default yet"
        pactl("set-default-source", "headset.monitor")
        subprocess.run(_paplay("headset"), env=sound.env, input=before.tobytes(), check=True, timeout=20)
        heard = np.frombuffer(b"".join(frame.pcm for frame in frames), "<i2")
        assert np.count_nonzero(heard) > MIC_RATE // 2
    finally:
        microphone.stop()


def _paplay(sink: str) -> list[str]:
    return ["paplay", "--raw", f"--device={sink}", f"--rate={MIC_RATE}", "--channels=1", "--format=s16le", "/dev/stdin"]


def test_a_spoken_stop_ends_the_answer_where_speech_does_not_and_starts_nothing_new(
    tmp_path: Path, sound: VSound
) -> None:
    async def talk_on(peer: Peer) -> None:
        await peer.open_session()
        await peer.answer_everything("A tone.", TONE * 15)

    with serving(talk_on) as server, House(tmp_path, base(server), config=CONFIG) as house:
        process = house.start(**sound.changed_env)
        house.wait_for("ready", within=30)
        ask(sound)
        house.wait_for("playback_started")
        sound.play(room(0.3, "wait a moment", 1.0).tobytes())
        assert not house.entries("end_turn"), "speech alone interrupts nothing before the echo test"
        sound.play(room(0.2, "stop!", 1.2, "stop!", 0.5).tobytes())
        house.wait_for("end_turn")
        assert house.entries("end_turn")[0]["outcome"] == "stopped"
        assert all(entry["spoken"] for entry in house.entries("stop_requested"))
        assert house.entries("truncate_item"), "the brain learns how much was heard"
        assert len(house.entries("begin_turn")) == 1
        process.terminate()
        assert house.end(10) == 0, house.log
