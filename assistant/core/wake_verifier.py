"""A verifier: how the people of one house say a wake word, as a second opinion on what scored. PURE.

openWakeWord calls it a custom verifier model: a logistic regression on the embeddings that a score was made of
(https://github.com/dscripka/openWakeWord/blob/main/docs/custom_verifier_models.md). It is asked only where the word
has scored already: it costs nothing while it has not, and the wake history can tell what it says of near misses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

EMBEDDING_SIZE: Final = 96
"""Numbers in an embedding of openWakeWord."""


@dataclass(frozen=True, slots=True, eq=False)
class WakeVerifier:
    """word: the name of the wake word. weights: (window, EMBEDDING_SIZE), for embeddings as they come.

    Raises ValueError for weights of another shape, or that are not numbers.
    """

    word: str
    weights: npt.NDArray[np.float64]
    bias: float

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.weights.shape[1] != EMBEDDING_SIZE or not len(self.weights):
            raise ValueError(f"the weights are {self.weights.shape}, not (window, {EMBEDDING_SIZE})")
        if not (np.isfinite(self.weights).all() and math.isfinite(self.bias)):
            raise ValueError("the weights are not all numbers")

    @property
    def window(self) -> int:
        """How many embeddings it looks at."""
        return len(self.weights)

    def probability(self, embeddings: npt.NDArray[np.float32]) -> float:
        """How sure it is, 0 to 1, that the latest embeddings, (window, EMBEDDING_SIZE), are the word as said here."""
        logit = float(np.vdot(self.weights, embeddings)) + self.bias
        return 0.5 + 0.5 * math.tanh(logit / 2)  # the logistic function, without overflow


NO_VERIFIERS: Final[Mapping[str, WakeVerifier]] = MappingProxyType({})
