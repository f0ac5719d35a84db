"""A real Music Player Daemon on 127.0.0.1, for tests: Debian's package, without sound, with music of its own."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import subprocess
import tempfile
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

SONGS = (
    # artist, album, title
    ("The Testers", "First Light", "Morning Song"),
    ("The Testers", "First Light", "Evening Song"),
    ("The Testers", "Second Wind", "Sailing"),
    ("Anna Example", "Alone", "Quiet Hours"),
)
SECONDS, RATE = 60, 8000
PASSWORD = "player-password"


class RealMpd:
    """Use :func:`real_mpd`. Every method blocks."""

    def __init__(self, folder: Path, *, password: str | None = None) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        (folder / "music").mkdir()
        for number, song in enumerate(SONGS):
            write_song(folder / "music" / f"{number}.flac", *song)
        lines = [
            f'music_directory "{folder}/music"',
            f'db_file "{folder}/database"',
            f'state_file "{folder}/state"',
            'bind_to_address "127.0.0.1"',
            f'port "{self.port}"',
            'zeroconf_enabled "no"',
            'auto_update "no"',
            'audio_output {\n type "null"\n name "null"\n mixer_type "software"\n}',
        ]
        if password:
            lines.append(f'password "{password}@read,add,control,admin"\ndefault_permissions "read"')
        (folder / "mpd.conf").write_text("\n".join(lines) + "\n")
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "output.log").open("ab") as log:
            command = [shutil.which("mpd") or "mpd", "--no-daemon", "--stderr", self.folder / "mpd.conf"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                if self.ask("status"):
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mpd does not start: {(self.folder / 'output.log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, *, kill: bool = False) -> None:
        """kill: as a crash, so that it saves nothing."""
        if self._process is not None:
            (self._process.kill if kill else self._process.terminate)()
            self._process.wait(20)
            self._process = None

    def ask(self, command: str) -> str:
        """The answer to a command from another client, over a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            stream = connection.makefile("rwb")
            with stream:
                stream.readline()
                for line in ([f"password {self._password}"] if self._password else []) + [command]:
                    stream.write(f"{line}\n".encode())
                    stream.flush()
                    answer = ""
                    while not (found := stream.readline().decode()).startswith(("OK", "ACK")):
                        if not found:
                            raise ConnectionResetError
                        answer += found
                    if found.startswith("ACK"):
                        raise RuntimeError(found)
        return answer

    def status(self) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self.ask("status").splitlines())

    @property
    def volume(self) -> int:
        return int(self.status()["volume"])

    @property
    def state(self) -> str:
        return self.status()["state"]


def write_song(path: Path, artist: str, album: str, title: str) -> None:
    with soundfile.SoundFile(path, "w", RATE, 1, format="FLAC") as file:
        file.artist, file.album, file.title = artist, album, title
        file.write(np.zeros(SECONDS * RATE, np.int16))


def silence(seconds: int = 30) -> bytes:
    """A WAV file of silence, as a station sends it."""
    whole = io.BytesIO()
    with wave.open(whole, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(2 * RATE * seconds))
    return whole.getvalue()


@contextlib.contextmanager
def real_mpd(*, password: str | None = None) -> Iterator[RealMpd]:
    """A running MPD that knows its music. Skips the test where it is not installed."""
    if shutil.which("mpd") is None:
        pytest.skip("needs mpd: apt install mpd")
    folder = Path(tempfile.mkdtemp(prefix="mpd."))
    try:
        mpd = RealMpd(folder, password=password)
        try:
            mpd.start()
            mpd.ask("update")
            deadline = time.monotonic() + 30
            while "updating_db" in mpd.status():
                assert time.monotonic() < deadline, "mpd does not read its music"
                time.sleep(0.02)
            yield mpd
        finally:
            mpd.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
