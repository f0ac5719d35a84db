"""The wake gate: when scores of the wake-word detector are a hit.

A hit needs enough of a word's latest scores at or over its threshold (patience), and no other hit shortly before
(refractory): one utterance of the phrase scores high for several steps, and phrases that sound alike score together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from assistant.types import MIC_RATE, ms_to_samples

NOT_ASKED: Final[Mapping[str, float]] = MappingProxyType({})
"""No verifier was asked."""

_SPEECH_FRAMES, _SPEECH_WINDOW = 5, 75


@dataclass(frozen=True, slots=True)
class WakeWordSettings:
    """How sure the detector must be of one wake word.

    threshold: a score from here on counts, 0 to 1.
    threshold_speaking: the same while the assistant speaks into the microphone; None: no different.
    verifier_threshold: how sure the word's verifier must be as well, 0 to 1; None: it has none. It has no say
        while the assistant speaks: with an answer over the word it refuses a third of them (bench/verifier.py).
    patience: (n, m): n of the last m scores must count. The detector gives one score each 80 ms.
    refractory_ms: time after a hit of this word in which no word gives a hit.
    """

    name: str
    threshold: float = 0.5
    patience: tuple[int, int] = (1, 1)
    refractory_ms: int = 2000
    threshold_speaking: float | None = None
    verifier_threshold: float | None = None

    def __post_init__(self) -> None:
        needed, window = self.patience
        if not 0.0 < self.threshold <= 1.0 or not 0.0 < self.while_speaking <= 1.0:
            raise ValueError(f"{self.name}: threshold must be over 0 and at most 1")
        if self.verifier_threshold is not None and not 0.0 < self.verifier_threshold < 1.0:
            raise ValueError(f"{self.name}: verifier_threshold must be over 0 and below 1")
        if not 1 <= needed <= window:
            raise ValueError(f"{self.name}: patience must be (n, m) with n at least 1 and at most m")
        if self.refractory_ms < 0:
            raise ValueError(f"{self.name}: refractory_ms must not be negative")

    @property
    def while_speaking(self) -> float:
        """The threshold while the assistant speaks."""
        return self.threshold if self.threshold_speaking is None else self.threshold_speaking


@dataclass(frozen=True, slots=True)
class WakeHit:
    """A wake word was heard. ``score`` is the one that decided, ``sample`` the position it was given for."""

    name: str
    score: float
    sample: int


class WakeGate:
    """Turns scores into hits, in audio time. One thread at a time."""

    def __init__(self, words: Iterable[WakeWordSettings], *, require_speech: bool = False) -> None:
        """require_speech: a hit also needs speech, as told by :meth:`hear`: 100 ms within the last 1.5 s. Not while
        the assistant speaks, since echo cancellation may have removed whoever speaks into it.

        Raises ValueError if two words have the same name.
        """
        self._require_speech = require_speech
        self._speech: deque[bool] = deque(maxlen=_SPEECH_WINDOW)
        self._words: dict[str, WakeWordSettings] = {}
        for word in words:
            if word.name in self._words:
                raise ValueError(f"wake word {word.name!r} is listed twice")
            self._words[word.name] = word
        self._latest = {name: deque[bool](maxlen=word.patience[1]) for name, word in self._words.items()}
        self._echo_alone = False
        self.speaking = False
        """Whether the assistant speaks: then the words' other thresholds count."""
        self.reset()

    def reset(self) -> None:
        """Forget scores and refractory: for a stream that begins anew, with indices of its own."""
        self._deaf_until: int | None = None
        self._speech.clear()
        self._forget_scores()

    def hear(self, speech: bool, *, echo_alone: bool = False) -> None:
        """Take the VAD's flag of the next frame, and whether all of late is echo of the assistant's own voice.

        Then no word counts: what is left of that voice can score up to 0.98 for a word that it has not said.
        """
        self._speech.append(speech)
        self._echo_alone = echo_alone

    def feed(
        self, sample: int, scores: Mapping[str, float], verified: Mapping[str, float] = NOT_ASKED
    ) -> WakeHit | None:
        """Take the scores of one step of the detector; ``sample`` (16 kHz) is one past the last that it heard.

        verified: how sure the verifiers are that were asked in this step. One that was not asked has not agreed.

        When several words hit in one step, the highest score wins; among equals the first in the settings. After a
        hit every word starts with a clean slate. Raises ValueError if the scores are not exactly those of the words
        in the settings: a word that nobody scores would leave the assistant deaf without a sign.
        """
        if scores.keys() != self._words.keys():
            raise ValueError(f"scores are for {sorted(scores)}, wake words are {sorted(self._words)}")
        if self._deaf_until is not None and sample < self._deaf_until:
            return None
        hits = [name for name in self._words if self._counts(name, scores[name], verified.get(name, 0.0))]
        if not hits or not self._agrees():
            return None
        name = max(hits, key=lambda hit: scores[hit])  # max keeps the first of equals
        self._deaf_until = sample + ms_to_samples(self._words[name].refractory_ms, MIC_RATE)
        self._forget_scores()
        return WakeHit(name, scores[name], sample)

    def _counts(self, name: str, score: float, verified: float) -> bool:
        latest = self._latest[name]
        word = self._words[name]
        agreed = self.speaking or word.verifier_threshold is None or verified >= word.verifier_threshold
        threshold = word.while_speaking if self.speaking else word.threshold
        latest.append(agreed and score >= threshold and not self._echo_alone)
        return sum(latest) >= word.patience[0]

    def _agrees(self) -> bool:
        """The second look: whether the VAD has heard speech as well."""
        return not self._require_speech or self.speaking or sum(self._speech) >= _SPEECH_FRAMES

    def _forget_scores(self) -> None:
        for latest in self._latest.values():
            latest.clear()
