"""The idle gate: whether a room is so quiet that no wake word can be in what was just heard.

The wake-word models cost a hundred times more than this. They see the last two seconds and score a word at its end,
so a gate for them may open late, but never in vain: it is open while anything in the last 1.5 seconds stood out of the
noise of the room.

What stands out is measured as the power of ``x[n] - x[n - 4]``, which keeps 500 to 3500 Hz and drops the rumble and
hum that make the level of a quiet room swing. It is compared with a floor, the quietest 100 ms in the last 3 s: no word
is said without sounds that are louder than the pauses around it, at whatever distance. A fixed threshold or a VAD loses
quiet speech (webrtcvad in front of the models: 23 of 110 detections at -40 dB). This lost none in bench/wake_gate.py,
nor was it closed on any step that scored 0.2 or more, at any margin from 1.5 to 4 dB.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np

from assistant.types import FRAME_BYTES, FRAME_MS

_LAG: Final = 4  # samples
_SMOOTH_FRAMES: Final = 5  # of the floor
_BLOCK_FRAMES: Final = 10  # the floor's window moves on by this
_NEEDED, _WITHIN = 2, 3  # frames that must stand out, of the latest so many: a single click is no word
_LEAST_POWER: Final = 0.5  # in squared int16 steps: below is digital silence with a few stray bits


@dataclass(frozen=True, slots=True)
class IdleGateSettings:
    """margin_db: how far a frame must stand out of the floor.
    hangover_ms: the gate stays open this long after the last sound that stood out. Scores peak up to 350 ms after a
        word, and later in noise that hides its end.
    floor_window_ms: how long the gate stays open, at most, when the room has become louder for good.
    settle_ms: at the beginning nothing is known about the room, and the gate is open.
    """

    margin_db: float = 3.0
    hangover_ms: int = 1500
    floor_window_ms: int = 3000
    settle_ms: int = 3000

    def __post_init__(self) -> None:
        if self.margin_db <= 0:
            raise ValueError("margin_db must be over 0")
        if self.floor_window_ms < _BLOCK_FRAMES * FRAME_MS or self.hangover_ms < FRAME_MS or self.settle_ms < 0:
            raise ValueError(f"floor_window_ms must be at least {_BLOCK_FRAMES * FRAME_MS}, hangover_ms {FRAME_MS}")


class IdleGate:
    """Says frame by frame whether the wake-word models have to look. One thread at a time."""

    def __init__(self, settings: IdleGateSettings | None = None) -> None:
        settings = settings or IdleGateSettings()
        self._ratio = 10 ** (settings.margin_db / 10)
        self._hangover = settings.hangover_ms // FRAME_MS
        self._settle = settings.settle_ms // FRAME_MS
        self._blocks: deque[float] = deque(maxlen=settings.floor_window_ms // (_BLOCK_FRAMES * FRAME_MS))
        self.reset()

    def reset(self) -> None:
        """Forget the room."""
        self._blocks.clear()
        self._older_floor = inf  # of the blocks
        self._block_floor = inf  # of the block that is being filled
        self._block_filled = 0
        self._powers: deque[float] = deque(maxlen=_SMOOTH_FRAMES)
        self._stood_out: deque[bool] = deque(maxlen=_WITHIN)
        self._open_for = self._settle  # frames that the gate stays open if nothing stands out

    def hear(self, pcm: bytes) -> bool:
        """Take the next 20 ms frame; true while the gate is open, this frame included."""
        power = _power(pcm)
        self._powers.append(power)
        if len(self._powers) == _SMOOTH_FRAMES:
            self._follow(sum(self._powers) / _SMOOTH_FRAMES)
        self._stood_out.append(power > self._ratio * min(self._older_floor, self._block_floor))
        if sum(self._stood_out) >= _NEEDED:
            self._open_for = max(self._open_for, self._hangover + 1)
        if self._open_for == 0:
            return False
        self._open_for -= 1
        return True

    def _follow(self, level: float) -> None:
        """Keep the lowest level of each block, and of all blocks in the window."""
        self._block_floor = min(self._block_floor, level)
        self._block_filled += 1
        if self._block_filled == _BLOCK_FRAMES:
            self._blocks.append(self._block_floor)
            self._older_floor = min(self._blocks)
            self._block_floor, self._block_filled = inf, 0


def _power(pcm: bytes) -> float:
    if len(pcm) != FRAME_BYTES:
        raise ValueError(f"the idle gate takes frames of {FRAME_MS} ms ({FRAME_BYTES} bytes), not of {len(pcm)} bytes")
    samples = np.frombuffer(pcm, np.dtype("<i2")).astype(np.float32)
    band = samples[_LAG:] - samples[:-_LAG]
    return max(_LEAST_POWER, float(band @ band) / len(band))
