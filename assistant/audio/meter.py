"""The level meter: how loud the room is and how the wake words score; worked out only while somebody looks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from assistant.audio.analysis import Heard

FRAMES: Final = 5
"""Frames in one reading: ten readings a second."""

FLOOR_DBFS: Final = -90.0


@dataclass(frozen=True, slots=True)
class Level:
    """100 ms of the microphone. dbfs: RMS. score: the best of the wake words. speech: whether somebody spoke."""

    dbfs: float
    score: float
    speech: bool


Viewer: TypeAlias = Callable[[Level], None]


class Meter:
    """Takes every analysed frame, and does nothing with it while nobody looks. Lives on the event loop."""

    def __init__(self) -> None:
        self._viewers: list[Viewer] = []
        self._frames: list[Heard] = []

    def look(self, viewer: Viewer) -> Callable[[], None]:
        """Tell each reading, until what this returns is called. The viewer returns at once."""
        self._viewers.append(viewer)

        def look_away() -> None:
            if viewer in self._viewers:
                self._viewers.remove(viewer)

        return look_away

    def hear(self, heard: Heard) -> None:
        if not self._viewers:
            return
        self._frames.append(heard)
        if len(self._frames) >= FRAMES:
            frames, self._frames = self._frames, []
            level = _reading(frames)
            for viewer in tuple(self._viewers):
                viewer(level)


def _reading(frames: list[Heard]) -> Level:
    samples = np.frombuffer(b"".join(heard.frame.pcm for heard in frames), "<i2").astype(np.float64)
    rms = math.sqrt(float(np.mean(samples**2))) / 32768
    score = max((max(heard.scores.values(), default=0.0) for heard in frames if heard.scores), default=0.0)
    return Level(
        dbfs=round(max(FLOOR_DBFS, 20 * math.log10(rms)) if rms else FLOOR_DBFS, 1),
        score=round(score, 3),
        speech=any(heard.speech for heard in frames),
    )
