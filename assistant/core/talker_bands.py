"""A talker over the echo: how many bands of what a linear canceller leaves are louder than echo can explain.

The canceller leaves a part of the echo, the *leak*, since no filter follows a loudspeaker that distorts or a long
reverberation. Band by band it stays about as far below the echo that was removed, and that is what is learned here: a
level that only one frame in fifty exceeds. What does is somebody else, most likely. A talker fills some bands more than
others, and so does the echo; so a few bands show a talker whom the sum of all hides.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.types import FRAME_MS, FRAME_SAMPLES, MIC_RATE

BANDS: Final = 16
_LOWEST_HZ, _HIGHEST_HZ = 150, 4000
_BIN_HZ: Final = MIC_RATE / (2 * FRAME_SAMPLES)

_MARGIN_DB: Final = 5.0  # over the leak
_OVER_FLOOR_DB: Final = 6.0  # over what a band holds when nobody makes a sound
_AUDIBLE_DB: Final = 3.0  # the same, for what is worth learning from
_DECAY_DB: Final = 1.2  # of the echo per frame: 60 dB in one second
_FLOOR_FALL: Final = 0.3  # of the way, per frame
_FLOOR_RISE_DB: Final = 0.05
_UP_DB, _DOWN_DB = 0.3, 0.006  # balance where one frame in fifty is louder
_FAST: Final = 4  # times as much in the beginning
_SLOW: Final = 0.1  # of that while somebody seems to talk: if it is echo, for the room has changed, it is still learned
_TALKER_BANDS: Final = 3
_FIRST_LEAK_DB: Final = -25.0
_SILENT_DB: Final = -90.0

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
        self._echo = np.full(BANDS, _SILENT_DB)
        self._floor: _Floats | None = None
        self._played = 0  # frames

    @property
    def leak_db(self) -> tuple[float, ...]:
        """What one frame in fifty exceeds in each band, from low to high, over the echo that was removed."""
        return tuple(float(leak) for leak in self._leak)

    def feed(self, heard: bytes, left: bytes, *, playing: bool) -> int:
        """How many bands stand out in the next frame. It means something from LEARNING_FRAMES of playback on.

        heard: 20 ms of the microphone. left: the same, as the linear canceller leaves it. playing: whether something
        was played meanwhile.
        """
        both = np.stack((np.frombuffer(left, "<i2"), np.frombuffer(heard, "<i2"))).astype(np.float64) / 32768
        both[1] -= both[0]  # what was removed is echo
        power = np.abs(np.fft.rfft(np.concatenate((self._last, both), axis=1) * self._window)) ** 2
        self._last = both
        left_db, echo_db = 10 * np.log10(np.add.reduceat(power, self._edges, axis=1)[:, :BANDS] + 1e-9)
        self._echo = np.maximum(echo_db, self._echo - _DECAY_DB)
        floor = left_db if self._floor is None else self._floor
        self._floor = np.where(left_db < floor, floor + _FLOOR_FALL * (left_db - floor), floor + _FLOOR_RISE_DB)
        leak = left_db - self._echo
        count = int(np.sum((leak > self._leak + _MARGIN_DB) & (left_db > self._floor + _OVER_FLOOR_DB)))
        self._played += playing
        if playing and self._played > CONVERGING_FRAMES:
            speed = _FAST if self._played < LEARNING_FRAMES else _SLOW if count >= _TALKER_BANDS else 1.0
            louder = (leak > self._leak) & (left_db > self._floor + _AUDIBLE_DB)
            self._leak += speed * np.where(louder, _UP_DB, -_DOWN_DB)
        return count
