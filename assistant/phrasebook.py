"""The few sentences that Hearth must be able to say when no brain answers, spoken once and kept as files.

They are spoken by the embedded voice, in a child process: the voice is GPL-3 and stays out of the daemon, and a daemon
with a cloud brain has no embedded server that could say them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from assistant.core.commands import Phrase

log = logging.getLogger(__name__)

RENDER_TIMEOUT: Final = 30.0

SENTENCES: Final[Mapping[str, Mapping[Phrase, str]]] = {
    "en": {
        Phrase.UNREACHABLE: "Sorry, I cannot reach the speech service right now.",
        Phrase.BUSY: "The speech service is busy. Please try again in a moment.",
        Phrase.NOT_SIGNED_IN: "The speech service does not accept my key. Please check the settings.",
        Phrase.NO_QUOTA: "The budget for the speech service is used up.",
        Phrase.MISCONFIGURED: "The speech service refuses my settings. The log says why.",
        Phrase.TOO_SLOW: "Sorry, that took too long. Please try again.",
        Phrase.FAILED: "Sorry, something went wrong. Please try again.",
    },
    "de": {
        Phrase.UNREACHABLE: "Ich erreiche den Sprachdienst gerade nicht.",
        Phrase.BUSY: "Der Sprachdienst ist überlastet. Bitte versuche es gleich noch einmal.",
        Phrase.NOT_SIGNED_IN: "Der Sprachdienst nimmt meinen Schlüssel nicht an. Bitte prüfe die Einstellungen.",
        Phrase.NO_QUOTA: "Das Budget für den Sprachdienst ist aufgebraucht.",
        Phrase.MISCONFIGURED: "Der Sprachdienst lehnt meine Einstellungen ab. Im Protokoll steht, warum.",
        Phrase.TOO_SLOW: "Das hat zu lange gedauert. Bitte versuche es noch einmal.",
        Phrase.FAILED: "Da ist etwas schiefgegangen. Bitte versuche es noch einmal.",
    },
}


class Phrasebook:
    """The sentences of one language and voice. Without them (not spoken yet, or not at all) an earcon must do."""

    def __init__(self, folder: Path, language: str, voice: str, speed: int) -> None:
        """folder: where the files are kept. A language that has no sentences gets the English ones."""
        texts = SENTENCES.get(language.partition("-")[0], SENTENCES["en"])
        self._request = {
            "voice": voice,
            "speed": speed,
            "texts": {phrase.value: text for phrase, text in texts.items()},
        }
        name = hashlib.sha256(json.dumps(self._request, sort_keys=True).encode()).hexdigest()[:12]
        self._folder = folder / name

    def pcm(self, phrase: Phrase) -> bytes | None:
        """The sentence as 24 kHz int16 mono, or None if it could not be spoken."""
        try:
            return (self._folder / f"{phrase.value}.pcm").read_bytes()
        except OSError:
            return None

    async def prepare(self) -> None:
        """Have the sentences spoken, if that was not done in an earlier life. Cancelling kills the child."""
        if all((self._folder / f"{phrase.value}.pcm").exists() for phrase in Phrase):
            return
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "assistant.local.render", str(self._folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(RENDER_TIMEOUT):
                _, errors = await process.communicate(json.dumps(self._request).encode())
            if process.returncode != 0:
                log.warning("the sentences for failures could not be spoken: %s", _last_line(errors))
        except TimeoutError:
            log.warning("the sentences for failures could not be spoken in time")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
