"""Whole daemons for tests: a recording as the microphone, a file as the speaker, a subprocess in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assistant.demo.kitchen import Person
from assistant.types import MIC_RATE

Samples = npt.NDArray[np.int16]

CONFIG = """\
provider: custom
custom: {{url: "{url}", model: scripted}}
session: {{keep_open_s: 30, response_timeout_s: 5, connect_timeout_s: 3}}
audio:
  input: {{device: "wav:room.wav"}}
  output: {{device: "wav:speaker.wav"}}
follow_up: {{mode: never}}
log: {{events_file: events.jsonl}}
state_dir: state
{more}
"""


def room(*parts: str | float, seed: int = 1) -> Samples:
    """What the room sounds like: sentences, and pauses in seconds, over quiet noise."""
    person = Person()
    silent = [np.zeros(int(part * MIC_RATE), np.int16) if isinstance(part, float) else part for part in parts]
    sound = np.concatenate([person.utter(part).samples if isinstance(part, str) else part for part in silent])
    noise = np.random.default_rng(seed).normal(0, 60, sound.size)
    return np.clip(sound + noise, -32768, 32767).astype(np.int16)


def write_wav(path: Path, samples: Samples, rate: int = MIC_RATE) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def read_wav(path: Path) -> Samples:
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


class House:
    """A folder with a config and a room, and the daemon in it."""

    def __init__(self, folder: Path, url: str = "ws://127.0.0.1:9/v1", more: str = "", config: str = CONFIG) -> None:
        self.folder = folder
        (folder / "config.yaml").write_text(config.format(url=url, more=more), encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, samples: Samples | None = None, **environment: str) -> subprocess.Popen[bytes]:
        """Start the daemon; the recording begins to play."""
        if samples is not None:
            write_wav(self.folder / "room.wav", samples)
        with (self.folder / "daemon.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "assistant", "run", "--config", str(self.folder / "config.yaml")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )
        return self.process

    def __enter__(self) -> House:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def end(self, within: float = 60.0) -> int:
        """Wait for the end of the daemon; gives its status."""
        assert self.process is not None
        return self.process.wait(within)

    @property
    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()

    @property
    def journal(self) -> list[dict[str, Any]]:
        path = self.folder / "events.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def entries(self, name: str) -> list[dict[str, Any]]:
        return [entry for entry in self.journal if entry["name"] == name]

    def wait_for(self, name: str, count: int = 1, within: float = 20.0) -> dict[str, Any]:
        """Follow the journal until it holds this entry; the newest of that name."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            found = self.entries(name)
            if len(found) >= count:
                return found[-1]
            assert self.process is None or self.process.poll() is None, f"the daemon has ended:\n{self.log}"
            time.sleep(0.02)
        raise AssertionError(f"{name} did not happen:\n{self.log}")


def run_command(*arguments: str, folder: Path, within: float = 30.0) -> subprocess.CompletedProcess[str]:
    """``assistant ...`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "assistant", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=within,
        stdin=subprocess.DEVNULL,
        check=False,
    )
