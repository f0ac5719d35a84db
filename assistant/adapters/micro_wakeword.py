"""Wake words: microWakeWord through the package ``pymicro-wakeword`` (extra ``microwakeword``).

Small quantised models that were made for microcontrollers: a fifth of the CPU of openWakeWord at full work. Their
score is the mean of the last few outputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from assistant.adapters.openwakeword_models import wake_word_name
from assistant.adapters.wake_steps import STEP_FRAMES, check_frame, find_model, require_package
from assistant.core.wake_gate import NOT_ASKED
from assistant.errors import ModelLoadError

ENGINE: Final = "microwakeword"


class MicroWakeWordDetector:
    """Scores wake words on a stream of 20 ms frames: each 80 ms the highest score since the last time.

    words: bundled names ("okay_nabu") or paths of the ``.json`` files of models. Used from one thread at a time.
    Raises ModelLoadError for a word that cannot be loaded, or when the package is missing.
    """

    verified = NOT_ASKED

    def __init__(self, words: Sequence[str]) -> None:
        folder = require_package("pymicro_wakeword", ENGINE, "microwakeword") / "models"
        files = [find_model(word, ENGINE, folder, ".json") for word in words]
        from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures

        self.names = tuple(wake_word_name(word) for word in words)
        self._features = MicroWakeWordFeatures()
        self._models: dict[str, MicroWakeWord] = {}
        for name, file in zip(self.names, files, strict=True):
            try:
                tflite = file.parent / json.loads(file.read_text("utf-8"))["model"]
                if not tflite.is_file():  # the library would crash
                    raise ModelLoadError(f"{file}: its model {tflite} is not there; put it beside the .json file")
                self._models[name] = MicroWakeWord.from_config(file)
            except (ValueError, KeyError, TypeError, OSError) as error:
                raise ModelLoadError(f"{file}: not the description of a microWakeWord model ({error!r})") from error
        self._best = dict.fromkeys(self.names, 0.0)
        self._filled = 0

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        """Take one 20 ms frame; give the scores (0 to 1, by name) if it completed a step, else None."""
        check_frame(pcm)
        for features in self._features.process_streaming(pcm):
            for name, model in self._models.items():
                self._best[name] = max(self._best[name], model.process_streaming_prob(features) or 0.0)
        self._filled += 1
        if self._filled < STEP_FRAMES:
            return None
        scores, self._best, self._filled = self._best, dict.fromkeys(self.names, 0.0), 0
        return scores

    def reset(self) -> None:
        """Forget all audio heard so far, as if new."""
        self._filled = 0
        self._best = dict.fromkeys(self.names, 0.0)
        self._features.reset()
        for model in self._models.values():
            model.reset()
