"""Sound files of any kind that libsndfile reads (WAV, FLAC, OGG, MP3 ...), as the microphone would hear them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from assistant.audio.resample import StreamResampler, mix_to_mono
from assistant.errors import HearthError
from assistant.types import MIC_RATE

SUFFIXES: Final = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")


def find_sound_files(path: Path) -> list[Path]:
    """The file itself, or all sound files in a folder and below, in order. Raises HearthError if there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise HearthError(f"{path}: there is no such file or folder")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise HearthError(f"{path}: no sound files in this folder ({', '.join(SUFFIXES)})")
    return files


def read_sound(path: Path, gain_db: float = 0.0) -> bytes:
    """16 kHz int16 mono, made louder or quieter; what is too loud is clipped. Raises HearthError, in one line."""
    import numpy as np
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise HearthError(f"{path}: cannot be read as sound ({' '.join(str(error).split())})") from error
    scaled = np.clip(np.rint(samples * (32768 * 10 ** (gain_db / 20))), -32768, 32767).astype("<i2")
    resampler = StreamResampler(rate, MIC_RATE)
    return resampler.feed(mix_to_mono(scaled.tobytes(), scaled.shape[1])) + resampler.flush()
