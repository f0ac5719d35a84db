"""Training a verifier: from recordings of the people of a house to weights, and how well they do. PURE.

A logistic regression as in openWakeWord's ``train_custom_verifier``, on scaled embeddings, with two differences that
made it hold outside the room it was trained in (``python -m bench.verifier``): each recording is also heard in noise
and under other voices, and of the many steps in which nothing sounds like the word only some are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.core.wake_attempts import NEAR_MISS
from assistant.core.wake_gate import WakeGate, WakeWordSettings
from assistant.core.wake_verifier import EMBEDDING_SIZE, WakeVerifier

FEWEST: Final = 3
"""Recordings of the wake word, and of other speech, that training needs at least."""

STEP_SAMPLES: Final = 1280
"""Between two scores, at 16 kHz."""

_PARTS: Final = 8  # of cross-validation
_ALIKE: Final = 0.05  # other speech that scores from here on is taken step by step
_THINNED: Final = 4  # ... and each so-many-th step of the rest
_PULL: Final = 0.01  # towards small weights (L2), in proportion to the mean loss; measured
_CLOSE: Final = 1e-4  # the gradient of a solution
_MAX_STEPS: Final = 30

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What the models made of some audio: a score a step, and the embeddings, of which the first is ``window - 1``
    steps older than the first score. scores: (steps,). embeddings: (steps + window - 1, EMBEDDING_SIZE)."""

    scores: _Floats
    embeddings: _Floats

    def windows(self) -> _Floats:
        """What each score was made of: (steps, window, EMBEDDING_SIZE)."""
        window = len(self.embeddings) - len(self.scores) + 1
        views = np.lib.stride_tricks.sliding_window_view(self.embeddings, window, axis=0)
        return np.moveaxis(views, -1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A recording for training. wanted: it holds the wake word. heard: first as it is, then under other sounds."""

    path: str
    wanted: bool
    heard: tuple[Scored, ...]

    @property
    def peak(self) -> float:
        """The highest score of the recording as it is."""
        return float(self.heard[0].scores.max(initial=0.0))


def train(word: str, examples: Sequence[Example]) -> WakeVerifier:
    """A verifier for a wake word. Raises ValueError if there is nothing to learn from: a recording of the wake word
    counts only if it scores, at least NEAR_MISS."""
    return _train(word, examples, None)


def cross_validate(word: str, examples: Sequence[Example], verifier: WakeVerifier) -> list[list[float]]:
    """For each example, as it is, how sure a verifier is at each step that has not been trained with it.

    verifier: the one trained with all of them, to begin from. Raises ValueError as :func:`train`.
    """
    turn = {True: 0, False: 0}
    part_of = []
    for example in examples:
        part_of.append(turn[example.wanted] % _PARTS)
        turn[example.wanted] += 1
    answers: list[list[float]] = [[] for _ in examples]
    for part in sorted(set(part_of)):
        others = [example for example, its in zip(examples, part_of, strict=True) if its != part]
        judge = _train(word, others, verifier)
        for number, example in enumerate(examples):
            if part_of[number] == part:
                answers[number] = [judge.probability(window) for window in example.heard[0].windows()]
    return answers


def wakes(word: WakeWordSettings, scored: Scored, sure: Sequence[float]) -> bool:
    """Whether these steps wake the assistant. sure: of the verifier, for each step; any, if the word has none."""
    gate = WakeGate([word])
    steps = enumerate(zip(scored.scores, sure, strict=True), 1)
    return any(
        gate.feed(step * STEP_SAMPLES, {word.name: float(score)}, {word.name: answer})
        for step, (score, answer) in steps
    )


def _train(word: str, examples: Sequence[Example], begin: WakeVerifier | None) -> WakeVerifier:
    yes = [_rows(scored, True) for example in examples if example.wanted for scored in example.heard]
    no = [_rows(scored, False) for example in examples if not example.wanted for scored in example.heard]
    counts = sum(map(len, yes)), sum(map(len, no))
    if not all(counts):
        raise ValueError("there is nothing to tell apart")
    x = np.concatenate((*yes, *no)).reshape(sum(counts), -1)
    mean, scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64) + 1e-6
    x -= mean.astype(np.float32)
    x /= scale.astype(np.float32)
    wanted = np.repeat((1.0, 0.0), counts)
    share = np.repeat((0.5 / counts[0], 0.5 / counts[1]), counts)
    start = np.zeros(x.shape[1] + 1)
    if begin is not None:
        flat = begin.weights.reshape(-1)
        start[:-1], start[-1] = flat * scale, begin.bias + flat @ mean
    solution = _fit(np.column_stack((x, np.ones(len(x), np.float32))), wanted, share, start)
    weights = solution[:-1] / scale
    return WakeVerifier(word, weights.reshape(-1, EMBEDDING_SIZE), float(solution[-1] - weights @ mean))


def _rows(scored: Scored, wanted: bool) -> _Floats:
    """The steps that are learned from."""
    if wanted:
        return scored.windows()[scored.scores >= NEAR_MISS]
    taken = scored.scores >= _ALIKE
    taken[::_THINNED] = True
    return scored.windows()[taken]


def _fit(
    x: _Floats, wanted: npt.NDArray[np.float64], share: npt.NDArray[np.float64], start: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Logistic regression with L2 by Newton's method: the same weights from any start. The last column of x is 1.

    share: how much each row counts, 1 in all.
    """
    pull = np.full(x.shape[1], _PULL)
    pull[-1] = 1e-6  # the bias is free
    at = start.copy()
    for _ in range(_MAX_STEPS):
        sure = 0.5 + 0.5 * np.tanh(0.5 * _times(x, at))
        gradient = _times(x.T, share * (sure - wanted)) + pull * at
        if np.abs(gradient).max() < _CLOSE:
            break
        step = _solve(x, share * sure * (1 - sure), pull, gradient)
        before, length = _loss(x, wanted, share, pull, at), 1.0
        while _loss(x, wanted, share, pull, at - length * step) > before and length > 1e-3:
            length /= 2
        at -= length * step
    return at


def _solve(
    x: _Floats, curve: npt.NDArray[np.float64], pull: npt.NDArray[np.float64], gradient: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Newton's step, near enough, by conjugate gradients: the matrix of second derivatives is never made."""
    step = np.zeros_like(gradient)
    rest, direction = gradient.copy(), gradient.copy()
    size = enough = float(gradient @ gradient)
    while size > 0.01 * enough:
        bent = _times(x.T, curve * _times(x, direction)) + pull * direction
        length = size / float(direction @ bent)
        step += length * direction
        rest -= length * bent
        size, last = float(rest @ rest), size
        direction = rest + size / last * direction
    return step


def _loss(
    x: _Floats,
    wanted: npt.NDArray[np.float64],
    share: npt.NDArray[np.float64],
    pull: npt.NDArray[np.float64],
    at: npt.NDArray[np.float64],
) -> float:
    logits = _times(x, at)
    return float(share @ (np.logaddexp(0, logits) - wanted * logits) + pull @ (at * at) / 2)


def _times(matrix: _Floats, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(matrix @ vector.astype(np.float32), np.float64)
