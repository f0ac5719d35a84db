"""A word of our own, heard on the embeddings that openWakeWord's networks make: weights in a NumPy archive.

openWakeWord's words are small networks on the same embeddings, in ONNX files. One that is trained here
(``bench/_stop_training``) is two matrices, and numpy is all that it needs.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.errors import ModelLoadError

EMBEDDING: Final = 96
"""Numbers in an embedding."""

_VERSION: Final = 1
_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class WordHead:
    """One hidden layer of rectified units over the latest embeddings.

    hidden: (window * EMBEDDING, units) and (units,). output: (units,) and a number.
    """

    name: str
    hidden: tuple[_Floats, _Floats]
    output: tuple[_Floats, float]

    @property
    def window(self) -> int:
        """How many embeddings it looks at."""
        return len(self.hidden[0]) // EMBEDDING

    def score(self, embeddings: _Floats) -> float:
        """0 to 1 for the latest embeddings, (window or more, EMBEDDING), the newest last."""
        weights, bias = self.hidden
        units = np.maximum(embeddings[-self.window :].reshape(-1) @ weights + bias, 0)
        logit = float(units @ self.output[0]) + self.output[1]
        return 0.5 + 0.5 * math.tanh(logit / 2)  # the logistic function, without overflow


def write_head(path: Path, head: WordHead) -> None:
    """Half precision: scores change in the third digit, and the file is half as large."""
    (weights, bias), (output, output_bias) = head.hidden, head.output
    arrays = {"weights": weights, "bias": bias, "output": output, "output_bias": np.float32(output_bias)}
    halves = {name: np.asarray(array, np.float16) for name, array in arrays.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, version=_VERSION, **halves)


def read_head(path: Path, name: str) -> WordHead:
    """Raises ModelLoadError, in one line, for a file that cannot be read or is no such archive."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if int(archive["version"]) != _VERSION:
                raise ValueError(f"its version is {archive['version']}, not {_VERSION}")
            fields = ("weights", "bias", "output")
            weights, bias, output = (np.asarray(archive[field], np.float32) for field in fields)
            output_bias = float(archive["output_bias"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise ModelLoadError(f"{path}: cannot be used as a word ({reason}); install hearth-assistant anew") from error
    if weights.ndim != 2 or weights.shape != (weights.shape[0] // EMBEDDING * EMBEDDING, len(bias)):
        raise ModelLoadError(f"{path}: its weights are {weights.shape}, not (window * {EMBEDDING}, {len(bias)})")
    if output.shape != bias.shape:
        raise ModelLoadError(f"{path}: it has {len(bias)} units, and weights for {output.shape}")
    return WordHead(name, (weights, bias), (output, output_bias))
