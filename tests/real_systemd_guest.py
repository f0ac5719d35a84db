"""What the checks of ``tests.real_systemd_inside`` use: commands, the service's state, and a room with people in it."""

import json
import random
import re
import struct
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.jsonl"
ROOM = HERE / "room"
STATE = Path("/var/lib/hearth")
KEY = "sk-0123456789abcdef0123"

CONFIG = f"""\
provider: local
audio: {{input: {{device: "wav:{ROOM}/microphone"}}, output: {{device: "wav:{STATE}/speaker.wav"}}}}
log: {{events_file: {STATE}/events.jsonl}}
"""

DROP_IN = r"""\
[Service]
WatchdogSec=6
TimeoutStartSec=20
RestartSec=1
LoadCredential=openai_api_key:/etc/hearth/openai_api_key
# Inside the sandbox, before the daemon: Hearth's own code finds the key, and the group audio opens what it owns.
ExecStartPre=/opt/hearth/current/bin/python -c \
  "from assistant.config.credentials import find_secret; assert find_secret('openai_api_key', None, None)"
ExecStartPre=/usr/bin/test -r /etc/hearth/for-the-group-audio
"""

FIRST, NEXT, BROKEN = sorted(path.name.split("_")[1] for path in HERE.glob("hearth_*.deb"))


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def show(name: str) -> str:
    return run("systemctl", "show", "-P", name, "hearth").stdout.strip()


def note(check: str, ok: bool, seen: object) -> None:
    with RESULTS.open("a") as file:
        file.write(json.dumps({"check": check, "ok": bool(ok), "seen": str(seen)}) + "\n")


def wait_until(what: str, condition, within: float) -> float:
    """Seconds until the condition holds. Raises AssertionError if it does not in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > within:
            log = run("journalctl", "-u", "hearth", "-n", "40", "--no-pager", check=False).stdout
            raise AssertionError(f"not within {within:.0f} s: {what}\n{log}")
        time.sleep(0.1)
    return time.monotonic() - began


def active() -> bool:
    return run("systemctl", "is-active", "hearth", check=False).stdout.strip() == "active"


def version() -> str:
    link = str(Path("/opt/hearth/current").readlink())
    return re.sub(r"^versions/(.*)-\w+$", r"\1", link)


def ready_s() -> float:
    """Seconds from the start of the program that runs to its READY."""
    lines = run("journalctl", "-u", "hearth", "--no-pager", f"_PID={show('MainPID')}").stdout
    return float(re.findall(r"ready after ([\d.]+) s", lines)[-1])


def package(name: str) -> str:
    (file,) = HERE.glob(f"hearth_{name}_*.deb")
    return str(file)


def room() -> None:
    """Fill the microphone's pipe for whoever reads it, for ever."""
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 2**32 - 1, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", 2**32 - 1
    )
    noise = [struct.pack("<320h", *(round(random.gauss(0, 60)) for _ in range(320))) for _ in range(50)]
    said = ROOM / "said"
    while True:
        with (ROOM / "microphone").open("wb", buffering=0) as pipe:
            try:
                pipe.write(header)
                due, speech = time.monotonic(), b""
                while True:
                    if not speech and said.exists():
                        speech = said.read_bytes()
                        said.unlink()
                    frame, speech = speech[:640], speech[640:]
                    pipe.write(frame if len(frame) == 640 else random.choice(noise))
                    due = max(due + 0.02, time.monotonic() - 1)
                    time.sleep(max(0.0, due - time.monotonic()))
            except BrokenPipeError:
                pass


SPEAK = """
import sys, numpy as np
from assistant.demo.kitchen import Person
parts = [part.samples for part in (Person().utter(text) for text in sys.argv[2:])]
sound = np.concatenate([piece for part in parts for piece in (part, np.zeros(9600, np.int16))])
noisy = sound + np.random.default_rng(1).normal(0, 60, sound.size)
open(sys.argv[1] + ".new", "wb").write(np.clip(noisy, -32768, 32767).astype("<i2").tobytes())
import os; os.rename(sys.argv[1] + ".new", sys.argv[1])
"""


def events(name: str) -> int:
    file = STATE / "events.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return sum(json.loads(line)["name"] == name for line in lines)
