"""Wake attempts: moments at which a wake word scored at all, for tuning its threshold by what really happened. PURE.

One attempt is a run of steps in which a word scores, with its pauses: its peak is what a threshold would have had to
reach. The same is found in a recording, in ten tries at the microphone, and in a day of the household.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from assistant.core.wake_gate import NOT_ASKED
from assistant.types import MIC_RATE

NEAR_MISS: Final = 0.1
"""A score from here on is an attempt. Other speech stays below nearly always."""

_PAUSE: Final = MIC_RATE  # samples below NEAR_MISS that end an attempt

HIGHEST_PROPOSAL: Final = 0.7
LOWEST_PROPOSAL: Final = 0.15
_SLACK: Final = 0.8  # of the weakest try: the next one may be weaker


@dataclass(frozen=True, slots=True)
class WakeAttempt:
    """One attempt. ``sample`` is one past the step with the highest score; hit: it woke the assistant.

    verified: how sure the word's verifier was at most; None if it has none.
    """

    word: str
    peak: float
    sample: int
    hit: bool
    verified: float | None = None


class AttemptFinder:
    """Finds attempts in the scores of a stream. One thread at a time."""

    def __init__(self) -> None:
        self._open: dict[str, WakeAttempt] = {}
        self._last: dict[str, int] = {}  # sample of the latest score that counted

    def feed(
        self,
        sample: int,
        scores: Mapping[str, float],
        hit: str | None = None,
        verified: Mapping[str, float] = NOT_ASKED,
    ) -> list[WakeAttempt]:
        """Take the scores of a step that ends at ``sample``, the word that hit in it, and what verifiers say; give
        what is over now."""
        for word, score in scores.items():
            if score >= NEAR_MISS or word == hit:
                self._note(WakeAttempt(word, score, sample, word == hit, verified.get(word)))
        over = [word for word, last in self._last.items() if sample - last >= _PAUSE]
        return [self._close(word) for word in over]

    def flush(self) -> list[WakeAttempt]:
        """The stream has ended: what was still going on."""
        return [self._close(word) for word in list(self._last)]

    def _note(self, step: WakeAttempt) -> None:
        before = self._open.get(step.word, step)
        best = before if before.peak >= step.peak else step
        answers = [one.verified for one in (before, step) if one.verified is not None]
        self._open[step.word] = replace(best, hit=before.hit or step.hit, verified=max(answers) if answers else None)
        self._last[step.word] = step.sample

    def _close(self, word: str) -> WakeAttempt:
        del self._last[word]
        return self._open.pop(word)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A threshold for a word, and how many of the tries it would have heard."""

    threshold: float
    heard: int
    tries: int


def propose_threshold(peaks: Sequence[float]) -> Proposal | None:
    """A threshold by the peaks of tries: four fifths of the weakest, between 0.15 and 0.7, rounded down to 0.05.

    A try that did not score at all (below 0.1) tells nothing about the threshold; it counts as not heard. None if
    that is true of all of them.
    """
    usable = [peak for peak in peaks if peak >= NEAR_MISS]
    if not usable:
        return None
    wanted = max(LOWEST_PROPOSAL, min(HIGHEST_PROPOSAL, _SLACK * min(usable)))
    threshold = int(wanted * 20 + 1e-9) / 20
    return Proposal(threshold, sum(peak >= threshold for peak in peaks), len(peaks))


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What another threshold would have done: wakes kept, added (near misses that would have woken) and lost."""

    kept: int
    added: int
    lost: int


def what_if(attempts: Iterable[tuple[float, bool]], threshold: float) -> WhatIf:
    """attempts: peak of each, and whether it was a hit."""
    kept = added = lost = 0
    for peak, hit in attempts:
        if peak >= threshold:
            kept, added = kept + hit, added + (not hit)
        else:
            lost += hit
    return WhatIf(kept, added, lost)


class TryCounter:
    """Cuts a stream into tries at a wake word: speech with its pauses, and the highest score in and after it."""

    MIN_SPEECH: Final = 0.2 * MIC_RATE
    PAUSE: Final = 0.8 * MIC_RATE

    def __init__(self) -> None:
        self._voiced = 0
        self._last_voiced: int | None = None
        self._peak = 0.0

    def feed(self, start: int, end: int, speech: bool, score: float | None) -> float | None:
        """Take a frame (its samples, VAD flag and score, if any); give the peak of a try that is over now."""
        if speech:
            self._voiced += end - start
            self._last_voiced = end
        if self._last_voiced is not None and score is not None:
            self._peak = max(self._peak, score)
        return self.flush() if self._last_voiced is not None and end - self._last_voiced >= self.PAUSE else None

    def flush(self) -> float | None:
        """End a try now: the stream is over."""
        peak, voiced = self._peak, self._voiced
        self._voiced, self._last_voiced, self._peak = 0, None, 0.0
        return peak if voiced >= self.MIN_SPEECH or peak >= NEAR_MISS else None
