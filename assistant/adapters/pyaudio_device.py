"""Microphone and speaker through PyAudio: the sound card of the machine.

Streams run in callback mode with buffers of 20 ms, as 16 kHz (24 kHz) mono when the device can do that, and else at
its own rate and channels, converted here. PortAudio says nothing when a device is lost: its callbacks just stop. So
each stream has a thread that looks five times a second whether they still come.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from assistant.adapters.device_choice import DeviceInfo, Direction
from assistant.adapters.portaudio import Callback, OpenStream, SoundSystemFrozen, list_devices, open_stream
from assistant.audio.ports import EndSink, FrameSink, PcmSource
from assistant.audio.resample import StreamResampler, spread_from_mono
from assistant.core.channels import ChannelChoice, ChannelPicker
from assistant.errors import DeviceError
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE, AudioFrame

__all__ = ["DeviceInfo", "PyAudioMicrophone", "PyAudioSpeaker", "SoundSystemFrozen", "list_devices"]

CHECK_S: Final = 0.2
LOST_AFTER: Final = 3
"""Checks in a row without a callback. Counted in checks: when the whole process stands still, so do they."""
FIRST_AFTER: Final = 10
"""The same before the first callback: a sound server may take its time to start."""

_CONTINUE, _ABORT = 0, 2  # paContinue, paAbort
_OVERFLOW = 2  # paInputOverflow
_BLOCK: Final = SPEAKER_RATE // 50

log = logging.getLogger(__name__)


class PyAudioMicrophone:
    """A :class:`~assistant.audio.ports.Microphone` on a PortAudio device.

    device: its name, a part of it in any case that fits no other, or ``usb:PORT``; None is the system's default.
    channel: which one is heard of a device that has two.
    """

    def __init__(self, device: str | None, channel: ChannelChoice = "auto") -> None:
        self._device = device
        self._channel = channel
        self._stream: _Stream | None = None
        self._picker: ChannelPicker | None = None

    @property
    def steady(self) -> bool:
        return True

    @property
    def fault(self) -> str | None:
        return self._picker.fault if self._stream and self._picker else None

    @property
    def description(self) -> str:
        return self._stream.device if self._stream else self._device or "default microphone"

    def start(self, on_frame: FrameSink, on_end: EndSink) -> None:
        self.stop()

        def make(rate: int, channels: int) -> _Capture:
            self._picker = ChannelPicker(rate, self._channel)
            return _Capture(rate, channels, self._picker, on_frame)

        self._stream = _Stream(Direction.INPUT, self._device, MIC_RATE, self._channels_wanted, make, on_end)

    def stop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _channels_wanted(self, device: DeviceInfo) -> tuple[int, ...]:
        """Both of two, since one of them may be dead. A sound server makes as many as are wanted; and hardware that is
        opened with one gives the first, which is the one that arrays of microphones have worked on."""
        both = self._channel != "auto" or device.card is None or device.inputs == 2
        return (2, 1, device.inputs) if both else (1, 2, device.inputs)


class PyAudioSpeaker:
    """A :class:`~assistant.audio.ports.Speaker` on a PortAudio device, chosen as for the microphone."""

    def __init__(self, device: str | None) -> None:
        self._device = device
        self._stream: _Stream | None = None
        self._playback: _Playback | None = None

    @property
    def description(self) -> str:
        return self._stream.device if self._stream else self._device or "default speaker"

    @property
    def latency(self) -> float:
        stream, playback = self._stream, self._playback
        return stream.output_latency + playback.held_back if stream and playback else 0.0

    def start(self, source: PcmSource, on_end: EndSink) -> None:
        self.stop()

        def make(rate: int, channels: int) -> _Playback:
            self._playback = _Playback(rate, channels, source)
            return self._playback

        def channels(device: DeviceInfo) -> tuple[int, ...]:
            return 1, 2, device.outputs

        self._stream = _Stream(Direction.OUTPUT, self._device, SPEAKER_RATE, channels, make, on_end)

    def stop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class _Stream:
    """One open stream and the thread that watches it."""

    def __init__(
        self,
        direction: Direction,
        name: str | None,
        rate: int,
        channels: Callable[[DeviceInfo], tuple[int, ...]],
        make: Callable[[int, int], _Capture | _Playback],
        on_end: EndSink,
    ) -> None:
        self._what = direction.value
        self._on_end = on_end
        self._lock = threading.RLock()  # held in the callback, so that nothing comes after close() returned
        self._closed = False
        self._ended = False
        self._callbacks = 0
        self._work: _Capture | _Playback | None = None
        self._done = threading.Event()
        self._open: OpenStream = open_stream(
            direction, name, rate, channels, lambda r, c: self._callback(make(r, c)), self._lose
        )
        self.device = self._open.device
        self.output_latency: float = self._open.stream.get_output_latency() if direction is Direction.OUTPUT else 0.0
        self._watcher = threading.Thread(target=self._watch, name=f"watch-{self._what}", daemon=True)
        self._watcher.start()

    def _callback(self, work: _Capture | _Playback) -> Callback:
        self._work = work  # of the format that was tried last, and that is the one which the device took

        def callback(data: Any, frames: int, _times: Any, status: int) -> tuple[bytes | None, int]:
            with self._lock:
                if self._closed or self._ended or self._work is None:
                    return None, _ABORT
                self._callbacks += 1
                try:
                    return self._work(data, frames, status), _CONTINUE
                except Exception:
                    # PyAudio would print it and raise it once more in the main thread, wherever that is just then.
                    log.exception("%s: the audio callback failed", self._what)
                    return None, _ABORT

        return callback

    def _watch(self) -> None:
        seen = 0
        quiet = 0
        while not self._done.wait(CHECK_S):
            quiet = 0 if self._callbacks != seen else quiet + 1
            seen = self._callbacks
            if not self._is_active():
                self._lose(
                    DeviceError(f"{self._what} {self.device!r}: lost; was it unplugged, or the sound server ended?")
                )
            elif quiet >= (LOST_AFTER if seen else FIRST_AFTER):
                self._lose(DeviceError(f"{self._what} {self.device!r}: no sound comes through any more"))

    def _is_active(self) -> bool:
        try:
            return bool(self._open.stream.is_active())
        except OSError:
            return False

    def _lose(self, error: DeviceError) -> None:
        """Report the end, once. Does not close: that is the owner's."""
        with self._lock:
            if self._closed or self._ended:
                return
            self._ended = True
        self._done.set()
        self._on_end(error)

    def close(self) -> None:
        """After this returns nothing is delivered. A device that hangs is left behind, with a line in the log."""
        with self._lock:
            self._closed = True
            self._work, self._on_end = None, _nobody  # or else a call that hangs would keep them to the very end
        self._done.set()
        if self._watcher is not threading.current_thread():
            self._watcher.join()
        try:
            self._open.close()
        except SoundSystemFrozen as error:
            log.error("%s %r: cannot be closed: %s", self._what, self.device, error)


def _nobody(_error: DeviceError | None) -> None:
    """Takes the place of an owner who has gone."""


class _Capture:
    """Turns what the device captures into frames."""

    def __init__(self, rate: int, channels: int, picker: ChannelPicker, on_frame: FrameSink) -> None:
        self._rate = rate
        self._channels = channels
        self._picker = picker
        self._on_frame = on_frame
        self._resampler = StreamResampler(rate, MIC_RATE)
        self._losses = LossEstimate(rate)
        self._pending = bytearray()
        self._start = 0

    def __call__(self, data: bytes, frames: int, status: int) -> None:
        now = time.monotonic()  # the clock of asyncio's loop.time() on Linux
        lost = self._losses.count(frames, now, overflow=bool(status & _OVERFLOW))
        self._start += round(lost * MIC_RATE / self._rate)
        block = np.frombuffer(data, "<i2").reshape(-1, self._channels)
        self._pending += self._resampler.feed(self._picker.pick(block).tobytes())
        while len(self._pending) >= FRAME_BYTES:
            frame = AudioFrame(self._start, bytes(self._pending[:FRAME_BYTES]), now)
            del self._pending[:FRAME_BYTES]
            self._start += FRAME_SAMPLES
            self._on_frame(frame)


class _Playback:
    """Turns what the source gives into what the device takes."""

    def __init__(self, rate: int, channels: int, source: PcmSource) -> None:
        self._rate = rate
        self._channels = channels
        self._source = source
        self._resampler = StreamResampler(SPEAKER_RATE, rate)
        self._pending = bytearray()
        self.held_back = 0.0
        """Seconds of sound in the converter, between the source and the device."""
        self._pulled = 0
        self._given = 0

    def __call__(self, _data: Any, frames: int, _status: int) -> bytes:
        if self._rate == SPEAKER_RATE:
            return spread_from_mono(self._source(frames), self._channels)
        while len(self._pending) < 2 * frames:
            self._pending += self._resampler.feed(self._source(_BLOCK))
            self._pulled += _BLOCK
        pcm = bytes(self._pending[: 2 * frames])
        del self._pending[: 2 * frames]
        self._given += frames
        self.held_back = self._pulled / SPEAKER_RATE - self._given / self._rate
        return spread_from_mono(pcm, self._channels)


class LossEstimate:
    """How many samples an input overflow has cost: PortAudio only tells that there was one.

    The clock says how many samples there should be by now. What is missing compared with the best moment of the last
    second (a late callback looks like a loss until the backlog is delivered) is lost. Right to about the jitter of the
    callbacks, and without overflows it counts nothing, so that jitter and drift never open a gap.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._began: float | None = None
        self._counted = 0
        self._missing: deque[float] = deque(maxlen=50)

    def count(self, samples: int, now: float, *, overflow: bool) -> int:
        """Take a buffer that came at ``now`` (seconds); give the number of samples lost before it."""
        if self._began is None:
            self._began = now - samples / self._rate
        self._counted += samples
        missing = (now - self._began) * self._rate - self._counted
        lost = 0
        if overflow and self._missing:
            lost = max(0, round(missing - min(self._missing)))
            self._counted += lost
            missing -= lost
        self._missing.append(missing)
        return lost
