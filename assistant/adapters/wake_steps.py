"""What the optional wake-word engines share: frames gathered to steps of 80 ms, names of models, missing packages."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from assistant.errors import ModelLoadError
from assistant.types import FRAME_BYTES, FRAME_MS

STEP_FRAMES: Final = 4


def check_frame(pcm: bytes) -> None:
    if len(pcm) != FRAME_BYTES:
        raise ValueError(f"wake words take frames of {FRAME_MS} ms ({FRAME_BYTES} bytes), not of {len(pcm)} bytes")


def require_package(module: str, engine: str, extra: str) -> Path:
    """The folder of an optional package, found without importing it. Raises ModelLoadError with the command to run."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        package = module.replace("_", "-")
        raise ModelLoadError(
            f"wake-word engine {engine} needs the package {package}: pip install 'hearth-assistant[{extra}]'"
        )
    return Path(spec.submodule_search_locations[0])


def find_model(word: str, engine: str, folder: Path, suffix: str, not_words: Collection[str] = ()) -> Path:
    """The file of a bundled name or of a path. Raises ModelLoadError."""
    bundled = {file.stem: file for file in folder.glob(f"*{suffix}") if file.stem not in not_words}
    listed = ", ".join(sorted(bundled))
    if "/" in word or word.endswith(suffix):
        if not os.access(word, os.R_OK) or not Path(word).is_file():
            raise ModelLoadError(f"{word}: cannot read this wake-word model; check the path, or use {listed}")
        return Path(word)
    if word not in bundled:
        close = difflib.get_close_matches(word.lower().replace(" ", "_").replace("-", "_"), bundled, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ModelLoadError(
            f"unknown wake word {word!r} for engine {engine}; {hint}There are {listed}, or the path of a {suffix} file"
        )
    return bundled[word]
