"""What is wrong with the running assistant right now, part by part: for the status, the log and the health report.

A part says that it is in trouble, and later that it is well again. Each change is one log line and one journal entry;
saying the same twice is no change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trouble:
    """part: what is affected, such as microphone. text: one line, what and what to do. since: Unix seconds."""

    part: str
    text: str
    since: float


class Health:
    """The board of troubles. Lives on the event loop; ``now`` is the wall clock."""

    def __init__(self, now: Callable[[], float], on_change: Callable[[str, str | None], None] | None = None) -> None:
        """on_change: told the part, and its trouble or None."""
        self._now = now
        self._on_change = on_change
        self._troubles: dict[str, Trouble] = {}

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """In the order in which they began."""
        return tuple(self._troubles.values())

    def trouble(self, part: str, text: str) -> None:
        """This part does not work as it should. A new text takes the place of the old one."""
        known = self._troubles.get(part)
        if known is not None and known.text == text:
            return
        log.error("%s: %s", part, text)
        self._troubles[part] = Trouble(part, text, known.since if known else self._now())
        if self._on_change is not None:
            self._on_change(part, text)

    def report(self, part: str, trouble: str | None) -> None:
        """It is in this trouble, or well."""
        if trouble is None:
            self.well(part)
        else:
            self.trouble(part, trouble)

    def well(self, part: str) -> None:
        """This part works again, or still."""
        known = self._troubles.pop(part, None)
        if known is None:
            return
        log.info("%s: well again after %.0f s", part, max(0.0, self._now() - known.since))
        if self._on_change is not None:
            self._on_change(part, None)
