"""Audio as a client has it: 16-bit PCM at some rate, or the telephone's eight bits (ITU-T G.711). PURE, but for soxr.

Inside the server all audio is 24 kHz int16 mono.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from assistant.types import SPEAKER_RATE

_Samples = npt.NDArray[np.int16]

_MU_BIAS: Final = 33  # of the 14-bit samples that mu-law works on


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """type: audio/pcm, audio/pcmu (mu-law) or audio/pcma (A-law). rate: samples per second."""

    type: str = "audio/pcm"
    rate: int = SPEAKER_RATE


class SoundDecoder:
    """Bytes of a client's to 24 kHz PCM, chunk by chunk. A chunk may end in the middle of a sample."""

    def __init__(self, sound: SoundFormat) -> None:
        self.sound = sound
        self._odd = b""
        self._resampler = _resampler(sound.rate, SPEAKER_RATE)

    def decode(self, chunk: bytes, *, last: bool = False) -> bytes:
        if self.sound.type == "audio/pcm":
            chunk = self._odd + chunk
            even = len(chunk) & ~1
            self._odd = chunk[even:]
            chunk = chunk[:even]
            if self._resampler is None:
                return chunk
            samples = np.frombuffer(chunk, dtype="<i2")
        else:
            samples = _table(self.sound.type)[np.frombuffer(chunk, dtype=np.uint8)]
        return _resampled(self._resampler, samples, last=last)

    def flush(self) -> bytes:
        """What resampling holds back, at the end of a turn; decoding begins anew."""
        tail = b"" if self._resampler is None else self.decode(b"", last=True)
        self._odd, self._resampler = b"", _resampler(self.sound.rate, SPEAKER_RATE)
        return tail


class SoundEncoder:
    """24 kHz PCM to bytes for a client, chunk by chunk. Resampling holds a few milliseconds back until ``flush``."""

    def __init__(self, sound: SoundFormat) -> None:
        self._sound = sound
        self._resampler = _resampler(SPEAKER_RATE, sound.rate)

    def encode(self, pcm: bytes, *, last: bool = False) -> bytes:
        if self._resampler is not None:
            pcm = _resampled(self._resampler, np.frombuffer(pcm, dtype="<i2"), last=last)
        if self._sound.type == "audio/pcm":
            return pcm
        return bytes(_compressed(self._sound.type)[np.frombuffer(pcm, dtype="<u2")].tobytes())

    def flush(self) -> bytes:
        """What is left at the end."""
        return self.encode(b"", last=True)


def _resampler(source: int, target: int) -> Any:
    if source == target:
        return None
    import soxr

    return soxr.ResampleStream(source, target, 1, dtype="int16")


def _resampled(resampler: Any, samples: _Samples, *, last: bool = False) -> bytes:
    return bytes(resampler.resample_chunk(samples, last=last).tobytes())


@lru_cache(maxsize=2)
def _table(kind: str) -> _Samples:
    """The sample of each code."""
    code = np.arange(256)
    if kind == "audio/pcmu":
        code = ~code & 0xFF
        magnitude = (((code & 0x0F) * 2 + _MU_BIAS) << ((code & 0x70) >> 4)) - _MU_BIAS
        return np.where(code & 0x80, -magnitude * 4, magnitude * 4).astype(np.int16)
    code ^= 0x55
    segment = (code & 0x70) >> 4
    magnitude = np.where(segment == 0, (code & 0x0F) * 2 + 1, ((code & 0x0F) * 2 + 33) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude * 8, -magnitude * 8).astype(np.int16)


@lru_cache(maxsize=2)
def _compressed(kind: str) -> npt.NDArray[np.uint8]:
    """The code of each sample, taken as unsigned: the one whose sample is nearest."""
    values = _table(kind).astype(np.int32)
    order = np.argsort(values, kind="stable")
    samples = np.arange(65_536, dtype=np.uint16).astype(np.int16).astype(np.int32)
    between = (values[order][1:] + values[order][:-1]) / 2
    return order[np.searchsorted(between, samples)].astype(np.uint8)
