"""Which recogniser hears what is said, as the configuration has it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from assistant.local.grammar import Grammar
from assistant.local.language import Language
from assistant.local.recognizer import Engine, Recognizer, RecognizerError, Transcript, Utterance
from assistant.local.recognizer_process import Pronounce, RecognizerProcess
from assistant.local.transcribers import FreeEngine, VoskTranscriber, WhisperTranscriber, WyomingTranscriber

_log = logging.getLogger(__name__)

EngineName = Literal["pocketsphinx", "wyoming", "vosk", "faster_whisper"]


@dataclass(frozen=True, slots=True)
class SttSettings:
    """The recogniser. ``uri``: of a Wyoming server. ``model``: a folder, for vosk and faster-whisper."""

    engine: EngineName = "pocketsphinx"
    uri: str | None = None
    model: Path | None = None
    noise_suppression: bool = True
    """Remove steady noise before recognition; only the built-in recogniser needs it."""


async def make_engine(
    settings: SttSettings, language: Language, pronounce: Pronounce, mean_folder: Path | None
) -> Engine:
    """The recogniser of a server, ready to run.

    mean_folder: keeps how microphones sound. Raises ModelLoadError when a package or a model is missing.
    """
    match settings.engine:
        case "pocketsphinx":
            if not language.garbage:
                _log.warning(
                    "the built-in recogniser has no model for %r: requests in writing work, speech needs another "
                    "local.stt.engine",
                    language.code,
                )
                return DeafEngine(language.code)
            return RecognizerProcess(pronounce, mean_folder, noise_suppression=settings.noise_suppression)
        case "wyoming":
            engine = FreeEngine(WyomingTranscriber(settings.uri or "", language.code))
        case "vosk":
            engine = FreeEngine(VoskTranscriber(settings.model or Path()))
        case "faster_whisper":
            engine = FreeEngine(WhisperTranscriber(settings.model or Path(), language.code))
        case _:
            assert_never(settings.engine)
    await engine.prepare()
    return engine


class DeafEngine:
    """Stands in where no recogniser has a model for the language: each utterance fails, and says why."""

    def __init__(self, language: str) -> None:
        self._language = language

    async def run(self) -> None:
        """There is nothing to own."""

    def open(self, device: str = "") -> Recognizer:
        return _DeafRecognizer(self._language)


class _DeafRecognizer:
    def __init__(self, language: str) -> None:
        self._language = language

    async def set_grammar(self, grammar: Grammar) -> None:
        pass

    def begin(self) -> Utterance:
        return _Unheard(self._language)

    async def close(self) -> None:
        pass


class _Unheard:
    def __init__(self, language: str) -> None:
        self._language = language

    def feed(self, pcm: bytes) -> None:
        pass

    async def so_far(self) -> str:
        return ""

    async def finish(self) -> Transcript:
        raise RecognizerError(
            f"there is no recogniser for {self._language!r}: set local.stt.engine to one that has a model for it"
        )

    def abandon(self) -> None:
        pass
