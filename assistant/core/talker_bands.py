"""A talker over the echo: how far what a linear canceller leaves stands out of what echo can explain.

The canceller leaves a part of the echo, the *leak*, since no filter follows a loudspeaker that distorts or a long
reverberation. Band by band it stays about as far below the echo that was removed: its mean and its spread are learned
here, and what is louder than the mean is measured by the spread. So one number means the same in every room. A talker
fills some bands more than others, and so does the echo; so a few bands show a talker whom the sum of all hides. The
highest bands count as much as the others: there an "s" is heard, and playback has least.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.types import FRAME_MS, FRAME_SAMPLES, MIC_RATE

BANDS: Final = 20
_LOWEST_HZ, _HIGHEST_HZ = 150, 7000
_BIN_HZ: Final = MIC_RATE / (2 * FRAME_SAMPLES)

MOST: Final = 5.0
"""What one band can say at most, so that none speaks for all."""
_OVER_FLOOR_DB: Final = 4.0  # over what a band holds when nobody makes a sound
_AUDIBLE_DB: Final = 3.0  # the same, for what is worth learning from
_DECAY_DB: Final = 4.0  # of the echo per frame; the canceller's filter holds what dies away more slowly
_FLOOR_FALL: Final = 0.3  # of the way, per frame
_FLOOR_RISE_DB: Final = 0.05
_FIRST_SPEED, _SPEED = 0.05, 0.01  # of the way, per frame, in the beginning and later
_SLOW: Final = 0.1  # of that while somebody seems to talk: if it is echo, for the room has changed, it is still learned
_FURTHEST: Final = 2.0  # spreads that one frame can be above the mean, for learning
_FIRST_LEAK_DB, _FIRST_SPREAD_DB = 0.0, 8.0
_LEAST_SPREAD_DB, _GREATEST_SPREAD_DB = 3.0, 10.0
_SILENT_DB: Final = -90.0
_CLIPPED: Final = 32766

CONVERGING_FRAMES: Final = 1000 // FRAME_MS
"""Playback in which the canceller has yet to learn the room, and leaves what it will never leave again."""
LEARNING_FRAMES: Final = 4000 // FRAME_MS
"""Playback after which what is usually left of it is known."""

_Floats = npt.NDArray[np.float64]


class TalkerBands:
    """See the module's docstring. One call for each frame, in order."""

    def __init__(self) -> None:
        self._window = np.hanning(2 * FRAME_SAMPLES)
        mel = np.log1p(np.array([_LOWEST_HZ, _HIGHEST_HZ]) / 700)
        hertz = 700 * np.expm1(np.linspace(mel[0], mel[1], BANDS + 1))
        self._edges = np.rint(hertz / _BIN_HZ).astype(int)
        self._last = np.zeros((2, FRAME_SAMPLES))
        self._leak = np.full(BANDS, _FIRST_LEAK_DB)
        self._variance = np.full(BANDS, _FIRST_SPREAD_DB**2)
        self._echo = np.full(BANDS, _SILENT_DB)
        self._floor: _Floats | None = None
        self._played = 0  # frames
        self._last_clipped = False

    @property
    def leak_db(self) -> tuple[float, ...]:
        """What is usually left in each band, from low to high, over the echo that was removed."""
        return tuple(float(leak) for leak in self._leak)

    @property
    def clipped(self) -> bool:
        """Whether the microphone clipped in the last frame, of which nothing can be said then."""
        return self._last_clipped

    def feed(self, heard: bytes, left: bytes, *, playing: bool, talker: bool = False) -> float:
        """How far the next frame stands out: the mean over the bands, in spreads of the leak, from 0 to MOST.

        Echo alone seldom gives more than half a spread. It means something from LEARNING_FRAMES of playback on, and
        is 0 where the microphone clips, since what it then hears has nothing to do with the echo.

        heard: 20 ms of the microphone. left: the same, as the linear canceller leaves it. playing: whether something
        was played meanwhile. talker: whether somebody seems to talk, so that little is to be learned from it.
        """
        both = np.stack((np.frombuffer(left, "<i2"), np.frombuffer(heard, "<i2"))).astype(np.float64)
        clipped = bool(np.abs(both[1]).max() >= _CLIPPED)
        both /= 32768
        both[1] -= both[0]  # what was removed is echo
        power = np.abs(np.fft.rfft(np.concatenate((self._last, both), axis=1) * self._window)) ** 2
        self._last = both
        left_db, echo_db = 10 * np.log10(np.add.reduceat(power, self._edges, axis=1)[:, :BANDS] + 1e-9)
        self._echo = np.maximum(echo_db, self._echo - _DECAY_DB)
        before = left_db if self._floor is None else self._floor
        floor = np.where(left_db < before, before + _FLOOR_FALL * (left_db - before), before + _FLOOR_RISE_DB)
        self._floor = floor
        over = (left_db - np.maximum(self._echo + self._leak, floor + _OVER_FLOOR_DB)) / np.sqrt(self._variance)
        usable, self._last_clipped = not (clipped or self._last_clipped), clipped
        self._played += playing
        if playing and usable and self._played > CONVERGING_FRAMES:
            speed = _FIRST_SPEED if self._played < LEARNING_FRAMES else _SPEED * _SLOW if talker else _SPEED
            self._learn(left_db, np.where(left_db > floor + _AUDIBLE_DB, speed, 0.0))
        return float(np.clip(over, 0.0, MOST).mean()) if usable else 0.0

    def _learn(self, left_db: _Floats, pace: _Floats) -> None:
        spread = np.sqrt(self._variance)
        away = np.clip(left_db - self._echo - self._leak, -3 * spread, _FURTHEST * spread)
        self._leak += pace * away
        variance = self._variance + pace * (1.1 * away**2 - self._variance)  # 1.1: for what is cut off above
        self._variance = np.clip(variance, _LEAST_SPREAD_DB**2, _GREATEST_SPREAD_DB**2)
