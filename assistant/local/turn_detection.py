"""Server VAD: when somebody begins and ceases to speak, in audio time. PURE.

Speech begins when most frames of a window hold speech (75 % of 240 ms by default: less than that starts on plain
background noise), and ends after ``silence_ms`` in which next to none does: a single frame of noise does not hold a
turn open. A turn that lasts a minute (a television) is ended there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from assistant.types import FRAME_MS

_WINDOW_MS: Final = 240
_STRAY: Final = 0.1  # share of frames in the silence that may still be voiced
MAX_TURN_MS: Final = 60_000
_PATIENCE_MS: Final = {"low": 1200, "medium": 800, "auto": 800, "high": 500}  # eagerness -> silence


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """What a session's ``turn_detection`` comes down to."""

    mode: int
    """Aggressiveness of webrtcvad: 0 takes nearly everything for speech, 3 next to nothing."""
    start_share: float
    """Share of the frames of the window that must hold speech."""
    prefix_ms: int
    silence_ms: int
    create_response: bool
    interrupt_response: bool
    idle_timeout_ms: int | None = None
    """Silence after an answer that counts as a turn of the user's."""


def detection_settings(spec: Mapping[str, Any]) -> DetectionSettings:
    """Map ``server_vad`` and ``semantic_vad``; the latter here is silence whose length follows the eagerness."""
    threshold = spec.get("threshold", 0.5)
    mode, share = (1, 0.6) if threshold < 0.25 else (2, 0.75) if threshold < 0.5 else (3, 0.75)
    if threshold > 0.75:
        share = 0.9
    return DetectionSettings(
        mode=mode,
        start_share=share,
        prefix_ms=spec.get("prefix_padding_ms", 300),
        silence_ms=spec.get("silence_duration_ms") or _PATIENCE_MS[spec.get("eagerness", "auto")],
        create_response=spec["create_response"],
        interrupt_response=spec["interrupt_response"],
        idle_timeout_ms=spec.get("idle_timeout_ms"),
    )


@dataclass(frozen=True, slots=True)
class Started:
    """Speech; ``at_ms`` is where the turn's audio begins, padding included."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """Silence; ``at_ms`` is where the turn's audio ends, the silence included."""

    at_ms: int


class TurnDetector:
    """Takes one flag a frame of 20 ms. ``start_ms``: audio time of the first frame."""

    def __init__(self, settings: DetectionSettings, start_ms: int = 0) -> None:
        self._settings = settings
        self._now_ms = start_ms
        self._earliest_ms = start_ms
        self._recent: deque[bool] = deque(maxlen=_WINDOW_MS // FRAME_MS)
        self._quiet: deque[bool] = deque(maxlen=max(1, settings.silence_ms // FRAME_MS))
        self._speaking = False
        self._started_ms = start_ms

    @property
    def speaking(self) -> bool:
        return self._speaking

    def hear(self, speech: bool) -> Started | Stopped | None:
        self._now_ms += FRAME_MS
        self._recent.append(speech)
        if self._speaking:
            self._quiet.append(speech)
            full = len(self._quiet) == self._quiet.maxlen
            # It begins and ends with quiet, so that the silence is as long as was asked for.
            silent = full and not speech and not self._quiet[0] and sum(self._quiet) <= _STRAY * len(self._quiet)
            if silent or self._now_ms - self._started_ms >= MAX_TURN_MS:
                self._speaking = False
                self._recent.clear()
                self._earliest_ms = self._now_ms
                return Stopped(self._now_ms)
            return None
        full = len(self._recent) == self._recent.maxlen
        if full and speech and sum(self._recent) >= self._settings.start_share * len(self._recent):
            self._speaking = True
            self._started_ms = self._now_ms
            self._quiet.clear()
            first = self._now_ms - FRAME_MS * (len(self._recent) - self._recent.index(True))
            # Never back into the turn before, whose audio is already committed.
            return Started(max(first - self._settings.prefix_ms, self._earliest_ms, 0))
        return None
