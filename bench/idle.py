"""What the daemon costs while nobody talks: start to READY, memory, CPU.

``python -m bench.idle``
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from assistant.demo.kitchen import Kitchen

RUNS = 2
SETTLE_S = 4.0
WATCH_S = 6.0

CONFIG = """\
provider: local
audio:
  input: {{device: "wav:room.pipe"}}
  output: {{device: none}}
echo: {{canceller: {canceller}}}
log: {{level: warning}}
state_dir: state
"""


@dataclass(frozen=True, slots=True)
class Idle:
    """One run. Seconds, megabytes (resident), and CPU seconds per second."""

    ready_s: float
    daemon_mb: float
    server_mb: float
    daemon_cpu: float


def measure(folder: Path, canceller: str) -> Idle:
    """Start the daemon as systemd would, let it listen to a quiet room, and look at it from outside."""
    (folder / "config.yaml").write_text(CONFIG.format(canceller=canceller), encoding="utf-8")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(folder / "notify"))
        notify.settimeout(30)
        with Kitchen(folder / "room.pipe", folder / "room.wav"):
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", "assistant", "run", "--config", str(folder / "config.yaml")],
                env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
            )
            try:
                while b"READY=1" not in notify.recv(4096):
                    pass
                ready = time.monotonic() - began
                daemon = psutil.Process(process.pid)
                time.sleep(SETTLE_S)
                before = daemon.cpu_times()
                time.sleep(WATCH_S)
                after = daemon.cpu_times()
                return Idle(
                    ready,
                    daemon.memory_info().rss / 1e6,
                    sum(child.memory_info().rss for child in daemon.children(recursive=True)) / 1e6,
                    (after.user + after.system - before.user - before.system) / WATCH_S,
                )
            finally:
                process.terminate()
                process.wait(10)


def main() -> int:
    for canceller in ("off", "webrtc"):
        runs = []
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory() as name:
                runs.append(measure(Path(name), canceller))
        _show(f"the idle daemon, one wake word, a quiet room, echo.canceller: {canceller} (median of {RUNS})", runs)
    return 0


def _show(title: str, runs: list[Idle]) -> None:
    print(title)
    print(f"  start to READY                  {statistics.median(run.ready_s for run in runs):6.2f} s")
    print(f"  resident memory, daemon         {statistics.median(run.daemon_mb for run in runs):6.0f} MB")
    print(f"  resident memory, its children   {statistics.median(run.server_mb for run in runs):6.0f} MB")
    print(f"  CPU of the daemon               {statistics.median(run.daemon_cpu for run in runs) * 100:6.1f} %")


if __name__ == "__main__":
    sys.exit(main())
