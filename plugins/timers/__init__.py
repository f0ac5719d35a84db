"""Timers, alarms and reminders, which ring until somebody reacts and survive a restart.

This file has the timers; alarms and reminders are in :mod:`alarms`.

The database is the truth. Tools write to it; one background task (:meth:`Timers._watch`) reads it and rings::

    set_timer ──> RUNNING ──due (one transaction)──> RINGING ──dismissed, stopped, limit──> deleted
                     └── cancelled ──> deleted          └── found at start: it has rung ──> deleted

A timer becomes RINGING before its first sound, so a crash in between loses a ring rather than ringing twice.

Times in the database are those of the wall clock, the only ones that survive a restart. When somebody sets that
clock (a Raspberry Pi without a battery does at every boot), timers that run are moved along: ten minutes stay ten.

Settings (``plugins.timers`` in config.yaml):
    ring_limit_s: seconds that a timer rings when nobody reacts
    alarm_limit_s: seconds that an alarm rings when nobody reacts
    snooze_minutes: how long "snooze" lasts
    errands: what the offline brain understands by ear after "remind me to"
"""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import datetime
from typing import Annotated, Literal

from assistant.plugin import BaseModel, Context, Field, Plugin, Ring, tool

from .alarms import ERRANDS, Alarms
from .bell import Bell, Sound
from .store import Store, Timer, left_on, pick, tidy
from .words import SECONDS, SPOKEN_UNITS, span

RETRY_S = 5.0
WATCH_S = 30.0  # how long a set clock may go unnoticed

# fmt: off
NAMES = (
    "bread", "cake", "chicken", "coffee", "cookie", "egg", "laundry", "meat",
    "oven", "pasta", "pizza", "potato", "rice", "soup", "tea", "vegetable",
)
# fmt: on
SPOKEN_NAMES = {name: name for name in NAMES}


class Timers(Alarms, Plugin):
    class Config(BaseModel):
        ring_limit_s: Annotated[float, Field(ge=5, le=3600)] = 60.0
        alarm_limit_s: Annotated[float, Field(ge=5, le=3600)] = 300.0
        snooze_minutes: Annotated[int, Field(ge=1, le=60)] = 10
        errands: list[Annotated[str, Field(pattern=r"^[A-Za-z' ]{2,60}$")]] = Field(default_factory=lambda: [*ERRANDS])

    config: Config

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._changed = asyncio.Event()
        self._rings: dict[int, Ring] = {}
        self.bell = Bell(context)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = await self.context.in_thread(self._open)
        self.context.spawn(self._watch(), "watching the timers")
        self.start_alarms()

    async def stop(self) -> None:
        await self.context.in_thread(self._store.running)  # notice a clock that was set in the last half minute

    def _open(self) -> Store:
        return Store(self.context.database(), self.context.clock)

    # --- tools: on threads, since they write to the disk --------------------------------------------------------------

    @tool(
        sentences=[
            "(set|start) a timer for {amount} {unit}",
            "(set|start) (a|an) {amount} {unit} timer",
            "(set|start) (a|an) {name} timer for {amount} {unit}",
            "(set|start) a timer for {amount} {unit} for the {name}",
            "timer for {amount} {unit}",
            "(set|start) a timer",
            "(set|start) (a|an) {name} timer",
        ],
        lists={"amount": {"1": "(a|an)"}, "unit": SPOKEN_UNITS, "name": SPOKEN_NAMES},
        asks={"amount": "For how long?"},
    )
    def set_timer(
        self,
        amount: Annotated[int, Field(ge=1, le=999)],
        unit: Literal["seconds", "minutes", "hours"],
        name: Annotated[str, Field(max_length=40)] | None = None,
    ) -> dict[str, str]:
        """Set a timer that rings when the time is over.

        amount: how many units; use a smaller unit for mixed times, such as 90 minutes
        unit: the unit of amount
        name: what it is for, such as pasta; leave out if the user gave none
        """
        timer = self._store.add(amount * SECONDS[unit], tidy(name))
        self._wake()
        what = f"{timer.name} timer" if timer.name else "timer"
        due = datetime.fromtimestamp(timer.due, self.context.now().tzinfo)
        return {"say": f"{what[0].upper()}{what[1:]} set for {span(timer.seconds)}.", "due": due.isoformat()}

    @tool(sentences=["(list|what are) (my|the) timers", "(what|which|how many) timers (are|do i have) [set|running]"])
    def list_timers(self) -> dict[str, object]:
        """List all running timers with the time that is left on each."""
        timers, now = self._store.running()
        return {
            "say": " ".join(left_on(timer, now) for timer in timers) or "There is no timer.",
            "timers": [{"name": t.name, "set_for_s": t.seconds, "left_s": round(t.due - now)} for t in timers],
        }

    @tool(
        sentences=[
            "how much time is left [on the timer]",
            "how long is left [on the timer]",
            "how much time is left on the {name} timer",
            "how long is left on the {name} timer",
        ],
        lists={"name": SPOKEN_NAMES},
    )
    def time_left(self, name: str | None = None) -> dict[str, object]:
        """Tell how much time is left on a timer.

        name: the timer's name; leave out for the one that rings next
        """
        timers, now = self._store.running()
        timer = timers[0] if timers and name is None else pick(timers, tidy(name))
        return {"say": left_on(timer, now), "name": timer.name, "left_s": round(timer.due - now)}

    @tool(
        sentences=["(cancel|stop|delete) (the|my) timer", "(cancel|stop|delete) (the|my) {name} timer"],
        lists={"name": SPOKEN_NAMES},
    )
    def cancel_timer(self, name: str | None = None) -> dict[str, str]:
        """Cancel one timer.

        name: the timer's name; leave out if there is only one timer
        """
        timer = self._store.cancel(tidy(name))
        self._wake()
        return {"say": f"The {timer.title} is cancelled."}

    @tool(sentences=["(cancel|stop|delete) all [the|my] timers"])
    def cancel_all_timers(self) -> dict[str, object]:
        """Cancel all timers, running and ringing."""
        count = self._store.clear()
        self._wake()
        say = {0: "There is no timer.", 1: "One timer is cancelled."}.get(count, f"All {count} timers are cancelled.")
        return {"say": say, "cancelled": count}

    @tool(sentences=["stop", "stop ringing", "stop the (alarm|ringing)"])
    def stop_ringing(self) -> dict[str, object]:
        """Silence the timers, alarms and reminders that are ringing now, or else the music and sounds that play.
        Timers that are still to come stay."""
        count = max(self._store.clear(ringing_only=True), self.bell.stop())
        self._wake()
        if not count and self.context.house is not None:
            self._loop.call_soon_threadsafe(self.context.house.hush)
        return {"say": "Okay.", "stopped": count}

    def _wake(self) -> None:
        """Let the background task look at the database again. From any thread."""
        self._loop.call_soon_threadsafe(self._changed.set)

    # --- ringing: on the event loop -----------------------------------------------------------------------------------

    async def _watch(self) -> None:
        just_started = True
        while True:
            self._changed.clear()
            try:
                due, wait_s, ringing = await self.context.in_thread(self._store.take_due)
            except sqlite3.Error as error:  # a full disk, say: the timers must ring once it is over
                self.context.logger.error("the timers cannot be read: %s; trying again", error)
                await self.context.sleep(RETRY_S)
                continue
            for id in self._rings.keys() - ringing:
                self._rings[id].stop()
            for timer, late in due:
                title = self._late_title(timer) if late and just_started else timer.title
                ring = self.bell.ring(Sound("alarm", title), self.config.ring_limit_s)
                self._rings[timer.id] = ring
                self.context.spawn(self._finish(timer, ring), f"ringing the {timer.title}")
            just_started = False
            if wait_s is None:
                await self._changed.wait()
            else:
                await self.context.sleep(min(max(wait_s, 0.0), WATCH_S), self._changed)

    async def _finish(self, timer: Timer, ring: Ring) -> None:
        await ring.wait()
        del self._rings[timer.id]
        await self.context.in_thread(self._store.delete, timer)

    def _late_title(self, timer: Timer) -> str:
        now = self.context.now()
        due = datetime.fromtimestamp(timer.due, now.tzinfo)
        day = "" if due.date() == now.date() else f" on {due:%A}"
        return f"{timer.title}, which ended at {due:%H:%M}{day} while I was off"
