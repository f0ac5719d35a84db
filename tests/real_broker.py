"""A real Mosquitto on 127.0.0.1, for tests: Debian's package, a configuration of its own, nothing left afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

USER, PASSWORD = "hearth", "broker-password"


class RealBroker:
    """Use :func:`real_broker`. Every method blocks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        users = folder / "users"
        program = _program("mosquitto_passwd")
        subprocess.run([program, "-b", "-c", users, USER, PASSWORD], check=True, capture_output=True)
        users.chmod(0o644)
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\n"
            f"persistence true\npersistence_location {folder}/\n"
        )
        folder.chmod(0o777)  # as root it becomes the user mosquitto, and keeps what is retained here
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "output.log").open("ab") as log:
            command = [_program("mosquitto"), "-c", self.folder / "mosquitto.conf"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto does not start: {(self.folder / 'output.log').read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")


@contextlib.contextmanager
def real_broker() -> Iterator[RealBroker]:
    """A running broker. Skips the test where Mosquitto is not installed."""
    if _program("mosquitto") is None or _program("mosquitto_passwd") is None:
        pytest.skip("needs mosquitto: apt install mosquitto")
    folder = Path(tempfile.mkdtemp(prefix="broker."))
    try:
        broker = RealBroker(folder)
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
