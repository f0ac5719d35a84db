"""A simulated room: what a microphone hears of a loudspeaker, of people, and of the room itself.

::

    far end (24 kHz) -> loudspeaker (skew, tanh) -> delay, drift, 16 kHz -> impulse response, level -> (+) -> microphone
                                                                             people, noise ───────^

The same seed makes the same room and the same noise. It works frame by frame and hears what the speaker is given, so a
whole pipeline can run in it, ducking included; offline, it is fed in a loop. numpy only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.types import FRAME_MS, FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE, AudioFrame, ms_to_samples

Samples = npt.NDArray[np.int16]
_Floats = npt.NDArray[np.float64]

FAR_FRAME: Final = SPEAKER_RATE * FRAME_MS // 1000
"""Samples of the far end in one frame."""

REFERENCE_DBFS: Final = -20.0
"""Level of normal playback (RMS of its loud parts); ``echo_dbfs`` is what the microphone hears of it."""

_FULL_SCALE: Final = 32768.0
_HALF_TAPS: Final = 16  # of the interpolator, on each side
_PHASES: Final = 4096  # of the interpolator: the nearest one is wrong by -78 dB at 4 kHz
_MAX_GROWTH_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """A room, its loudspeaker and where the microphone stands.

    rt60_s: time in which reverberation falls by 60 dB.
    drr_db: energy of the direct sound over that of the reverberation.
    delay_ms: from the loudspeaker's input to the microphone's output, buffers of the sound card included.
    drive: how hard the loudspeaker saturates: tanh(drive * x) / drive; 0 is a perfect one.
    skew: how much more easily its cone moves out than in: skew * x * x is added before it saturates.
    drift_ppm: how much slower than the microphone's clock the loudspeaker's runs: the delay grows. Not negative.
    noise_dbfs: level of the room's own noise.
    echo_dbfs: level of the echo of playback at REFERENCE_DBFS.
    """

    name: str
    rt60_s: float = 0.3
    drr_db: float = 3.0
    delay_ms: float = 40.0
    drive: float = 0.0
    skew: float = 0.0
    drift_ppm: float = 0.0
    noise_dbfs: float = -66.0
    echo_dbfs: float = -30.0


DESK: Final = RoomSettings("desk", rt60_s=0.2, drr_db=6.0, delay_ms=25.0)
KITCHEN: Final = RoomSettings(
    "kitchen", rt60_s=0.4, drr_db=0.0, delay_ms=70.0, drive=1.5, drift_ppm=20.0, noise_dbfs=-60
)
HALL: Final = RoomSettings("hall", rt60_s=0.8, drr_db=-6.0, delay_ms=160.0, drive=4.0, drift_ppm=100.0, noise_dbfs=-54)
ROOMS: Final = (DESK, KITCHEN, HALL)
"""From easy to cruel."""


class SimulatedRoom:
    """One room, from silence on. One thread at a time."""

    def __init__(self, settings: RoomSettings, seed: int = 0) -> None:
        self.settings = settings
        self._random = np.random.default_rng(seed)
        self._speaker = _Loudspeaker(settings)
        response = impulse_response(settings, self._random)
        self._echo = _Convolver(response * 10 ** ((settings.echo_dbfs - REFERENCE_DBFS) / 20))
        self._noise = 10 ** (settings.noise_dbfs / 20)
        self._near = np.zeros(0)

    def say(self, speech: Samples) -> None:
        """Somebody says ``speech`` (16 kHz), from the next frame on; over whoever speaks already."""
        voice = speech.astype(np.float64) / _FULL_SCALE
        size = max(voice.size, self._near.size)
        self._near = np.pad(self._near, (0, size - self._near.size)) + np.pad(voice, (0, size - voice.size))

    def shift(self, ms: float) -> None:
        """Let the delay jump by so much from now on, as when a sound card drops or repeats a buffer.

        Raises ValueError if the delay would be less than 1 ms or grow by more than a second.
        """
        self._speaker.shift(ms)

    def hear(self, far: bytes) -> bytes:
        """Play 20 ms at 24 kHz and hear the 20 ms at 16 kHz that the microphone captures meanwhile.

        Raises ValueError for any other length.
        """
        if len(far) != FAR_FRAME * 2:
            raise ValueError(f"a room is played frames of {FAR_FRAME * 2} bytes, not of {len(far)}")
        echo = self._echo.feed(self._speaker.feed(np.frombuffer(far, "<i2").astype(np.float64) / _FULL_SCALE))
        near, self._near = self._near[:FRAME_SAMPLES], self._near[FRAME_SAMPLES:]
        sound = echo + self._random.normal(0.0, self._noise, FRAME_SAMPLES)
        sound[: near.size] += near
        return np.clip(np.rint(sound * _FULL_SCALE), -32768, 32767).astype("<i2").tobytes()


class TwoClocks:
    """A room as the daemon meets it: speaker and microphone each have a clock, and say a little late what they did.

    Time is the microphone's. The speaker pulls 20 ms whenever its own clock says so: with drift, less and less often
    than there are frames.
    """

    LATENCY_S: Final = 0.08  # of the speaker

    def __init__(
        self,
        settings: RoomSettings,
        played: Callable[[bytes, float, float], None],
        *,
        late_s: float = 0.004,
        seed: int = 0,
    ) -> None:
        """played: told what the speaker pulled, when, and its latency. late_s: how late to say so, at most."""
        self.room = SimulatedRoom(replace(settings, delay_ms=settings.delay_ms + self.LATENCY_S * 1000), seed)
        self._played = played
        self._late_s = late_s
        self._random = np.random.default_rng(seed)
        self._pull_s = FRAME_MS / 1000 / (1 - settings.drift_ppm * 1e-6)
        self._far: deque[bytes] = deque()  # not pulled yet
        self._pulls = 0
        self._frames = 0

    def hear(self, far: bytes) -> AudioFrame:
        """Play the next 20 ms of an endless stream, and hear what is captured meanwhile, as by the room."""
        self._far.append(far)
        end_s = (self._frames + 1) * FRAME_MS / 1000
        while self._far and (pulled_s := self._pulls * self._pull_s) < end_s:
            self._played(self._far.popleft(), self._said_at(pulled_s), self.LATENCY_S)
            self._pulls += 1
        frame = AudioFrame(self._frames * FRAME_SAMPLES, self.room.hear(far), self._said_at(end_s))
        self._frames += 1
        return frame

    def _said_at(self, seconds: float) -> float:
        return seconds + self._random.uniform(0, self._late_s)


def impulse_response(settings: RoomSettings, random: np.random.Generator) -> _Floats:
    """16 kHz, energy 1: the direct sound, then noise that decays as the room does."""
    tail = random.normal(size=max(1, round(settings.rt60_s * MIC_RATE)))
    tail *= 10 ** (-3 * np.arange(tail.size) / tail.size)  # 60 dB over its length
    tail[: ms_to_samples(1, MIC_RATE)] = 0.0  # the first reflection comes from somewhere
    tail *= 10 ** (-settings.drr_db / 20) / np.sqrt(np.sum(tail**2))
    response = np.concatenate(([1.0], tail))
    normal: _Floats = response / np.sqrt(np.sum(response**2))
    return normal


class _Loudspeaker:
    """Saturates, and goes late from its own 24 kHz to the microphone's 16 kHz, by windowed-sinc interpolation."""

    def __init__(self, settings: RoomSettings) -> None:
        if settings.drift_ppm < 0 or settings.delay_ms < 1:
            raise ValueError(f"room {settings.name}: drift must not be negative, and the delay at least 1 ms")
        self._drive, self._skew = settings.drive, settings.skew
        self._step = SPEAKER_RATE / MIC_RATE * (1 - settings.drift_ppm * 1e-6)
        self._buffer = np.zeros(ms_to_samples(settings.delay_ms + 2 * _MAX_GROWTH_MS, SPEAKER_RATE))
        self._end = 0  # position one past the buffer's last sample
        self._next = -settings.delay_ms * SPEAKER_RATE / 1000  # position that the microphone hears next
        self._growth_ms = 0.0
        self._delay_ms = settings.delay_ms

    def shift(self, ms: float) -> None:
        self._growth_ms += ms
        if not 1 - self._delay_ms <= self._growth_ms <= _MAX_GROWTH_MS:
            raise ValueError(f"the delay cannot change by {self._growth_ms:g} ms")
        self._next -= ms * SPEAKER_RATE / 1000

    def feed(self, far: _Floats) -> _Floats:
        uneven = far + self._skew * far**2
        played = np.tanh(self._drive * uneven) / self._drive if self._drive else uneven
        self._buffer = np.concatenate((self._buffer[far.size :], played))
        self._end += far.size
        phases = np.rint((self._next + self._step * np.arange(FRAME_SAMPLES)) * _PHASES).astype(int)
        self._next += self._step * FRAME_SAMPLES
        taps = (phases // _PHASES)[:, None] + np.arange(-_HALF_TAPS + 1, _HALF_TAPS + 1)
        index = np.clip(taps - self._end + self._buffer.size, 0, self._buffer.size - 1)
        heard: _Floats = np.einsum("ij,ij->i", self._buffer[index], _interpolator()[phases % _PHASES])
        return heard


@cache
def _interpolator() -> _Floats:
    """The taps for each phase between two samples, cut off at the microphone's Nyquist frequency, 2/3 of 12 kHz."""
    distance = np.arange(_PHASES)[:, None] / _PHASES - np.arange(-_HALF_TAPS + 1, _HALF_TAPS + 1)
    taps: _Floats = np.sinc(distance * 2 / 3) * (2 / 3) * np.cos(np.pi * distance / (2 * _HALF_TAPS)) ** 2
    return taps


class _Convolver:
    """Overlap-save convolution, one frame at a time."""

    def __init__(self, response: _Floats) -> None:
        self._size = 1 << (response.size + FRAME_SAMPLES - 1).bit_length()
        self._spectrum = np.fft.rfft(response, self._size)
        self._past = np.zeros(self._size)

    def feed(self, samples: _Floats) -> _Floats:
        self._past = np.concatenate((self._past[samples.size :], samples))
        whole: _Floats = np.fft.irfft(np.fft.rfft(self._past) * self._spectrum, self._size)
        return whole[-samples.size :]
