"""An echo canceller that subtracts what a model of loudspeaker and room makes of the reference, and nothing else.

What is left of the assistant's own voice is more than WebRTC's AEC3 leaves. But whoever speaks into it stays as they
are, while AEC3 removes most of a talker who is 10 dB below the echo. So this is for what listens for words, and for
noticing that somebody speaks: docs/echo.md has the numbers.

::

    reference x ── x + a x(|x| - b) ── filter, moved on by the drift each frame ──> echo
                   loudspeaker         room

- **Room**: a Kalman filter for each frequency, in partitions of one frame (F. Kuech, E. Mabande, G. Enzner:
  "State-space architecture of the partitioned-block-based acoustic echo controller", ICASSP 2014). It knows how unsure
  it is of the room, and compares that with what it cannot explain; so a talker does not lead it astray, without anybody
  having to tell it that somebody talks.
- **Loudspeaker**: a small one gives less than twice the sound for twice the signal. One number, a, says how much, found
  by least squares; b makes what it stands for unlike x itself, of which the filter takes care (A. Stenger, W.
  Kellermann: "Adaptation of a memoryless preprocessor for nonlinear acoustic echo cancelling", Signal Processing 80,
  2000). A filter alone removes at most 11 dB of what the cruellest simulated loudspeaker makes of speech.
- **Drift**: microphone and loudspeaker have clocks of their own, so the room comes a little later with each frame. A
  filter that has to learn this anew all the time is lost at high frequencies: at 4 kHz, 100 ppm turn the phase by 2.5
  rad in a second. So the drift is measured, and the whole filter is moved on by it; and back again when the reference,
  which follows the clocks a sample at a time, says that it was moved (:meth:`LinearCanceller.move`).
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.types import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE

PARTITIONS: Final = 24
"""Length of the filter in frames: 480 ms hold the delay of the echo and the first part of its reverberation."""

_STAY: Final = 0.998
"""Of the filter's energy, what is taken to hold for the next frame: people move about."""
_NEAR_SMOOTHING: Final = 0.9  # of the power of what the filter does not explain
_UNEXPLAINED: Final = 0.4
"""How much of that counts as somebody else's. Less than all: some of it is echo that is not known yet."""
_CONSTRAINED: Final = 8  # partitions in each frame that are cut to their length: all of them would double the CPU
_FIRST_FRAMES: Final = 15  # of playback, that tell how loud the echo is
_AUDIBLE: Final = 10 ** (-50 / 10)
"""Power of a frame of reference that counts for that; and of what a filter leaves that does harm."""
_LOUDER: Final = 1.1
"""A filter that makes the microphone louder than this is of another room, or of another delay. Power, over the latest
frames."""
_LATEST_FRAMES: Final = 20

_MAX_DRIFT: Final = 0.1  # samples in a frame: 312 ppm
_DRIFT_STEP: Final = 0.005  # of what a frame says about the drift: it stays the same for hours
_MEMORY: Final = 0.995  # of what earlier frames say about the loudspeaker: four seconds
_LEAST_SAID: Final = 1e-3  # about the loudspeaker, so that silence says nothing
_LEVEL_MEMORY: Final = 0.98  # of how loud playback is: one second of it

_FULL_SCALE: Final = 32768.0
_Floats = npt.NDArray[np.float32]
_Complex = npt.NDArray[np.complex64]

_BINS: Final = FRAME_SAMPLES + 1
_LATER: Final[_Complex] = (-2j * np.pi * np.arange(_BINS) / (2 * FRAME_SAMPLES)).astype(np.complex64)
"""What differentiates a spectrum by the time, in samples, that a sound is late."""


class LinearCanceller:
    """An :class:`~assistant.audio.ports.EchoCanceller` without delay. One thread at a time."""

    def __init__(self) -> None:
        self._to_mic_rate = Downsampler()
        self.reset()

    def reset(self) -> None:
        """Forget the room."""
        self._to_mic_rate.reset()
        self._last: _Floats = np.zeros((2, 2 * FRAME_SAMPLES), np.float32)  # of the reference: x, and x(|x| - b)
        self._far: _Complex = np.zeros((PARTITIONS, _BINS), np.complex64)  # spectra of what sounds, newest first
        self._bent: _Complex = np.zeros_like(self._far)  # spectra of x(|x| - b)
        self._near: _Floats = np.full(_BINS, 1e-3, np.float32)  # power spectrum of what the filter does not explain
        self._turn = 0
        self._quiet_for = 0  # frames of reference
        self._drift = 0.0
        self._late = 0.0  # samples by which the filter is to be moved
        self._squares = self._cubes = 0.0  # sums over the reference, for b
        self._bend = 0.0
        self._bent_power = self._bend_power = 0.0  # normal equation of one unknown
        self._filter: _Complex = np.zeros_like(self._far)
        self._doubt: _Floats = np.zeros(self._far.shape, np.float32)  # variance of each coefficient
        self._heard_power = self._far_power = 0.0  # of the first frames
        self._first_frames = 0
        self._powers: deque[tuple[float, float]] = deque(maxlen=_LATEST_FRAMES)  # before and after

    @property
    def drift_ppm(self) -> float:
        """How much slower than the microphone's clock the loudspeaker's is."""
        return self._drift / FRAME_SAMPLES * 1e6

    @property
    def bend(self) -> float:
        """How much more the loudspeaker makes of full scale than of silence; negative where it saturates."""
        return self._bend

    def move(self, samples: float) -> None:
        """From the next frame on the reference is so many samples (16 kHz) ahead: the echo comes that much later."""
        self._late += samples

    def rest(self) -> None:
        """A frame passes that is not shown to the canceller. The clocks drift on."""
        self._late += self._drift

    def process(self, mic_frame: bytes, reference: bytes) -> bytes:
        """One frame of the microphone without the echo of what was played, at once.

        mic_frame: 20 ms at 16 kHz. reference: the 20 ms that the speaker was given, at 24 or 16 kHz. Call this for
        every frame, or say :meth:`rest`. Raises ValueError for other lengths.
        """
        if len(mic_frame) != FRAME_BYTES:
            raise ValueError(f"echo cancellation takes {FRAME_MS} ms of 16 kHz, not {len(mic_frame)} bytes")
        heard = _floats(mic_frame)
        self._follow()
        self._push(self._to_mic_rate.feed(_floats(reference)))
        if not heard.any():  # a frame that was lost: there is nothing to learn from
            self.rest()
            return mic_frame
        echo = (self._far * self._filter).sum(0)
        left = heard - _newest(echo)
        self._learn(left, echo)
        if self._harms(heard, left):
            return mic_frame
        pcm: bytes = np.clip(np.rint(left * _FULL_SCALE), -32768, 32767).astype("<i2").tobytes()
        return pcm

    def _follow(self) -> None:
        """Make filter and past what they would be if the reference had always been where it has been moved to."""
        late, self._late = self._late, 0.0
        if not late:
            return
        response = np.fft.irfft(self._filter, axis=1)[:, :FRAME_SAMPLES]
        moved = _delayed(np.concatenate((response.ravel(), np.zeros(response.size))), late)[: response.size]
        self._filter = np.fft.rfft(moved.reshape(response.shape), 2 * FRAME_SAMPLES, axis=1).astype(np.complex64)
        earlier = np.exp(np.float32(-late) * _LATER)
        self._far *= earlier
        self._bent *= earlier
        self._last = _delayed(self._last, -late)

    def _push(self, far: _Floats) -> None:
        """Take the next frame of reference; frames overlap by half for the Fourier transform."""
        size: _Floats = np.abs(far)
        power = float(far @ far)
        self._quiet_for += 1
        if power > _AUDIBLE * FRAME_SAMPLES:
            self._quiet_for = 0
            self._squares = _LEVEL_MEMORY * self._squares + power
            self._cubes = _LEVEL_MEMORY * self._cubes + float(far * far @ size)
        like_far = np.float32(self._cubes / self._squares if self._squares else 0.0)
        both: _Floats = np.stack((far, far * (size - like_far)))
        self._last = np.concatenate((self._last[:, FRAME_SAMPLES:], both), axis=1)
        straight, bent = np.fft.rfft(self._last, axis=1).astype(np.complex64)
        self._bent[1:] = self._bent[:-1]
        self._bent[0] = bent
        self._far[1:] = self._far[:-1]
        self._far[0] = straight + np.float32(self._bend) * bent

    def _learn(self, left: _Floats, echo: _Complex) -> None:
        error = _spectrum(left)
        far_power = self._far.real**2 + self._far.imag**2
        error_power = error.real**2 + error.imag**2
        self._near = _NEAR_SMOOTHING * self._near + (1 - _NEAR_SMOOTHING) * error_power
        if self._first_frames < _FIRST_FRAMES:
            self._guess(left)
            return
        if self._quiet_for < PARTITIONS:  # silence teaches nothing, and makes nothing doubtful
            self._learn_room(error, echo, far_power)
        self._filter *= np.exp(np.float32(self._drift) * _LATER)

    def _learn_room(self, error: _Complex, echo: _Complex, far_power: _Floats) -> None:
        unexplained = 0.5 * (far_power * self._doubt).sum(0) + _UNEXPLAINED * self._near + np.float32(1e-6)
        self._learn_drift(error / unexplained, echo, unexplained)
        self._learn_bend(error / unexplained, unexplained)
        gain = self._doubt / unexplained
        self._filter += gain * self._far.conj() * error
        filter_power = self._filter.real**2 + self._filter.imag**2
        self._doubt *= 1 - 0.5 * gain * far_power
        self._doubt *= _STAY
        self._doubt += (1 - _STAY) * filter_power
        self._constrain()

    def _guess(self, heard: _Floats) -> None:
        """How strong the echo is says how unsure one must be of a filter of zeros."""
        far = self._last[0, FRAME_SAMPLES:]
        power = float(far @ far) / FRAME_SAMPLES
        if power < _AUDIBLE:
            return
        self._far_power += power
        self._heard_power += float(heard @ heard) / FRAME_SAMPLES
        self._first_frames += 1
        if self._first_frames == _FIRST_FRAMES:
            self._doubt[:] = 2 * self._heard_power / self._far_power / PARTITIONS

    def _learn_drift(self, weighted_error: _Complex, echo: _Complex, unexplained: _Floats) -> None:
        """Echo that comes a little later than the filter says leaves what the echo's slope explains."""
        slope = _spectrum(_newest(echo * _LATER))
        late = float(np.vdot(slope, weighted_error).real)
        known = float(((slope.real**2 + slope.imag**2) / unexplained).sum())
        drift = self._drift + _DRIFT_STEP * late / (known + _BINS / 2)
        self._drift = min(max(drift, -_MAX_DRIFT), _MAX_DRIFT)

    def _learn_bend(self, weighted_error: _Complex, unexplained: _Floats) -> None:
        """Least squares: how much of the bent reference, through the room, explains what is left."""
        bent = _spectrum(_newest((self._bent * self._filter).sum(0)))
        power = float(((bent.real**2 + bent.imag**2) / unexplained).sum())
        self._bent_power = _MEMORY * self._bent_power + power
        self._bend_power = _MEMORY * self._bend_power + float(np.vdot(bent, weighted_error).real) + power * self._bend
        self._bend = self._bend_power / (self._bent_power + _LEAST_SAID)

    def _constrain(self) -> None:
        """A partition is one frame long in time: what lies beyond is an artefact of the circular convolution."""
        part = slice(self._turn, self._turn + _CONSTRAINED)
        self._turn = (self._turn + _CONSTRAINED) % PARTITIONS
        response = np.fft.irfft(self._filter[part], axis=1)
        response[:, FRAME_SAMPLES:] = 0
        self._filter[part] = np.fft.rfft(response, axis=1)

    def _harms(self, heard: _Floats, left: _Floats) -> bool:
        """Whether the filter adds more than it takes away. Then it begins anew, as unsure as the echo may be loud."""
        self._powers.append((float(heard @ heard), float(left @ left)))
        before, after = (sum(powers) for powers in zip(*self._powers, strict=True))
        harmless = max(_LOUDER * before, _AUDIBLE * FRAME_SAMPLES * _LATEST_FRAMES)
        if len(self._powers) < _LATEST_FRAMES or after <= harmless:
            return False
        heard_now, left_now = self._powers[-1]
        believable = np.float32(min(1.0, heard_now / max(left_now, 1e-9)))
        self._doubt += believable * (self._filter.real**2 + self._filter.imag**2)
        self._filter[:] = 0
        self._powers.clear()
        return True


def _newest(spectrum: _Complex) -> _Floats:
    """The frame that a spectrum of two frames ends with."""
    frame: _Floats = np.fft.irfft(spectrum)[FRAME_SAMPLES:].astype(np.float32)
    return frame


def _delayed(sound: npt.NDArray[np.floating], samples: float) -> _Floats:
    """By a fraction of a sample, too; what leaves at one end enters at the other."""
    turn = np.exp(-2j * np.pi * samples / sound.shape[-1] * np.arange(sound.shape[-1] // 2 + 1))
    return np.fft.irfft(np.fft.rfft(sound) * turn).astype(np.float32)


def _spectrum(frame: _Floats) -> _Complex:
    """Of a frame, after one of zeros."""
    return np.fft.rfft(np.concatenate((np.zeros(FRAME_SAMPLES, np.float32), frame))).astype(np.complex64)


class Downsampler:
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
