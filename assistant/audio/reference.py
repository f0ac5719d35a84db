"""The reference: what the speaker plays at the time of each microphone frame, for echo cancellation.

::

    device thread: played(pcm, heard_at) ──> ring of 2 s ──> take(captured_at): analysis thread

The speaker pulls in blocks, at times that jitter, on a clock of its own. An echo canceller wants a steady stream that
never comes later than the echo, and whose delay to it does not jump. So the two clocks are mapped with a slow filter,
the reader moves on by one frame each time, and a difference is made up for by one sample now and then; only when it is
large (another device, a stalled stream) does the reader jump. While nothing plays it may move as it likes: nobody sees
silence jump. So every answer begins with the clocks in step.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.types import FRAME_MS, SPEAKER_RATE, ms_to_samples

KEPT_S: Final = 2.0
"""How much playback is remembered. What was pulled longer ago than this and is still unheard is not cancelled."""

FRAME: Final = SPEAKER_RATE * FRAME_MS // 1000
"""Samples of reference for one microphone frame."""

SAFETY_S: Final = 0.04
"""How much later than the pull the reference is taken, since pulls jitter. Made out of the speaker's latency."""

MAX_LEAD_S: Final = 0.12
"""How far the reference may run ahead of what is heard, in case the speaker is quicker than it says."""

JUMP_S: Final = 0.05
"""A lasting difference beyond this is made up for at once: the canceller learns the new delay within a second."""

_SMOOTHING: Final = 0.05  # of the filters: about 0.4 s at one pull or frame each 20 ms
_SLIP_EVERY: Final = 5  # frames between two slips of one sample: 400 ppm, which AEC3 follows
_DEAD_ZONE: Final = ms_to_samples(1, SPEAKER_RATE)
_QUIET_FRAMES: Final = 25  # of silence, after which the reader may move: the room has stopped ringing by half


@dataclass(frozen=True, slots=True)
class ReferenceStats:
    """Since the buffer was made.

    jumps: how often the delay had to jump (once at the start is normal).
    slips: samples left out or repeated to follow the speaker's clock.
    missing: samples asked for before the speaker had pulled them; silence went to the canceller instead.
    """

    jumps: int
    slips: int
    missing: int


class ReferenceBuffer:
    """See the module's docstring. ``played`` and ``take`` may be called on different threads; neither waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # for microseconds
        self._ring = np.zeros(round(KEPT_S * SPEAKER_RATE), np.int16)
        self._written = 0  # position one past the newest sample
        self._heard_offset: float | None = None  # time at which position 0 would have been heard
        self._lead = 0.0
        self._next: int | None = None  # position that `take` reads next
        self._end = 0  # position one past what it read last
        self._moved = 0
        self._error = 0.0  # filtered: how far `_next` is behind where it should be, in samples
        self._since_slip = 0
        self._quiet = 0  # frames of silence up to now
        self._jumps = self._slips = self._missing = 0

    @property
    def stats(self) -> ReferenceStats:
        with self._lock:
            return ReferenceStats(self._jumps, self._slips, self._missing)

    @property
    def moved(self) -> int:
        """How many samples lie between the latest frame that was taken and the one before; negative where they overlap.

        Whoever knows how late the echo comes after the reference now finds it so much later. A jump is not counted: the
        sound itself has jumped, and the reference jumps to be with the echo as before. For the thread that takes.
        """
        return self._moved

    def played(self, pcm: bytes, pulled_at: float, latency: float) -> None:
        """Take what the device was handed (24 kHz int16 mono), silence included.

        pulled_at: seconds on the loop's clock. latency: from then until its first sample is heard.
        """
        samples = np.frombuffer(pcm, "<i2")[-self._ring.size :]
        with self._lock:
            offset = pulled_at + latency - self._written / SPEAKER_RATE
            if self._heard_offset is None or abs(offset - self._heard_offset) > 2 * JUMP_S:
                self._heard_offset = offset  # the first pull, or a stream that was opened anew
            else:
                self._heard_offset += _SMOOTHING * (offset - self._heard_offset)
            self._lead = min(max(latency - SAFETY_S, 0.0), MAX_LEAD_S)
            self._write(samples)

    def take(self, captured_at: float) -> bytes:
        """The 20 ms that belong to the microphone frame whose last sample was captured at this time.

        Call it once for each frame, in order. Silence where nothing was played.
        """
        with self._lock:
            if self._heard_offset is None:
                return bytes(FRAME * 2)
            jumps = self._jumps
            self._follow(captured_at)
            assert self._next is not None
            start = self._next
            self._moved = start - self._end if self._jumps == jumps else 0
            self._end = start + FRAME
            self._next = self._after(start)
            frame = self._read(start)
            self._quiet = 0 if frame.any() else self._quiet + 1
            return frame.astype("<i2").tobytes()

    def _follow(self, captured_at: float) -> None:
        """Move the reading position towards where the clocks say it should be."""
        assert self._heard_offset is not None
        heard = (captured_at + self._lead - self._heard_offset) * SPEAKER_RATE
        wanted = round(heard) - FRAME
        if self._next is None:
            self._next = wanted
            self._jumps += 1
            return
        error = wanted - self._next
        if abs(error) > 4 * JUMP_S * SPEAKER_RATE:  # no jitter is like that
            self._jump(wanted)
            return
        self._error += _SMOOTHING * (error - self._error)
        self._since_slip += 1
        if abs(self._error) > JUMP_S * SPEAKER_RATE:
            self._jump(self._next + round(self._error))
        elif self._quiet >= _QUIET_FRAMES and abs(self._error) > _DEAD_ZONE:
            self._next += round(self._error)
            self._error = 0.0
        elif abs(self._error) > _DEAD_ZONE and self._since_slip >= _SLIP_EVERY:
            step = 1 if self._error > 0 else -1
            self._next += step
            self._error -= step
            self._slips += 1
            self._since_slip = 0

    def _after(self, start: int) -> int:
        """Where the frame after the one at ``start`` begins.

        Samples that the speaker is a little late to pull will be played, so they must not be left out: the reader waits
        for them, with silence, and catches up later. A speaker that has stopped is not waited for.
        """
        missing = start + FRAME - self._written
        return max(start, self._written) if 0 < missing <= JUMP_S * SPEAKER_RATE else start + FRAME

    def _jump(self, position: int) -> None:
        self._next = position
        self._error = 0.0
        self._jumps += 1

    def _write(self, samples: npt.NDArray[np.int16]) -> None:
        at = self._written % self._ring.size
        first = samples[: self._ring.size - at]
        self._ring[at : at + first.size] = first
        self._ring[: samples.size - first.size] = samples[first.size :]
        self._written += samples.size

    def _read(self, start: int) -> npt.NDArray[np.int16]:
        """A frame from ``start`` on, silence where the ring does not reach."""
        out = np.zeros(FRAME, np.int16)
        positions = np.arange(start, start + FRAME)
        known = (positions >= max(0, self._written - self._ring.size)) & (positions < self._written)
        out[known] = self._ring[positions[known] % self._ring.size]
        self._missing += int(np.count_nonzero(positions >= self._written))
        return out
