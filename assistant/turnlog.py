"""The last turns on disk: one JSON line each, for ``assistant turns``. No word that was said is in it.

The file is a ring: when it is full its older half is dropped, by writing a new file and moving it into place. Several
processes may write (the daemon and ``assistant ask``), so each line is one append under a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from assistant.core.traces import TraceBuilder, TurnTrace
from assistant.scribe import Scribe

log = logging.getLogger(__name__)

FILE_NAME: Final = "turns.jsonl"
VERSION: Final = 1

MAX_BYTES: Final = 4_000_000
"""About 5,000 turns: months of a household."""

MAX_LINE: Final = 64_000


class TurnLog:
    """The file (mode 0600). Its methods block: call them on the scribe's thread, or in a command."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record. Raises OSError; what was there before is whole in any case."""
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(line) > MAX_LINE:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as file:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line  # a crash has left half a line
            os.write(file, line)
            if size + len(line) > self._max_bytes:
                self._drop_older_half()

    def read(self) -> list[dict[str, Any]]:
        """All records, oldest first. Lines that are broken or of another version are passed over. Raises OSError."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        records = []
        for line in content.splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and record.get("v") == VERSION:
                    records.append(record)
        return records

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, ours alone. Another process may have put a new one in its place while we waited."""
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if self._is_current(file):
                    yield file
                    return
            finally:
                os.close(file)

    def _is_current(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self.path.stat())
        except FileNotFoundError:
            return False

    def _drop_older_half(self) -> None:
        kept = self.path.read_bytes()[-self._max_bytes // 2 :]
        kept = kept[kept.index(b"\n") + 1 :]
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:  # noqa: PTH123
                file.write(kept)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError:
            new.unlink(missing_ok=True)
            raise


class TurnRecorder:
    """Follows the journal and writes each finished turn. Subscribe it; it is called on the event loop.

    now: the loop's clock. run: when the daemon was started, Unix seconds; turns count from 1 in each run.
    """

    def __init__(
        self,
        turn_log: TurnLog,
        scribe: Scribe,
        *,
        run: int,
        now: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = turn_log
        self._scribe = scribe
        self._run = run
        self._brain: tuple[str | None, str | None] = (None, None)
        self._now = now
        self._wall_clock = wall_clock
        self._builder = TraceBuilder()
        self._failing = False  # the scribe's
        self.last: Mapping[str, Any] | None = None
        """The latest record, since the start."""

    def opening(self, provider: str, model: str | None) -> None:
        """The session that opens now is with this brain."""
        self._brain = (provider, model)

    def __call__(self, entry: Mapping[str, Any]) -> None:
        """Take a journal entry."""
        for trace in self._builder.feed(entry):
            self._write(trace)

    def finish(self) -> None:
        """Write the turns that are not complete yet."""
        for trace in self._builder.flush():
            self._write(trace)

    def _write(self, trace: TurnTrace) -> None:
        began = self._wall_clock() - (self._now() - trace.began_at)
        record = {"v": VERSION, "time": round(began, 3), "run": self._run, **_record(trace, self._brain)}
        self.last = record

        def append() -> None:
            try:
                self._log.append(record)
            except OSError as error:
                if not self._failing:
                    log.error("%s: turns cannot be recorded: %s", self._log.path, error.strerror)
                self._failing = True
            else:
                self._failing = False

        self._scribe.put(append)


def _record(trace: TurnTrace, brain: tuple[str | None, str | None]) -> dict[str, Any]:
    record = asdict(trace)
    del record["began_at"]
    record["provider"], record["model"] = brain
    return record
