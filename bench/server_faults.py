"""What becomes of a request when a process dies or hangs beside it: ``python -m bench.server_faults``.

A real daemon with its embedded server and recogniser in the kitchen of ``assistant demo``, in real time: two minutes.
Somebody asks for the time a moment after each fault. ``python -m bench.faults`` has the faults of devices and disk.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from assistant.demo.kitchen import Kitchen, Person
from assistant.demo.stage import SceneFailed, Stage

REQUEST: Final = "hey jarvis what time is it"
PATIENCE_S: Final = 60.0
TRIES: Final = 4
BLOCKED_S: Final = 5.0

CONFIG: Final = """\
provider: local
audio: {input: {device: "wav:room.pipe"}, output: {device: none}}
log: {level: warning, events_file: events.jsonl}
tools: {folders: [tools]}
state_dir: state
"""

BLOCKING: Final = f'''\
"""Blocks the event loop when it is told to."""

import asyncio
import time
from pathlib import Path

from assistant.plugin import Plugin


class Blocker(Plugin):
    async def start(self) -> None:
        self.context.spawn(self._wait(), "wait")

    async def _wait(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            if (order := Path(__file__).with_name("block")).exists():
                order.unlink()
                time.sleep({BLOCKED_S})
'''


@dataclass(frozen=True)
class Fault:
    """name: for the table. happen: begins it; given the daemon and its folder. said: what the log says of it."""

    name: str
    happen: Callable[[psutil.Process, Path], object]
    said: str


def send(number: int, command: str) -> Callable[[psutil.Process, Path], object]:
    """A signal to the daemon's child with this in its command line."""

    def happen(daemon: psutil.Process, folder: Path) -> None:
        [process] = [one for one in daemon.children(recursive=True) if command in " ".join(one.cmdline())]
        os.kill(process.pid, number)

    return happen


FAULTS: Final = (
    Fault("the recogniser is killed", send(signal.SIGKILL, "recognizer_worker"), "recogniser ended"),
    Fault("the recogniser freezes", send(signal.SIGSTOP, "recognizer_worker"), "recogniser did not answer"),
    Fault("the embedded server is killed", send(signal.SIGKILL, "assistant serve"), "embedded server: died"),
    Fault("the embedded server freezes", send(signal.SIGSTOP, "assistant serve"), "embedded server: does not answer"),
    Fault(
        f"the event loop is blocked for {BLOCKED_S:.0f} s",
        lambda daemon, folder: (folder / "tools" / "block").touch(),
        "event loop stands still",
    ),
)


class Table:
    def __init__(self, folder: Path, stage: Stage, daemon: psutil.Process) -> None:
        self._folder = folder
        self._stage = stage
        self._daemon = daemon
        self._person = Person("en-us+f2", 140)

    async def ask(self) -> str:
        """What becomes of the request."""
        await self._stage.say(self._person, REQUEST)
        try:
            end = await self._stage.wait("the end of a turn", PATIENCE_S, name="end_turn")
        except SceneFailed:
            return "not heard"
        return str(end["outcome"])

    async def row(self, fault: Fault) -> bool:
        """Play it and print it; whether all is well at the end."""
        await asyncio.sleep(3.0)
        log = self._folder / "daemon.log"
        before, began = log.stat().st_size, time.monotonic()
        noticing = asyncio.ensure_future(_seen(log, before, fault.said))
        await asyncio.to_thread(fault.happen, self._daemon, self._folder)
        outcomes = []
        while len(outcomes) < TRIES and "answered" not in outcomes:
            outcomes.append(await self.ask())
        again = time.monotonic() - began
        noticed = f"{await noticing - began:.1f} s" if "answered" in outcomes else "?"
        noticing.cancel()
        print(f"{fault.name:<36}{noticed:>9}{again:>12.1f} s   {', '.join(outcomes)}", flush=True)
        return "answered" in outcomes


async def _seen(log: Path, start: int, text: str) -> float:
    """When the log says it."""
    while text not in log.read_bytes()[start:].decode(errors="replace"):  # noqa: ASYNC110, ASYNC240 - a bench
        await asyncio.sleep(0.05)
    return time.monotonic()


async def play() -> int:
    with tempfile.TemporaryDirectory(prefix="hearth-") as name:
        folder = Path(name)
        (folder / "tools").mkdir()
        (folder / "tools" / "blocker.py").write_text(BLOCKING)
        with Kitchen(folder / "room.pipe", folder / "room.wav") as kitchen:
            stage = Stage(folder, kitchen, CONFIG, quiet=True)
            async with stage.daemon():
                pid = (await stage.wait("ready", 30, name="ready"))["pid"]
                table = Table(folder, stage, psutil.Process(pid))
                if (outcome := await table.ask()) != "answered":
                    print(f"without a fault: {outcome}")
                    return 1
                print(
                    f"{'fault':<36}{'noticed':>9}{'answered after':>14}   what became of the request, and of the next"
                )
                return int(not all([await table.row(fault) for fault in FAULTS]))


def main() -> int:
    return asyncio.run(play())


if __name__ == "__main__":
    sys.exit(main())
