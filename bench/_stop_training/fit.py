"""A head on the embeddings: examples in, weights out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.adapters.word_head import EMBEDDING, WordHead

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

WINDOW: Final = 5
"""Embeddings that the head looks at: 1.1 s of sound."""

UNITS: Final = 32
_STEPS: Final = 4000
_BATCH: Final = 512
_RATE: Final = 2e-3
_DECAY: Final = 0.01
_NOISE: Final = 1.0
"""Added to each standardised number, and a fifth of the numbers left out: voices of synthesizers are easily learned by
heart, and people sound like none of them. A head without this found 2 % of a voice that it had not heard."""
_LEFT_OUT: Final = 0.2


@dataclass(slots=True)
class Examples:
    """rows: windows of embeddings, flat. word: whether each is the word. weight: how often each is drawn."""

    rows: Halves
    word: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float64]

    @classmethod
    def alike(cls, rows: Halves, word: bool, share: float) -> Examples:
        """All of one kind, which together are drawn this often."""
        count = len(rows)
        return cls(rows, np.full(count, word), np.full(count, share / max(1, count)))

    @classmethod
    def all(cls, parts: list[Examples]) -> Examples:
        return cls(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.word for part in parts]),
            np.concatenate([part.weight for part in parts]),
        )


def windows(embeddings: npt.NDArray[np.floating]) -> Halves:
    """(steps, 96) to one row for each step from the first complete window on."""
    count = len(embeddings) - WINDOW + 1
    halves = np.asarray(embeddings, np.float16)
    return np.stack([halves[at : at + WINDOW].reshape(-1) for at in range(count)]) if count > 0 else _no_rows()


def _no_rows() -> Halves:
    return np.empty((0, WINDOW * EMBEDDING), np.float16)


def train(name: str, examples: Examples, seed: int = 0) -> WordHead:
    random = np.random.default_rng(seed)
    some = examples.rows[random.permutation(len(examples.rows))[:40_000]].astype(np.float32)
    middle, spread = some.mean(0), some.std(0) + 1e-3
    size = WINDOW * EMBEDDING
    first = random.normal(size=(size, UNITS)).astype(np.float32) / np.sqrt(size)
    second = random.normal(size=(UNITS, 1)).astype(np.float32) / np.sqrt(UNITS)
    weights = [first, np.zeros(UNITS, np.float32), second, np.full(1, -1, np.float32)]
    adam = _Adam(weights)
    for step, (rows, word) in enumerate(_batches(examples, middle, spread, random)):
        adam.descend(_gradients(weights, rows, word), _RATE * 0.5 * (1 + np.cos(np.pi * step / _STEPS)))
    return _head(name, weights, middle, spread)


def _batches(
    examples: Examples, middle: Floats, spread: Floats, random: np.random.Generator
) -> Iterator[tuple[Floats, Floats]]:
    cumulated = np.cumsum(examples.weight / examples.weight.sum())
    for _ in range(_STEPS):
        drawn = np.minimum(np.searchsorted(cumulated, random.random(_BATCH)), len(cumulated) - 1)
        rows = (examples.rows[drawn].astype(np.float32) - middle) / spread
        rows += random.normal(size=rows.shape).astype(np.float32) * _NOISE
        rows *= (random.random(rows.shape) >= _LEFT_OUT) / (1 - _LEFT_OUT)
        yield rows.astype(np.float32), examples.word[drawn, None].astype(np.float32)


class _Adam:
    """Gradient descent by Adam, with decaying weights. It changes the arrays that it is given."""

    def __init__(self, weights: list[Floats]) -> None:
        self._weights = weights
        self._means = [np.zeros_like(weight) for weight in weights]
        self._squares = [np.zeros_like(weight) for weight in weights]
        self._steps = 0

    def descend(self, gradients: list[Floats], rate: float) -> None:
        self._steps += 1
        for weight, gradient, mean, square in zip(self._weights, gradients, self._means, self._squares, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            move = mean / (1 - 0.9**self._steps) / (np.sqrt(square / (1 - 0.999**self._steps)) + 1e-8)
            weight -= rate * (move + (_DECAY * weight if weight.ndim == 2 else 0))


def _gradients(weights: list[Floats], rows: Floats, word: Floats) -> list[Floats]:
    """Of the logistic loss."""
    first, bias, second, last = weights
    before = rows @ first + bias
    units = np.maximum(before, 0)
    error = ((1 / (1 + np.exp(-(units @ second + last))) - word) / len(rows)).astype(np.float32)
    back = error @ second.T * (before > 0)
    return [rows.T @ back, back.sum(0), units.T @ error, error.sum(0)]


def _head(name: str, weights: list[Floats], middle: Floats, spread: Floats) -> WordHead:
    """The head for embeddings as they come: what standardised them goes into the weights."""
    first, bias, second, last = weights
    scaled = first / spread[:, None]
    return WordHead(name, (scaled, bias - middle @ scaled), (second[:, 0].copy(), float(last[0])))
