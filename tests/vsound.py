"""A private sound card: a PulseAudio server of our own with two null sinks, bit-exact both ways.

``play`` speaks into the microphone ("mic"), ``record`` hears what the speaker ("speaker") plays. Programs find the card
through ``env``; PortAudio in this process does after ``monkeypatch.setenv`` of ``changed_env``, until its next
initialisation.

``norewinds=1`` matters: without it a null sink renders up to two seconds ahead, and playback arrives late and damaged.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

MIC_RATE = 16_000
SPEAKER_RATE = 24_000

_ALSA = """</usr/share/alsa/alsa.conf>
pcm.!default { type pulse hint { show on description "pulse" } }
ctl.!default { type pulse }
"""


class VSound:
    """Use :func:`virtual_sound`, which also skips where there is no PulseAudio."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = folder / "native"
        self._log = folder / "pulse.log"
        for name in ("state", "pulse"):
            (folder / name).mkdir()
        (folder / "asound.conf").write_text(_ALSA)
        self.changed_env = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "PULSE_STATE_PATH": str(folder / "state"),
            "PULSE_SERVER": f"unix:{self._socket}",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "PULSE_SINK": "speaker",
            "PULSE_SOURCE": "mic",
            "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        }
        self.env = {**os.environ, **self.changed_env}
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"]
        modules = [
            f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}",
            f"module-null-sink sink_name=speaker rate={SPEAKER_RATE} channels=1 norewinds=1",
            f"module-null-sink sink_name=micfeed rate={MIC_RATE} channels=1 norewinds=1",
            "module-remap-source source_name=mic master=micfeed.monitor",
        ]
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                ["pulseaudio", *options, "--log-target=stderr", "--log-level=error", *(f"--load={m}" for m in modules)],
                env=self.env,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        deadline = time.monotonic() + 10
        while subprocess.run(["pactl", "info"], env=self.env, capture_output=True).returncode:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"pulseaudio does not start: {self._log.read_text()}")
            time.sleep(0.02)

    def load(self, module: str, *options: str) -> None:
        """Let the server load one more module."""
        subprocess.run(["pactl", "load-module", module, *options], env=self.env, check=True, capture_output=True)

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def kill(self) -> None:
        """End the server as a crash would."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
            self._socket.unlink(missing_ok=True)

    def play(self, pcm: bytes) -> None:
        """Speak ``pcm`` (16 kHz int16 mono) into the microphone, in real time."""
        raw = self.folder / "play.raw"
        raw.write_bytes(pcm)
        command = ["paplay", "--raw", "--device=micfeed", f"--rate={MIC_RATE}", "--channels=1", "--format=s16le", raw]
        subprocess.run(command, env=self.env, check=True, timeout=30)

    @contextlib.contextmanager
    def murmur(self, pcm: bytes) -> Iterator[None]:
        """While inside, the microphone hears ``pcm`` (16 kHz int16 mono) over and over, as it hears the noise of a
        room."""
        command = ["pacat", "--raw", "--device=micfeed", f"--rate={MIC_RATE}", "--channels=1", "--format=s16le"]
        ended = threading.Event()

        def feed(pipe: IO[bytes]) -> None:
            with contextlib.suppress(BrokenPipeError), pipe:
                while not ended.is_set():
                    pipe.write(pcm)

        with subprocess.Popen(command, env=self.env, stdin=subprocess.PIPE) as pacat:
            assert pacat.stdin is not None
            feeder = threading.Thread(target=feed, args=(pacat.stdin,))
            feeder.start()
            try:
                yield
            finally:
                ended.set()
                pacat.terminate()
                feeder.join()

    @contextlib.contextmanager
    def record(self) -> Iterator[Path]:
        """While inside, what the speaker plays goes to a file: raw 24 kHz int16 mono."""
        raw = self.folder / "record.raw"
        options = ["--device=speaker.monitor", f"--rate={SPEAKER_RATE}", "--channels=1", "--format=s16le"]
        with raw.open("wb") as out, subprocess.Popen(["parec", "--raw", *options], env=self.env, stdout=out) as parec:
            deadline = time.monotonic() + 10
            while not raw.stat().st_size and time.monotonic() < deadline:  # recording has begun
                time.sleep(0.02)
            try:
                yield raw
            finally:
                parec.terminate()


@contextlib.contextmanager
def virtual_sound() -> Iterator[VSound]:
    """A running sound card, of which nothing is left afterwards. Skips the test where PulseAudio is not installed."""
    missing = [tool for tool in ("pulseaudio", "pactl", "paplay", "parec") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: apt install pulseaudio pulseaudio-utils libasound2-plugins")
    folder = Path(tempfile.mkdtemp(prefix="vsound."))
    try:
        sound = VSound(folder)
        try:
            sound.start()
            yield sound
        finally:
            sound.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
