"""The voice of all sessions, behind one interface: espeak-ng, or what somebody installs instead.

Ownership: ``open_voices`` makes the voices of a server and ends them. espeak-ng is always there: it says how words are
pronounced, and speaks for an engine that fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol, assert_never

from assistant.local.pronounce import arpabet
from assistant.local.voice import Voice, has_voice, ipa
from assistant.local.voice_engines import PicoVoice, PiperVoice, VoiceError, WyomingVoice

_log = logging.getLogger(__name__)

EngineName = Literal["espeak", "pico", "piper", "wyoming"]


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """What speaks. ``uri``: of a Wyoming server. ``model``: a voice file of Piper's. ``voice``: its name there."""

    engine: EngineName = "espeak"
    uri: str | None = None
    model: Path | None = None
    voice: str | None = None


class VoiceEngine(Protocol):
    """Speaks one sentence at a time."""

    name: str
    """What it is called in messages."""

    async def start(self) -> None:
        """Load what is needed. Raises ModelLoadError."""
        ...

    def sentence(self, text: str, speed_factor: float) -> AsyncGenerator[bytes, None]:
        """The sentence as it is made: 24 kHz, 16 bit, mono. May raise VoiceError."""
        ...

    async def stop(self) -> None: ...


class EspeakVoices:
    """The voices of espeak-ng, on a thread of their own: one sentence after the other, in the order they are asked for.

    A context manager; leaving it waits for the sentence at work, 3 ms.
    """

    def __init__(self, voice: str, speed: int) -> None:
        self._default = Voice(voice, speed)
        self._speed = speed
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="voice")

    def __enter__(self) -> EspeakVoices:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def sentence(self, text: str, voice: str, speed_factor: float) -> Sequence[bytes]:
        """All of it, in chunks of at most 100 ms. A voice that espeak-ng does not know is the default one."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._sentence, text, voice, speed_factor)

    async def pronounce(self, words: Sequence[str]) -> dict[str, str]:
        """American ARPAbet for the recogniser."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: {word: arpabet(ipa(word)) for word in words})

    def _sentence(self, text: str, voice: str, speed_factor: float) -> list[bytes]:
        chosen = self._default if voice == self._default.name else _voice(voice, self._speed) or self._default
        return chosen.sentence(text, speed_factor=speed_factor)


@lru_cache(maxsize=32)
def _voice(name: str, speed: int) -> Voice | None:
    return Voice(name, speed) if has_voice(name) else None


class Voices:
    """See ``response.Speech``. A session that asks for a voice of espeak-ng by its name gets that, whatever is set."""

    def __init__(self, espeak: EspeakVoices, default: str, engine: VoiceEngine | None) -> None:
        self._espeak = espeak
        self._default = default
        self._engine = engine
        self._well = True

    async def sentence(self, text: str, voice: str, speed_factor: float) -> AsyncGenerator[bytes, None]:
        if self._engine is not None and (voice == self._default or not has_voice(voice)):
            begun = False
            try:
                async with aclosing(self._engine.sentence(text, speed_factor)) as chunks:
                    async for chunk in chunks:
                        begun = True
                        yield chunk
                self._report(None)
            except VoiceError as error:
                self._report(error)
            if begun:
                return
        for chunk in await self._espeak.sentence(text, voice, speed_factor):
            yield chunk

    def _report(self, error: VoiceError | None) -> None:
        """Once when it fails, and once when it is back."""
        if error is not None and self._well:
            _log.warning("%s; espeak-ng speaks meanwhile", error)
        elif error is None and not self._well and self._engine is not None:
            _log.info("%s speaks again", self._engine.name)
        self._well = error is None


@contextlib.asynccontextmanager
async def open_voices(
    settings: VoiceSettings, espeak: EspeakVoices, default: str, language: str
) -> AsyncIterator[Voices]:
    """The voices of a server. ``default``: the voice of espeak-ng. Raises ModelLoadError."""
    engine = _engine(settings, language)
    if engine is None:
        yield Voices(espeak, default, None)
        return
    await engine.start()
    try:
        yield Voices(espeak, default, engine)
    finally:
        await engine.stop()


def _engine(settings: VoiceSettings, language: str) -> VoiceEngine | None:
    match settings.engine:
        case "espeak":
            return None
        case "pico":
            return PicoVoice(settings.voice or language)
        case "piper":
            return PiperVoice(settings.model or Path())
        case "wyoming":
            return WyomingVoice(settings.uri or "", settings.voice, language)
        case _:
            assert_never(settings.engine)
