"""The circuit breaker of a plugin: one that keeps failing is left alone for a while. PURE: the time is an argument.

::

    CLOSED ──failures in a row──> OPEN ──cool-down──> one call is let through ──succeeds──> CLOSED
                                   ^                              │
                                   └──────fails: twice as long────┘
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TRIPS_AFTER: Final = 5
"""Crashes and overrun time limits in a row. A ToolError is an answer, not a failure."""

COOL_DOWN_S: Final = 30.0
LONGEST_COOL_DOWN_S: Final = 900.0


@dataclass(slots=True)
class Breaker:
    """Times are seconds on any clock that never jumps."""

    failures: int = 0
    open_until: float | None = None
    cool_down_s: float = COOL_DOWN_S

    def refuses(self, now: float) -> float | None:
        """Seconds until a call may be tried, or None: it may be tried now.

        The call that is let through after the cool-down must be reported; meanwhile others are refused.
        """
        if self.open_until is None:
            return None
        if now < self.open_until:
            return self.open_until - now
        self.open_until = now + self.cool_down_s  # for the others, until the one that is let through has ended
        return None

    def report(self, *, failed: bool, now: float) -> bool:
        """A call has ended; true if that has tripped the breaker."""
        if not failed:
            self.failures, self.open_until, self.cool_down_s = 0, None, COOL_DOWN_S
            return False
        self.failures += 1
        if self.failures < TRIPS_AFTER:
            return False
        if self.open_until is not None:
            self.cool_down_s = min(2 * self.cool_down_s, LONGEST_COOL_DOWN_S)
        self.open_until = now + self.cool_down_s
        return True
