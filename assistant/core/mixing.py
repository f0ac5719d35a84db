"""What a mix is made of: channels with a volume each, factors that move without a click, and clips. PURE.

Everything here counts in samples of 24 kHz mono. Sums are kept as floats, in units of 16-bit samples, and are rounded
and clipped once, at the end: what is mixed at factor 1 comes out as it was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assistant.types import SPEAKER_RATE, ms_to_samples

FADE_MS: Final = 5

Samples = NDArray[np.int16]
Bus = NDArray[np.float64]


class Channel(Enum):
    """What has a volume of its own."""

    ANSWERS = "answers"  # what the assistant says, and its earcons
    ALERTS = "alerts"  # what rings
    MEDIA = "media"  # music and sounds of plugins


class Gain:
    """A factor from 0.0 to 1.0 that moves evenly."""

    def __init__(self, down_ms: float = FADE_MS, up_ms: float = FADE_MS) -> None:
        """down_ms, up_ms: how long a change takes."""
        self.now = 1.0
        self._target = 1.0
        self._step = 0.0  # per sample, on the way
        self._down = ms_to_samples(down_ms, SPEAKER_RATE)
        self._up = ms_to_samples(up_ms, SPEAKER_RATE)

    def move(self, target: float) -> None:
        """Begin the way to ``target``, from wherever the factor is."""
        target = min(max(target, 0.0), 1.0)
        if target == self._target:
            return
        self._target = target
        samples = self._down if target < self.now else self._up
        if samples:
            self._step = abs(target - self.now) / samples
        else:
            self.now = target

    def skip(self, samples: int) -> None:
        """Go on for so many samples of silence."""
        if self.now != self._target:
            self.apply(np.zeros(samples))

    def apply(self, bus: Bus) -> Bus:
        """The next ``bus.size`` samples, multiplied."""
        if self.now == self._target:
            return bus if self.now == 1.0 else bus * self.now
        way = self._step * np.arange(1, bus.size + 1)
        if self._target < self.now:
            gain = np.maximum(self.now - way, self._target)
        else:
            gain = np.minimum(self.now + way, self._target)
        self.now = float(gain[-1]) if gain.size else self.now
        faded: Bus = bus * gain
        return faded


@dataclass(slots=True)
class Clip:
    """A sound that is mixed in; it begins ``delay`` samples into the next pull."""

    samples: Samples
    loop: bool = False
    channel: Channel = Channel.ANSWERS
    at: int = 0
    delay: int = 0

    def add_to(self, bus: Bus) -> bool:
        """Give ``bus`` its part. False when the clip is over."""
        position, self.delay = self.delay, 0
        while position < bus.size:
            part = self.samples[self.at : self.at + bus.size - position]
            bus[position : position + part.size] += part
            position += part.size
            self.at += part.size
            if self.at == self.samples.size:
                if not self.loop:
                    return False
                self.at = 0
        return True

    @property
    def left(self) -> int:
        """Samples until it is over, or until a loop begins anew."""
        return self.delay + self.samples.size - self.at


class Fade:
    """The way down to silence and up again, a few milliseconds each."""

    def __init__(self, ms: float = FADE_MS) -> None:
        self.length = ms_to_samples(ms, SPEAKER_RATE)
        self.down = (0.5 + 0.5 * np.cos(np.pi * (np.arange(self.length) + 1) / (self.length + 1))).astype(np.float32)
        self.up = self.down[::-1]

    def out(self, coming: Samples) -> Samples:
        """Let ``coming``, which would have been next, die away."""
        coming = coming[: self.length]
        ramp = self.down[np.linspace(0, self.length - 1, coming.size).astype(int)] if coming.size else self.down[:0]
        faded: Samples = np.rint(coming * ramp).astype(np.int16)
        return faded

    def after(self, last: float) -> Samples:
        """Come down from ``last``, the sample after which the sound broke off."""
        faded: Samples = np.rint(self.down * last).astype(np.int16)
        return faded

    def rise(self, part: Samples, done: int) -> Samples:
        """``part``, led up from silence; ``done`` samples of the way up are behind it."""
        ramp = self.up[done : done + part.size]
        if not ramp.size:
            return part
        return np.concatenate((np.rint(part[: ramp.size] * ramp).astype(np.int16), part[ramp.size :]))
