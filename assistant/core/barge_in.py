"""Barge-in evidence: does a person speak while the assistant does?

Two cancellers are asked, one after the other:

- A linear one leaves some echo and all of the talker. It says how far the frame stands out of what echo explains
  (:mod:`assistant.core.talker_bands`), once it has heard some seconds of playback.
- Until then, and where there is no linear canceller: WebRTC's AEC3, or that of a device. It leaves hardly any echo, and
  of a quiet talker hardly anything. It says yes where the VAD hears speech in what it leaves, that is well above the
  floor, which follows what is left in quiet frames, and louder than what is usually left of playback this loud (the
  *leak*). Its leak is learned from the first seconds of playback, in which people seldom speak, and from suspicions
  that came to nothing; it is forgotten slowly. If an echo test has found it out, the first second will do.

What is said is added up, frame by frame, less what echo could say at most; the sum never falls below nothing. That is
the sequential test that finds a change soonest at a given rate of false alarms (E. S. Page: "Continuous inspection
schemes", Biometrika 41, 1954): a clear talker passes the line within two frames, an unclear one later, an echo not.

Beyond the line a talker is suspected, upon which the answer is ducked: that lifts the talker over the echo, and shrinks
an echo that was taken for one. Where speech may interrupt, endpointing counts the frames beyond the line in which a VAD
hears speech (:attr:`Evidence.speech`), and when it says that speech has started, it is certain. A suspicion that is not
fed is dropped.

While nothing plays, speech is what the VAD says.
"""

from __future__ import annotations

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
EXPECTED: Final = 0.6
"""How far a frame stands out at most, as a rule, by echo alone. This much is taken off the sum with each frame."""
TALKER: Final = 1.5
"""The line. In six rooms, at 10 and 20 dB above a talker, seven minutes of echo reached 1.1 at most."""
MOST_OVER: Final = 0.5
"""How far the sum goes beyond the line: not far, so that an echo that passed it is soon over, and confirms nothing."""
SIGN: Final = 0.5
"""The least sum that may be a talker. Of 75 wake words over echo all but a few had one, and what the echo made of the
assistant's own voice had none."""
SIGN_FRAMES: Final = 2000 // FRAME_MS
"""For how long a sign counts: a wake word and the detector's delay."""
YES: Final = 1.2
"""What the other canceller's yes says: three of them pass the line."""

ONSET_FRAMES: Final = 400 // FRAME_MS
"""Of playback after silence, in which the linear canceller is not asked: just then it leaves most of the echo. An
answer that is interrupted in its beginning teaches it little, so the next one would be, too."""


class Suspicion(IntEnum):
    NONE = 0
    SUSPECTED = 1


@dataclass(frozen=True, slots=True)
class BargeInSettings:
    """clear_ms: a suspicion ends after so long without evidence.

    over_floor_db, over_leak_db: how far what AEC3 leaves of a talker is above the floor, and above its leak.
    """

    clear_ms: int = 600
    over_floor_db: float = 8.0
    over_leak_db: float = 6.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one frame says.

    speech: for endpointing. suspicion: how things stand after the frame. echo_alone: for two seconds of playback
    nothing has stood out of what echo explains.
    """

    speech: bool
    suspicion: Suspicion = Suspicion.NONE
    echo_alone: bool = False


class BargeInDetector:
    """See the module's docstring. One call for each frame, in order."""

    def __init__(self, settings: BargeInSettings | None = None, leak_db: float | None = None) -> None:
        """leak_db: as an earlier detector has learned it in this room; None: it has yet to be learned."""
        self._settings = settings or BargeInSettings()
        self._sum = 0.0
        self._since_sign = 0  # frames
        self._floor: float | None = None
        self._leak = NO_LEAK_DB if leak_db is None else max(NO_LEAK_DB, leak_db)
        self._learning = leak_db is None
        self._echo = -200.0  # level of the reference, dying away as a room does
        self._played = 0  # frames
        self._since_silence = 0  # frames of playback, the echo's dying away included
        self._quiet_frames = 0
        self._loudest = NO_LEAK_DB  # of the suspicion, over the reference
        self._suspicion = Suspicion.NONE

    @property
    def leak_db(self) -> float:
        """What AEC3 usually leaves of playback, relative to it."""
        return self._leak

    @property
    def talker(self) -> bool:
        """Whether somebody seems to talk."""
        return self._sum >= TALKER

    def feed(
        self,
        *,
        voiced: bool,
        residual_db: float,
        reference_db: float,
        words_voiced: bool,
        stands_out: float | None,
        clipped: bool = False,
    ) -> Evidence:
        """Take the next frame.

        voiced: the VAD's word on what AEC3 leaves. residual_db: its level (dBFS).
        reference_db: level of what was played meanwhile; anything below SILENT_DB for silence.
        words_voiced: the VAD's word on what the linear canceller leaves. stands_out: how far it does
        (:meth:`TalkerBands.feed`); None where there is no such canceller to be asked. clipped: nothing can be said of
        this frame.
        """
        self._echo = max(reference_db, self._echo - DECAY_DB)
        if self._echo < SILENT_DB:
            self._follow_floor(residual_db)
            self._sum = 0.0
            self._since_sign = 0
            self._since_silence = 0
            self._suspicion = Suspicion.NONE
            return Evidence(voiced)
        floor = residual_db if self._floor is None else self._floor
        self._follow_floor(residual_db)
        left = residual_db - self._echo
        like_speech = voiced and residual_db > floor + self._settings.over_floor_db
        self._played += reference_db >= SILENT_DB
        self._since_silence += 1
        self._leak = max(NO_LEAK_DB, self._leak - LEAK_FALL_DB)
        all_known = self._played > LEARNING_FRAMES
        if self._learning and not all_known and like_speech and self._played > CONVERGING_FRAMES:
            self._leak += LEAK_RISE * max(0.0, left - self._leak)
        leak_known = all_known or (not self._learning and self._played > CONVERGING_FRAMES)
        leak = self._leak if all_known else max(self._leak, EARLY_LEAK_DB)
        unexplained = leak_known and like_speech and left > leak + self._settings.over_leak_db
        said = YES if unexplained else 0.0
        onset = self._since_silence <= ONSET_FRAMES
        if stands_out is not None and all_known:
            said = 0.0 if onset else stands_out
        self._sum = min(max(0.0, self._sum + said - EXPECTED), TALKER + MOST_OVER)
        unsure = clipped or onset or stands_out is None or not all_known
        self._since_sign = 0 if unsure or self._sum >= SIGN else self._since_sign + 1
        self._weigh(left)
        speech = self.talker and (voiced or words_voiced)
        return Evidence(speech, self._suspicion, echo_alone=self._since_sign >= SIGN_FRAMES)

    def _follow_floor(self, residual_db: float) -> None:
        if self._floor is None:
            self._floor = residual_db
        elif residual_db < self._floor:
            self._floor += 0.3 * (residual_db - self._floor)
        else:
            self._floor += FLOOR_RISE_DB

    def _weigh(self, left: float) -> None:
        if self.talker:
            self._loudest = max(self._loudest, left)
            self._quiet_frames = 0
            self._suspicion = Suspicion.SUSPECTED
            return
        self._quiet_frames += 1
        if self._quiet_frames * FRAME_MS >= self._settings.clear_ms:
            if self._suspicion:
                self._leak += FALSE_ALARM * max(0.0, self._loudest - self._leak)
            self._loudest = NO_LEAK_DB
            self._suspicion = Suspicion.NONE
