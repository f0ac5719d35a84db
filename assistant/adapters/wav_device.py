"""Microphone and speaker that are WAV files: for tests, for the command line, and for machines without a sound card.

The microphone reads a file in step with the event loop's clock, or a pipe in step with whoever writes it. The speaker
records what is played, silence included, as a room would hear it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from assistant.audio.ports import EndSink, FrameSink, PcmSource
from assistant.audio.resample import StreamResampler
from assistant.audio.wav import WavError, WavParser, wav_header
from assistant.core.channels import ChannelChoice, ChannelPicker
from assistant.errors import DeviceError
from assistant.types import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE, AudioFrame

_TICK: Final = FRAME_MS / 1000
_BLOCK: Final = SPEAKER_RATE * FRAME_MS // 1000
_READ_BYTES: Final = 16_384


class WavMicrophone:
    """A :class:`~assistant.audio.ports.Microphone` that hears a WAV file (16-bit PCM, any rate and channels).

    A regular file is heard in the time of ``loop``: frame n comes at start + (n + 1) * 20 ms, without drift, so under
    a virtual clock it takes no time at all. ``paced=False`` gives one frame per turn of the loop. The last frame is
    filled up with silence, and then the stream ends with ``on_end(None)``.

    A FIFO, or "-" for standard input, is read on a thread and heard as it comes: its writer sets the pace. Opening it
    waits for nobody, and ``stop`` does not wait for the writer. An unreadable header ends the stream with an error.

    channel: which one of a stereo recording is heard.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        loop: asyncio.AbstractEventLoop,
        paced: bool = True,
        channel: ChannelChoice = "auto",
    ) -> None:
        self._path = str(path)
        self._channel = channel
        self._loop = loop
        self._paced = paced
        self._stream: _FileStream | _PipeStream | None = None
        self._frames: _Frames | None = None

    @property
    def description(self) -> str:
        return "standard input" if self._path == "-" else f"wav:{self._path}"

    @property
    def steady(self) -> bool:
        return not isinstance(self._stream, _PipeStream)

    @property
    def fault(self) -> str | None:
        return self._frames.fault if self._stream and self._frames else None

    def start(self, on_frame: FrameSink, on_end: EndSink) -> None:
        self.stop()
        self._frames = frames = _Frames(self.description, on_frame, on_end, self._loop.time, self._channel)
        try:
            # Without O_NONBLOCK the open of a FIFO would wait for its writer. A duplicate of standard input stays as it
            # is, since the flag would be set for everybody who shares it.
            fd = os.dup(0) if self._path == "-" else os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(f"microphone {self.description}: {_reason(error)}") from error
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            os.close(fd)
            raise DeviceError(f"microphone {self.description}: is a folder, not a WAV file")
        if stat.S_ISREG(mode):
            self._stream = _FileStream(fd, frames, self._loop, self._paced)
        else:
            self._stream = _PipeStream(fd, frames)

    def stop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.stop()


class _Frames:
    """WAV bytes in, frames out; and silence for good once closed, whatever thread that happens on."""

    def __init__(
        self, name: str, on_frame: FrameSink, on_end: EndSink, now: Callable[[], float], channel: ChannelChoice
    ) -> None:
        self._name = name
        self._channel = channel
        self._on_frame = on_frame
        self._on_end = on_end
        self._now = now
        self._parser = WavParser()
        self._picker: ChannelPicker | None = None
        self._resampler: StreamResampler | None = None
        self._pcm = bytearray()  # 16 kHz mono
        self._start = 0
        self._over = False  # no more input
        self._lock = threading.RLock()  # held while delivering, so that no frame comes after close() returned
        self._closed = False

    def feed(self, data: bytes) -> None:
        """Take bytes of the file; none means that it has ended. Raises DeviceError if it is no WAV for us."""
        try:
            samples = self._parser.feed(data)
            if not data:
                self._parser.close()
        except WavError as error:
            raise DeviceError(f"microphone {self._name}: {error}") from error
        wav = self._parser.format
        if wav is None:
            return
        if self._picker is None or self._resampler is None:
            self._picker = ChannelPicker(wav.rate, self._channel)
            self._resampler = StreamResampler(wav.rate, MIC_RATE)
        block = np.frombuffer(samples, "<i2").reshape(-1, wav.channels)
        self._pcm += self._resampler.feed(self._picker.pick(block).tobytes())
        if not self._over and (not data or self._parser.at_end):
            self._over = True
            self._pcm += self._resampler.flush()
            self._pcm += bytes(-len(self._pcm) % FRAME_BYTES)

    @property
    def fault(self) -> str | None:
        return self._picker.fault if self._picker else None

    @property
    def ready(self) -> bool:
        """A frame can be delivered, or the end."""
        return self._over or len(self._pcm) >= FRAME_BYTES

    def deliver(self) -> bool:
        """Deliver one frame, and the end after the last one. False once there is nothing more to deliver."""
        with self._lock:
            if self._closed:
                return False
            if len(self._pcm) >= FRAME_BYTES:
                frame = AudioFrame(self._start, bytes(self._pcm[:FRAME_BYTES]), self._now())
                del self._pcm[:FRAME_BYTES]
                self._start += FRAME_SAMPLES
                self._on_frame(frame)
            if self._over and not self._pcm:
                self.end(None)
            return not self._closed

    def end(self, error: DeviceError | None) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._on_end(error)

    def close(self) -> None:
        with self._lock:
            self._closed = True


class _FileStream:
    """Delivers a regular file on the event loop."""

    def __init__(self, fd: int, frames: _Frames, loop: asyncio.AbstractEventLoop, paced: bool) -> None:
        self._file = os.fdopen(fd, "rb")
        self._frames = frames
        self._loop = loop
        self._paced = paced
        self._began = loop.time()
        self._delivered = 0
        self._stopped = False
        try:
            self._read()  # so that a file which is no WAV is refused by start()
        except BaseException:
            self._file.close()
            raise
        loop.call_soon_threadsafe(self._next)

    def stop(self) -> None:
        self._stopped = True
        self._frames.close()
        self._file.close()

    def _read(self) -> None:
        try:
            while not self._frames.ready:
                self._frames.feed(self._file.read(_READ_BYTES))
        except OSError as error:
            raise DeviceError(f"microphone: the file cannot be read: {_reason(error)}") from error

    def _next(self) -> None:
        """Wait for the end of the next frame."""
        if self._stopped:
            return
        if self._paced:
            self._loop.call_at(self._began + (self._delivered + 1) * _TICK, self._deliver)
        else:
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        if self._stopped:
            return
        try:
            self._read()
        except DeviceError as error:
            self._frames.end(error)
        if self._frames.deliver() and not self._stopped:
            self._delivered += 1
            self._next()
        else:
            self._file.close()


class _PipeStream:
    """Delivers what comes through a pipe, on a thread of its own."""

    def __init__(self, fd: int, frames: _Frames) -> None:
        self._fd = fd
        self._frames = frames
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="wav-pipe", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._frames.close()
        if self._wake_write >= 0:
            os.close(self._wake_write)
            self._wake_write = -1
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._pump()
        except DeviceError as error:
            self._frames.end(error)
        except OSError as error:
            self._frames.end(DeviceError(f"microphone: the pipe cannot be read: {_reason(error)}"))
        finally:
            os.close(self._fd)
            os.close(self._wake_read)

    def _pump(self) -> None:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        while True:
            # A FIFO that nobody has opened for writing yet is simply not ready; "hung up" comes after the last writer.
            ready = dict(poller.poll())
            if self._wake_read in ready:
                return
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                continue
            self._frames.feed(data)
            while self._frames.ready:
                if not self._frames.deliver():
                    return


class WavSpeaker:
    """A :class:`~assistant.audio.ports.Speaker` that records into a WAV file, or plays to nobody (``path=None``).

    It pulls 20 ms every 20 ms of the loop's clock, so the file is a continuous record from ``start`` on. With
    ``available`` (how many samples can be pulled before silence, such as ``Player.available``) it pulls just that, as
    fast as the loop turns, and leaves silence out. The header is right at least once a second and after ``stop``: a
    killed process leaves a readable file. A second start goes on where the first one ended.
    """

    latency: float = 0.0

    def __init__(
        self,
        path: str | Path | None,
        *,
        loop: asyncio.AbstractEventLoop,
        available: Callable[[], int] | None = None,
    ) -> None:
        self._path = None if path is None else Path(path)
        self._loop = loop
        self._available = available
        self._lock = threading.RLock()  # held while pulling, so that the source is left alone after stop()
        self._file: BinaryIO | None = None
        self._written = 0  # bytes of samples in the file
        self._run = 0  # counts starts: timers of an earlier one find that they are out of date
        self._running = False

    @property
    def description(self) -> str:
        return "none" if self._path is None else f"wav:{self._path}"

    def start(self, source: PcmSource, on_end: EndSink) -> None:
        self.stop()
        if self._path is not None:
            try:
                self._open(self._path)
            except OSError as error:
                raise DeviceError(f"speaker {self.description}: {_reason(error)}") from error
        self._run += 1
        self._running = True
        pull = self._pull_in_time if self._available is None else self._pull_available
        self._loop.call_soon_threadsafe(pull, self._run, self._loop.time(), source, on_end)

    def stop(self) -> None:
        with self._lock:
            self._running = False
            file, self._file = self._file, None
            if file is not None:
                with contextlib.suppress(OSError), file:  # a full disk was reported when it was written to
                    self._write_header(file)

    def _open(self, path: Path) -> None:
        goes_on = self._run > 0 and path.exists()
        # "x" and "r+" would refuse a FIFO or a device as "w" does not; writing to those would block the loop.
        if path.exists() and not path.is_file():
            raise OSError(None, "is not a regular file")
        self._file = path.open("r+b" if goes_on else "wb")
        if goes_on:
            self._file.seek(0, os.SEEK_END)
        else:
            self._written = 0
            self._file.write(wav_header(SPEAKER_RATE, 0))
        self._file.flush()

    def _write_header(self, file: BinaryIO) -> None:
        end = file.tell()
        file.seek(0)
        file.write(wav_header(SPEAKER_RATE, self._written))
        file.seek(end)
        file.flush()

    def _pull_in_time(self, run: int, due: float, source: PcmSource, on_end: EndSink) -> None:
        if self._pull(run, _BLOCK, source, on_end):
            due += _TICK
            self._loop.call_at(due, self._pull_in_time, run, due, source, on_end)

    def _pull_available(self, run: int, due: float, source: PcmSource, on_end: EndSink) -> None:
        assert self._available is not None
        samples = min(self._available(), _BLOCK)
        if self._pull(run, samples, source, on_end):
            # Nobody tells us that there is something to play again, so look as often as a device would ask.
            self._loop.call_later(0 if samples else _TICK, self._pull_available, run, due, source, on_end)

    def _pull(self, run: int, samples: int, source: PcmSource, on_end: EndSink) -> bool:
        """Pull and record. False if this stream is over."""
        with self._lock:
            if not self._running or run != self._run:
                return False
            pcm = source(samples) if samples else b""
            if self._file is None:
                return True
            second = self._written // (2 * SPEAKER_RATE)
            self._written += len(pcm)
            try:
                self._file.write(pcm)
                if self._written // (2 * SPEAKER_RATE) != second:
                    self._write_header(self._file)
            except OSError as error:
                self.stop()
                on_end(DeviceError(f"speaker {self.description}: {_reason(error)}"))
                return False
            return True


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
