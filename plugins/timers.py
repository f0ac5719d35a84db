"""Timers: several at once, with names, ringing until somebody reacts, surviving a restart.

The database is the truth. Tools write to it; one background task (:meth:`Timers._watch`) reads it and rings::

    set_timer ──> RUNNING ──due (one transaction)──> RINGING ──dismissed, stopped, limit──> deleted
                     └── cancelled ──> deleted          └── found at start: it has rung ──> deleted

A timer becomes RINGING before its first sound, so a crash in between loses a ring rather than ringing twice.

Times in the database are those of the wall clock, the only ones that survive a restart. When somebody sets that
clock (a Raspberry Pi without a battery does at every boot), timers that run are moved along: ten minutes stay ten.

Settings (``plugins.timers`` in config.yaml):
    ring_limit_s: seconds that a timer rings when nobody reacts
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from assistant.plugin import BaseModel, Context, Database, Field, Plugin, Ring, ToolError, WallClock, tool

MAX_TIMERS = 99
CLOCK_STEP_S = 1.0  # a larger difference between the two clocks is somebody setting one, not their drift
LATE_S = 1.0
RETRY_S = 5.0
WATCH_S = 30.0  # how long a set clock may go unnoticed

SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
SPOKEN_UNITS = {unit: f"{unit[:-1]}[s]" for unit in SECONDS}
# fmt: off
NAMES = (
    "bread", "cake", "chicken", "coffee", "cookie", "egg", "laundry", "meat",
    "oven", "pasta", "pizza", "potato", "rice", "soup", "tea", "vegetable",
)
# fmt: on
SPOKEN_NAMES = {name: name for name in NAMES}


@dataclass(frozen=True, slots=True)
class Timer:
    id: int
    name: str | None
    seconds: int
    due: float  # seconds since the epoch

    @property
    def title(self) -> str:
        return f"{self.name} timer" if self.name else f"{span(self.seconds, adjective=True)} timer"


class Store:
    """The timers in the database. Any thread; each method is one transaction."""

    def __init__(self, database: Database, clock: WallClock) -> None:
        self._database = database
        self._clock = clock
        self._offset = self._clocks()
        with self._database as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS timer (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT,"
                " seconds INTEGER NOT NULL, due REAL NOT NULL, ringing INTEGER NOT NULL DEFAULT 0)"
            )
            db.execute("DELETE FROM timer WHERE ringing")  # they had their ring before the restart

    def add(self, seconds: int, name: str | None) -> Timer:
        with self._database as db:
            now = self._now(db)
            timers = self._running(db)
            if len(timers) >= MAX_TIMERS:
                raise ToolError(f"There are {MAX_TIMERS} timers already. Cancel some first.")
            if name and any(timer.name == name for timer in timers):
                raise ToolError(f"There is a {name} timer already. Cancel it first, or use another name.")
            row = db.execute(
                "INSERT INTO timer (name, seconds, due) VALUES (?, ?, ?) RETURNING id, name, seconds, due",
                (name, seconds, now + seconds),
            ).fetchone()
            return Timer(*row)

    def running(self) -> tuple[list[Timer], float]:
        """The timers that have not rung, the next one first; and the time now."""
        with self._database as db:
            now = self._now(db)
            return self._running(db), now

    def take_due(self) -> tuple[list[tuple[Timer, bool]], float | None, set[int]]:
        """Mark what is due as ringing.

        Gives those, and whether they are late; seconds until the next is due; the ids of all that ring.
        """
        with self._database as db:
            now = self._now(db)
            due = [timer for timer in self._running(db) if timer.due <= now]
            db.executemany("UPDATE timer SET ringing = 1 WHERE id = ?", [(timer.id,) for timer in due])
            left = self._running(db)
            ringing = {row["id"] for row in db.execute("SELECT id FROM timer WHERE ringing")}
            late = [(timer, now - timer.due > LATE_S) for timer in due]
            return late, (left[0].due - now if left else None), ringing

    def cancel(self, name: str | None) -> Timer:
        """Cancel the timer of that name; without one, the one that rings, or the only one there is."""
        with self._database as db:
            self._now(db)
            rows = db.execute("SELECT id, name, seconds, due, ringing FROM timer ORDER BY due").fetchall()
            timers = [Timer(*row[:4]) for row in rows]
            ringing = [Timer(*row[:4]) for row in rows if row["ringing"]]
            timer = ringing[0] if len(ringing) == 1 and name is None else pick(timers, name)
            db.execute("DELETE FROM timer WHERE id = ?", (timer.id,))
            return timer

    def clear(self, *, ringing_only: bool = False) -> int:
        with self._database as db:
            return db.execute("DELETE FROM timer" + (" WHERE ringing" if ringing_only else "")).rowcount

    def delete(self, timer: Timer) -> None:
        with self._database as db:
            db.execute("DELETE FROM timer WHERE id = ?", (timer.id,))

    def _running(self, db: sqlite3.Connection) -> list[Timer]:
        rows = db.execute("SELECT id, name, seconds, due FROM timer WHERE NOT ringing ORDER BY due, id")
        return [Timer(*row) for row in rows]

    def _clocks(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _now(self, db: sqlite3.Connection) -> float:
        """The time; moves the running timers along when the clock was set since the last look."""
        offset = self._clocks()
        if abs(step := offset - self._offset) > CLOCK_STEP_S:
            db.execute("UPDATE timer SET due = due + ? WHERE NOT ringing", (step,))
        self._offset = offset
        return self._clock.now().timestamp()


class Timers(Plugin):
    class Config(BaseModel):
        ring_limit_s: Annotated[float, Field(ge=5, le=3600)] = 60.0

    config: Config

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._changed = asyncio.Event()
        self._rings: dict[int, Ring] = {}

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = await self.context.in_thread(self._open)
        self.context.spawn(self._watch(), "watching the timers")

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
        """Silence the timers that are ringing now. Running timers go on."""
        count = self._store.clear(ringing_only=True)
        self._wake()
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
                ring = self.context.ring(title, limit_s=self.config.ring_limit_s)
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


def tidy(name: str | None) -> str | None:
    """A name as it is stored: lower case, without "timer", None if nothing is left."""
    words = [word for word in (name or "").casefold().split() if word not in ("the", "timer")]
    return " ".join(words) or None


def pick(timers: list[Timer], name: str | None) -> Timer:
    """The timer of that name, or the only one. Raises ToolError in words for the user."""
    if name is not None:
        for timer in timers:
            if name in (timer.name, tidy(timer.title)):
                return timer
        raise ToolError(f"There is no timer named {name}.")
    if len(timers) == 1:
        return timers[0]
    if not timers:
        raise ToolError("There is no timer.")
    raise ToolError(f"There are {len(timers)} timers: {listing([timer.title for timer in timers])}. Which one?")


def span(seconds: int, *, adjective: bool = False) -> str:
    """A duration as people say it: "1 hour and 30 minutes"; as an adjective, "90 minute"."""
    if adjective:
        unit = next(unit for unit in ("hours", "minutes", "seconds") if seconds % SECONDS[unit] == 0)
        return f"{seconds // SECONDS[unit]} {unit[:-1]}"
    parts = []
    for unit in ("hours", "minutes", "seconds"):
        count, seconds = divmod(seconds, SECONDS[unit])
        if count:
            parts.append(f"{count} {unit if count > 1 else unit[:-1]}")
    return listing(parts) or "no time"


def left_on(timer: Timer, now: float) -> str:
    left = max(1, round(timer.due - now))
    return f"{span(left)} left on the {timer.title}."


def listing(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
