"""A linear echo canceller: it subtracts what a filter makes of the reference, and nothing else.

What is left of the assistant's own voice is more than WebRTC's AEC3 leaves, since a filter cannot follow a loudspeaker
that distorts. But whoever speaks into it stays as they are, while AEC3 removes most of a talker who is 10 dB below the
echo. So this is for what listens for words: docs/echo.md has the numbers.

The filter is a Kalman filter for each frequency, in partitions of one frame (F. Kuech, E. Mabande, G. Enzner:
"State-space architecture of the partitioned-block-based acoustic echo controller", ICASSP 2014). It knows how unsure it
is of the room, and compares that with what it cannot explain; so a talker does not lead it astray, without anybody
having to tell it that somebody talks.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.types import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE

PARTITIONS: Final = 24
"""Length of the filter in frames: 480 ms hold the delay of the echo and the first part of its reverberation."""

_STAY: Final = 0.996
"""Of the filter's energy, what is taken to hold for the next frame: rooms and clocks drift."""
_NEAR_SMOOTHING: Final = 0.8  # of the power of what the filter does not explain
_UNEXPLAINED: Final = 0.5
"""How much of that counts as somebody else's. Less than all: some of it is echo that is not known yet."""
_CONSTRAINED: Final = 6  # partitions in each frame that are cut to their length: all of them would double the CPU
_FIRST_FRAMES: Final = 15  # of playback, that tell how loud the echo is
_AUDIBLE: Final = 10 ** (-50 / 10)  # power of a frame of reference that counts for that
_LOUDER: Final = 1.5
"""A filter that makes the microphone louder than this is of another room. Power, over the latest frames."""
_LATEST_FRAMES: Final = 20

_FULL_SCALE: Final = 32768.0
_Floats = npt.NDArray[np.float32]
_Complex = npt.NDArray[np.complex64]


class LinearCanceller:
    """An :class:`~assistant.audio.ports.EchoCanceller` without delay. One thread at a time."""

    def __init__(self) -> None:
        self._to_mic_rate = _Downsampler()
        self.reset()

    def reset(self) -> None:
        """Forget the room."""
        bins = FRAME_SAMPLES + 1
        self._to_mic_rate.reset()
        self._last = np.zeros(FRAME_SAMPLES, np.float32)  # frame of reference
        self._far: _Complex = np.zeros((PARTITIONS, bins), np.complex64)  # spectra of the reference, newest first
        self._near: _Floats = np.full(bins, 1e-3, np.float32)  # power spectrum of what the filter does not explain
        self._turn = 0
        self._forget_filter()

    def _forget_filter(self) -> None:
        self._filter: _Complex = np.zeros_like(self._far)
        self._doubt: _Floats = np.zeros(self._far.shape, np.float32)  # variance of each coefficient
        self._heard_power = self._far_power = 0.0  # of the first frames
        self._first_frames = 0
        self._powers: deque[tuple[float, float]] = deque(maxlen=_LATEST_FRAMES)  # before and after

    def process(self, mic_frame: bytes, reference: bytes) -> bytes:
        """One frame of the microphone without the echo of what was played, at once.

        mic_frame: 20 ms at 16 kHz. reference: the 20 ms that the speaker was given, at 24 or 16 kHz. Call this for
        every frame, or for none. Raises ValueError for other lengths.
        """
        if len(mic_frame) != FRAME_BYTES:
            raise ValueError(f"echo cancellation takes {FRAME_MS} ms of 16 kHz, not {len(mic_frame)} bytes")
        heard = _floats(mic_frame)
        self._push(self._to_mic_rate.feed(_floats(reference)))
        if not heard.any():  # a frame that was lost: there is nothing to learn from
            return mic_frame
        echo = np.fft.irfft((self._far * self._filter).sum(0))[FRAME_SAMPLES:].astype(np.float32)
        left = heard - echo
        self._learn(left)
        if self._harms(heard, left):
            return mic_frame
        pcm: bytes = np.clip(np.rint(left * _FULL_SCALE), -32768, 32767).astype("<i2").tobytes()
        return pcm

    def _push(self, far: _Floats) -> None:
        """Take the next frame of reference; frames overlap by half for the Fourier transform."""
        self._far[1:] = self._far[:-1]
        self._far[0] = np.fft.rfft(np.concatenate((self._last, far)))
        self._last = far

    def _learn(self, left: _Floats) -> None:
        error = np.fft.rfft(np.concatenate((np.zeros(FRAME_SAMPLES, np.float32), left))).astype(np.complex64)
        far_power = self._far.real**2 + self._far.imag**2
        error_power = error.real**2 + error.imag**2
        self._near = _NEAR_SMOOTHING * self._near + (1 - _NEAR_SMOOTHING) * error_power
        if self._first_frames < _FIRST_FRAMES:
            self._guess(left)
            return
        unexplained = 0.5 * (far_power * self._doubt).sum(0) + _UNEXPLAINED * self._near + 1e-6
        gain = self._doubt / unexplained
        self._filter += gain * self._far.conj() * error
        filter_power = self._filter.real**2 + self._filter.imag**2
        self._doubt *= 1 - 0.5 * gain * far_power
        self._doubt *= _STAY
        self._doubt += (1 - _STAY) * filter_power
        self._constrain()

    def _guess(self, heard: _Floats) -> None:
        """How strong the echo is says how unsure one must be of a filter of zeros."""
        power = float(self._last @ self._last) / FRAME_SAMPLES
        if power < _AUDIBLE:
            return
        self._far_power += power
        self._heard_power += float(heard @ heard) / FRAME_SAMPLES
        self._first_frames += 1
        if self._first_frames == _FIRST_FRAMES:
            self._doubt[:] = 2 * self._heard_power / self._far_power / PARTITIONS

    def _constrain(self) -> None:
        """A partition is one frame long in time: what lies beyond is an artefact of the circular convolution."""
        part = slice(self._turn, self._turn + _CONSTRAINED)
        self._turn = (self._turn + _CONSTRAINED) % PARTITIONS
        response = np.fft.irfft(self._filter[part], axis=1)
        response[:, FRAME_SAMPLES:] = 0
        self._filter[part] = np.fft.rfft(response, axis=1)

    def _harms(self, heard: _Floats, left: _Floats) -> bool:
        """Whether the filter adds more than it takes away; then it is forgotten."""
        self._powers.append((float(heard @ heard), float(left @ left)))
        before, after = (sum(powers) for powers in zip(*self._powers, strict=True))
        if len(self._powers) < _LATEST_FRAMES or after <= _LOUDER * before:
            return False
        self._forget_filter()
        return True


class _Downsampler:
    """24 to 16 kHz in frames of 20 ms, half a millisecond late. What is at 16 kHz already passes."""

    _HALF: Final = 12  # taps on each side

    def __init__(self) -> None:
        # Every third sample at 24 kHz is a sample at 16 kHz; the one after it lies in the middle between two.
        self._taps = [self._sinc(shift) for shift in (0.0, 0.5)]
        self.reset()

    def reset(self) -> None:
        self._past = np.zeros(2 * self._HALF + 2, np.float32)

    def _sinc(self, shift: float) -> _Floats:
        at = np.arange(-self._HALF, self._HALF + 1) - shift
        window = np.cos(np.pi * at / (2 * (self._HALF + 1))) ** 2
        taps: _Floats = (np.sinc(at * 2 / 3) * 2 / 3 * window).astype(np.float32)[::-1]
        return taps

    def feed(self, samples: _Floats) -> _Floats:
        if samples.size == FRAME_SAMPLES:
            return samples
        if samples.size != SPEAKER_RATE * FRAME_MS // 1000:
            rates = f"{MIC_RATE} or {SPEAKER_RATE} Hz"
            raise ValueError(f"a reference is {FRAME_MS} ms at {rates}, not {samples.size * 2} bytes")
        whole = np.concatenate((self._past, samples))
        self._past = whole[-self._past.size :]
        out = np.empty(FRAME_SAMPLES, np.float32)
        for offset, taps in enumerate(self._taps):
            out[offset::2] = np.convolve(whole, taps, "valid")[offset::3][: FRAME_SAMPLES // 2]
        return out


def _floats(pcm: bytes) -> _Floats:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(_FULL_SCALE)
