"""Recognisers that write down whatever is said, for those who install one: Wyoming servers, faster-whisper, vosk.

Each is a ``Transcriber``; ``FreeEngine`` makes a recogniser of it. Unlike the built-in recogniser, they are not told
which sentences there are: the brain looks for the nearest one, and asks back where it is not sure.

Packages and models are loaded when the engine starts, never before. What is missing is one ModelLoadError, which says
what to do.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import numpy as np

from assistant.errors import ModelLoadError
from assistant.local.grammar import Grammar
from assistant.local.recognizer import MAX_UTTERANCE_S, Recognizer, RecognizerError, Transcript, Utterance
from assistant.local.recognizer_wire import RATE

_log = logging.getLogger(__name__)

_CONNECT_S: Final = 3.0
_ANSWER_S: Final = 30.0  # after the end of the utterance
_PIECES: Final = 50 * MAX_UTTERANCE_S * 2  # in the queue of an utterance: a minute of audio in pieces of 10 ms


class Transcriber(Protocol):
    """Writes speech down."""

    name: str
    """What it is called in errors: "the Wyoming server at tcp://..."."""

    async def start(self) -> None:
        """Load what is needed. Raises ModelLoadError."""
        ...

    async def transcribe(self, audio: AsyncIterator[bytes]) -> str:
        """The words of one utterance: 16 kHz, 16 bit, mono. May raise RecognizerError or OSError."""
        ...

    async def stop(self) -> None: ...


class FreeEngine:
    """A recogniser for all sessions, out of a transcriber.

    ``run`` owns the task of each utterance; cancelling it cancels them, and they fail with RecognizerError.
    """

    def __init__(self, transcriber: Transcriber) -> None:
        self._transcriber = transcriber
        self._tasks: asyncio.TaskGroup | None = None

    async def prepare(self) -> None:
        """Load it, before anybody asks. Raises ModelLoadError."""
        await self._transcriber.start()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await asyncio.get_running_loop().create_future()
        finally:
            self._tasks = None
            await self._transcriber.stop()

    def open(self, device: str = "") -> Recognizer:
        return _FreeRecognizer(self)

    def hear(self, audio: AsyncIterator[bytes]) -> asyncio.Task[str] | None:
        """Begin to transcribe; None when the engine does not run."""
        return self._tasks.create_task(self._transcribe(audio)) if self._tasks is not None else None

    async def result(self, task: asyncio.Task[str] | None) -> str:
        """What was said. Raises RecognizerError."""
        name = self._transcriber.name
        if task is None:
            raise RecognizerError(f"{name} does not run")
        done, _ = await asyncio.wait({task}, timeout=_ANSWER_S)
        if not done:
            task.cancel()
            raise RecognizerError(f"{name} did not answer within {_ANSWER_S:.0f} s")
        if task.cancelled():
            raise RecognizerError(f"{name} was stopped")
        return task.result()

    async def _transcribe(self, audio: AsyncIterator[bytes]) -> str:
        """Never raises anything but through its result, since it would end the task group and all the others."""
        try:
            return await self._transcriber.transcribe(audio)
        except RecognizerError as error:
            return _FAILED + str(error)
        except Exception as error:
            return f"{_FAILED}{self._transcriber.name} failed: {type(error).__name__}: {error}"


_FAILED: Final = "\0"  # in front of the reason why there is no text


class _FreeRecognizer:
    """The recogniser of one session."""

    def __init__(self, engine: FreeEngine) -> None:
        self._engine = engine
        self._current: _FreeUtterance | None = None

    async def set_grammar(self, grammar: Grammar) -> None:
        """It hears everything anyway."""

    def begin(self) -> Utterance:
        if self._current is not None:
            self._current.abandon()
        self._current = _FreeUtterance(self._engine)
        return self._current

    async def close(self) -> None:
        if self._current is not None:
            self._current.abandon()


class _FreeUtterance:
    """One utterance. Audio beyond a minute is not recognised."""

    def __init__(self, engine: FreeEngine) -> None:
        self._engine = engine
        self._audio: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = MAX_UTTERANCE_S * RATE * 2
        self._open = True
        self._task = engine.hear(self._pieces())

    def feed(self, pcm: bytes) -> None:
        pcm = pcm[: self._room]
        if self._open and pcm:
            self._room -= len(pcm)
            self._audio.put_nowait(pcm)

    async def so_far(self) -> str:
        return ""

    def finish(self) -> Awaitable[Transcript]:
        if self._open:
            self._open = False
            self._audio.put_nowait(None)
        return self._result()

    def abandon(self) -> None:
        if self._open:
            self._open = False
            if self._task is not None:
                self._task.cancel()

    async def _result(self) -> Transcript:
        text = await self._engine.result(self._task)
        if text.startswith(_FAILED):
            raise RecognizerError(text.removeprefix(_FAILED))
        return Transcript(text.strip(), rejected=False)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (pcm := await self._audio.get()) is not None:
            yield pcm


# --- engines ----------------------------------------------------------------------------------------------------------


class WyomingTranscriber:
    """Any Wyoming speech-to-text server, as Home Assistant homes run one: ``tcp://HOST:PORT`` or ``unix:///PATH``.

    One connection an utterance, opened when it begins.
    """

    def __init__(self, uri: str, language: str) -> None:
        self.name = f"the Wyoming server at {uri} (local.stt.uri)"
        self._uri = urlsplit(uri)
        self._language = language

    async def start(self) -> None:
        self._asr = _package("wyoming.asr", "wyoming", "wyoming")
        self._audio = _package("wyoming.audio", "wyoming", "wyoming")
        self._event = _package("wyoming.event", "wyoming", "wyoming")

    async def stop(self) -> None:
        pass

    async def transcribe(self, audio: AsyncIterator[bytes]) -> str:
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await self._connect()
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or "no connection"
            raise RecognizerError(f"{self.name} cannot be reached: {reason}") from None
        try:
            await self._send(writer, self._asr.Transcribe(language=self._language))
            form = {"rate": RATE, "width": 2, "channels": 1}
            await self._send(writer, self._audio.AudioStart(**form))
            async for pcm in audio:
                await self._send(writer, self._audio.AudioChunk(**form, audio=pcm))
            await self._send(writer, self._audio.AudioStop())
            while (event := await self._event.async_read_event(reader)) is not None:
                if self._asr.Transcript.is_type(event.type):
                    return str(self._asr.Transcript.from_event(event).text)
                if event.type == "error":
                    raise RecognizerError(f"{self.name} says: {event.data.get('text')}")
            raise RecognizerError(f"{self.name} closed the connection before it answered")
        except (OSError, ValueError, KeyError) as error:
            raise RecognizerError(f"{self.name} failed: {type(error).__name__}: {error}") from None
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._uri.scheme == "unix":
            return await asyncio.open_unix_connection(self._uri.path)
        return await asyncio.open_connection(self._uri.hostname, self._uri.port)

    async def _send(self, writer: asyncio.StreamWriter, message: Any) -> None:
        await self._event.async_write_event(message.event(), writer)


class _Threaded:
    """What the engines that run here have in common: a model, and a thread on which it works."""

    def __init__(self, name: str, model: Path) -> None:
        self.name = name
        self._path = model
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stt")

    async def start(self) -> None:
        if not self._path.is_dir():
            raise ModelLoadError(f"local.stt.model: {self._path} is no folder with a model for {self.name}")
        await self._run(self._load)

    async def stop(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _load(self) -> None:
        raise NotImplementedError

    def _refused(self, error: Exception) -> ModelLoadError:
        return ModelLoadError(f"local.stt.model: {self._path} cannot be loaded by {self.name}: {error}")


class VoskTranscriber(_Threaded):
    """vosk, which decodes while somebody speaks. ``model``: the folder of an unpacked model."""

    def __init__(self, model: Path) -> None:
        super().__init__("vosk", model)

    def _load(self) -> None:
        vosk = _package("vosk", "vosk", "vosk")
        vosk.SetLogLevel(-1)
        try:
            self._model = vosk.Model(str(self._path))
        except Exception as error:  # the package raises nothing more special
            raise self._refused(error) from None
        self._new = vosk.KaldiRecognizer

    async def transcribe(self, audio: AsyncIterator[bytes]) -> str:
        recognizer = await self._run(self._new, self._model, RATE)
        parts = [  # it begins anew after each pause that it finds
            json.loads(recognizer.Result())["text"]
            async for pcm in audio
            if await self._run(recognizer.AcceptWaveform, pcm)
        ]
        parts.append(json.loads(await self._run(recognizer.FinalResult))["text"])
        return " ".join(filter(None, parts))


class WhisperTranscriber(_Threaded):
    """faster-whisper, which decodes at the end of an utterance. ``model``: a folder in the format of CTranslate2."""

    def __init__(self, model: Path, language: str) -> None:
        super().__init__("faster-whisper", model)
        self._language = language

    def _load(self) -> None:
        package = _package("faster_whisper", "faster-whisper", "whisper")
        try:
            self._model = package.WhisperModel(str(self._path), device="cpu", compute_type="int8")
        except Exception as error:  # of the package, of CTranslate2, of the tokenizer
            raise self._refused(error) from None

    async def transcribe(self, audio: AsyncIterator[bytes]) -> str:
        pcm = b"".join([piece async for piece in audio])
        return str(await self._run(self._decode, pcm))

    def _decode(self, pcm: bytes) -> str:
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0
        # Segments are decoded while they are iterated over. Without a look at earlier text it makes up less.
        segments, _ = self._model.transcribe(
            samples, language=self._language, beam_size=1, condition_on_previous_text=False
        )
        return " ".join(segment.text.strip() for segment in segments)


def _package(module: str, package: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise ModelLoadError(
            f"local.stt.engine needs the package {package} ({error}): pip install 'hearth-assistant[{extra}]'"
        ) from None
