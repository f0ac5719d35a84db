"""Recognisers that others bring: a Wyoming server of the package's own classes; vosk and faster-whisper as fakes.

No model of either is to be had without a download, so their packages are faked at the functions that we call.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.server import AsyncEventHandler, AsyncTcpServer

from assistant.errors import ModelLoadError
from assistant.local import transcribers
from assistant.local.engines import EngineName, SttSettings, make_engine
from assistant.local.language import english, language
from assistant.local.recognizer import Engine, RecognizerError
from assistant.local.recognizer_process import RecognizerProcess
from tests.local.client import client, server

SPEECH = (np.arange(16_000) % 100).astype("<i2").tobytes()  # one second of something


class Heard:
    """What a Wyoming server got, and what it answers."""

    def __init__(self, answer: str | None = "Turn on the kitchen light.") -> None:
        self.answer = answer
        self.audio = b""
        self.language: str | None = None
        self.form: tuple[int, int, int] = (0, 0, 0)
        self.begun = asyncio.Event()
        self.gone = asyncio.Event()


class Handler(AsyncEventHandler):
    def __init__(self, heard: Heard, *streams: Any) -> None:
        super().__init__(*streams)
        self.heard = heard

    async def handle_event(self, event: Event) -> bool:
        if Transcribe.is_type(event.type):
            self.heard.language = Transcribe.from_event(event).language
        elif AudioStart.is_type(event.type):
            start = AudioStart.from_event(event)
            self.heard.form = (start.rate, start.width, start.channels)
        elif AudioChunk.is_type(event.type):
            self.heard.audio += AudioChunk.from_event(event).audio
            self.heard.begun.set()
        elif AudioStop.is_type(event.type):
            if self.heard.answer is None:
                return False
            if self.heard.answer == "error":
                await self.write_event(Error("no model").event())
            else:
                await self.write_event(Transcript(self.heard.answer).event())
        return True

    async def disconnect(self) -> None:
        self.heard.gone.set()


@contextlib.asynccontextmanager
async def wyoming(heard: Heard) -> AsyncIterator[str]:
    there = AsyncTcpServer("127.0.0.1", 0)
    await there.start(lambda *streams: Handler(heard, *streams))
    assert there._server is not None
    port = there._server.sockets[0].getsockname()[1]
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        await there.stop()
        await there._server.wait_closed()


@contextlib.asynccontextmanager
async def running(settings: SttSettings, code: str = "en") -> AsyncIterator[Engine]:
    async def pronounce(words: Sequence[str]) -> dict[str, str]:
        return {}

    engine = await make_engine(settings, language(code), pronounce, None)
    task = asyncio.create_task(engine.run())
    await asyncio.sleep(0)
    try:
        yield engine
    finally:
        task.cancel()
        await asyncio.wait({task})


async def hear(engine: Engine, pcm: bytes = SPEECH) -> str:
    utterance = engine.open().begin()
    for start in range(0, len(pcm), 640):
        utterance.feed(pcm[start : start + 640])
    result = await utterance.finish()
    assert not result.rejected
    return result.text


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())


# --- Wyoming ----------------------------------------------------------------------------------------------------------


def test_a_wyoming_server_gets_the_audio_and_gives_the_words() -> None:
    async def main() -> None:
        heard = Heard("Schalte das Licht ein.")
        async with wyoming(heard) as uri, running(SttSettings("wyoming", uri), "de") as engine:
            assert await hear(engine) == "Schalte das Licht ein."
            assert await hear(engine) == "Schalte das Licht ein.", "and once more"
        assert heard.language == "de"
        assert heard.form == (16_000, 2, 1)
        assert heard.audio == SPEECH * 2

    run(main)


@pytest.mark.parametrize(("answer", "problem"), [(None, "closed the connection"), ("error", "says: no model")])
def test_a_wyoming_server_that_fails(answer: str | None, problem: str) -> None:
    async def main() -> None:
        async with wyoming(Heard(answer)) as uri, running(SttSettings("wyoming", uri)) as engine:
            with pytest.raises(RecognizerError, match=problem):
                await hear(engine)

    run(main)


def test_no_wyoming_server() -> None:
    async def main() -> None:
        async with running(SttSettings("wyoming", "tcp://127.0.0.1:9")) as engine:
            with pytest.raises(RecognizerError, match=r"local\.stt\.uri.* cannot be reached"):
                await hear(engine)

    run(main)


def test_an_utterance_that_is_dropped_ends_its_connection() -> None:
    async def main() -> None:
        heard = Heard()
        async with wyoming(heard) as uri, running(SttSettings("wyoming", uri)) as engine:
            recognizer = engine.open()
            utterance = recognizer.begin()
            utterance.feed(SPEECH)
            await heard.begun.wait()
            recognizer.begin()
            await heard.gone.wait()
            await recognizer.close()

    run(main)


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        name = "the silent one"

        async def start(self) -> None:
            pass

        async def stop(self) -> None:
            pass

        async def transcribe(self, audio: AsyncIterator[bytes]) -> str:
            await asyncio.Event().wait()
            return ""

    async def main() -> None:
        engine = transcribers.FreeEngine(Silent())
        with pytest.raises(RecognizerError, match="does not run"):
            await hear(engine)
        task = asyncio.create_task(engine.run())
        await asyncio.sleep(0)
        with pytest.raises(RecognizerError, match="the silent one did not answer"):
            await hear(engine)
        task.cancel()
        await asyncio.wait({task})

    monkeypatch.setattr(transcribers, "_ANSWER_S", 0.05)
    run(main)


def test_what_another_recogniser_wrote_down_is_understood_by_the_sentences() -> None:
    async def main() -> None:
        heard = Heard("Turn on the kitchen light.")
        async with (
            wyoming(heard) as uri,
            server(stt=SttSettings("wyoming", uri)) as port,
            client(port) as session,
        ):
            await session.manual()
            await session.speak(SPEECH * 2)
            await session.send("input_audio_buffer.commit")
            call = (await session.respond()).output[0]
            assert (call.name, json.loads(call.arguments)) == ("light_set", {"state": "on", "area": "kitchen"})

    run(main)


# --- packages ---------------------------------------------------------------------------------------------------------


def fake_vosk(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """A vosk that finds a pause after each half second."""
    fed: list[bytes] = []

    class KaldiRecognizer:
        def __init__(self, model: object, rate: int) -> None:
            assert rate == 16_000

        def AcceptWaveform(self, pcm: bytes) -> bool:
            fed.append(pcm)
            return sum(map(len, fed)) % 16_000 == 0

        def Result(self) -> str:
            return '{"text": "turn on"}'

        def FinalResult(self) -> str:
            return '{"text": ""}'

    def model(path: str) -> object:
        if path.endswith("broken"):
            raise Exception("Failed to create a model")
        return object()

    package = SimpleNamespace(KaldiRecognizer=KaldiRecognizer, Model=model, SetLogLevel=lambda level: None)
    monkeypatch.setitem(sys.modules, "vosk", package)
    return fed


def test_vosk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(SttSettings("vosk", model=tmp_path)) as engine:
            assert await hear(engine) == "turn on turn on"

    fed = fake_vosk(monkeypatch)
    run(main)
    assert b"".join(fed) == SPEECH


def test_faster_whisper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    class WhisperModel:
        def __init__(self, path: str, **options: Any) -> None:
            asked.update(path=path, **options)

        def transcribe(self, samples: Any, **options: Any) -> tuple[Any, None]:
            asked.update(options, samples=samples)
            return (SimpleNamespace(text=text) for text in (" Turn on", " the light.")), None

    async def main() -> None:
        async with running(SttSettings("faster_whisper", model=tmp_path), "de") as engine:
            assert await hear(engine) == "Turn on the light."

    monkeypatch.setitem(sys.modules, "faster_whisper", SimpleNamespace(WhisperModel=WhisperModel))
    run(main)
    assert (asked["path"], asked["language"]) == (str(tmp_path), "de")
    assert asked["samples"].dtype == np.float32
    assert len(asked["samples"]) == 16_000


@pytest.mark.parametrize(
    ("engine", "package"), [("vosk", "vosk"), ("faster_whisper", "faster_whisper"), ("wyoming", "wyoming.asr")]
)
def test_a_missing_package_is_one_clear_line(
    engine: EngineName, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def main() -> None:
        with pytest.raises(ModelLoadError, match=r"local\.stt\.engine needs the package .* pip install") as caught:
            async with running(SttSettings(engine, "tcp://h:1", tmp_path)):
                pass
        assert "\n" not in str(caught.value)

    monkeypatch.setitem(sys.modules, package, None)
    run(main)


def test_a_missing_or_broken_model_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ModelLoadError, match=r"local\.stt\.model: .*absent is no folder with a model for vosk"):
            async with running(SttSettings("vosk", model=tmp_path / "absent")):
                pass
        (tmp_path / "broken").mkdir()
        with pytest.raises(ModelLoadError, match="broken cannot be loaded by vosk: Failed to create a model"):
            async with running(SttSettings("vosk", model=tmp_path / "broken")):
                pass

    fake_vosk(monkeypatch)
    run(main)


# --- the built-in one -------------------------------------------------------------------------------------------------


def test_the_built_in_recogniser_hears_english_only(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with running(SttSettings(), "de") as engine:
            assert "requests in writing work" in caplog.text
            with pytest.raises(RecognizerError, match=r"no recogniser for 'de'.*local\.stt\.engine"):
                await hear(engine)
        async with running(SttSettings()) as engine:
            assert isinstance(engine, RecognizerProcess)
            assert english().garbage

    caplog.set_level(logging.WARNING)
    run(main)
