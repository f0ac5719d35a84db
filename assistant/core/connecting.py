"""When to connect ahead of a request, so that its words do not wait for the network. PURE."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum

from assistant.types import MIC_RATE


class Connect(Enum):
    """What opens a session."""

    WAKE = "wake"  # a wake-word score that rises: some hundred milliseconds before the hit
    SPEECH = "speech"  # any speech in the room: earliest, and most often for nothing
    AFTER_SPEECH = "after_speech"  # only speech that follows a wake word: a false alarm opens nothing


SUSPICION = 0.5
"""The part of a wake word's threshold that counts as a rising score."""

SPEECH_FRAMES = 5
SPEECH_WINDOW = 6

REPEAT_AFTER = 2 * MIC_RATE
"""Samples between two hints: a session that is open needs none, and one that was refused is not asked for at once."""


class ConnectHints:
    """Finds the moment to connect. Times are samples of the microphone."""

    def __init__(self, connect: Connect, thresholds: Mapping[str, float]) -> None:
        self._connect = connect
        self._thresholds = dict(thresholds)
        self._window: deque[bool] = deque(maxlen=SPEECH_WINDOW)
        self._last = -REPEAT_AFTER

    def hear(self, sample: int, *, speech: bool, scores: Mapping[str, float] | None) -> bool:
        """Take what was found in a frame that ends at ``sample``; true if this is the moment."""
        self._window.append(speech)
        if sample - self._last < REPEAT_AFTER or not self._suspects(scores):
            return False
        self._last = sample
        return True

    def _suspects(self, scores: Mapping[str, float] | None) -> bool:
        match self._connect:
            case Connect.WAKE:
                return scores is not None and any(
                    score >= SUSPICION * self._thresholds.get(name, 1.0) for name, score in scores.items()
                )
            case Connect.SPEECH:
                return sum(self._window) >= SPEECH_FRAMES
            case Connect.AFTER_SPEECH:
                return False
