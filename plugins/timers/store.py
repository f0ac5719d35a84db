"""The timers on the disk, and the words for them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from assistant.plugin import Database, ToolError, WallClock

from .words import listing, span

MAX_TIMERS = 99
CLOCK_STEP_S = 1.0  # a larger difference between the two clocks is somebody setting one, not their drift
LATE_S = 1.0


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


def left_on(timer: Timer, now: float) -> str:
    left = max(1, round(timer.due - now))
    return f"{span(left)} left on the {timer.title}."
