"""Where wake-word models are, and what they are called.

The package ``openwakeword`` 0.4 carries its models in the wheel. It is used as a folder only: to import it would load
scikit-learn and scipy, which takes seconds and 200 MB. Nothing here loads a model or numpy, so that the command line
may ask for names.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from assistant.errors import ModelLoadError

MEL_MODEL: Final = "melspectrogram.onnx"
EMBEDDING_MODEL: Final = "embedding_model.onnx"

_NOT_WAKE_WORDS: Final = frozenset({MEL_MODEL, EMBEDDING_MODEL, "silero_vad.onnx"})
_ENDINGS: Final = (".onnx", ".tflite", ".json")
_VERSION: Final = re.compile(r"_v\d+(\.\d+)*$")
REINSTALL: Final = "pip install --force-reinstall --no-deps openwakeword==0.4.0"

STOP_MODEL: Final = Path(__file__).with_name("stop.npz")
"""A word of our own, which ends an answer and wakes nobody: docs/echo.md. It is not listed among the wake words."""

# What to say, where it is not simply the name. Both models know more ways to say it; see openWakeWord's docs/models.
_PHRASES: Final = {"timer": "set a five minute timer", "weather": "what's the weather"}


@dataclass(frozen=True, slots=True)
class WakeModel:
    """A wake word and the file that holds its model."""

    name: str
    path: Path


def models_folder() -> Path:
    """The folder with openWakeWord's own models. Raises ModelLoadError if it is not there."""
    spec = find_spec("openwakeword")  # finds a top-level package without running it
    if spec is None or not spec.submodule_search_locations:
        raise ModelLoadError(f"the package openwakeword, which carries the wake-word models, is missing: {REINSTALL}")
    folder = Path(spec.submodule_search_locations[0]) / "resources" / "models"
    for needed in (MEL_MODEL, EMBEDDING_MODEL):
        if not (folder / needed).is_file():
            # Releases after 0.4 fetch their models from the network when asked to, and hold none.
            raise ModelLoadError(f"{folder / needed}: missing; this openwakeword carries no models: {REINSTALL}")
    return folder


def bundled_wake_words() -> tuple[str, ...]:
    """The wake words that need no file of the user's, sorted by name. Raises ModelLoadError if there are none."""
    return tuple(sorted(_bundled()))


def find_wake_model(word: str) -> WakeModel:
    """The model of a wake word: a bundled name ("hey_jarvis") or the path of a custom ``.onnx`` file.

    "stop" is the word that ends an answer. A custom wake word is named after its file, without a version:
    ``ok_house_v0.2.onnx`` is "ok_house". Raises ModelLoadError if there is no such name or file.
    """
    path = Path(word)
    if path.suffix == ".tflite":
        raise ModelLoadError(
            f"{word}: engine openwakeword takes no .tflite models; use the .onnx file of the same wake word,"
            " or engine: pyopenwakeword"
        )
    if "/" in word or path.suffix == ".onnx":
        try:
            path.open("rb").close()
        except OSError as error:
            message = f"{word}: cannot read this wake-word model ({error.strerror}); check the path, or use {_listed()}"
            raise ModelLoadError(message) from error
        return WakeModel(wake_word_name(word), path)
    if word == STOP_MODEL.stem:
        return WakeModel(word, STOP_MODEL)
    bundled = _bundled()
    if word not in bundled:
        close = difflib.get_close_matches(word.lower().replace(" ", "_").replace("-", "_"), bundled, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ModelLoadError(f"unknown wake word {word!r}; {hint}There are {_listed()}, or the path of an .onnx file")
    return WakeModel(word, bundled[word])


def wake_word_name(word: str) -> str:
    """The name under which a wake word is scored: for a path the file's name without ending and version."""
    return _VERSION.sub("", Path(word).stem) if "/" in word or word.endswith(_ENDINGS) else word


def wake_phrase(word: str) -> str:
    """What a person says for a wake word (name or path): "hey jarvis" for "hey_jarvis"."""
    name = wake_word_name(word)
    return _PHRASES.get(name, " ".join(name.replace("_", " ").replace("-", " ").split()))


def _bundled() -> dict[str, Path]:
    files = (path for path in models_folder().glob("*.onnx") if path.name not in _NOT_WAKE_WORDS)
    return {wake_word_name(str(path)): path for path in files}


def _listed() -> str:
    return ", ".join(bundled_wake_words())
