"""A voice for tests: sentences by espeak-ng (from the wheel, no system package), noise, and mixing.

All audio is int16 mono at 16 kHz unless said otherwise. Wake words spoken by the default voice score 0.95 and more.
Spell names as they sound: "hey my croft". Digital silence is not like a room and hurts recognition: mix some noise in.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

Samples = npt.NDArray[np.int16]

RATE = 16_000
FULL_SCALE = 32_768


def say(
    text: str, voice: str = "en-us+Storm", speed: int = 140, rate: int = RATE, level_dbfs: float = -20.0
) -> Samples:
    """Speech without silence before or after it, at ``level_dbfs`` (RMS over all of it).

    The synthesizer's state is global to a process and is not thread safe, and the code under test may hold it in this
    one. So it runs in a child, once per sentence.
    """
    spoken_rate, pcm = _synthesize(text, voice, speed)
    speech = np.frombuffer(pcm, np.int16).astype(np.float64) / FULL_SCALE
    audible = np.flatnonzero(np.abs(speech) > 0.01 * np.abs(speech).max())
    speech = soxr.resample(speech[audible[0] : audible[-1] + 1], spoken_rate, rate)
    return _to_int16(_at_level(speech, level_dbfs))


def noise(seconds: float, dbfs: float, seed: int, rate: int = RATE) -> Samples:
    """White noise: the same for the same seed."""
    return _to_int16(_at_level(np.random.default_rng(seed).normal(size=round(seconds * rate)), dbfs))


def silence(seconds: float, rate: int = RATE) -> Samples:
    return np.zeros(round(seconds * rate), np.int16)


def concat(*parts: Samples) -> Samples:
    """One after the other."""
    return np.concatenate(parts)


def mix(*parts: Samples) -> Samples:
    """All at once, as long as the longest; what is too loud is clipped."""
    total = np.zeros(max(len(part) for part in parts), np.int32)
    for part in parts:
        total[: len(part)] += part
    return np.clip(total, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def in_room(speech: Samples, *, before: float, after: float, dbfs: float = -55.0, seed: int = 0) -> Samples:
    """Speech with seconds of quiet around it, and faint noise over all of it."""
    padded = concat(silence(before), speech, silence(after))
    return mix(padded, noise(len(padded) / RATE, dbfs, seed))


def frames(samples: Samples) -> Iterator[tuple[int, bytes]]:
    """Whole 20 ms frames, each with the index of its first sample; an incomplete one at the end is left out."""
    step = RATE // 50
    for start in range(0, len(samples) - step + 1, step):
        yield start, samples[start : start + step].tobytes()


@lru_cache(maxsize=256)
def _synthesize(text: str, voice: str, speed: int) -> tuple[int, bytes]:
    child = Path(__file__).with_name("espeak_child.py")
    command = [sys.executable, str(child), voice, str(speed), text]
    result = subprocess.run(command, capture_output=True, timeout=30, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"espeak-ng failed: {result.stderr.decode(errors='replace').strip()[-300:]}")
    return int.from_bytes(result.stdout[:4], "little"), result.stdout[4:]


def _at_level(samples: npt.NDArray[np.float64], dbfs: float) -> npt.NDArray[np.float64]:
    scaled: npt.NDArray[np.float64] = samples / np.sqrt(np.mean(samples**2)) * 10 ** (dbfs / 20)
    return scaled


def _to_int16(samples: npt.NDArray[np.float64]) -> Samples:
    return np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
