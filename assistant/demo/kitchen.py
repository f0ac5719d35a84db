"""The room: noise all the time, and people who say something when they are told to.

What the room sounds like goes, in real time, into a pipe that the daemon reads as its WAV microphone, and into
``room.wav``.
"""

from __future__ import annotations

import asyncio
import os
import struct
import threading
import time
import wave
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.audio.resample import StreamResampler
from assistant.local.voice import Voice
from assistant.types import FRAME_MS, FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE

NOISE_DBFS: Final = -52.0
SPEECH_DBFS: Final = -20.0
_AUDIBLE: Final = 0.02  # of full scale; where speech begins and ends
_OPEN_RETRY: Final = 0.05

Samples = npt.NDArray[np.int16]


@dataclass(slots=True)
class Utterance:
    """Something said in the room. Times are on the monotonic clock, and say when it was heard."""

    text: str
    samples: Samples
    begins: float = 0.0
    ends: float = 0.0


class Person:
    """Somebody with a voice of espeak-ng."""

    def __init__(self, voice: str = "en-us+f2", speed: int = 165) -> None:
        self._voice = Voice(voice, speed)

    def utter(self, text: str) -> Utterance:
        """``text`` as 16 kHz samples without silence around them, at a normal level."""
        resampler = StreamResampler(SPEAKER_RATE, MIC_RATE)
        pcm = b"".join(resampler.feed(chunk) for chunk in self._voice.speak(text)) + resampler.flush()
        samples = np.frombuffer(pcm, dtype=np.int16).astype(np.float64) / 32768
        audible = np.flatnonzero(np.abs(samples) > _AUDIBLE)
        samples = samples[audible[0] : audible[-1] + 1]
        loud = samples[np.abs(samples) > _AUDIBLE]
        samples *= 10 ** (SPEECH_DBFS / 20) / np.sqrt(np.mean(loud**2))
        return Utterance(text, np.clip(np.round(samples * 32767), -32768, 32767).astype(np.int16))


class Kitchen:
    """Owns the pipe, ``room.wav`` and the thread that fills both. Use it as a context manager."""

    def __init__(self, pipe: Path, recording: Path, seed: int = 7) -> None:
        self._pipe = pipe
        self._recording = recording
        self._random = np.random.default_rng(seed)
        self._waiting: deque[tuple[Utterance, asyncio.Future[Utterance], asyncio.AbstractEventLoop]] = deque()
        self._closing = threading.Event()
        self._silent = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="kitchen", daemon=True)

    def __enter__(self) -> Kitchen:
        self._pipe.unlink(missing_ok=True)
        os.mkfifo(self._pipe, 0o600)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(5)
        self._pipe.unlink(missing_ok=True)

    async def say(self, utterance: Utterance) -> Utterance:
        """Say it now; returns when it has been heard."""
        loop = asyncio.get_running_loop()
        said: asyncio.Future[Utterance] = loop.create_future()
        self._waiting.append((utterance, said, loop))
        return await said

    def silence(self) -> None:
        """Make no sound any more, not even noise, and keep the pipe open: what a frozen sound server does."""
        self._silent.set()

    def _fill(self) -> None:
        descriptor = self._open()
        if descriptor is None:
            return
        with os.fdopen(descriptor, "wb", buffering=0) as pipe, wave.open(str(self._recording), "wb") as recording:
            recording.setnchannels(1)
            recording.setsampwidth(2)
            recording.setframerate(MIC_RATE)
            try:
                pipe.write(_streaming_header())
                self._make_sound(pipe.write, recording.writeframesraw)
            except BrokenPipeError:
                pass  # the daemon has ended

    def _open(self) -> int | None:
        while not self._closing.is_set():
            try:
                descriptor = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                time.sleep(_OPEN_RETRY)  # nobody reads yet
                continue
            os.set_blocking(descriptor, True)
            return descriptor
        return None

    def _make_sound(self, *sinks: object) -> None:
        began = time.monotonic()
        frame_number = 0
        speaking: tuple[Utterance, asyncio.Future[Utterance], asyncio.AbstractEventLoop] | None = None
        position = 0
        while not self._closing.is_set():
            sound = self._random.normal(0, 10 ** (NOISE_DBFS / 20) * 32768, FRAME_SAMPLES)
            # A frame is heard when it is complete: its first sample was made one frame earlier.
            heard_at = began + (frame_number + 1) * FRAME_MS / 1000
            if speaking is None and self._waiting:
                speaking, position = self._waiting.popleft(), 0
                speaking[0].begins = heard_at - FRAME_MS / 1000
            if speaking is not None:
                utterance, said, loop = speaking
                part = utterance.samples[position : position + FRAME_SAMPLES]
                sound[: part.size] += part
                position += FRAME_SAMPLES
                if position >= utterance.samples.size:
                    utterance.ends = utterance.begins + utterance.samples.size / MIC_RATE
                    loop.call_soon_threadsafe(_tell, said, utterance)
                    speaking = None
            time.sleep(max(0.0, heard_at - time.monotonic()))
            frame_number += 1
            if self._silent.is_set():
                continue
            frame = np.clip(sound, -32768, 32767).astype("<i2").tobytes()
            for sink in sinks:
                sink(frame)  # type: ignore[operator]


def _tell(said: asyncio.Future[Utterance], utterance: Utterance) -> None:
    if not said.done():
        said.set_result(utterance)


def _streaming_header() -> bytes:
    """A WAV header whose length is not known yet, as sox and arecord write it into a pipe."""
    unknown = 0xFFFFFFFF
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", unknown, b"WAVE", b"fmt ", 16, 1, 1, MIC_RATE, MIC_RATE * 2, 2, 16, b"data", unknown),
    )
