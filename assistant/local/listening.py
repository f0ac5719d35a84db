"""What a session hears: the input audio buffer becomes items of the conversation, and their words follow.

Ownership: the recognition of each item is a task that ``run`` makes, of the session that owns this object, and so is
the judgement of a pause; ``tasks`` are those that are not finished. Cancelling one leaves its item without words, or
its pause without judgement.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from functools import partial
from typing import Any, Final

from assistant.core.completeness import Completeness
from assistant.local.audio_input import AudioInput, Segment, SpeechPaused, SpeechStarted, SpeechStopped
from assistant.local.conversation import Conversation, Item, Part
from assistant.local.protocol import BYTES_PER_MS, SessionConfig
from assistant.local.recognizer import Recognizer, RecognizerError
from assistant.local.turn_detection import DetectionSettings, detection_settings

_log = logging.getLogger(__name__)

_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"


class Turn(Enum):
    """What turn detection has found."""

    BEGAN = auto()
    ENDED = auto()
    """The user has finished, or has said nothing for as long as the client wants to wait."""


class Listening:
    """The ears of one session.

    completeness: whether the beginning of a turn is a whole request. emit: ``emit(type, **fields)``. run: makes a task
    of the session's.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        completeness: Callable[[str], Completeness],
        conversation: Conversation,
        emit: Callable[..., None],
        run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        new_id: Callable[[str], str],
        *,
        log_transcripts: bool,
    ) -> None:
        self._input = AudioInput(recognizer)
        self._completeness = completeness
        self._conversation = conversation
        self._emit = emit
        self._run = run
        self._new_id = new_id
        self._log_transcripts = log_transcripts
        self._transcribes = False
        self._next_item: str | None = None  # id promised by speech_started
        self._hearing: dict[str, asyncio.Task[None]] = {}  # item id -> recognition in progress
        self._judging: set[asyncio.Task[None]] = set()  # pauses
        self._quiet_since_ms: int | None = None  # audio time at which the last answer was over

    @property
    def settings(self) -> DetectionSettings | None:
        """Turn detection, or None while the client commits by itself."""
        return self._input.settings

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        return [*self._hearing.values(), *self._judging]

    def configure(self, config: SessionConfig) -> None:
        spec = config.turn_detection
        self._transcribes = config.transcribes
        self._input.configure(None if spec is None else detection_settings(spec), config.input_format)

    async def heard(self, item_id: str) -> None:
        """Wait until the words of an item are known."""
        if (hearing := self._hearing.get(item_id)) is not None:
            await asyncio.wait({hearing})

    def append(self, chunk: bytes, *, answering: bool) -> list[Turn]:
        """More audio, in the client's format. ``answering``: a response is under way. Raises EventError."""
        turns: list[Turn] = []
        for event in self._input.append(chunk):
            match event:
                case SpeechStarted(audio_start_ms):
                    self._speech_started(audio_start_ms)
                    turns.append(Turn.BEGAN)
                case SpeechPaused(since_ms):
                    self._judge(partial(self._input.judge, since_ms))
                case SpeechStopped(audio_end_ms, segment):
                    self._speech_stopped(audio_end_ms, segment)
                    turns.append(Turn.ENDED)
        if not answering and not turns and self._has_waited_enough():
            turns.append(Turn.ENDED)
        return turns

    def ask(self, event_id: str | None) -> None:
        """Tell the client whether what it has appended so far is a whole request."""
        self._judge(lambda found: self._emit("hearth.completeness", asked_by=event_id, completeness=found.value))

    def commit(self) -> None:
        """End the turn by hand. Raises EventError."""
        segment = self._input.commit()
        self._add(self._take_item_id(), segment)

    def clear(self) -> None:
        self._input.clear()
        self._next_item = None
        self._emit("input_audio_buffer.cleared")

    def answered(self, spoken_ms: int) -> None:
        """A response is over, whose audio takes so long to play: now it is the user's turn."""
        self._quiet_since_ms = self._input.position_ms + spoken_ms

    def _judge(self, tell: Callable[[Completeness], None]) -> None:
        async def judge() -> None:
            tell(self._completeness(await self._input.so_far()))

        task = self._run(judge())
        self._judging.add(task)
        task.add_done_callback(self._judging.discard)

    # -- turns -------------------------------------------------------------------------------------------------------

    def _speech_started(self, audio_start_ms: int) -> None:
        self._quiet_since_ms = None
        self._next_item = self._new_id("item")
        self._emit("input_audio_buffer.speech_started", audio_start_ms=audio_start_ms, item_id=self._next_item)

    def _speech_stopped(self, audio_end_ms: int, segment: Segment) -> None:
        item_id = self._take_item_id()
        self._emit("input_audio_buffer.speech_stopped", audio_end_ms=audio_end_ms, item_id=item_id)
        self._add(item_id, segment)

    def _take_item_id(self) -> str:
        item_id, self._next_item = self._next_item or self._new_id("item"), None
        return item_id

    def _has_waited_enough(self) -> bool:
        """``idle_timeout_ms``: the user is silent, and the model may say something about it."""
        settings, since, now = self._input.settings, self._quiet_since_ms, self._input.position_ms
        if settings is None or settings.idle_timeout_ms is None or since is None or self._input.speaking:
            return False
        if now - since < settings.idle_timeout_ms:
            return False
        self._quiet_since_ms = None
        item = Item(self._new_id("item"), "message", role="user", parts=[Part("input_audio", "")])
        self._emit("input_audio_buffer.timeout_triggered", audio_start_ms=since, audio_end_ms=now, item_id=item.id)
        self._commit_item(item)
        return True

    def _add(self, item_id: str, segment: Segment) -> None:
        """The user's audio becomes an item; its words follow."""
        part = Part("input_audio", None, bytearray(segment.pcm), len(segment.pcm) // BYTES_PER_MS)
        item = Item(item_id, "message", role="user", parts=[part])
        self._commit_item(item)
        task = self._run(self._hear(item, segment, transcribes=self._transcribes))
        self._hearing[item_id] = task
        task.add_done_callback(lambda _: self._hearing.pop(item_id, None))

    def _commit_item(self, item: Item) -> None:
        self._emit("input_audio_buffer.committed", item_id=item.id, previous_item_id=self._conversation.last_id)
        before = self._conversation.insert(item)
        self._emit("conversation.item.added", previous_item_id=before, item=item.to_json())
        self._emit("conversation.item.done", previous_item_id=before, item=item.to_json())

    # -- words -------------------------------------------------------------------------------------------------------

    async def _hear(self, item: Item, segment: Segment, *, transcribes: bool) -> None:
        """Wait for the words of an item, and tell the client if it asked for them."""
        place = {"item_id": item.id, "content_index": 0}
        started = time.monotonic()
        try:
            transcript = await segment.transcript
        except RecognizerError as error:
            _log.error("%s", error)
            item.failed = True
            if transcribes:
                problem = {"type": "server_error", "code": "audio_unintelligible", "message": str(error), "param": None}
                self._emit(f"{_TRANSCRIPTION}.failed", **place, error=problem)
            return
        # The words of the garbage loop mean nothing, so nobody gets to see them.
        text = "" if transcript.rejected else transcript.text
        item.parts[0].text = text
        item.rejected = transcript.rejected
        item.guess = transcript.guess
        took = (time.monotonic() - started) * 1000
        words = repr(transcript.text) if self._log_transcripts else f"{len(transcript.text.split())} words"
        _log.info("heard %s%s, %.0f ms", words, " (none of the sentences)" if transcript.rejected else "", took)
        if transcribes:
            if text:
                self._emit(f"{_TRANSCRIPTION}.delta", **place, delta=text)
            usage = {"type": "duration", "seconds": item.parts[0].audio_ms / 1000}
            self._emit(f"{_TRANSCRIPTION}.completed", **place, transcript=text, usage=usage)
