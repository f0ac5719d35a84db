"""Barge-in evidence: does a person speak while the assistant does?

Two cancellers are asked, since each is good at what the other is not. A linear one leaves some echo and all of the
talker: there a frame is evidence when

1. the VAD hears speech in what it leaves, and
2. several bands of it are louder than echo can explain (:mod:`assistant.core.talker_bands`).

WebRTC's AEC3 leaves hardly any echo, and of a quiet talker hardly anything: there a frame is evidence when

1. the VAD hears speech in what it leaves,
2. it is well above the floor, which follows what is left in quiet frames,
3. it is louder than what is usually left of playback this loud (the *leak*), and
4. at least one band is louder than echo can explain.

In most rooms AEC3 leaves nothing that passes the first two, and its leak stays at nothing. Where it leaves more, the
leak is learned from the frames that pass them: from the first seconds of playback, in which people seldom speak, and
from suspicions that came to nothing. It is forgotten slowly.

Enough evidence within a short window is a suspicion, upon which the answer is ducked: that lifts the talker over the
echo, and shrinks an echo that was taken for one. Where speech may interrupt, endpointing counts the same frames
(:attr:`Evidence.speech`), and when it says that speech has started, it is certain. A suspicion that is not fed is
dropped.

While nothing plays, speech is what the VAD says.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from assistant.core.talker_bands import CONVERGING_FRAMES, LEARNING_FRAMES
from assistant.types import FRAME_MS

SILENT_DB: Final = -60.0
"""A reference below this is no playback, and makes no echo worth the name."""

DECAY_DB: Final = 1.2
"""How fast echo dies away, per frame: 60 dB in one second, slower than a living room."""

FLOOR_RISE_DB: Final = 0.05  # per frame: 2.5 dB a second
NO_LEAK_DB: Final = -60.0  # over the reference
EARLY_LEAK_DB: Final = -25.0
"""In the first seconds AEC3 leaves more than it ever will again: at least so much, whatever is known about the room."""
LEAK_RISE: Final = 0.3  # of the way, for each frame that is louder than the leak while it is learned
LEAK_FALL_DB: Final = 0.01  # per frame of playback: 0.5 dB a second
FALSE_ALARM: Final = 0.5  # of the way to its loudest frame, for a suspicion that came to nothing
TALKER_BANDS: Final = 3
"""Bands that must stand out of what the linear canceller leaves."""


class Suspicion(IntEnum):
    NONE = 0
    SUSPECTED = 1


@dataclass(frozen=True, slots=True)
class BargeInSettings:
    """suspect_ms, suspect_window_ms: that much evidence within so much audio is a suspicion.

    clear_ms: a suspicion ends after so long without evidence.
    over_floor_db, over_leak_db: how far evidence is above the floor, and above what is usually left of the echo.
    """

    suspect_ms: int = 60
    suspect_window_ms: int = 100
    clear_ms: int = 600
    over_floor_db: float = 8.0
    over_leak_db: float = 6.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one frame says. ``speech`` is for endpointing; ``suspicion`` is how things stand after the frame."""

    speech: bool
    suspicion: Suspicion = Suspicion.NONE


class BargeInDetector:
    """See the module's docstring. One call for each frame, in order."""

    def __init__(self, settings: BargeInSettings | None = None, leak_db: float | None = None) -> None:
        """leak_db: as an earlier detector has learned it in this room; None: it has yet to be learned."""
        self._settings = settings or BargeInSettings()
        frames = max(1, self._settings.suspect_window_ms // FRAME_MS)
        self._window: deque[bool] = deque(maxlen=frames)
        self._needed = -(-self._settings.suspect_ms // FRAME_MS)
        self._floor: float | None = None
        self._leak = NO_LEAK_DB if leak_db is None else max(NO_LEAK_DB, leak_db)
        self._learning = leak_db is None
        self._echo = -200.0  # level of the reference, dying away as a room does
        self._played = 0  # frames
        self._quiet_frames = 0
        self._loudest = NO_LEAK_DB  # of the suspicion, over the reference
        self._suspicion = Suspicion.NONE

    @property
    def leak_db(self) -> float:
        """What AEC3 usually leaves of playback, relative to it."""
        return self._leak

    def feed(
        self, *, voiced: bool, residual_db: float, reference_db: float, words_voiced: bool, bands: int
    ) -> Evidence:
        """Take the next frame.

        voiced: the VAD's word on what AEC3 leaves. residual_db: its level (dBFS).
        reference_db: level of what was played meanwhile; anything below SILENT_DB for silence.
        words_voiced: the VAD's word on what the linear canceller leaves. bands: how many of it stand out.
        """
        self._echo = max(reference_db, self._echo - DECAY_DB)
        if self._echo < SILENT_DB:
            self._follow_floor(residual_db)
            self._window.clear()
            self._suspicion = Suspicion.NONE
            return Evidence(voiced)
        floor = residual_db if self._floor is None else self._floor
        self._follow_floor(residual_db)
        left = residual_db - self._echo
        like_speech = voiced and residual_db > floor + self._settings.over_floor_db
        self._played += reference_db >= SILENT_DB
        self._leak = max(NO_LEAK_DB, self._leak - LEAK_FALL_DB)
        all_known = self._played > LEARNING_FRAMES
        if self._learning and not all_known and like_speech and self._played > CONVERGING_FRAMES:
            self._leak += LEAK_RISE * max(0.0, left - self._leak)
        leak_known = all_known or (not self._learning and self._played > CONVERGING_FRAMES)
        leak = self._leak if all_known else max(self._leak, EARLY_LEAK_DB)
        unexplained = like_speech and left > leak + self._settings.over_leak_db and bands > 0
        talker = words_voiced and bands >= TALKER_BANDS
        counts = (leak_known and unexplained) or (all_known and talker)
        self._weigh(counts, left)
        return Evidence(counts, self._suspicion)

    def _follow_floor(self, residual_db: float) -> None:
        if self._floor is None:
            self._floor = residual_db
        elif residual_db < self._floor:
            self._floor += 0.3 * (residual_db - self._floor)
        else:
            self._floor += FLOOR_RISE_DB

    def _weigh(self, counts: bool, left: float) -> None:
        self._window.append(counts)
        self._quiet_frames = 0 if counts else self._quiet_frames + 1
        if counts:
            self._loudest = max(self._loudest, left)
        if sum(self._window) >= self._needed:
            self._suspicion = Suspicion.SUSPECTED
        elif self._quiet_frames * FRAME_MS >= self._settings.clear_ms:
            if self._suspicion:
                self._leak += FALSE_ALARM * max(0.0, self._loudest - self._leak)
            self._loudest = NO_LEAK_DB
            self._suspicion = Suspicion.NONE
