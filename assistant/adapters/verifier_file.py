"""Verifier files: NumPy archives (``.npz``) of plain numbers and text, read without pickle."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np

from assistant.core.wake_verifier import WakeVerifier
from assistant.errors import HearthError, ModelLoadError

_VERSION: Final = 1
_PICKLE: Final = b"\x80"
_ZIP: Final = b"PK"


def write_verifier(path: Path, verifier: WakeVerifier) -> None:
    """Write the file; there is never half of one. Raises HearthError, in one line."""
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            word, window = np.array(verifier.word), np.array(verifier.window)
            np.savez(file, version=_VERSION, word=word, window=window, weights=verifier.weights, bias=verifier.bias)
        new.replace(path)
    except OSError as error:
        raise HearthError(f"{path}: cannot be written ({error.strerror})") from error


def read_verifier(path: Path, word: str) -> WakeVerifier:
    """The verifier of a wake word. Raises ModelLoadError, in one line, if it is not one, or that of another word."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelLoadError(f"{path}: cannot read this verifier ({error.strerror}); check the path") from error
    if data.startswith(_PICKLE):
        raise ModelLoadError(
            f"{path}: this is a pickle, which can run anything; if openWakeWord wrote it, use"
            f" `assistant wake verifier import {path} {path.stem}.npz --wake-word {word}`"
        )
    try:
        verifier = _read(data)
    except Exception as error:  # numpy, zipfile and zlib have a dozen unrelated classes for "damaged"
        reason = " ".join(str(error).split())
        raise ModelLoadError(f"{path}: not a verifier ({reason}); `assistant wake verifier train` makes one") from error
    if verifier.word != word:
        raise ModelLoadError(f"{path}: this is the verifier of {verifier.word}, not of {word}")
    return verifier


def _read(data: bytes) -> WakeVerifier:
    if not data.startswith(_ZIP):
        raise ValueError("it is no .npz archive")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        version = int(archive["version"])
        if version != _VERSION:
            raise ValueError(f"it has version {version}; only {_VERSION} is understood here")
        verifier = WakeVerifier(
            str(archive["word"]), np.asarray(archive["weights"], np.float64), float(archive["bias"])
        )
        if verifier.window != int(archive["window"]):
            raise ValueError("its window is not that of its weights")
    return verifier
