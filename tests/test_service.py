"""The daemon as a service manager sees it, and on a real sound server."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from assistant.demo.kitchen import Kitchen
from assistant.types import SPEAKER_RATE
from tests.house import House, room
from tests.test_daemon import answer_everything, base, serving
from tests.vsound import virtual_sound

pytestmark = pytest.mark.daemon

KITCHEN = """\
provider: custom
custom: {{url: "{url}"}}
audio: {{input: {{device: "wav:room.pipe"}}, output: {{device: none}}}}
log: {{events_file: events.jsonl}}
state_dir: state
"""


class Manager:
    """What systemd is to a service: a datagram socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def wait_for(self, word: str, within: float) -> bool:
        """Whether a message with this word comes in time."""
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if word in self.socket.recv(4096).decode():
                    return True
            except TimeoutError:
                return False
        return False


def test_ready_after_everything_is_open_and_the_watchdog_follows_the_microphone(tmp_path: Path) -> None:
    kitchen = Kitchen(tmp_path / "room.pipe", tmp_path / "room.wav")
    with Manager(tmp_path / "notify") as manager, House(tmp_path, config=KITCHEN) as house, kitchen:
        process = house.start(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="1000000")
        assert manager.wait_for("READY=1", 30), house.log
        for _ in range(4):
            assert manager.wait_for("WATCHDOG=1", 5), "it hears, so it says so"
        kitchen.silence()  # the pipe stays open, and nothing comes any more: what a frozen sound server does
        deadline = time.monotonic() + 15
        while manager.wait_for("WATCHDOG=1", 1.5):
            assert time.monotonic() < deadline, "a deaf daemon must not say that it is well"
        assert process.poll() is None, "it is systemd that ends it"
        process.terminate()
        assert manager.wait_for("STOPPING=1", 5)
        assert house.end(5) == 0, house.log


def test_the_local_server_is_started_again_when_it_dies(tmp_path: Path) -> None:
    config = KITCHEN.replace('provider: custom\ncustom: {{url: "{url}"}}', "provider: local")
    with House(tmp_path, config=config) as house, Kitchen(tmp_path / "room.pipe", tmp_path / "room.wav"):
        process = house.start()
        house.wait_for("ready", within=30)
        first = _children(process.pid)
        assert first
        os.kill(first[0], 9)
        deadline = time.monotonic() + 20
        while not (again := _children(process.pid)) or again == first:
            assert time.monotonic() < deadline, house.log
            time.sleep(0.1)
        process.kill()  # and no child outlives its daemon, however that ends
        process.wait()
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}/cmdline").exists() for pid in again):
            assert time.monotonic() < deadline, "the embedded server was left behind"
            time.sleep(0.1)


def _children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if f"\nPPid:\t{pid}\n" in text and "\nState:\tZ" not in text:
            found.append(int(status.parent.name))
    return found


@pytest.mark.sound
def test_one_turn_through_portaudio_and_a_real_sound_server(tmp_path: Path) -> None:
    config = """\
provider: custom
custom: {{url: "{url}"}}
audio: {{earcons: false, output: {{volume: 100}}}}
follow_up: {{mode: never}}
log: {{events_file: events.jsonl}}
state_dir: state
"""
    with virtual_sound() as sound, serving(answer_everything) as server:
        with House(tmp_path, base(server), config=config) as house:
            process = house.start(**sound.changed_env)
            house.wait_for("ready", within=30)
            with sound.record() as recorded:
                sound.play(room(0.5, "hey jarvis", 0.6, "what time is it", 1.0).tobytes())
                house.wait_for("playback_stopped")
                time.sleep(0.3)  # what the sound server still holds
            process.terminate()
            assert house.end(5) == 0, house.log
        assert len(server.peers[0].audio) > SPEAKER_RATE * 2
        heard = np.frombuffer(recorded.read_bytes()[: recorded.stat().st_size // 2 * 2], "<i2").astype(int)
        # The answer is one second of a tone of 330 Hz: it was played, once, and nothing else.
        loud = np.flatnonzero(np.abs(heard) > 200)
        assert 0.95 < (loud[-1] - loud[0]) / SPEAKER_RATE < 1.1
        spectrum = np.abs(np.fft.rfft(heard[loud[0] : loud[-1]]))
        assert np.argmax(spectrum) * SPEAKER_RATE / (loud[-1] - loud[0]) == pytest.approx(330, abs=3)
