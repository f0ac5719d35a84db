"""The assistant's own voice, taken out of the microphone before VAD and uplink.

The wake word hears the microphone as it is: behind the canceller it was not found more often (docs/echo.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from assistant.audio.ports import EchoCanceller
from assistant.audio.reference import FRAME, ReferenceBuffer
from assistant.types import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, MIC_RATE, AudioFrame

IDLE_AFTER_FRAMES: Final = 2000 // FRAME_MS
"""After so long without playback there is no echo left, and the canceller rests: it sees neither of its two streams, so
that they stay in step, and keeps what it has learned."""

MAX_GAP_FRAMES: Final = 500 // FRAME_MS
"""Microphone frames that were lost are made up for with silence, up to here; after a longer gap the streams are simply
continued, which AEC3 survives as a jump of its delay."""

NO_SOUND_DB: Final = -100.0

_SILENT_REFERENCE: Final = bytes(FRAME * 2)
_SILENT_FRAME: Final = bytes(FRAME_BYTES)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A frame without echo; levels in dBFS. ``reference_db`` is NO_SOUND_DB where nothing was played."""

    frame: AudioFrame
    residual_db: float
    reference_db: float


class EchoPath:
    """Feeds a canceller with the two streams, frame by frame. One thread at a time."""

    def __init__(self, canceller: EchoCanceller, reference: ReferenceBuffer) -> None:
        self._canceller = canceller
        self._reference = reference
        self._silent_for = IDLE_AFTER_FRAMES
        self._end: int | None = None  # sample after the last frame

    @property
    def resting(self) -> bool:
        """Nothing has been played for a while, and frames pass as they are."""
        return self._silent_for >= IDLE_AFTER_FRAMES

    def clean(self, frame: AudioFrame) -> Cleaned:
        """Take the next frame of the microphone."""
        self._make_up_for_lost_frames(frame)
        self._end = frame.end
        reference = self._reference.take(frame.captured_at)
        pcm = self._cancel(frame.pcm, reference)
        return Cleaned(replace(frame, pcm=pcm), level_db(pcm), level_db(reference))

    def _cancel(self, pcm: bytes, reference: bytes) -> bytes:
        self._silent_for = self._silent_for + 1 if reference == _SILENT_REFERENCE else 0
        return pcm if self.resting else self._canceller.process(pcm, reference)

    def _make_up_for_lost_frames(self, frame: AudioFrame) -> None:
        lost = 0 if self._end is None else (frame.start - self._end) // FRAME_SAMPLES
        if 0 < lost <= MAX_GAP_FRAMES:
            for ago in range(lost, 0, -1):
                self._cancel(_SILENT_FRAME, self._reference.take(frame.captured_at - ago * FRAME_SAMPLES / MIC_RATE))


def level_db(pcm: bytes) -> float:
    """RMS of int16 samples in dBFS; NO_SOUND_DB for digital silence."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    power = float(samples @ samples) / max(1, samples.size)
    return 10 * math.log10(power) - 20 * math.log10(32768) if power > 0 else NO_SOUND_DB
