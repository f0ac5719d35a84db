"""Recordings as a verifier is trained with them: heard by the wake word's models as they are, in noise, and under other
voices. One that was trained in a quiet room alone refuses a third of the wake words in noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.adapters.openwakeword_models import wake_word_name
from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector
from assistant.core.verifier_training import Example, Scored
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, MIC_RATE

_BEFORE_S, _AFTER_S = 3.0, 1.0  # a quiet room: the models look back 2.7 s, and score up to 350 ms after a word
_SNR_DB: Final = 5.0
_VOICES: Final = 3
_MAX_VOICES_S: Final = 600  # of other speech to choose from

_Wave = npt.NDArray[np.float32]


class Listener:
    """Turns recordings into examples, the same ones each time.

    model: a wake word of engine openwakeword, by name or path. other_speech: what the voices in the background are made
    of. All audio is 16 kHz int16 mono. Raises ModelLoadError.
    """

    def __init__(self, model: str, other_speech: Sequence[bytes]) -> None:
        self._detector = OpenWakeWordDetector([model])
        self._name = wake_word_name(model)
        waves = [_wave(pcm) for pcm in other_speech]
        evened = [wave / level for wave in waves if (level := _level(wave)) > 0]
        self._voices = np.concatenate(evened)[: _MAX_VOICES_S * MIC_RATE] if evened else None

    def example(self, path: str, wanted: bool, pcm: bytes, seed: int) -> Example:
        """One recording. wanted: it holds the wake word. seed: another noise for each."""
        chance = np.random.default_rng(seed)
        wave = np.pad(_wave(pcm), (round(_BEFORE_S * MIC_RATE), round(_AFTER_S * MIC_RATE)))
        backgrounds = [_pink(len(wave), chance)]
        if self._voices is not None:
            begins = chance.integers(len(self._voices), size=_VOICES)
            mixed = sum(np.take(self._voices, np.arange(len(wave)) + begin, mode="wrap") for begin in begins)
            backgrounds.append(np.asarray(mixed, np.float32))
        loudness = _level(_wave(pcm)) * 10 ** (-_SNR_DB / 20)
        room = chance.normal(0, 1 / 32768, len(wave)).astype(np.float32)
        scenes = [wave + room]
        if loudness > 0:
            scenes += [wave + loudness * background / _rms(background) for background in backgrounds]
        return Example(path, wanted, tuple(self._score(scene) for scene in scenes))

    def _score(self, wave: _Wave) -> Scored:
        pcm = np.clip(np.rint(wave * 32768), -32768, 32767).astype("<i2").tobytes()
        self._detector.reset()
        scores: list[float] = []
        embeddings: list[_Wave] = []
        for begin in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
            found = self._detector.process(pcm[begin : begin + FRAME_BYTES])
            if found is not None and begin >= 2 * _BEFORE_S * MIC_RATE:
                window = self._detector.embeddings(self._name)
                embeddings.append(window[-1:].copy() if embeddings else window.copy())
                scores.append(found[self._name])
        return Scored(np.array(scores, np.float32), np.concatenate(embeddings))


def _wave(pcm: bytes) -> _Wave:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)


def _level(wave: _Wave) -> float:
    """RMS of the frames within 20 dB of the loudest: of the speech in it, not of its pauses."""
    whole = wave[: len(wave) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    powers = np.mean(np.square(whole, dtype=np.float64), axis=1)
    return float(np.sqrt(np.mean(powers[powers >= powers.max() / 100]))) if powers.size else 0.0


def _rms(wave: _Wave) -> np.float32:
    return np.float32(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) + np.float32(1e-9)


def _pink(count: int, chance: np.random.Generator) -> _Wave:
    """Noise as in a room: 3 dB less with each octave."""
    spectrum = np.fft.rfft(chance.normal(size=count))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(count, 1 / MIC_RATE), 20))
    return np.fft.irfft(spectrum, count).astype(np.float32)
