"""Text to speech with espeak-ng: 24 kHz, 16 bit, mono, in chunks.

espeak-ng is licensed under GPL-3. It is not part of this program: the ``espeakng-loader`` package brings the shared
library, which is loaded here at run time, and only in the process of the embedded server.

The library has one state per process (voice, rate, callback) and is not thread safe, so one lock guards every call. A
sentence takes about 3 ms, so the lock is held for one sentence at a time and several sessions share the voice fairly.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from assistant.errors import ConfigError, ConfigProblem, ModelLoadError
from assistant.types import SPEAKER_RATE

DEFAULT_VOICE: Final = "en-us"
DEFAULT_SPEED: Final = 165
"""Words per minute."""

LEVEL_DBFS: Final = -20.0
"""RMS of speech: as loud as a cloud voice, with room for peaks."""

_CHUNK_BYTES: Final = SPEAKER_RATE * 2 // 10  # 100 ms
_LONGEST_SENTENCE: Final = 400  # characters; longer ones are cut at a space, to keep the first chunk quick
_CEILING: Final = 0.9  # peaks above this are bent, never cut
_CALIBRATION: Final = "The quick brown fox jumps over the lazy dog, and nobody minds."

# From espeak-ng/speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
_CHARS_UTF8: Final = 1
_PARAMETER_RATE: Final = 1
_PHONEMES_IPA: Final = 0x02
_DONT_EXIT: Final = 0x8000  # without it a missing data folder ends the process
_BUFFER_MS: Final = 100

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+|\n+")
_SPEAKABLE = re.compile(r"\w")


class _Espeak:
    """The library: one per process. Every method may be called on any thread."""

    def __init__(self) -> None:
        try:
            import espeakng_loader

            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = espeakng_loader.get_data_path()
        except (ImportError, OSError, RuntimeError) as error:
            raise ModelLoadError(
                f"voice: espeak-ng could not be loaded ({error}); install it with: pip install espeakng-loader"
            ) from None
        self._lock = threading.Lock()
        # ctypes passes the event list as a pointer that we do not read.
        self._callback_type = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        rate = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, data.encode(), _DONT_EXIT)
        if rate <= 0:
            raise ModelLoadError(f"voice: espeak-ng did not start with its data in {data}; reinstall espeakng-loader")
        self.rate = int(rate)

    def has_voice(self, voice: str) -> bool:
        with self._lock:
            return self._select(voice)

    def synthesise(self, text: str, voice: str, speed: int, take: Callable[[npt.NDArray[np.int16]], None]) -> None:
        """Speak ``text``, calling ``take`` with every 100 ms or less at ``self.rate`` as they are made."""
        failure: list[BaseException] = []

        def callback(samples: Any, count: int, _events: Any) -> int:
            if samples and count > 0:
                try:
                    take(np.ctypeslib.as_array(samples, (count,)).copy())
                except BaseException as error:  # must not cross the C frames; stops the synthesis instead
                    failure.append(error)
                    return 1
            return 0

        held = self._callback_type(callback)
        raw = text.encode()
        with self._lock:
            self._select(voice)
            self._library.espeak_SetParameter(_PARAMETER_RATE, speed, 0)
            self._library.espeak_SetSynthCallback(held)
            self._library.espeak_Synth(raw, len(raw) + 1, 0, 0, 0, _CHARS_UTF8, None, None)
        if failure:
            raise failure[0]

    def ipa(self, text: str, voice: str) -> str:
        """How ``text`` is pronounced, in the phonetic alphabet."""
        raw = ctypes.c_char_p(text.encode())
        place = ctypes.cast(ctypes.pointer(raw), ctypes.POINTER(ctypes.c_void_p))
        parts: list[str] = []
        with self._lock:
            self._select(voice)
            while place.contents.value:
                part = self._library.espeak_TextToPhonemes(place, _CHARS_UTF8, _PHONEMES_IPA)
                parts.append((part or b"").decode(errors="replace"))
        return " ".join(parts).strip()

    def _select(self, voice: str) -> bool:
        return bool(self._library.espeak_SetVoiceByName(voice.encode()) == 0)


@lru_cache(maxsize=1)
def _espeak() -> _Espeak:
    return _Espeak()


def ipa(text: str, voice: str = DEFAULT_VOICE) -> str:
    """How espeak-ng pronounces ``text``. Raises ModelLoadError when espeak-ng is not installed."""
    return _espeak().ipa(text, voice)


def has_voice(name: str) -> bool:
    """True if espeak-ng knows a voice of this name, such as ``en-us`` or ``en-gb-x-rp+f3``."""
    return _espeak().has_voice(name)


class Voice:
    """One voice at one speed.

    speed: words per minute, 80 to 450.

    Raises ConfigError for an unknown voice, ModelLoadError when espeak-ng cannot be loaded.
    """

    def __init__(self, voice: str = DEFAULT_VOICE, speed: int = DEFAULT_SPEED) -> None:
        self._espeak = _espeak()
        if not self._espeak.has_voice(voice):
            raise ConfigError(
                "config", [ConfigProblem("local.voice", f"espeak-ng has no voice {voice!r}; try en-us or en-gb-x-rp")]
            )
        self.name = voice
        self.speed = min(max(speed, 80), 450)
        self._gain = _gain(voice)

    def speak(self, text: str, *, speed_factor: float = 1.0) -> Iterator[bytes]:
        """The spoken text as chunks of at most 100 ms; the first after about one sentence's 3 ms.

        Blocks for the synthesis of one sentence at a time, so call it on a thread of its own. Stop iterating whenever
        the rest is not wanted.
        """
        for sentence in split_sentences(text):
            yield from self.sentence(sentence, speed_factor=speed_factor)

    def sentence(self, text: str, *, speed_factor: float = 1.0) -> list[bytes]:
        """One sentence, all of it, as chunks of at most 100 ms."""
        import soxr

        stream = soxr.ResampleStream(self._espeak.rate, SPEAKER_RATE, 1, dtype="float32")
        parts: list[npt.NDArray[np.float32]] = []

        def take(samples: npt.NDArray[np.int16]) -> None:
            parts.append(stream.resample_chunk(samples.astype(np.float32) / 32768.0))

        speed = min(max(round(self.speed * speed_factor), 40), 450)
        self._espeak.synthesise(text, self.name, speed, take)
        parts.append(stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True))
        pcm = _to_pcm(np.concatenate(parts) * self._gain)
        return [pcm[start : start + _CHUNK_BYTES] for start in range(0, len(pcm), _CHUNK_BYTES)]


def split_sentences(text: str) -> list[str]:
    """Sentences to be spoken one by one; nothing without a letter or digit, nothing longer than 400 characters."""
    sentences: list[str] = []
    for part in _SENTENCE_END.split(text.replace("\0", " ").strip()):
        rest = part.strip()
        while len(rest) > _LONGEST_SENTENCE:
            cut = rest.rfind(" ", 1, _LONGEST_SENTENCE)
            cut = cut if cut > 0 else _LONGEST_SENTENCE
            sentences.append(rest[:cut].strip())
            rest = rest[cut:].strip()
        sentences.append(rest)
    return [sentence for sentence in sentences if _SPEAKABLE.search(sentence)]


@lru_cache(maxsize=16)
def _gain(voice: str) -> float:
    """Factor that brings a voice to LEVEL_DBFS: voices differ by 10 dB, so each is measured once."""
    parts: list[npt.NDArray[np.int16]] = []
    _espeak().synthesise(_CALIBRATION, voice, DEFAULT_SPEED, parts.append)
    samples = np.concatenate(parts).astype(np.float64) / 32768.0 if parts else np.zeros(1)
    loud = samples[np.abs(samples) > 0.005]  # pauses do not count
    rms = float(np.sqrt(np.mean(loud**2))) if loud.size else 0.0
    return float(10 ** (LEVEL_DBFS / 20) / rms) if rms else 1.0


def _to_pcm(samples: npt.NDArray[np.float32]) -> bytes:
    """Float samples to bytes; what exceeds the ceiling is bent towards full scale."""
    over = np.abs(samples) > _CEILING
    if over.any():
        room = 1.0 - _CEILING
        bent = _CEILING + room * np.tanh((np.abs(samples[over]) - _CEILING) / room)
        samples = samples.copy()
        samples[over] = np.sign(samples[over]) * bent
    return np.round(samples * 32767.0).astype("<i2").tobytes()
