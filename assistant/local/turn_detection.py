"""Turn detection: when somebody begins and ceases to speak, in audio time. PURE.

Speech begins when most frames of a window hold speech (75 % of 240 ms by default: less than that starts on plain
background noise), and ends after a silence. A single frame of noise with none beside it does not hold a turn open. A
turn that lasts a minute (a television) is ended there.

Where the client wants it (``semantic_vad``), the length of that silence depends on what was said: each pause is told,
and may be judged as long as it lasts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from assistant.core.completeness import ASK_AFTER_MS, Completeness, Patience
from assistant.types import FRAME_MS

_WINDOW_MS: Final = 240
MAX_TURN_MS: Final = 60_000
_PATIENCE: Final = {  # by eagerness
    "low": Patience(600, 1200, 3000),
    "medium": Patience(400, 800, 2000),
    "auto": Patience(400, 800, 2000),
    "high": Patience(300, 500, 1500),
}


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """What a session's ``turn_detection`` comes down to."""

    mode: int
    """Aggressiveness of webrtcvad: 0 takes nearly everything for speech, 3 next to nothing."""
    start_share: float
    """Share of the frames of the window that must hold speech."""
    prefix_ms: int
    patience: Patience
    create_response: bool
    interrupt_response: bool
    idle_timeout_ms: int | None = None
    """Silence after an answer that counts as a turn of the user's."""


def detection_settings(spec: Mapping[str, Any]) -> DetectionSettings:
    """Map ``server_vad`` and ``semantic_vad``, whose eagerness is how patient it is."""
    threshold = spec.get("threshold", 0.5)
    mode, share = (1, 0.6) if threshold < 0.25 else (2, 0.75) if threshold < 0.5 else (3, 0.75)
    if threshold > 0.75:
        share = 0.9
    if (silence_ms := spec.get("silence_duration_ms")) is not None:
        patience = Patience(silence_ms, silence_ms, silence_ms)
    else:
        patience = _PATIENCE[spec.get("eagerness", "auto")]
    return DetectionSettings(
        mode=mode,
        start_share=share,
        prefix_ms=spec.get("prefix_padding_ms", 300),
        patience=patience,
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


@dataclass(frozen=True, slots=True)
class Paused:
    """No speech for a while. ``since_ms``: where the speech before it ended."""

    since_ms: int


class TurnDetector:
    """Takes one flag a frame of 20 ms. ``start_ms``: audio time of the first frame."""

    def __init__(self, settings: DetectionSettings, start_ms: int = 0) -> None:
        self._settings = settings
        self._now_ms = start_ms
        self._earliest_ms = start_ms
        self._recent: deque[bool] = deque(maxlen=_WINDOW_MS // FRAME_MS)
        self._speaking = False
        self._started_ms = start_ms
        self._voiced_ms = start_ms  # one past the last frame of speech
        self._told = False  # of the pause after it
        self._found = Completeness.OPEN  # about what was said before it

    @property
    def speaking(self) -> bool:
        return self._speaking

    def judge(self, since_ms: int, found: Completeness) -> None:
        """Say what was said before a pause. Once there is more speech, or the turn is over, it is not heeded."""
        if self._speaking and since_ms == self._voiced_ms:
            self._found = found

    def hear(self, speech: bool) -> Started | Paused | Stopped | None:
        self._now_ms += FRAME_MS
        before = bool(self._recent) and self._recent[-1]
        self._recent.append(speech)
        if self._speaking:
            if speech and before:
                self._speech_until_now()
            return self._find_end()
        full = len(self._recent) == self._recent.maxlen
        if full and speech and sum(self._recent) >= self._settings.start_share * len(self._recent):
            self._speaking = True
            self._started_ms = self._now_ms
            self._speech_until_now()
            first = self._now_ms - FRAME_MS * (len(self._recent) - self._recent.index(True))
            # Never back into the turn before, whose audio is already committed.
            return Started(max(first - self._settings.prefix_ms, self._earliest_ms, 0))
        return None

    def _speech_until_now(self) -> None:
        self._voiced_ms, self._told, self._found = self._now_ms, False, Completeness.OPEN

    def _find_end(self) -> Paused | Stopped | None:
        patience, quiet_ms = self._settings.patience, self._now_ms - self._voiced_ms
        if quiet_ms >= patience.after(self._found) or self._now_ms - self._started_ms >= MAX_TURN_MS:
            self._speaking = False
            self._recent.clear()
            self._earliest_ms = self._now_ms
            return Stopped(self._now_ms)
        if patience.asks and not self._told and quiet_ms >= ASK_AFTER_MS:
            self._told = True
            return Paused(self._voiced_ms)
        return None
