"""One channel out of two: a microphone that comes in stereo, one side of which may be dead. PURE.

Sticks with a socket for a mono microphone, and arrays with a broken capsule, deliver a side that holds nothing, or only
hum. Mixed in, it takes 6 dB off the other, or adds its hum. So a side that is silent while the other hears something is
left out until it is heard again.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Side: TypeAlias = Literal["left", "right"]
ChannelChoice: TypeAlias = Literal["auto", "left", "right"]
Samples: TypeAlias = NDArray[np.int16]

CHANNEL_KEY: Final = "audio.input.channel"
SIDES: Final[tuple[Side, Side]] = ("left", "right")

WINDOW_S: Final = 2.0
"""What is judged at once. Longer than any word or knock, which may well come from one side."""
DEAD_DB: Final = -30.0
"""Relative to the other side. Two capsules of one microphone never differ that much, wherever somebody stands."""
ALIVE_DB: Final = -20.0
"""It counts again from here on."""
SOUND_DBFS: Final = -60.0
"""In a quiet room the noise of the two converters is all there is, and says nothing about the capsules."""

_EVERY: Final = 4  # samples, of which one is measured: the quiet house must cost nothing
_DEAD: Final = 10 ** (DEAD_DB / 10)
_ALIVE: Final = 10 ** (ALIVE_DB / 10)
_SOUND: Final = 32768.0**2 * 10 ** (SOUND_DBFS / 10)


class ChannelPicker:
    """Takes what one stream captures, block by block, and gives mono.

    rate: of the stream, in Hz. choice: a side, whatever it holds; ``auto`` is the mean of those that are alive.
    """

    def __init__(self, rate: int, choice: ChannelChoice = "auto") -> None:
        self._choice = choice
        self._window = round(WINDOW_S * rate)
        self._dead: int | None = None
        self._clear()

    @property
    def dead(self) -> Side | None:
        """The side that is left out, since nothing is heard on it."""
        return None if self._dead is None else SIDES[self._dead]

    @property
    def fault(self) -> str | None:
        """What to tell people about it."""
        if self._dead is None:
            return None
        dead, live = SIDES[self._dead], SIDES[1 - self._dead]
        return f"its {dead} channel is silent, the {live} one is used: if it has no other, set {CHANNEL_KEY}: {live}"

    def pick(self, block: Samples) -> Samples:
        """``block``: samples by channels. One channel passes as it is; of more than two, the first two count."""
        if block.shape[1] == 1:
            return block[:, 0]
        if self._choice != "auto":
            return block[:, SIDES.index(self._choice)]
        self._measure(block)
        if self._dead is not None:
            return block[:, 1 - self._dead]
        mixed: Samples = ((block[:, 0].astype(np.int32) + block[:, 1]) >> 1).astype(np.int16)
        return mixed

    def _measure(self, block: Samples) -> None:
        some = block[::_EVERY, :2].astype(np.float64)
        self._sum += some.sum(axis=0)
        self._squares += (some * some).sum(axis=0)
        self._measured += len(some)
        self._seen += len(block)
        if self._seen >= self._window:
            self._judge()
            self._clear()

    def _judge(self) -> None:
        powers = self._squares / self._measured - (self._sum / self._measured) ** 2  # without a constant offset
        weak = int(np.argmin(powers))
        below, strong = float(powers[weak]), float(powers[1 - weak])
        loud = strong > _SOUND
        if (below <= 0 < strong) or (loud and below < _DEAD * strong):
            self._dead = weak
        elif loud and (below > _ALIVE * strong or self._dead != weak):
            self._dead = None

    def _clear(self) -> None:
        self._sum = np.zeros(2)
        self._squares = np.zeros(2)
        self._measured = self._seen = 0
