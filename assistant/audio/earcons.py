"""The short sounds that tell the user something without words.

They are made here rather than shipped as files: a few sine tones with soft edges, none above -20 dBFS, so that one
heard at night does not startle. Rising means "go on", falling means "over"; two equal low notes mean
"something failed".
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from assistant.types import SPEAKER_RATE

_EDGE_MS: Final = 8
_PEAK: Final = 0.09  # of full scale: -21 dBFS


@dataclass(frozen=True, slots=True)
class _Note:
    start_ms: int
    length_ms: int
    hz: float
    decay_ms: float | None = None  # a struck bell's decay; None for an even tone


@dataclass(frozen=True, slots=True)
class _Sound:
    length_ms: int
    notes: tuple[_Note, ...]


_SOUNDS: Final = MappingProxyType(
    {
        "wake": _Sound(120, (_Note(0, 60, 659.3), _Note(50, 70, 880.0))),
        "done": _Sound(110, (_Note(0, 55, 880.0), _Note(45, 65, 659.3))),
        "error": _Sound(145, (_Note(0, 60, 311.1), _Note(85, 60, 311.1))),
        "muted": _Sound(130, (_Note(0, 130, 392.0, decay_ms=40),)),
        # Made to be looped: three soft chimes, then a pause in which the user can be heard.
        "alert": _Sound(
            2000,
            (
                _Note(0, 400, 784.0, decay_ms=110),
                _Note(220, 400, 987.8, decay_ms=110),
                _Note(440, 600, 1174.7, decay_ms=160),
            ),
        ),
    }
)

EARCONS: Final = tuple(_SOUNDS)
"""The names that :func:`earcon` knows."""


@functools.cache
def earcon(name: str) -> bytes:
    """The sound called ``name`` (one of :data:`EARCONS`): 24 kHz int16 mono. "alert" is one turn of a seamless loop.

    Raises KeyError for a name that does not exist.
    """
    import numpy as np

    sound = _SOUNDS[name]
    mix = np.zeros(sound.length_ms * SPEAKER_RATE // 1000)
    edge = _EDGE_MS * SPEAKER_RATE // 1000
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(edge) + 0.5) / edge)
    for note in sound.notes:
        seconds = np.arange(note.length_ms * SPEAKER_RATE // 1000) / SPEAKER_RATE
        tone = np.sin(2 * np.pi * note.hz * seconds)
        if note.decay_ms is not None:
            tone *= np.exp(-seconds * 1000 / note.decay_ms)
        tone[:edge] *= rise
        tone[-edge:] *= rise[::-1]
        at = note.start_ms * SPEAKER_RATE // 1000
        mix[at : at + tone.size] += tone
    pcm: bytes = np.rint(mix * (_PEAK * 32767 / np.abs(mix).max())).astype("<i2").tobytes()
    return pcm
