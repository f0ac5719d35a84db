"""Whether what was said so far is a whole request, and so how long to wait for more of it. PURE.

Somebody who pauses after "set a timer for" is looking for a word; who pauses after "turn on the kitchen light" is
waiting for the light. How long a pause is tells nothing of that, but the embedded brain knows the sentences of all its
tools. It is asked once in each pause, ``ASK_AFTER_MS`` after the last sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

ASK_AFTER_MS: Final = 200
"""Silence after which it is asked: longer than the closures within words, and than what the recogniser lags behind the
last word (130 to 180 ms, measured)."""


class Completeness(Enum):
    COMPLETE = "complete"
    """A whole request, and nothing that is known could follow."""
    OPEN = "open"
    """It may be whole and may go on, or nobody knows."""
    UNFINISHED = "unfinished"
    """The beginning of a request."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Silence in ms that ends an utterance, by what was said in it."""

    complete_ms: int
    open_ms: int
    unfinished_ms: int

    def after(self, found: Completeness) -> int:
        match found:
            case Completeness.COMPLETE:
                return self.complete_ms
            case Completeness.OPEN:
                return self.open_ms
            case Completeness.UNFINISHED:
                return self.unfinished_ms

    @property
    def asks(self) -> bool:
        """Whether the words make a difference."""
        return not self.complete_ms == self.open_ms == self.unfinished_ms
