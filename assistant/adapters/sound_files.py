"""Sound files of any kind that libsndfile reads (WAV, FLAC, OGG, MP3 ...): to be heard, or to be played."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from assistant.audio.resample import StreamResampler, mix_to_mono
from assistant.errors import HearthError
from assistant.types import MIC_RATE

if TYPE_CHECKING:
    import soundfile

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
        raise _unreadable(path, error) from error
    scaled = np.clip(np.rint(samples * (32768 * 10 ** (gain_db / 20))), -32768, 32767).astype("<i2")
    resampler = StreamResampler(rate, MIC_RATE)
    return resampler.feed(mix_to_mono(scaled.tobytes(), scaled.shape[1])) + resampler.flush()


class SoundReader:
    """A sound file, read piece by piece as int16 mono of its own rate. Blocks; close it."""

    def __init__(self, path: Path, file: soundfile.SoundFile) -> None:
        self.rate = int(file.samplerate)
        self._path = path
        self._file = file
        self._reading = threading.Lock()
        self._closed = False

    def read(self) -> bytes:
        """The next half second or less; nothing at the end. Raises HearthError if the file is damaged."""
        import soundfile

        with self._reading:
            try:
                frames = self._file.read(self.rate // 2, dtype="int16", always_2d=True)
            except (OSError, soundfile.SoundFileError) as error:
                raise _unreadable(self._path, error) from error
            finally:
                if self._closed:
                    self._file.close()
        return mix_to_mono(frames.astype("<i2").tobytes(), frames.shape[1])

    def close(self) -> None:
        """Never waits: a read on another thread closes the file when it is done."""
        self._closed = True
        if self._reading.acquire(blocking=False):
            try:
                self._file.close()
            finally:
                self._reading.release()


def open_sound(path: Path) -> SoundReader:
    """Raises HearthError, in one line, if it cannot be read as sound."""
    import soundfile

    try:
        return SoundReader(path, soundfile.SoundFile(path))
    except (OSError, soundfile.SoundFileError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> HearthError:
    return HearthError(f"{path}: cannot be read as sound ({' '.join(str(error).split())})")
