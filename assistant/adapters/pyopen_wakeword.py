"""Wake words: openWakeWord's TFLite models through the package ``pyopen-wakeword`` (extra ``pyopen``).

For custom models that exist as ``.tflite`` only. The networks are the same as those of the default engine, in another
runtime that takes about three times the CPU.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from assistant.adapters.openwakeword_models import wake_word_name
from assistant.adapters.wake_steps import STEP_FRAMES, check_frame, find_model, require_package
from assistant.core.wake_gate import NOT_ASKED

ENGINE: Final = "pyopenwakeword"
_NOT_WORDS: Final = ("melspectrogram", "embedding_model")
_MEMORY_STEPS: Final = 12  # audio that an embedding depends on, one step more for where its steps begin


class PyOpenWakeWordDetector:
    """Scores wake words on a stream of 20 ms frames, each 80 ms. Used from one thread at a time.

    words: bundled names ("okay_nabu") or paths of ``.tflite`` files. Raises ModelLoadError for one that is not there,
    or when the package is missing.
    """

    verified = NOT_ASKED

    def __init__(self, words: Sequence[str]) -> None:
        folder = require_package("pyopen_wakeword", ENGINE, "pyopen") / "models"
        files = [find_model(word, ENGINE, folder, ".tflite", _NOT_WORDS) for word in words]
        from pyopen_wakeword import OpenWakeWord, OpenWakeWordFeatures

        self.names = tuple(wake_word_name(word) for word in words)
        self._features = OpenWakeWordFeatures.from_builtin()
        self._models = {name: OpenWakeWord.from_model(file) for name, file in zip(self.names, files, strict=True)}
        memory = max(model.input_windows for model in self._models.values()) + _MEMORY_STEPS
        self._frames: deque[bytes] = deque(maxlen=memory * STEP_FRAMES)
        self.reset()

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        """Take one 20 ms frame; give the scores (0 to 1, by name) if it completed a step, else None."""
        if not self._keep(pcm):
            return None
        audio = b"".join(self._frames)
        self._frames.clear()
        scores = dict.fromkeys(self.names, 0.0)
        for features in self._features.process_streaming(audio):
            for name, model in self._models.items():
                for score in model.process_streaming(features):
                    scores[name] = score
        return scores

    def skip(self, pcm: bytes) -> Mapping[str, float] | None:
        """Take one 20 ms frame without looking at it; a step that it completed scores 0."""
        return dict.fromkeys(self.names, 0.0) if self._keep(pcm) else None

    def reset(self) -> None:
        """Forget all audio heard so far, as if new."""
        self._filled = 0
        self._frames.clear()
        self._features.reset()
        for model in self._models.values():
            model.reset()
        # At its beginning it hears 8 s of silence in one go, which must not fall into the first step.
        for features in self._features.process_streaming(bytes(2 * 480)):
            for model in self._models.values():
                list(model.process_streaming(features))

    def _keep(self, pcm: bytes) -> bool:
        """Whether the frame completed a step."""
        check_frame(pcm)
        self._frames.append(pcm)
        self._filled = (self._filled + 1) % STEP_FRAMES
        return self._filled == 0
