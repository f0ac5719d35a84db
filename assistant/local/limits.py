"""How much one session may ask for: responses and tokens a minute. PURE.

Nobody pays for tokens here; the limits keep one client that runs wild from taking the processor from all others, and
let clients see the ``rate_limits.updated`` that they know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

REQUESTS_PER_MINUTE: Final = 600
TOKENS_PER_MINUTE: Final = 1_000_000
_MINUTE: Final = 60.0


@dataclass(slots=True)
class _Bucket:
    """Full at first, and again a minute after it was empty; it may go below zero."""

    name: str
    limit: int
    left: float
    at: float

    def refill(self, at: float) -> None:
        self.left = min(self.limit, self.left + (at - self.at) * self.limit / _MINUTE)
        self.at = at

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "limit": self.limit,
            "remaining": max(0, int(self.left)),
            "reset_seconds": round((self.limit - self.left) * _MINUTE / self.limit, 3),
        }


class RateLimits:
    """``at``: seconds on any clock that only goes forwards."""

    def __init__(self, at: float, *, requests: int = REQUESTS_PER_MINUTE, tokens: int = TOKENS_PER_MINUTE) -> None:
        self._requests = _Bucket("requests", requests, requests, at)
        self._tokens = _Bucket("tokens", tokens, tokens, at)

    def admit(self, at: float) -> float:
        """A response is asked for: 0.0 if it may be made, else the seconds to wait."""
        for bucket in (self._requests, self._tokens):
            bucket.refill(at)
            if bucket.left < 1:
                return (1 - bucket.left) * _MINUTE / bucket.limit
        self._requests.left -= 1
        return 0.0

    def spend(self, tokens: int, at: float) -> None:
        self._tokens.refill(at)
        self._tokens.left -= tokens

    def to_json(self, at: float) -> list[dict[str, Any]]:
        """The ``rate_limits`` of ``rate_limits.updated``."""
        for bucket in (self._requests, self._tokens):
            bucket.refill(at)
        return [self._requests.to_json(), self._tokens.to_json()]
