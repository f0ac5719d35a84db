"""When a spoken "stop" counts: what the microphone scored, against what the assistant itself says.

The assistant's own answer may hold the word, and what echo cancellation leaves of it scores as well. So the same model
hears what is being played, too: a score that an own one explains is nobody's wish.

Both are judged by three steps (80 ms each) at a time: the word scores that long, and much else only once. And where
there is no other evidence that somebody speaks (:mod:`assistant.core.barge_in`), the score must be a better one.

PURE: scores in, a decision out.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

STEPS: Final = 3
"""Whose scores are averaged."""

ECHO_STEPS: Final = 8
"""Steps in which an own score explains what the microphone hears: the delay of an echo, and some more, since the best
step of the one need not be that of the other."""

REFRACTORY_STEPS: Final = 12
"""After a hit there is no other for a second: one word scores several times."""

_EXPLAINS: Final = 1.5
"""How far below the threshold an own score still explains one, in logits."""

_NOBODY: Final = 1.5
"""How much more a score must be without evidence that somebody speaks, in logits."""

_TALKER_STEPS: Final = 10  # for which evidence holds

_SURE: Final = 1e-4  # scores are taken to be no nearer than this to 0 and 1


class StopGate:
    """Turns scores into hits. One thread at a time."""

    def __init__(self, threshold: float) -> None:
        """threshold: what the microphone has to score, above 0 and below 1."""
        if not 0.0 < threshold < 1.0:
            raise ValueError("threshold must be over 0 and below 1")
        self._threshold = _logit(threshold)
        self._heard = _Average()
        self._own = _Average()
        self._own_latest: deque[float] = deque(maxlen=ECHO_STEPS)
        self._deaf_for = 0
        self._since_talker = _TALKER_STEPS

    def play(self, score: float) -> None:
        """Take what the next step of what is played scores; 0 where nothing is."""
        self._own_latest.append(self._own.add(score))

    def hear(self, score: float, *, talker: bool) -> bool:
        """Take the score of the microphone's next step; true if somebody said it.

        talker: whether there was evidence in this step that somebody speaks.
        """
        sure = self._heard.add(score)
        self._since_talker = 0 if talker else self._since_talker + 1
        if self._deaf_for:
            self._deaf_for -= 1
            return False
        own = max(self._own_latest, default=-math.inf)
        needed = self._threshold + (_NOBODY if self._since_talker >= _TALKER_STEPS else 0.0)
        if sure < needed or own >= self._threshold - _EXPLAINS:
            return False
        self._deaf_for = REFRACTORY_STEPS
        return True


class _Average:
    """Of the latest scores, in logits: there 0.99 is further from 0.9 than 0.9 from 0.5."""

    def __init__(self) -> None:
        self._logits: deque[float] = deque([_logit(0.0)] * STEPS, maxlen=STEPS)

    def add(self, score: float) -> float:
        self._logits.append(_logit(score))
        return sum(self._logits) / STEPS


def _logit(score: float) -> float:
    score = min(max(score, _SURE), 1 - _SURE)
    return math.log(score / (1 - score))
