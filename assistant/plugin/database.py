"""A plugin's own SQLite file."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal


class Database(sqlite3.Connection):
    """A plugin's SQLite file: one connection, usable from any thread, one transaction at a time.

    Do all work inside ``with database:``. It begins an immediate transaction, commits at the end, rolls back if the
    body raises, and lets other threads wait for their turn. Do not await inside it, and do not nest it: on the event
    loop that would mix two transactions into one, so it raises RuntimeError.
    """

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # -wal and -shm take over the mode
        super().__init__(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        self._turn = threading.RLock()
        self.row_factory = sqlite3.Row
        try:
            self.execute("PRAGMA journal_mode = WAL")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Database:
        self._turn.acquire()
        try:
            if self.in_transaction:
                raise RuntimeError("a transaction is open already: do not nest 'with database:' nor await inside it")
            self.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._turn.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> Literal[False]:
        try:
            return super().__exit__(kind, error, trace)
        finally:
            self._turn.release()

    def close(self) -> None:
        """For the context. Waits a little for another thread's transaction; one that never ends is left to the
        operating system, and SQLite rolls it back at the next start."""
        if self._turn.acquire(timeout=0.5):
            try:
                super().close()
            finally:
                self._turn.release()
