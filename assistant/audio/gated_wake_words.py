"""Wake words behind an idle gate: in a quiet room no model runs.

The scores of a frame on which the gate is open are those that the detector gives without a gate, since it makes up for
what was skipped; a step on which the gate is closed scores 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from assistant.audio.ports import WakeWordDetector
from assistant.core.idle_gate import IdleGate


class SkippingDetector(WakeWordDetector, Protocol):
    """A detector that can leave frames out, and scores as if it had not when it goes on."""

    def skip(self, pcm: bytes) -> Mapping[str, float] | None:
        """Take one 20 ms frame without scoring it; a step that it completed scores 0, as given by ``process``."""
        ...


class GatedWakeWordDetector:
    """A :class:`~assistant.audio.ports.WakeWordDetector` that scores only what the gate lets through."""

    def __init__(self, detector: SkippingDetector, gate: IdleGate) -> None:
        self._detector = detector
        self._gate = gate

    @property
    def names(self) -> tuple[str, ...]:
        return self._detector.names

    @property
    def verified(self) -> Mapping[str, float]:
        return self._detector.verified

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        if self._gate.hear(pcm):
            return self._detector.process(pcm)
        return self._detector.skip(pcm)

    def reset(self) -> None:
        self._detector.reset()
        self._gate.reset()
