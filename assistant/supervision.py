"""Looks every second whether everything that must move still moves, says what does not, and mends what it can.

========================  ==================================  ====================================================
what                      noticed after                       mended by
========================  ==================================  ====================================================
microphone gives nothing  3 s (:mod:`assistant.ears`)         opening it again; the third time in a row by leaving
speaker takes nothing     3 s                                 opening it again; the third time in a row by leaving
analysis hangs            10 s                                leaving
event loop stands still   2 s (:mod:`assistant.sentinel`)     leaving after 60 s, or by systemd's watchdog
state past its deadline   5 s                                 ending the turn
plugin is in trouble      1 s after its status changed        its own breaker; said in the status
disk full or read-only    60 s                                said; it is tried again
clock was set             1 s                                 said; timers look at the clock anyway
memory grows              60 s                                leaving as soon as no turn is going on; the embedded
                                                              server is replaced, which looks after its recogniser
server died, or hangs     at once, 15 s                       starting it again (:mod:`assistant.local.process`)
========================  ==================================  ====================================================

Leaving is with exit status 75, upon which systemd starts the assistant again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from assistant.core.policy import State
from assistant.ears import Ears
from assistant.engine import Engine
from assistant.errors import EXIT_RESTART, HearthError
from assistant.health import Health
from assistant.journal import Journal
from assistant.local.process import LocalServerProcess
from assistant.memory import resident_mb
from assistant.plugin import WallClock
from assistant.sentinel import LoopSentinel
from assistant.tools.registry import ToolRegistry

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
SLOW_EVERY: Final = 60
"""What takes longer is looked at every so many seconds."""

OVERDUE_S: Final = 5.0
ANALYSIS_S: Final = 10.0
CLOCK_S: Final = 2.0
LOW_DISK_BYTES: Final = 50_000_000


class Hopeless(HearthError):
    """Something does not come back by itself: only a new process helps."""

    exit_status = EXIT_RESTART


class Supervisor:
    """See the module's docstring. Everything belongs to the event loop."""

    def __init__(
        self,
        health: Health,
        journal: Journal,
        clock: WallClock,
        ears: Ears,
        engine: Engine,
        tools: ToolRegistry,
        server: LocalServerProcess | None,
        *,
        state_folder: Path,
        memory_limit_mb: int,
        analysed: Callable[[], int],
    ) -> None:
        """server: the embedded one, if it is ours. analysed: the microphone sample up to which frames have been
        analysed."""
        self._health = health
        self._journal = journal
        self._clock = clock
        self._ears = ears
        self._engine = engine
        self._tools = tools
        self._server = server
        self._folder = state_folder
        self._memory_limit_mb = memory_limit_mb
        self._analysed = analysed
        self._plugins: dict[str, str | None] = {}  # what was wrong with each the last time
        self._loop = asyncio.get_running_loop()
        self._ahead = clock.now().timestamp() - clock.monotonic()
        self._analysis = (0, self._loop.time())  # how far it was, and since when

    async def run(self) -> None:
        """Look until cancelled. Raises Hopeless when only a new process helps."""
        sentinel = LoopSentinel(self._loop, self._stalled)
        sentinel.start()
        try:
            seconds = 0
            while True:
                if seconds % SLOW_EVERY == 0:
                    await self._look_at_disk()
                    self._look_at_memory()
                self._look()
                await asyncio.sleep(EVERY_S)
                seconds += 1
        finally:
            sentinel.stop()

    def _look(self) -> None:
        now = self._loop.time()
        self._look_at_clock(now)
        self._look_at_plugins()
        self._look_at_analysis(now)
        deadline = self._engine.conversation.deadline
        if deadline is not None and now > deadline + OVERDUE_S:
            log.error(
                "the state %s is %.0f s past its deadline: ended", self._engine.conversation.state, now - deadline
            )
            self._journal.note("overdue", now, state=self._engine.conversation.state.value)
            self._engine.end_turn()

    def _stalled(self, seconds: float, where: str) -> None:
        log.error("the event loop stood still for %.0f s", seconds)
        self._journal.note("stalled", self._loop.time(), seconds=round(seconds, 1), where=where)

    # --- each second ------------------------------------------------------------------------------------------------

    def _look_at_clock(self, now: float) -> None:
        ahead = self._clock.now().timestamp() - self._clock.monotonic()
        if abs(jump := ahead - self._ahead) > CLOCK_S:
            log.warning("the clock of this machine was set %s by %.0f s", "forward" if jump > 0 else "back", abs(jump))
            self._journal.note("clock", now, jump_s=round(jump, 1))
        self._ahead = ahead

    def _look_at_plugins(self) -> None:
        troubles = self._tools.troubles
        if troubles == self._plugins:
            return
        for name in {**self._plugins, **troubles}:
            self._health.report(f"plugin {name}", troubles.get(name))
        self._plugins = troubles

    def _look_at_analysis(self, now: float) -> None:
        analysed, since = self._analysis
        if (position := self._analysed()) != analysed or not self._ears.delivers:
            self._analysis = position, now
        elif now - since > ANALYSIS_S:
            raise Hopeless(f"the microphone is heard, but its sound has not been analysed for {now - since:.0f} s")

    # --- each minute ------------------------------------------------------------------------------------------------

    async def _look_at_disk(self) -> None:
        self._health.report("disk", await asyncio.to_thread(disk_problem, self._folder))

    def _look_at_memory(self) -> None:
        idle = self._engine.conversation.state is State.IDLE
        if idle and self._server is not None and self._server.grown_mb > self._memory_limit_mb:
            self._server.replace(
                f"it has grown by {self._server.grown_mb:.0f} MB, and {self._memory_limit_mb} MB are allowed "
                "(health.memory_limit_mb): replaced"
            )
        used = resident_mb()
        if used <= self._memory_limit_mb:
            self._health.well("memory")
            return
        self._health.trouble("memory", f"more than {self._memory_limit_mb} MB are in use (health.memory_limit_mb)")
        if idle:
            raise Hopeless(f"{used:.0f} MB of memory are in use, and {self._memory_limit_mb} MB are allowed")


def disk_problem(folder: Path) -> str | None:
    """What is wrong with the state folder, in one line, or None. Nothing is written: cards wear out."""
    lost = "timers, costs and turns are not kept"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = os.statvfs(folder)
    except OSError as error:
        return f"{folder} cannot be used ({error.strerror}): {lost}; check the disk, and who owns the folder"
    if status.f_flag & os.ST_RDONLY or not os.access(folder, os.W_OK):
        return f"{folder} is read-only: {lost}; check the disk, and who owns the folder"
    free = status.f_bavail * status.f_frsize
    if free < LOW_DISK_BYTES:
        return f"{folder}: only {free / 1e6:.0f} MB are free: make room"
    return None
