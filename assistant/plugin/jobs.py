"""The jobs of :class:`assistant.plugin.schedule.Schedule` on the disk. Any thread; each method is one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from assistant.plugin.database import Database
from assistant.plugin.rules import Daily
from assistant.plugin.services import WallClock

When: TypeAlias = datetime | timedelta | Daily
"""A moment (with its zone), a delay from now on, or a rule."""

MAX_JOBS: Final = 1000
"""Of one plugin."""

ATTEMPTS: Final = 3
"""How often a job is begun, if it may be begun again: one that ends the daemon each time must not do so for ever."""

CLOCK_STEP_S: Final = 1.0
"""A larger difference between the two clocks is somebody setting one, not their drift."""

_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS job (
        id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT, data TEXT NOT NULL,
        at TEXT, days TEXT, passing INTEGER NOT NULL, due REAL NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting', begun_for REAL, late REAL, missed INTEGER, attempts INTEGER,
        UNIQUE (kind, key))
"""
# at, days: of a rule. passing: it is a delay, so it moves along when the clock is set. due: of a rule, the moment after
# which its next time is sought. begun_for: the time for which it was begun.


@dataclass(frozen=True, slots=True)
class Job:
    """Something that waits to be done, or is being done.

    kind: says which handler is called.
    due: when; for a rule the next time or, while it is done, the time for which that is.
    rule: by which it comes again, or None.
    late_s: how much later than ``due`` it was begun.
    missed: how many earlier times of the rule had passed by then, such as while the assistant was off.
    again: it was begun before, but the assistant ended before it was done.
    """

    id: int
    kind: str
    due: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    rule: Daily | None = None
    key: str | None = None
    late_s: float = 0.0
    missed: int = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at the jobs has brought. ``wait_s``: seconds until the next is due; None if none waits."""

    begun: list[Job]
    given_up: list[Job]
    wait_s: float | None


class JobStore:
    """Owns the file. A job is waiting, begun, or interrupted: begun in an earlier life of the daemon."""

    def __init__(self, path: Path, clock: WallClock) -> None:
        self._clock = clock
        self._offset = self._clocks()
        self._database = Database(path)
        try:
            with self._database as db:
                db.execute(_TABLE)
                db.execute("UPDATE job SET state = 'interrupted' WHERE state = 'begun'")
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        self._database.close()

    def add(self, kind: str, when: When, data: Mapping[str, Any], key: str | None) -> Job:
        if isinstance(when, datetime) and when.tzinfo is None:
            raise ValueError("a moment needs a zone: build it from context.now()")
        text = json.dumps(data, sort_keys=True)
        with self._database as db:
            now = self._now(db)
            rule, due = when if isinstance(when, Daily) else None, now.timestamp()
            if isinstance(when, timedelta):
                due += when.total_seconds()
            elif isinstance(when, datetime):
                due = when.timestamp()
            values = (kind, key, text, *_columns(rule), isinstance(when, timedelta), due)
            if (old := self._of_key(db, kind, key)) is not None:
                same = old["data"] == text and (old["at"], old["days"]) == _columns(rule)
                if same and (rule or (old["due"] == due and not old["passing"])):
                    return self._seen(old, now)
                db.execute("DELETE FROM job WHERE id = ?", (old["id"],))
            (count,) = db.execute("SELECT count(*) FROM job").fetchone()
            if count >= MAX_JOBS:
                raise ValueError(f"there are {MAX_JOBS} jobs already")
            row = db.execute(
                "INSERT INTO job (kind, key, data, at, days, passing, due) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                values,
            ).fetchone()
            return self._seen(row, now)

    def waiting(self, kind: str | None) -> list[Job]:
        """What is still to come, the next one first."""
        with self._database as db:
            now = self._now(db)
            rows = db.execute(
                "SELECT * FROM job WHERE (state = 'waiting' OR at IS NOT NULL) AND coalesce(?, kind) = kind", (kind,)
            ).fetchall()
            return sorted((self._seen(row, now) for row in rows), key=lambda job: (job.due.timestamp(), job.id))

    def forget(self, id: int) -> bool:
        with self._database as db:
            return db.execute("DELETE FROM job WHERE id = ?", (id,)).rowcount > 0

    def take(self, kinds: Collection[str], repeatable: Collection[str]) -> Found:
        """Mark what is due as begun. Only jobs of those ``kinds`` are looked at."""
        begun: list[Job] = []
        given_up: list[Job] = []
        waits: list[float] = []
        with self._database as db:
            now = self._now(db)
            for row in db.execute("SELECT * FROM job WHERE state != 'begun' ORDER BY due, id").fetchall():
                if row["kind"] not in kinds:
                    continue
                if row["state"] == "interrupted":
                    self._interrupted(db, row, now, row["kind"] in repeatable, begun, given_up)
                    row = db.execute("SELECT * FROM job WHERE id = ?", (row["id"],)).fetchone()
                if row is not None and row["state"] == "waiting":
                    due, missed = self._due(db, row, now)
                    if due is not None:
                        begun.append(self._begin(db, row, now, due, missed))
                    else:
                        waits.append(self._seen(row, now).due.timestamp() - now.timestamp())
        return Found(sorted(begun, key=lambda job: job.due.timestamp()), given_up, min(waits, default=None))

    def finish(self, id: int) -> None:
        """A job is done: it waits for its next time, or is forgotten."""
        with self._database as db:
            self._finish(db, id)

    # --- inside a transaction -----------------------------------------------------------------------------------------

    def _due(self, db: sqlite3.Connection, row: sqlite3.Row, now: datetime) -> tuple[datetime | None, int]:
        """For which time a waiting job is to be begun now, if for any; and how many earlier ones have passed."""
        rule, since = _rule(row), datetime.fromtimestamp(row["due"], now.tzinfo)
        if rule is None:
            return (since, 0) if since.timestamp() <= now.timestamp() else (None, 0)
        if since.date() > now.date():  # the clock was far ahead, and what is on record is of days that are to come
            db.execute("UPDATE job SET due = ? WHERE id = ?", (now.timestamp(), row["id"]))
            return None, 0
        last, count = rule.between(since, now)
        return last, count - 1

    def _begin(self, db: sqlite3.Connection, row: sqlite3.Row, now: datetime, due: datetime, missed: int) -> Job:
        late = now.timestamp() - due.timestamp()
        db.execute(
            "UPDATE job SET state = 'begun', begun_for = ?, late = ?, missed = ?, attempts = 1, due = ? WHERE id = ?",
            (due.timestamp(), late, missed, now.timestamp() if row["at"] else row["due"], row["id"]),
        )
        return replace(self._seen(row, now), due=due, late_s=late, missed=missed)

    def _interrupted(
        self,
        db: sqlite3.Connection,
        row: sqlite3.Row,
        now: datetime,
        repeatable: bool,
        begun: list[Job],
        given_up: list[Job],
    ) -> None:
        due = datetime.fromtimestamp(row["begun_for"], now.tzinfo)
        late = now.timestamp() - row["begun_for"]
        job = replace(self._seen(row, now), due=due, late_s=late, missed=row["missed"], again=True)
        if repeatable and row["attempts"] < ATTEMPTS:
            db.execute("UPDATE job SET state = 'begun', attempts = attempts + 1 WHERE id = ?", (row["id"],))
            begun.append(job)
        else:
            self._finish(db, row["id"])
            given_up.append(job)

    def _finish(self, db: sqlite3.Connection, id: int) -> None:
        db.execute("DELETE FROM job WHERE id = ? AND at IS NULL", (id,))
        db.execute("UPDATE job SET state = 'waiting' WHERE id = ?", (id,))

    def _of_key(self, db: sqlite3.Connection, kind: str, key: str | None) -> sqlite3.Row | None:
        row: sqlite3.Row | None = db.execute("SELECT * FROM job WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return row

    def _seen(self, row: sqlite3.Row, now: datetime) -> Job:
        """A job as it waits."""
        rule, due = _rule(row), datetime.fromtimestamp(row["due"], now.tzinfo)
        if rule is not None:
            due = rule.after(now if due.date() > now.date() else max(now, due))
        return Job(row["id"], row["kind"], due, json.loads(row["data"]), rule, row["key"])

    def _clocks(self) -> float:
        return self._clock.now().timestamp() - self._clock.monotonic()

    def _now(self, db: sqlite3.Connection) -> datetime:
        """The time; moves the delays along when the clock was set since the last look."""
        offset = self._clocks()
        if abs(step := offset - self._offset) > CLOCK_STEP_S:
            db.execute("UPDATE job SET due = due + ? WHERE passing AND state = 'waiting'", (step,))
        self._offset = offset
        return self._clock.now()


def _columns(rule: Daily | None) -> tuple[str | None, str | None]:
    return (f"{rule.at:%H:%M:%S}", ",".join(rule.days)) if rule else (None, None)


def _rule(row: sqlite3.Row) -> Daily | None:
    return Daily.of(row["at"], row["days"].split(",")) if row["at"] else None
