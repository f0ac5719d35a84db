"""Speech to text: what a session sees of it. The engines behind it are ``recognizer_process`` and ``transcribers``."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, Protocol

from assistant.errors import HearthError
from assistant.local.grammar import Grammar

MAX_UTTERANCE_S: Final = 60
"""Audio beyond this is not recognised: no command is that long."""


class RecognizerError(HearthError):
    """This utterance cannot be recognised; the next one may be."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard. ``text`` is empty for silence; ``rejected`` means speech that is none of the sentences."""

    text: str
    rejected: bool
    guess: str = ""
    """What a second look found: the sentence that rejected speech most likely is, or what a sentence in noise may be
    instead. To be asked about if it means something else."""


class Utterance(Protocol):
    """Something being said. Neither ``feed`` nor ``abandon`` waits for anything."""

    def feed(self, pcm: bytes) -> None:
        """More audio: 16 kHz, 16 bit, mono. Decoding goes on meanwhile."""
        ...

    async def so_far(self) -> str:
        """The beginning of a sentence, or a whole one, that was heard until now. Empty if it is none, and where nothing
        can be told before the end. Raises nothing."""
        ...

    def finish(self) -> Awaitable[Transcript]:
        """End it. The end counts from the call, also when the result is awaited later. May raise RecognizerError."""
        ...

    def abandon(self) -> None:
        """End it without a result."""
        ...


class Recognizer(Protocol):
    """The recogniser of one session."""

    async def set_grammar(self, grammar: Grammar) -> None:
        """What may be said from now on. An utterance that is open meanwhile is heard with the new grammar.

        Raises RecognizerError when it cannot be loaded now; it is kept all the same, and loaded when the engine is
        back.
        """
        ...

    def begin(self) -> Utterance:
        """Somebody begins to speak. An utterance that is still open is abandoned. The result waits for a grammar."""
        ...

    async def close(self) -> None: ...


class Engine(Protocol):
    """The recogniser of a server: one for all sessions."""

    async def run(self) -> None:
        """Own the engine until cancelled."""
        ...

    def open(self, device: str = "") -> Recognizer:
        """The recogniser of a new session. ``device``: the microphone that it hears, "" if that is not known."""
        ...
