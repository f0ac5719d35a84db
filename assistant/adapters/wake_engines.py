"""The wake-word engines by name, and one detector for the words of several of them.

openwakeword is ours (:mod:`assistant.adapters.openwakeword_onnx`) and needs nothing more. The others are packages of
their own, imported only when a word asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from assistant.adapters.openwakeword_models import wake_word_name
from assistant.audio.gated_wake_words import GatedWakeWordDetector
from assistant.audio.ports import WakeWordDetector
from assistant.core.idle_gate import IdleGate
from assistant.core.wake_verifier import NO_VERIFIERS, WakeVerifier
from assistant.errors import ModelLoadError

ENGINES: Final = ("openwakeword", "microwakeword", "pyopenwakeword")


def load_detector(
    words: Sequence[tuple[str, str]], *, idle_gate: bool, verifiers: Mapping[str, WakeVerifier] = NO_VERIFIERS
) -> WakeWordDetector:
    """The detector for ``(engine, model)`` pairs, scores named in their order. Takes some 100 ms.

    idle_gate: let the models rest while the room is quiet. Not those of microwakeword: they cannot catch up exactly,
    and cost next to nothing. verifiers: by word, for engine openwakeword. Raises ModelLoadError, in one line.
    """
    names = [wake_word_name(model) for _, model in words]
    for name in names:
        if names.count(name) > 1:
            raise ModelLoadError(f"two wake words are named {name!r}; remove one, or rename its file")
    by_engine: dict[str, list[str]] = {}
    for engine, model in words:
        by_engine.setdefault(engine, []).append(model)
    if not by_engine:
        raise ModelLoadError("no wake word is given")
    detectors = [_load(engine, models, idle_gate, verifiers) for engine, models in by_engine.items()]
    return detectors[0] if len(detectors) == 1 else JoinedDetectors(detectors, names)


def _load(
    engine: str, models: Sequence[str], idle_gate: bool, verifiers: Mapping[str, WakeVerifier]
) -> WakeWordDetector:
    match engine:
        case "openwakeword":
            from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector

            detector = OpenWakeWordDetector(models, verifiers)
            return GatedWakeWordDetector(detector, IdleGate()) if idle_gate else detector
        case "pyopenwakeword":
            from assistant.adapters.pyopen_wakeword import PyOpenWakeWordDetector

            tflite = PyOpenWakeWordDetector(models)
            return GatedWakeWordDetector(tflite, IdleGate()) if idle_gate else tflite
        case "microwakeword":
            from assistant.adapters.micro_wakeword import MicroWakeWordDetector

            return MicroWakeWordDetector(models)
        case _:
            raise ModelLoadError(f"there is no wake-word engine {engine!r}, only {', '.join(ENGINES)}")


class JoinedDetectors:
    """Several detectors that hear the same frames, as one. All of them score each fourth frame."""

    def __init__(self, detectors: Sequence[WakeWordDetector], names: Sequence[str]) -> None:
        self._detectors = tuple(detectors)
        self.names = tuple(names)

    @property
    def verified(self) -> Mapping[str, float]:
        return {name: sure for detector in self._detectors for name, sure in detector.verified.items()}

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        found: dict[str, float] = {}
        for detector in self._detectors:
            found.update(detector.process(pcm) or {})
        if not found:
            return None
        return {name: found[name] for name in self.names}

    def reset(self) -> None:
        for detector in self._detectors:
            detector.reset()
