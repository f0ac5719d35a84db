"""What happened, as JSON lines and for subscribers: every event and command of the conversation, without its audio.

The journal holds what was said. It is written only where the owner asked for it (``log.events_file`` or ``--events``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

from assistant.core.commands import Command, Listen
from assistant.core.events import Event, Tick
from assistant.core.policy import State

Entry: TypeAlias = Mapping[str, Any]
Subscriber: TypeAlias = Callable[[Entry], None]

MAX_BYTES: Final = 20_000_000
"""Of a file of events; there are two of them."""

PRIVATE_TOOLS: Final = frozenset({"enter_pin"})
"""Tools whose arguments are never written down: they hold a secret."""

log = logging.getLogger(__name__)
_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


class Journal:
    """Passes entries on.

    An entry has ``at`` (seconds, monotonic), ``kind`` (event, command, state or note) and ``name``.
    """

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Send every entry from now on to ``subscriber``, on the event loop. It must not raise."""
        self._subscribers.append(subscriber)

    @property
    def wanted(self) -> bool:
        """Whether anybody listens: if not, nothing needs to be described."""
        return bool(self._subscribers)

    def event(self, event: Event) -> None:
        if self.wanted and not isinstance(event, Tick):
            fields = _describe(event)
            self._publish({"at": round(fields.pop("at"), 4), "kind": "event", "name": _name(event), **fields})

    def command(self, command: Command, at: float) -> None:
        if self.wanted and not isinstance(command, Listen):
            self._publish({"at": round(at, 4), "kind": "command", "name": _name(command), **_describe(command)})

    def state(self, state: State, at: float) -> None:
        self._publish({"at": round(at, 4), "kind": "state", "name": state.value})

    def note(self, name: str, at: float, **fields: Any) -> None:
        """Anything else worth keeping, such as the counters of a session."""
        self._publish({"at": round(at, 4), "kind": "note", "name": name, **fields})

    def _publish(self, entry: Entry) -> None:
        for subscriber in self._subscribers:
            subscriber(entry)


class JournalFile:
    """Writes entries to a file of JSON lines (mode 0600), flushed line by line so that others can follow it.

    Each start begins the file anew. One that gets large or old becomes NAME.1, in place of the one before, so that
    nothing is kept for longer than ``keep_s`` of an assistant in use. A disk that cannot be written to ends it with one
    warning. Raises OSError if the file cannot be opened.
    """

    def __init__(self, path: Path, *, keep_s: float = math.inf, max_bytes: int = MAX_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._older = path.with_name(f"{path.name}.1")
        self._keep_s = keep_s
        self._max_bytes = max_bytes
        self._began: float | None = None
        if path.is_file():  # and not a pipe or a terminal
            self._older.unlink(missing_ok=True)
        self._file = self._open()

    def __call__(self, entry: Entry) -> None:
        if self._file.closed:
            return
        try:
            self._make_room(entry.get("at", 0.0))
            self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        except OSError as error:
            log.warning("%s cannot be written: %s: no more events are kept", self._path, error.strerror)
            with contextlib.suppress(OSError):  # what did not fit is tried once more
                self._file.close()

    def close(self) -> None:
        self._file.close()

    def _open(self) -> TextIO:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        return open(descriptor, "w", encoding="utf-8", buffering=1)  # noqa: PTH123

    def _make_room(self, at: float) -> None:
        if self._began is None:
            self._began = at
        size = self._file.tell() if self._file.seekable() else 0
        if size > self._max_bytes or (size and at - self._began > self._keep_s / 2):
            self._file.close()
            self._path.replace(self._older)
            self._file = self._open()
            self._began = at


def _name(value: object) -> str:
    return _WORD_START.sub("_", type(value).__name__).lower()


def _describe(value: Event | Command) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if isinstance(item, bytes):
            described["bytes"] = len(item)
        elif isinstance(item, Enum):
            described[field.name] = item.value
        elif isinstance(item, tuple):
            described[field.name] = len(item)
        else:
            described[field.name] = item
    if described.get("tool") in PRIVATE_TOOLS and "arguments" in described:
        described["arguments"] = "(not kept)"
    return described
