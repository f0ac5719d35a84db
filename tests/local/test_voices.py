"""Voices of others: real Wyoming servers and scripted programs; a voice that fails is replaced for the sentence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.server import AsyncEventHandler, AsyncTcpServer, AsyncUnixServer
from wyoming.tts import Synthesize

from assistant.errors import ModelLoadError
from assistant.local.voice_engines import PicoVoice, PiperVoice, VoiceError, WyomingVoice
from assistant.local.voices import EspeakVoices, Voices, VoiceSettings, open_voices
from tests.local.client import client, run, server

TONE = (8_000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype("<i2").tobytes()  # a second at 16 kHz
PICO = """#!{python}
import sys, wave
options = dict(part.lstrip("-").split("=", 1) for part in sys.argv[1:3])
with open({log!r}, "a") as log:
    print(options["lang"], sys.argv[3], file=log)
if "silent" in sys.argv[3]:
    sys.exit(1)
with wave.open(options["wave"], "wb") as sound:
    sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(16000)
    sound.writeframes(bytes(32000))
"""


class Speaker(AsyncEventHandler):
    """A Wyoming server that says one second of a tone, in chunks, and keeps what it was asked."""

    asked: list[Synthesize]
    rate = 16_000
    broken = ""

    async def handle_event(self, event: Event) -> bool:
        if not Synthesize.is_type(event.type):
            return True
        Speaker.asked.append(Synthesize.from_event(event))
        if Speaker.broken == "error":
            await self.write_event(Event("error", {"text": "no voice"}))
            return False
        if Speaker.broken == "closes":
            return False
        await self.write_event(AudioStart(self.rate, 2, 1).event())
        for start in range(0, len(TONE), 2_048):
            await self.write_event(AudioChunk(self.rate, 2, 1, TONE[start : start + 2_048]).event())
        await self.write_event(AudioStop().event())
        return False


@contextlib.asynccontextmanager
async def speaker(broken: str = "", path: Path | None = None) -> AsyncIterator[str]:
    """A running Wyoming server; gives its address."""
    Speaker.asked, Speaker.broken = [], broken
    wyoming = AsyncUnixServer(str(path)) if path else AsyncTcpServer("127.0.0.1", 0)
    await wyoming.start(Speaker)
    try:
        port = 0 if path else wyoming._server.sockets[0].getsockname()[1]
        yield f"unix://{path}" if path else f"tcp://127.0.0.1:{port}"
    finally:
        await wyoming.stop()


async def spoken(engine: Any, text: str = "Hello.", speed: float = 1.0) -> list[bytes]:
    await engine.start()
    try:
        return [chunk async for chunk in engine.sentence(text, speed)]
    finally:
        await engine.stop()


@pytest.mark.parametrize("unix", [False, True])
def test_a_wyoming_server_speaks_at_24_khz(unix: bool, tmp_path: Path) -> None:
    async def main() -> None:
        async with speaker(path=tmp_path / "socket" if unix else None) as uri:
            chunks = await spoken(WyomingVoice(uri, None, "de"))
            (request,) = Speaker.asked
            assert (request.text, request.voice.language) == ("Hello.", "de")
            samples = np.frombuffer(b"".join(chunks), dtype="<i2").astype(float)
            assert abs(len(samples) - 24_000) < 50
            assert len(chunks) > 10
            assert max(map(len, chunks)) <= 4_800
            spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
            assert abs(int(spectrum.argmax()) * 24_000 / len(samples) - 440) < 2
            await spoken(WyomingVoice(uri, "amy", "de"))
            assert Speaker.asked[-1].voice.name == "amy"

    run(main)


@pytest.mark.parametrize(("broken", "message"), [("error", "says: no voice"), ("closes", "closed the connection")])
def test_a_wyoming_server_that_fails_is_an_error_in_one_line(broken: str, message: str) -> None:
    async def main() -> None:
        async with speaker(broken) as uri:
            with pytest.raises(VoiceError, match=message) as caught:
                await spoken(WyomingVoice(uri, None, "en"))
            assert uri in str(caught.value)

    run(main)


def test_nobody_at_the_address() -> None:
    async def main() -> None:
        async with speaker() as uri:
            pass
        with pytest.raises(VoiceError, match="cannot be reached"):
            await spoken(WyomingVoice(uri, None, "en"))

    run(main)


def test_an_answer_of_the_server_in_another_voice_and_by_espeak_while_that_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with speaker() as uri, server(tts=VoiceSettings("wyoming", uri=uri)) as port, client(port) as session:
            for broken, is_tone in (("", True), ("closes", False), ("closes", False), ("", True)):
                Speaker.broken = broken
                await session.type("hello")
                audio = session.audio((await session.respond()).id)
                assert (abs(len(audio) - 48_000) < 100) == is_tone
                assert len(audio) > 10_000
            # Whoever asks for a voice of espeak-ng gets it.
            await session.type("hello")
            asked = len(Speaker.asked)
            await session.respond(audio={"output": {"voice": "en-gb-x-rp"}})
            assert len(Speaker.asked) == asked

    with caplog.at_level(logging.INFO, logger="assistant.local.voices"):
        run(main)
    lines = [record.getMessage() for record in caplog.records if record.name == "assistant.local.voices"]
    assert [line.rpartition(" ")[2] for line in lines] == ["meanwhile", "again"]


def test_pico_speaks_by_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, log = tmp_path / "pico2wave", tmp_path / "log"
    program.write_text(PICO.format(python=sys.executable, log=str(log)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    async def main() -> None:
        assert abs(sum(map(len, await spoken(PicoVoice("en")))) - 48_000) < 100
        await spoken(PicoVoice("en-gb"), "--help <speed>", 1.25)
        with pytest.raises(VoiceError, match="gave no sound"):
            await spoken(PicoVoice("de"), "silent")

    run(main)
    said = log.read_text().splitlines()
    assert said == ["en-US  Hello.", 'en-GB  <speed level="125">--help  speed </speed>', "de-DE  silent"]


def test_what_is_missing_is_one_line_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "piper", None)
    (tmp_path / "voice.onnx").write_bytes(b"")

    async def main() -> None:
        for engine, message in (
            (PicoVoice("en"), r"local\.tts\.engine: pico wants the program pico2wave; install .*libttspico-utils"),
            (PiperVoice(tmp_path / "none.onnx"), r"local\.tts\.model: .*none\.onnx is no voice file of Piper's"),
            (PiperVoice(tmp_path / "voice.onnx"), r"local\.tts\.engine: Piper .* pip install piper-tts"),
        ):
            with pytest.raises(ModelLoadError, match=message) as caught:
                await spoken(engine)
            assert "\n" not in str(caught.value)

    run(main)


def test_piper_speaks_with_a_voice_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No voice file can be had here, so the package's own interface stands in for it."""
    lengths: list[float] = []

    class FakeVoice:
        config = SimpleNamespace(sample_rate=22_050, length_scale=1.0)

        def synthesize(self, text: str, config: Any) -> list[Any]:
            lengths.append(1.0 if config is None else config.length_scale)
            if text == "broken":
                raise ValueError("x")
            return [SimpleNamespace(audio_int16_bytes=bytes(22_050))] * 2

    piper: Any = ModuleType("piper")
    piper.PiperVoice = SimpleNamespace(load=lambda model: FakeVoice())
    piper.SynthesisConfig = SimpleNamespace
    monkeypatch.setitem(sys.modules, "piper", piper)
    model = tmp_path / "voice.onnx"
    model.write_bytes(b"x")

    async def main() -> None:
        assert abs(sum(map(len, await spoken(PiperVoice(model)))) - 48_000) < 100
        await spoken(PiperVoice(model), speed=1.25)
        with pytest.raises(VoiceError, match="Piper failed: ValueError"):
            await spoken(PiperVoice(model), "broken")

    run(main)
    assert lengths == [1.0, 0.8, 1.0]


def test_sound_is_passed_on_before_the_sentence_is_over() -> None:
    class Slow:
        name = "slow"

        def __init__(self) -> None:
            self.more = asyncio.Event()

        async def start(self) -> None: ...
        async def stop(self) -> None: ...

        async def sentence(self, text: str, speed_factor: float) -> AsyncIterator[bytes]:
            yield b"\1\0"
            await self.more.wait()
            yield b"\2\0"

    async def main() -> None:
        engine: Any = Slow()
        with EspeakVoices("en-us", 165) as espeak:
            chunks = Voices(espeak, "en-us", engine).sentence("Hello.", "en-us", 1.0)
            assert await anext(chunks) == b"\1\0"
            engine.more.set()
            assert [chunk async for chunk in chunks] == [b"\2\0"]

    run(main)


def test_the_default_needs_nothing_but_espeak() -> None:
    async def main() -> None:
        with EspeakVoices("en-us", 165) as espeak:
            async with open_voices(VoiceSettings(), espeak, "en-us", "en") as voices:
                assert sum([len(chunk) async for chunk in voices.sentence("Hello.", "cedar", 1.0)]) > 10_000

    run(main)
