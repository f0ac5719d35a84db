"""The audit log: which tool was called, when, and how it ended. Kept in SQLite, bounded, shown by the owner's command.

Arguments hold what people say, so they are kept only if the owner allows it. A PIN is never among them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Final

KEPT_CALLS: Final = 10_000
"""Older calls are forgotten."""

_WAITING_CALLS: Final = 1_000
_TRIM_EVERY: Final = 100
_log = logging.getLogger("hearth.tools")


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call. ``at``: seconds since the epoch, at its end. ``turn``: 0 if it came from a command.

    caller: who called, if it was another program.
    """

    at: float
    turn: int
    tool: str
    plugin: str
    tier: str
    status: str
    duration_ms: float
    arguments: str | None = None
    caller: str = ""


_COLUMNS: Final = tuple(field.name for field in fields(CallRecord))


class AuditLog:
    """Writes calls to a file, on a thread of its own: a slow disk must not hold up an answer.

    The thread begins with the first call and is a daemon; :meth:`close` gives it a moment to finish. At most 1000
    calls wait for the disk; further ones are counted and given up.
    """

    def __init__(self, path: Path, *, keep: int = KEPT_CALLS, keep_arguments_s: float = math.inf) -> None:
        """keep: how many calls. keep_arguments_s: after how many seconds arguments are forgotten, and the calls not."""
        self._path = path
        self._keep = keep
        self._keep_arguments_s = keep_arguments_s
        self._queue: queue.Queue[CallRecord | None] = queue.Queue(_WAITING_CALLS)
        self._thread: threading.Thread | None = None
        self.lost = 0
        """Calls that could not be written."""

    def write(self, record: CallRecord) -> None:
        """Keep a call. Never blocks, never raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audit log", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.lost += 1

    def close(self, limit_s: float = 1.0) -> None:
        """Write what waits. Blocks for at most ``limit_s`` or little more."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=limit_s)
            thread.join(limit_s)

    def _run(self) -> None:
        try:
            with contextlib.closing(_open(self._path)) as db:
                written = 0
                while (record := self._queue.get()) is not None:
                    self._insert(db, record, trim=written % _TRIM_EVERY == 0)
                    written += 1
        except (OSError, sqlite3.Error) as error:
            _log.error("the audit log %s cannot be opened: %s: check its owner, or set state_dir", self._path, error)
            while self._queue.get() is not None:
                self.lost += 1

    def _insert(self, db: sqlite3.Connection, record: CallRecord, *, trim: bool) -> None:
        marks = ", ".join("?" * len(_COLUMNS))
        try:
            with db:
                db.execute(f"INSERT INTO call ({', '.join(_COLUMNS)}) VALUES ({marks})", astuple(record))
                if trim:
                    db.execute("DELETE FROM call WHERE id <= (SELECT max(id) FROM call) - ?", (self._keep,))
                old = record.at - self._keep_arguments_s
                db.execute("UPDATE call SET arguments = NULL WHERE arguments IS NOT NULL AND at < ?", (old,))
        except sqlite3.Error as error:  # a full disk, say; the next call may be luckier
            self.lost += 1
            _log.error("a tool call could not be written to the audit log: %s", error)


def read_calls(path: Path, last: int) -> list[CallRecord]:
    """The newest calls, oldest first. None if there is no log yet. Raises sqlite3.Error."""
    return list(_read(path, last))[::-1] if path.exists() else []


def _read(path: Path, last: int) -> Iterator[CallRecord]:
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        columns = [name for name in _COLUMNS if name in _columns_of(db)]
        if not columns:
            return  # the file was just made, or its maker was killed before the table was in it
        for row in db.execute(f"SELECT {', '.join(columns)} FROM call ORDER BY id DESC LIMIT ?", (last,)):
            yield CallRecord(**dict(zip(columns, row, strict=True)))


def _columns_of(db: sqlite3.Connection) -> set[str]:
    return {row[1] for row in db.execute("PRAGMA table_info(call)")}


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # -wal and -shm take over the mode
    db = sqlite3.connect(path, timeout=5.0)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(
            "CREATE TABLE IF NOT EXISTS call (id INTEGER PRIMARY KEY, at REAL, turn INTEGER, tool TEXT, plugin TEXT, "
            "tier TEXT, status TEXT, duration_ms REAL, arguments TEXT, caller TEXT NOT NULL DEFAULT '')"
        )
        if "caller" not in _columns_of(db):  # a file of an older version
            db.execute("ALTER TABLE call ADD COLUMN caller TEXT NOT NULL DEFAULT ''")
    except BaseException:
        db.close()
        raise
    return db
