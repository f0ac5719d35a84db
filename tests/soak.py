"""``make soak``: the daemon and its embedded server in real time, with people who talk all the while.

Every ten seconds memory, open files and threads of both processes are read from the kernel. At the end there is a
picture of them (build/soak/soak.png), the slopes, and how many requests were answered.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from assistant.demo.kitchen import Kitchen, Person
from assistant.demo.stage import SceneFailed, Stage

FOLDER: Final = Path("build/soak")
EVERY_S: Final = 10.0
WARM_UP: Final = 0.2
"""Of the time: what is loaded once is no leak."""

PROCESSES: Final = {"assistant run": "daemon", "assistant serve": "server", "recognizer_worker": "recogniser"}

VOICES: Final = ("en-us+f2", "en-gb-x-rp+f2", "en-us+f4")
SPEED_WPM: Final = 140
"""These say the wake word so that it scores 0.91 to 1.00 in each request; at 165 words a minute some score below the
threshold, and a request that is not heard would mean nothing."""

REQUESTS: Final = (
    "hey jarvis what time is it",
    "hey jarvis what day is it today",
    "hey jarvis set a timer for one minute",
    "hey jarvis add milk to the shopping list",
    "hey jarvis what is on my shopping list",
    "hey jarvis tell me about the sea",  # nothing that the offline brain knows
)

CONFIG: Final = """\
provider: local
audio: {input: {device: "wav:room.pipe"}, output: {device: none}}
log: {level: warning, events_file: events.jsonl}
state_dir: state
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """at: seconds from the beginning. memory: MB in RAM, by process. files, threads: of all processes."""

    at: float
    memory: dict[str, float]
    files: int
    threads: int


def read(process: psutil.Process, began: float) -> Reading:
    memory: Counter[str] = Counter()
    files, threads = 0, 0
    for one in (process, *process.children(recursive=True)):
        try:
            command = " ".join(one.cmdline())
            name = next((name for part, name in PROCESSES.items() if part in command), "others")
            memory[name] += one.memory_info().rss / 1e6
            files += one.num_fds()
            threads += one.num_threads()
        except psutil.NoSuchProcess:
            continue
    return Reading(time.monotonic() - began, dict(memory), files, threads)


class Soak:
    def __init__(self, minutes: float) -> None:
        self._seconds = minutes * 60
        self.readings: list[Reading] = []
        self.asked = 0
        self.outcomes: Counter[str] = Counter()
        """What became of the requests: how their turns ended, or that there was none."""

    async def run(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for old in ("events.jsonl", "daemon.log"):
            (FOLDER / old).unlink(missing_ok=True)
        with Kitchen(FOLDER / "room.pipe", FOLDER / "room.wav") as kitchen:
            stage = Stage(FOLDER, kitchen, CONFIG, quiet=True)
            async with stage.daemon():
                pid = (await stage.wait("ready", 30, name="ready"))["pid"]
                began = time.monotonic()
                async with asyncio.TaskGroup() as group:
                    reading = group.create_task(self._read(psutil.Process(pid), began))
                    await self._talk(stage, began)
                    reading.cancel()

    async def _read(self, process: psutil.Process, began: float) -> None:
        while True:
            self.readings.append(await asyncio.to_thread(read, process, began))
            await asyncio.sleep(EVERY_S)

    async def _talk(self, stage: Stage, began: float) -> None:
        people = itertools.cycle([Person(voice, SPEED_WPM) for voice in VOICES])
        for request in itertools.cycle(REQUESTS):
            if time.monotonic() - began > self._seconds:
                return
            self.asked += 1
            await stage.say(next(people), request)
            try:
                end = await stage.wait("the end of a turn", 40, name="end_turn")
                self.outcomes[end["outcome"]] += 1
            except SceneFailed:
                if (FOLDER / "daemon.log").read_text().count("Traceback"):
                    raise
                self.outcomes["not heard"] += 1
            stage.entries.clear()
            stage._position = 0
            await asyncio.sleep(4)

    def report(self) -> int:
        """Print the slopes and draw them; 1 if something grows."""
        at = np.array([reading.at for reading in self.readings]) / 3600
        late = at >= at[-1] * WARM_UP
        grows = False
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.most_common())
        print(f"{at[-1] * 60:.0f} minutes, {self.asked} requests: {outcomes}")
        for name, unit, allowed in (
            *((name, "MB", 5.0) for name in PROCESSES.values()),
            ("files", "", 1.0),
            ("threads", "", 1.0),
        ):
            values = np.array(self._values(name))
            slope = float(np.polyfit(at[late], values[late], 1)[0]) if late.sum() > 2 else 0.0
            grows = grows or slope * at[-1] > allowed
            print(f"  {name:<11} {values[late][0]:8.1f} -> {values[-1]:8.1f} {unit:<2} slope {slope:+.2f} an hour")
        self._draw(at * 60)
        return int(grows)

    def _values(self, name: str) -> list[float]:
        if name in PROCESSES.values():
            return [reading.memory.get(name, 0.0) for reading in self.readings]
        return [float(getattr(reading, name)) for reading in self.readings]

    def _draw(self, minutes: np.ndarray) -> None:
        try:
            from matplotlib.figure import Figure
        except ImportError:
            print("no picture: pip install matplotlib")
            return
        figure = Figure(figsize=(9, 6), layout="constrained")
        for axes, names, label in zip(
            figure.subplots(3, 1, sharex=True),
            (tuple(PROCESSES.values()), ("files",), ("threads",)),
            ("memory in RAM, MB", "open files", "threads"),
            strict=True,
        ):
            for name in names:
                axes.plot(minutes, self._values(name), linewidth=1, label=name)
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            if len(names) > 1:
                axes.legend(loc="lower right")
        figure.axes[-1].set_xlabel("minutes")
        figure.savefig(FOLDER / "soak.png", dpi=110)
        print(f"see {FOLDER / 'soak.png'}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    soak = Soak(parser.parse_args().minutes)
    asyncio.run(soak.run())
    return soak.report()


if __name__ == "__main__":
    sys.exit(main())
