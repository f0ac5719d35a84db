"""Puts the house together, plays a plan, counts, and makes a plan that fails small."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from pathlib import Path
from typing import Final, TypeAlias

from assistant import config as configuration
from assistant import wiring
from assistant.config import Config
from assistant.controls import Controls
from assistant.daemon import Daemon
from assistant.errors import HearthError
from assistant.journal import Journal
from assistant.testing import virtual_time
from tests.simulation.cloud import PRICE, Cloud
from tests.simulation.people import People
from tests.simulation.plan import DAY, TROUBLES, Item, Plan
from tests.simulation.watch import Counts, Footprint, Watch
from tests.simulation.world import Disk, SimulatedClock, SimulatedMicrophone, SimulatedSpeaker, Sound, surroundings

CAP: Final = 160 * PRICE
"""A day's cap that busy days reach."""

RESTART_S: Final = 5.0
"""systemd waits so long (RestartSec=)."""

CONFIG: Final = """\
provider: custom
custom: {{url: "{url}", model: simulated}}
session: {{keep_open_s: 30, response_timeout_s: 8, connect_timeout_s: 4, max_turns: 6}}
wake: {{words: [hey_jarvis]}}
echo: {{canceller: "off"}}
barge_in: {{mode: wake_word, duck_db: 0}}
audio: {{output: {{volume: 100}}}}
money: {{daily_cap: {cap}}}
prices:
  simulated: {{text_in: 4, cached_text_in: 0.4, text_out: 16, audio_in: 32, cached_audio_in: 0.4, audio_out: 64}}
tools: {{folders: [gremlins], time_limit_s: 5}}
state_dir: state
health: {{memory_limit_mb: 100000}}
"""

GREMLIN: Final = '''\
"""Tools that do what tools must not do."""

import asyncio

from assistant.plugin import tool


@tool
async def gremlin_crash() -> str:
    """Crash."""
    raise SystemExit(3)


@tool
async def gremlin_hang() -> str:
    """Never return, and refuse to be cancelled at first."""
    try:
        await asyncio.sleep(10_000)
    except asyncio.CancelledError:
        await asyncio.sleep(1)
    return "late"


@tool
async def gremlin_slow() -> str:
    """Take three seconds."""
    await asyncio.sleep(3)
    return "done"
'''


Span: TypeAlias = tuple[float, float]
AFTERWARDS: Final = 1 / 24
"""Of a day, after the last thing in a plan that is being made smaller: what goes wrong mostly does so soon."""

NO_TRACE: Final = (math.inf, -math.inf)


@dataclass(frozen=True)
class Report:
    """How a plan went. refused: requests that failed far from any trouble."""

    violation: str | None
    refused: tuple[str, ...]
    counts: Counts
    footprints: tuple[Footprint, ...]
    days: float

    @property
    def failed(self) -> bool:
        return self.violation is not None or bool(self.refused)

    @property
    def reason(self) -> str:
        return self.violation or (self.refused[0] if self.refused else "")


class House:
    """The daemon, started again when it ends, as systemd would; and everything around it."""

    def __init__(self, config: Config, cloud: Cloud, trace: Span) -> None:
        self._config = config
        self._trace = trace
        self.cloud = cloud
        self._loop = asyncio.get_running_loop()
        self.clock = SimulatedClock()
        self.disk = Disk()
        self.sound = Sound()
        self.watch = Watch(self._sent_bytes, lambda: self.clock.wrong_s)
        self.people = People(self.sound, cloud, self.watch, lambda: self.controls)
        self._daemon: Daemon | None = None
        self._run: asyncio.Task[None] | None = None
        self._off = asyncio.Event()
        self._on = asyncio.Event()
        self._on.set()
        self._microphone: SimulatedMicrophone | None = None
        self._speaker: SimulatedSpeaker | None = None
        self.ends: list[str] = []
        self.sound.busy = lambda: self.watch.busy
        self._alert_tasks: set[asyncio.Task[None]] = set()
        self.on_entry: Callable[[Mapping[str, object]], None] = lambda entry: None
        """Told every entry of the journal."""
        self.on_end: Callable[[], None] = lambda: None
        """Told when a daemon has ended."""

    @property
    def controls(self) -> Controls | None:
        return self._daemon.controls if self._daemon is not None and self.watch.up else None

    def _sent_bytes(self) -> int:
        return self._daemon.sent_bytes if self._daemon is not None else 0

    # --- the daemon over the days -----------------------------------------------------------------------------------

    async def live(self) -> None:
        """Run daemons until cancelled."""
        while True:
            await self._on.wait()
            self._microphone = SimulatedMicrophone(self.sound)
            self._speaker = SimulatedSpeaker(self.sound, self._heard)
            journal = Journal()
            around = surroundings(self.clock, self.disk)
            self._daemon = Daemon(self._config, journal, self._microphone, self._speaker, around)
            journal.subscribe(self._entry)
            self._run = asyncio.ensure_future(self._daemon.run())
            try:
                await self._run
            except HearthError as error:
                self.ends.append(str(error))
            except BaseExceptionGroup as group:
                if group.split(HearthError)[1] is not None:
                    raise
                self.ends.append(str(group.exceptions[0]))
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise  # the simulation ends, or else the daemon was killed
            finally:
                self.watch.daemon_is_down()
                self.on_end()
                self._daemon = None
            self.watch.counts.restarts += 1
            self.watch.trouble("(down)", RESTART_S)
            await asyncio.sleep(RESTART_S if self._on.is_set() else 0)

    def _entry(self, entry: object) -> None:
        assert isinstance(entry, dict)
        begin, end = self._trace
        if begin <= (at := self._loop.time() - virtual_time.START) <= end:
            print(f"{at:12.3f} {entry['kind']:<8}", *(f"{k}={v}" for k, v in entry.items() if k not in ("at", "kind")))
        if entry["name"] == "ready":
            self.watch.daemon_is_up()
        self.watch.entry(entry)
        self.on_entry(entry)
        self.sound.attend(0.5)
        if entry["name"] == "start_alert":
            task = self._loop.create_task(self.people.silence_alert())
            self._alert_tasks.add(task)
            task.add_done_callback(self._alert_tasks.discard)

    def _heard(self, loud: bool) -> None:
        self.watch.heard(loud)

    async def stop(self) -> None:
        for task in tuple(self._alert_tasks):
            task.cancel()
        if self._daemon is not None and self._run is not None:
            self._daemon.stop()
            await asyncio.wait({self._run})

    # --- troubles ---------------------------------------------------------------------------------------------------

    async def suffer(self, item: Item) -> None:
        self.watch.trouble(item.kind, max(0.0, item.amount))
        match item.kind:
            case "microphone":
                if self._microphone is not None:
                    self._microphone.break_for(item.amount)
            case "speaker":
                if self._speaker is not None:
                    self._speaker.break_for(item.amount)
            case "microphone stands still":
                if self._microphone is not None:
                    self._microphone.stand_still(int(item.amount))
            case "speaker stands still":
                if self._speaker is not None:
                    self._speaker.stand_still(int(item.amount))
            case "clock":
                self.clock.set_back(-item.amount)
            case "disk":
                self.disk.full = True
                await asyncio.sleep(item.amount)
                self.disk.full = False
            case "mute":
                await self._mute(item.amount)
            case "restart" | "killed":
                await self._restart(item.amount, killed=item.kind == "killed")
            case kind:
                self.cloud.trouble(kind, item.amount)

    async def _mute(self, seconds: float) -> None:
        if (controls := self.controls) is None:
            return
        await controls.mute(True)
        await asyncio.sleep(seconds)
        while (controls := self.controls) is None:  # noqa: ASYNC110 - on virtual time
            await asyncio.sleep(1.0)
        await controls.mute(False)

    async def _restart(self, off_s: float, *, killed: bool) -> None:
        if self._daemon is None or self._run is None or not self._on.is_set():
            return
        self._on.clear()
        if killed:
            self._run.cancel()
        else:
            self._daemon.stop()
        await asyncio.sleep(off_s)
        self._on.set()


@contextlib.asynccontextmanager
async def furnished(folder: Path, trace: Span = NO_TRACE) -> AsyncIterator[House]:
    """A house with its cloud, its files in ``folder``; nothing runs in it yet."""
    async with Cloud() as cloud:
        (folder / "gremlins").mkdir()
        (folder / "gremlins" / "gremlin.py").write_text(GREMLIN)
        (folder / "config.yaml").write_text(CONFIG.format(url=cloud.url, cap=CAP))
        config = configuration.load(folder / "config.yaml")
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual_time.VirtualTimeLoop)
        with loop.hold():
            await wiring.phrasebook(config).prepare()
        house = House(config, cloud, trace)

        def ran(name: str, output: object) -> None:
            if name == "set_timer" and not (isinstance(output, dict) and "error" in output):
                house.watch.timer_was_set(round(cloud.minutes) * 60)

        days: Counter[date] = Counter()

        def billed() -> None:
            if not house.disk.full:  # or else nobody could know
                today = house.clock.now().astimezone(UTC).date()
                days[today] += 1
                house.watch.billed(days[today] * PRICE, CAP, 8 * PRICE)

        cloud.on_tool, cloud.on_response = ran, billed
        yield house


class Player:
    """Plays one plan."""

    def __init__(self, plan: Plan, days: float, trace: Span) -> None:
        self._trace = trace
        self._plan = plan
        self._days = days

    def run(self) -> Report:
        with tempfile.TemporaryDirectory(prefix="hearth-") as folder:
            return virtual_time.run(self._play(Path(folder)), limit_s=self._days * DAY + 7200)

    async def _play(self, folder: Path) -> Report:
        async with furnished(folder, self._trace) as house:
            zero = asyncio.get_running_loop().time()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(house.live()),
                    group.create_task(self._midnights(house, zero)),
                    group.create_task(self._troubles(house, zero)),
                    group.create_task(self._patrol(house)),
                ]
                await self._visits(house, zero)
                if house.watch.first is None:
                    await asyncio.sleep(max(0.0, zero + self._days * DAY - asyncio.get_running_loop().time()))
                await house.stop()
                for task in tasks:
                    task.cancel()
            violation = house.watch.first
            return Report(
                str(violation) if violation else None,
                tuple(house.people.refused),
                house.watch.counts,
                house.watch.footprints,
                self._days,
            )

    async def _visits(self, house: House, zero: float) -> None:
        loop = asyncio.get_running_loop()
        for item in self._plan:
            if item.kind in TROUBLES:
                continue
            await asyncio.sleep(max(0.0, zero + item.at - loop.time()))
            await house.people.visit(item)
            if house.watch.first is not None:
                return

    async def _troubles(self, house: House, zero: float) -> None:
        async with asyncio.TaskGroup() as group:
            for item in self._plan:
                if item.kind in TROUBLES:
                    await asyncio.sleep(max(0.0, zero + item.at - asyncio.get_running_loop().time()))
                    group.create_task(house.suffer(item))

    async def _midnights(self, house: House, zero: float) -> None:
        day = 0
        while True:
            day += 1
            await asyncio.sleep(max(0.0, zero + day * DAY + 7200 - asyncio.get_running_loop().time()))
            while house.watch.busy or not house.watch.up:  # noqa: ASYNC110 - on virtual time
                await asyncio.sleep(10.0)
            await asyncio.sleep(60.0)  # the session is closed by now
            house.watch.quiet_moment()

    async def _patrol(self, house: House) -> None:
        while True:
            await asyncio.sleep(30.0)
            house.watch.patrol()


def play(plan: Plan, days: float, trace: Span = NO_TRACE) -> Report:
    """Play a plan to its end, or to the first thing that must not be.

    trace: print what happens between these two times (seconds from the beginning).
    """
    logging.disable(logging.CRITICAL)  # troubles are what this is about
    try:
        return Player(plan, days, trace).run()
    finally:
        logging.disable(logging.NOTSET)


def shrink(plan: Plan, days: float, budget_s: float = 120.0) -> tuple[Plan, Report]:
    """The smallest part of a failing plan that still fails, as far as the time goes; and how it does."""
    report = play(plan, days)
    assert report.failed
    deadline = time.monotonic() + budget_s
    pieces = 2
    while len(plan) > 1 and time.monotonic() < deadline:
        size = -(-len(plan) // pieces)
        for start in range(0, len(plan), size):
            smaller = plan[:start] + plan[start + size :]
            if smaller and (found := play(smaller, min(days, smaller[-1].at / DAY + AFTERWARDS))).failed:
                plan, report, pieces = smaller, found, max(2, pieces - 1)
                break
            if time.monotonic() > deadline:
                break
        else:
            if size == 1:
                break
            pieces = min(len(plan), pieces * 2)
    return plan, report


def describe(plan: Sequence[Item]) -> str:
    return "\n".join(f"  {item.at:12.3f} s  {item.kind:<12} {item.amount:g}" for item in plan)
