"""Noise suppression for a second look at what was not understood: WebRTC's, out of the ``livekit`` package.

Steady noise is what it removes; other people's voices stay. In front of everything it would do harm: in a quiet room it
distorts some voices beyond recognition (docs/offline.md).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

from assistant.errors import ModelLoadError

RATE: Final = 16_000
_STEP: Final = RATE // 100 * 2  # bytes of 10 ms: the module takes exactly this much at a time
_PRIMING: Final = RATE  # bytes, half a second: from so much it learns the noise
_FRAME: Final = RATE // 50  # samples of 20 ms


def suppressed(pcm: bytes) -> bytes:
    """An utterance (16 kHz, 16 bit, mono) without steady noise, as long as it was.

    Raises ModelLoadError if the package is missing or does not work here.
    """
    new_module, new_frame = _package()
    module = new_module(noise_suppression=True, high_pass_filter=True)
    heard = pcm[:_PRIMING] + pcm
    heard += bytes(-len(heard) % _STEP)
    cleaned = bytearray()
    for start in range(0, len(heard), _STEP):
        frame = new_frame(bytearray(heard[start : start + _STEP]), RATE, 1, _STEP // 2)
        module.process_stream(frame)
        cleaned += bytes(frame.data.cast("b"))
    primed = len(pcm[:_PRIMING])
    return bytes(cleaned[primed : primed + len(pcm)])


def snr_db(pcm: bytes) -> float:
    """Roughly by how much the loud frames of an utterance are above the quiet ones."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype(np.float64)
    frames = samples[: samples.size // _FRAME * _FRAME].reshape(-1, _FRAME)
    if not len(frames):
        return 0.0
    quiet, loud = np.percentile(10 * np.log10(np.mean(frames**2, axis=1) + 1.0), (10, 90))
    return float(loud - quiet)


@cache
def _package() -> tuple[Callable[..., Any], Callable[..., Any]]:
    try:
        from livekit.rtc import AudioFrame  # 0.2 s and 23 MB: only who needs it pays for it
        from livekit.rtc.apm import AudioProcessingModule
    except (ImportError, OSError) as error:
        raise ModelLoadError(
            f"noise suppression cannot be loaded ({error}): pip install livekit, or set "
            "local.stt.noise_suppression: false"
        ) from error
    return AudioProcessingModule, AudioFrame
