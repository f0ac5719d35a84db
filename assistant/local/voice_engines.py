"""Voices other than espeak-ng's, for those who install one: SVOX Pico, Piper, and any Wyoming server.

Packages, programs and models are looked for when the server starts, never before. What is missing is one
ModelLoadError, which says what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import shutil
import tempfile
import wave
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from assistant.errors import HearthError, ModelLoadError
from assistant.local.sound_format import SoundDecoder, SoundFormat
from assistant.types import SPEAKER_RATE

_CHUNK_BYTES: Final = SPEAKER_RATE * 2 // 10  # 100 ms
_CONNECT_S: Final = 3.0
_SENTENCE_S: Final = 20.0
"""A sentence that takes longer than this is given up."""


class VoiceError(HearthError):
    """This sentence cannot be spoken; the next one may be."""


# --- SVOX Pico --------------------------------------------------------------------------------------------------------

_PICO_LANGUAGES: Final = ("en-US", "en-GB", "de-DE", "es-ES", "fr-FR", "it-IT")


class PicoVoice:
    """SVOX Pico by its program ``pico2wave``: one short process a sentence.

    voice: a language such as en-GB, or en: then the first that fits.
    """

    name = "SVOX Pico"

    def __init__(self, voice: str) -> None:
        self._voice = voice
        self._program = "pico2wave"

    async def start(self) -> None:
        program = shutil.which(self._program)
        if program is None:
            raise ModelLoadError(
                "local.tts.engine: pico wants the program pico2wave; install the package libttspico-utils "
                "(Debian keeps it in non-free), or choose another engine"
            )
        self._program = program
        wanted = self._voice.lower()
        fitting = [name for name in _PICO_LANGUAGES if name.lower() == wanted or name.lower().startswith(f"{wanted}-")]
        if not fitting:
            raise ModelLoadError(f"local.tts.voice: SVOX Pico speaks {', '.join(_PICO_LANGUAGES)}, not {self._voice!r}")
        self._voice = fitting[0]

    async def stop(self) -> None:
        """It has no life between two sentences."""

    async def sentence(self, text: str, speed_factor: float) -> AsyncGenerator[bytes, None]:
        speed = min(max(round(speed_factor * 100), 20), 500)
        with tempfile.TemporaryDirectory(prefix="hearth-") as folder:
            file = Path(folder) / "sentence.wav"
            # The space keeps a text from being taken for an option; the tag is Pico's own.
            spoken = f' <speed level="{speed}">{_escaped(text)}</speed>' if speed != 100 else f" {_escaped(text)}"
            process = await asyncio.create_subprocess_exec(
                self._program,
                f"--lang={self._voice}",
                f"--wave={file}",
                spoken,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                async with asyncio.timeout(_SENTENCE_S):
                    status = await process.wait()
                audio = await asyncio.to_thread(file.read_bytes)
            except TimeoutError:
                raise VoiceError(f"{self.name} took more than {_SENTENCE_S:.0f} s for a sentence") from None
            except OSError:
                raise VoiceError(f"{self.name} gave no sound for a sentence (status {status})") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        for chunk in _wave_chunks(audio, self.name):
            yield chunk


def _escaped(text: str) -> str:
    return text.replace("&", " ").replace("<", " ").replace(">", " ")


def _wave_chunks(audio: bytes, name: str) -> Iterator[bytes]:
    try:
        with wave.open(io.BytesIO(audio)) as sound:
            if (sound.getnchannels(), sound.getsampwidth()) != (1, 2):
                raise VoiceError(f"{name} gives a sound that is not 16 bit mono")
            decoder = SoundDecoder(SoundFormat("audio/pcm", sound.getframerate()))
            pcm = decoder.decode(sound.readframes(sound.getnframes())) + decoder.flush()
    except (wave.Error, EOFError) as error:
        raise VoiceError(f"{name} gives no WAV sound: {error}") from None
    yield from chunks(pcm)


def chunks(pcm: bytes) -> Iterator[bytes]:
    """Pieces of at most 100 ms."""
    for start in range(0, len(pcm), _CHUNK_BYTES):
        yield pcm[start : start + _CHUNK_BYTES]


# --- Piper ------------------------------------------------------------------------------------------------------------


class PiperVoice:
    """Piper with a voice file (``NAME.onnx``, beside it ``NAME.onnx.json``), on a thread of its own.

    The package ``piper-tts`` is GPL-3; it is loaded at run time, and only in the process of the embedded server.
    """

    name = "Piper"

    def __init__(self, model: Path) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="piper")

    async def start(self) -> None:
        if not self._model.is_file():
            raise ModelLoadError(f"local.tts.model: {self._model} is no voice file of Piper's (NAME.onnx)")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    def _load(self) -> None:
        piper = _package("piper", "Piper", "piper-tts")
        self._config = piper.SynthesisConfig
        try:
            self._voice = piper.PiperVoice.load(self._model)
        except Exception as error:  # whatever onnxruntime and the JSON file may raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelLoadError(f"local.tts.model: {self._model}: Piper cannot load it: {reason}") from None

    async def stop(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def sentence(self, text: str, speed_factor: float) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        pcm = await loop.run_in_executor(self._thread, self._synthesise, text, speed_factor)
        for chunk in chunks(pcm):
            yield chunk

    def _synthesise(self, text: str, speed_factor: float) -> bytes:
        config = None
        if speed_factor != 1.0:
            config = self._config(length_scale=self._voice.config.length_scale / speed_factor)
        try:
            spoken = list(self._voice.synthesize(text, config))
        except Exception as error:  # a voice file that loads may still not run
            raise VoiceError(f"{self.name} failed: {type(error).__name__}") from None
        decoder = SoundDecoder(SoundFormat("audio/pcm", self._voice.config.sample_rate))
        return b"".join(decoder.decode(piece.audio_int16_bytes) for piece in spoken) + decoder.flush()


# --- Wyoming ----------------------------------------------------------------------------------------------------------


class WyomingVoice:
    """Any Wyoming text-to-speech server, as Home Assistant homes run one: ``tcp://HOST:PORT`` or ``unix:///PATH``.

    One connection a sentence. Sound is passed on as it comes. The protocol knows no speed, so there is none.
    """

    def __init__(self, uri: str, voice: str | None, language: str) -> None:
        self.name = f"the Wyoming server at {uri} (local.tts.uri)"
        self._uri = urlsplit(uri)
        self._wanted = {"name": voice} if voice else {"language": language}

    async def start(self) -> None:
        self._tts = _package("wyoming.tts", "a Wyoming server", "wyoming")
        self._audio = _package("wyoming.audio", "a Wyoming server", "wyoming")
        self._event = _package("wyoming.event", "a Wyoming server", "wyoming")

    async def stop(self) -> None:
        """It has no life between two sentences."""

    async def sentence(self, text: str, speed_factor: float) -> AsyncGenerator[bytes, None]:
        with self._failures():
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await self._connect()
        try:
            with self._failures():
                request = self._tts.Synthesize(text=text, voice=self._tts.SynthesizeVoice(**self._wanted))
                await self._event.async_write_event(request.event(), writer)
            decoder: SoundDecoder | None = None
            while True:
                with self._failures():
                    async with asyncio.timeout(_SENTENCE_S):
                        event = await self._event.async_read_event(reader)
                    if event is None or event.type == "error":
                        why = "closed the connection" if event is None else f"says: {event.data.get('text')}"
                        raise VoiceError(f"{self.name} {why}")
                    sound, decoder = self._decode(event, decoder)
                for chunk in chunks(sound):
                    yield chunk
                if self._audio.AudioStop.is_type(event.type):
                    return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _decode(self, event: Any, decoder: SoundDecoder | None) -> tuple[bytes, SoundDecoder | None]:
        """The sound of an event, at 24 kHz. The first piece tells the rate."""
        if self._audio.AudioStop.is_type(event.type):
            return (decoder.flush() if decoder is not None else b""), decoder
        if not self._audio.AudioChunk.is_type(event.type):
            return b"", decoder
        piece = self._audio.AudioChunk.from_event(event)
        if (piece.width, piece.channels) != (2, 1):
            raise VoiceError(f"{self.name} gives a sound that is not 16 bit mono")
        decoder = decoder or SoundDecoder(SoundFormat("audio/pcm", piece.rate))
        return decoder.decode(piece.audio), decoder

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise VoiceError(f"{self.name} does not answer") from None
        except OSError as error:
            raise VoiceError(f"{self.name} cannot be reached: {error.strerror or 'the connection broke'}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise VoiceError(f"{self.name} sends nonsense: {type(error).__name__}") from None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._uri.scheme == "unix":
            return await asyncio.open_unix_connection(self._uri.path)
        return await asyncio.open_connection(self._uri.hostname, self._uri.port)


def _package(module: str, what: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ModelLoadError(
            f"local.tts.engine: {what} wants the package {package}; install it with: pip install {package}"
        ) from None
