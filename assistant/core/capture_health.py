"""Faults of a microphone that still delivers: clipped, silent, an offset, a wrong rate, lost or repeated frames. PURE.

Each of them makes an assistant deaf or slow without an error anywhere. They are found in windows of audio, so that a
single loud bang or a late frame is no fault, and what is over is forgotten with the next window.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import numpy as np

from assistant.types import FRAME_MS, MIC_RATE, AudioFrame

WINDOW_FRAMES: Final = 10_000 // FRAME_MS
"""A window of 10 s for what can be seen in the samples."""
RATE_WINDOWS: Final = 6
"""A minute for what can be seen in the counters: clocks jitter."""

_EVERY: Final = 5  # frames, of which one is looked into: the quiet house must cost nothing
_FULL_SCALE: Final = 32_700
_CLIPPED_SAMPLES: Final = 4  # in a frame; a microphone may touch full scale now and then
_CLIPPED_SHARE: Final = 0.02  # of the frames that were looked into
_OFFSET: Final = 655  # 2 % of full scale
_REPEATED_SHARE: Final = 0.01
_LOST_SHARE: Final = 0.01
_RATE_ERROR: Final = 0.01  # no sound card's clock is that wrong
_NEW_STREAM_S: Final = 1.0  # the clock and the samples differ by so much at once: another stream, or another machine


class CaptureFault(Enum):
    """What is wrong, and what to do."""

    CLIPPED = "it is clipped: turn its level down (alsamixer, or pavucontrol)"
    SILENT = "it gives digital silence: is it muted, or the wrong device? see assistant devices"
    OFFSET = "its signal has an offset, so that it clips early: another input or a better microphone helps"
    RATE = "it runs at another rate than it says: let a sound server convert, or choose another device"
    LOST = "frames are lost: the machine is too busy, or the USB bus is"
    REPEATED = "the same frames come again and again: its driver or the sound server stutters"


class CaptureHealth:
    """Looks at each frame of the microphone, in order. One thread at a time."""

    def __init__(self) -> None:
        self._faults: set[CaptureFault] = set()
        self._last: AudioFrame | None = None
        self._began: AudioFrame | None = None  # first frame of the minute
        self._windows = 0  # of the minute
        self._lost = 0  # samples, in the minute
        self._sound = False
        self._new_window()

    @property
    def faults(self) -> frozenset[CaptureFault]:
        """What was wrong in the latest windows."""
        return frozenset(self._faults)

    def report(self) -> list[str]:
        """One line for each fault of the moment; none if all is well."""
        return [fault.value for fault in CaptureFault if fault in self._faults]

    def hear(self, frame: AudioFrame) -> dict[CaptureFault, bool]:
        """Take the next frame; give what has changed with it: True for a fault that is new, False for one that is over.

        Mostly it gives nothing.
        """
        self._follow_clock(frame)
        if self._last is not None and frame.pcm == self._last.pcm and any(frame.pcm):
            self._repeated += 1
        if self._frames % _EVERY == 0:
            self._look(frame.pcm)
        self._last = frame
        self._frames += 1
        if self._frames < WINDOW_FRAMES:
            return {}
        found = self._judge_window()
        self._windows += 1
        if self._windows == RATE_WINDOWS:
            found |= self._judge_minute(frame)
        changed = {fault: bad for fault, bad in found.items() if bad != (fault in self._faults)}
        for fault, bad in changed.items():
            (self._faults.add if bad else self._faults.discard)(fault)
        self._new_window()
        return changed

    def _follow_clock(self, frame: AudioFrame) -> None:
        if self._last is not None:
            late = (frame.captured_at - self._last.captured_at) - (frame.start - self._last.start) / MIC_RATE
            if abs(late) <= _NEW_STREAM_S:
                self._lost += frame.start - self._last.end
                return
        self._new_minute(frame)

    def _look(self, pcm: bytes) -> None:
        samples = np.frombuffer(pcm, "<i2")
        self._looked += 1
        self._clipped += int(np.count_nonzero(np.abs(samples.astype(np.int32)) >= _FULL_SCALE)) >= _CLIPPED_SAMPLES
        self._sum += float(samples.mean())
        self._sound = self._sound or bool(samples.any())

    def _judge_window(self) -> dict[CaptureFault, bool]:
        return {
            CaptureFault.CLIPPED: self._clipped > _CLIPPED_SHARE * self._looked,
            CaptureFault.SILENT: not self._sound,
            CaptureFault.OFFSET: abs(self._sum) > _OFFSET * self._looked,
            CaptureFault.REPEATED: self._repeated > _REPEATED_SHARE * self._frames,
        }

    def _judge_minute(self, frame: AudioFrame) -> dict[CaptureFault, bool]:
        assert self._began is not None
        samples = frame.start - self._began.start
        elapsed = frame.captured_at - self._began.captured_at
        found = {
            CaptureFault.LOST: self._lost > _LOST_SHARE * samples,
            CaptureFault.RATE: abs(samples / MIC_RATE - elapsed) > _RATE_ERROR * samples / MIC_RATE,
        }
        self._new_minute(frame)
        return found

    def _new_minute(self, frame: AudioFrame) -> None:
        self._began, self._windows, self._lost = frame, 0, 0

    def _new_window(self) -> None:
        self._frames = self._looked = self._clipped = self._repeated = 0
        self._sum = 0.0
        self._sound = False
