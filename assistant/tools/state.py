"""The folder in which plugins keep what must last, used by one process at a time."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


class StateFolder:
    """Locked while plugins run, so that no other process rings the same timers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    def lock(self) -> str | None:
        """Take the folder for this process; a problem in one line, or None. Made when needed."""
        if self._lock is not None:
            return None
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = (self.path / ".lock").open("w")
        except OSError as error:
            return f"{self.path} cannot be used ({error.strerror}): check its owner, or set state_dir"
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return f"{self.path} is in use by a running assistant: stop that one, or set another state_dir"
        self._lock = file
        return None

    def unlock(self) -> None:
        """Give it back. Safe to call twice."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
