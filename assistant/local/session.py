"""One connection: reads what the client sends, owns its conversation, audio input and responses.

Ownership: ``Session.run`` owns all tasks in one TaskGroup: the writer, the clock of the session limit, and one task for
each grammar, response and transcription. The reader is ``run`` itself; it waits for nothing but the client. When the
client goes, or ``run`` is cancelled, all of them end and the recogniser stream is closed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from assistant.local.audio_input import AudioInput, Segment, SpeechStarted, SpeechStopped
from assistant.local.brain import Decision, Say
from assistant.local.conversation import Conversation, Item, Part, read_audio, read_item
from assistant.local.language import Language
from assistant.local.mind import Mind, question
from assistant.local.outbox import Outbox, SlowClient
from assistant.local.protocol import (
    BYTES_PER_MS,
    EventError,
    SessionConfig,
    is_string,
    new_session,
    required,
    response_overrides,
)
from assistant.local.recognizer import Recognizer, RecognizerError
from assistant.local.response import Pacing, Response, Setting, Speech
from assistant.local.turn_detection import detection_settings
from assistant.realtime.codec import ANNOUNCEMENT

_log = logging.getLogger(__name__)

MAX_PARALLEL_RESPONSES: Final = 8
"""Responses of one session at once: one in the conversation, the others out of band."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the server decides for all its sessions."""

    voice: str
    language: Language
    strictness: float
    wake_phrases: tuple[str, ...]
    limit_s: float
    pacing: Pacing
    log_transcripts: bool


class Session:
    """Serves one client until it goes."""

    def __init__(
        self,
        connection: ServerConnection,
        recognizer: Recognizer,
        speech: Speech,
        options: SessionOptions,
        model: str | None,
    ) -> None:
        self._connection = connection
        self._recognizer = recognizer
        self._speech = speech
        self._options = options
        self._outbox = Outbox(connection)
        self._input = AudioInput(recognizer)
        self._conversation = Conversation(_new_id("conv"))
        self._config = new_session(_new_id("sess"), model, options.voice, int(time.time() + options.limit_s))
        self._mind = Mind(recognizer, options.language, options.wake_phrases, options.strictness)
        self._loading: asyncio.Task[None] | None = None  # the grammar on its way to the recogniser
        self._responses: set[Response] = set()
        self._has_spoken = False
        self._next_item: str | None = None  # id promised by speech_started
        self._hearing: dict[str, asyncio.Task[None]] = {}  # item id -> recognition in progress
        self._tasks: asyncio.TaskGroup
        self._handlers: Final[Mapping[str, Callable[[Mapping[str, Any]], None]]] = {
            "session.update": self._session_update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._item_create,
            "conversation.item.retrieve": self._item_retrieve,
            "conversation.item.delete": self._item_delete,
            "conversation.item.truncate": self._item_truncate,
            "response.create": self._response_create,
            "response.cancel": self._response_cancel,
        }

    async def run(self) -> None:
        """Serve until the client goes or the session's time is over."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                writer = self._tasks.create_task(self._outbox.run())
                clock = self._tasks.create_task(self._expire())
                self._emit("session.created", session=self._config.json)
                self._input.configure(self._detection())
                async for message in self._connection:
                    self._receive(message)
                clock.cancel()
                writer.cancel()
                for task in self._owned():
                    task.cancel()
        except* ConnectionClosed:
            pass
        except* SlowClient:
            _log.warning("a client does not read what it asked for; its session is closed")
            self._connection.transport.abort()
        finally:
            await self._recognizer.close()

    def _owned(self) -> list[asyncio.Task[None]]:
        loading = [self._loading] if self._loading else []
        return loading + [response.task for response in self._responses if response.task] + [*self._hearing.values()]

    async def _expire(self) -> None:
        await asyncio.sleep(self._options.limit_s)
        minutes = self._options.limit_s / 60
        message = f"Your session hit the maximum duration of {minutes:g} minutes."
        error = EventError("session_expired", message)
        self._emit("error", error=error.to_json(None))
        await self._outbox.flush()
        await self._connection.close(1001, message)

    # -- in and out --------------------------------------------------------------------------------------------------

    def _emit(self, event_type: str, **fields: Any) -> None:
        self._outbox.put({"type": event_type, "event_id": _new_id("event"), **fields})

    def _receive(self, message: str | bytes) -> None:
        event_id: str | None = None
        try:
            event = _parse(message)
            event_id = event["event_id"] if isinstance(event.get("event_id"), str) else None
            handler = self._handlers.get(required(event, "type"))
            if handler is None:
                raise EventError(
                    "invalid_value",
                    f"Invalid value: {str(event['type'])[:100]!r}. Supported values are: "
                    + ", ".join(f"'{name}'" for name in self._handlers)
                    + ".",
                    "type",
                )
            handler(event)
        except EventError as error:
            self._emit("error", error=error.to_json(event_id))
        except (TypeError, RecursionError):
            # A value of a kind that no check foresaw, such as a list where a name belongs.
            _log.exception("a client event could not be handled")
            problem = EventError("invalid_event", "The event could not be understood.")
            self._emit("error", error=problem.to_json(event_id))

    # -- session -----------------------------------------------------------------------------------------------------

    def _session_update(self, event: Mapping[str, Any]) -> None:
        config = self._config.updated(required(event, "session"), voice_is_fixed=self._has_spoken)
        new_tools = config.tools != self._config.tools
        self._config = config
        if new_tools:
            self._mind.set_tools(config.tools)
        if new_tools or self._loading is None:
            self._load_grammar()
        self._input.configure(self._detection())
        self._emit("session.updated", session=config.json)

    def _load_grammar(self) -> None:
        """Begin to load it. What is said before it is loaded is kept and recognised then."""
        self._loading = self._tasks.create_task(self._mind.load())

    def _detection(self) -> Any:
        spec = self._config.turn_detection
        return detection_settings(spec) if spec is not None else None

    # -- audio in ----------------------------------------------------------------------------------------------------

    def _append(self, event: Mapping[str, Any]) -> None:
        pcm = read_audio(required(event, "audio"), "audio")
        if self._loading is None:
            self._load_grammar()
        for heard in self._input.append(pcm):
            match heard:
                case SpeechStarted(audio_start_ms):
                    self._speech_started(audio_start_ms)
                case SpeechStopped(audio_end_ms, segment):
                    self._speech_stopped(audio_end_ms, segment)

    def _speech_started(self, audio_start_ms: int) -> None:
        self._next_item = _new_id("item")
        self._emit("input_audio_buffer.speech_started", audio_start_ms=audio_start_ms, item_id=self._next_item)
        settings = self._input.settings
        if settings is not None and settings.interrupt_response and (active := self._active()) is not None:
            active.cancel("turn_detected")

    def _speech_stopped(self, audio_end_ms: int, segment: Segment) -> None:
        item_id, self._next_item = self._next_item or _new_id("item"), None
        self._emit("input_audio_buffer.speech_stopped", audio_end_ms=audio_end_ms, item_id=item_id)
        self._add_segment(item_id, segment)
        settings = self._input.settings
        if settings is not None and settings.create_response and self._active() is None:
            self._start(self._config, self._conversation, list(self._conversation), None)

    def _commit(self, event: Mapping[str, Any]) -> None:
        segment = self._input.commit()
        item_id, self._next_item = self._next_item or _new_id("item"), None
        self._add_segment(item_id, segment)

    def _clear(self, event: Mapping[str, Any]) -> None:
        self._input.clear()
        self._next_item = None
        self._emit("input_audio_buffer.cleared")

    def _add_segment(self, item_id: str, segment: Segment) -> None:
        """The user's audio becomes an item; its words follow."""
        part = Part("input_audio", None, bytearray(segment.pcm), len(segment.pcm) // BYTES_PER_MS)
        item = Item(item_id, "message", role="user", parts=[part])
        self._emit("input_audio_buffer.committed", item_id=item_id, previous_item_id=self._conversation.last_id)
        self._announce(item, None)
        task = self._tasks.create_task(self._hear(item, segment, transcribes=self._config.transcribes))
        self._hearing[item_id] = task
        task.add_done_callback(lambda _: self._hearing.pop(item_id, None))

    async def _hear(self, item: Item, segment: Segment, *, transcribes: bool) -> None:
        """Wait for the words of an item, and tell the client if it asked for them."""
        place = {"item_id": item.id, "content_index": 0}
        prefix = "conversation.item.input_audio_transcription"
        started = time.monotonic()
        try:
            transcript = await segment.transcript
        except RecognizerError as error:
            _log.error("%s", error)
            item.failed = True
            if transcribes:
                problem = {"type": "server_error", "code": "audio_unintelligible", "message": str(error), "param": None}
                self._emit(f"{prefix}.failed", **place, error=problem)
            return
        # The words of the garbage loop mean nothing, so nobody gets to see them.
        item.parts[0].text = "" if transcript.rejected else transcript.text
        item.rejected = transcript.rejected
        item.guess = transcript.guess
        took = (time.monotonic() - started) * 1000
        words = repr(transcript.text) if self._options.log_transcripts else f"{len(transcript.text.split())} words"
        _log.info("heard %s%s, %.0f ms", words, " (none of the sentences)" if transcript.rejected else "", took)
        if transcribes:
            usage = {"type": "duration", "seconds": item.parts[0].audio_ms / 1000}
            self._emit(f"{prefix}.completed", **place, transcript=item.parts[0].text, usage=usage)

    # -- conversation ------------------------------------------------------------------------------------------------

    def _announce(self, item: Item, previous: str | None) -> None:
        before = self._conversation.insert(item, previous)
        self._emit("conversation.item.added", previous_item_id=before, item=item.to_json())
        self._emit("conversation.item.done", previous_item_id=before, item=item.to_json())

    def _item_create(self, event: Mapping[str, Any]) -> None:
        item = read_item(required(event, "item"), _new_id("item"))
        if item.type == "function_call_output" and self._conversation.call(item.call_id) is None:
            raise EventError(
                "invalid_tool_call_id",
                f"Tool call ID '{item.call_id}' not found in conversation.",
                "item.call_id",
            )
        previous = event.get("previous_item_id")
        self._announce(item, None if previous is None else is_string(previous, "previous_item_id"))

    def _item_retrieve(self, event: Mapping[str, Any]) -> None:
        item_id = is_string(required(event, "item_id"), "item_id")
        item = self._conversation.find(item_id)
        if item is None:
            raise EventError("item_retrieve_invalid_item_id", f"Item with id '{item_id}' does not exist.", "item_id")
        self._emit("conversation.item.retrieved", item=item.to_json(audio=True))

    def _item_delete(self, event: Mapping[str, Any]) -> None:
        item_id = is_string(required(event, "item_id"), "item_id")
        self._conversation.delete(item_id)
        self._emit("conversation.item.deleted", item_id=item_id)

    def _item_truncate(self, event: Mapping[str, Any]) -> None:
        item_id = is_string(required(event, "item_id"), "item_id")
        content_index = _whole(required(event, "content_index"), "content_index")
        audio_end_ms = _whole(required(event, "audio_end_ms"), "audio_end_ms")
        self._conversation.truncate(item_id, content_index, audio_end_ms)
        self._emit(
            "conversation.item.truncated", item_id=item_id, content_index=content_index, audio_end_ms=audio_end_ms
        )

    # -- responses ---------------------------------------------------------------------------------------------------

    def _active(self) -> Response | None:
        """The response that writes to the conversation now."""
        return next((response for response in self._responses if response.in_conversation), None)

    def _response_create(self, event: Mapping[str, Any]) -> None:
        overrides = response_overrides(event)
        in_conversation = overrides.get("conversation", "auto") == "auto"
        if in_conversation and (active := self._active()) is not None:
            raise EventError(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        if len(self._responses) >= MAX_PARALLEL_RESPONSES:
            raise EventError("rate_limit_exceeded", f"At most {MAX_PARALLEL_RESPONSES} responses at once are possible.")
        given = overrides.get("input")
        context = list(self._conversation) if given is None else [self._input_item(raw) for raw in given]
        config = self._config.for_response(overrides)
        self._start(config, self._conversation if in_conversation else None, context, overrides.get("metadata"))

    def _input_item(self, raw: Any) -> Item:
        """An item of ``response.input``: a new one, or a reference to one of the conversation."""
        if isinstance(raw, Mapping) and raw.get("type") == "item_reference":
            item = self._conversation.find(str(raw.get("id")))
            if item is None:
                raise EventError("invalid_value", f"Item with id '{raw.get('id')}' does not exist.", "response.input")
            return item
        return read_item(raw, _new_id("item"), "response.input")

    def _start(
        self,
        config: SessionConfig,
        conversation: Conversation | None,
        context: Sequence[Item],
        metadata: dict[str, str] | None,
    ) -> None:
        setting = Setting(
            config=config,
            conversation=conversation,
            context=context,
            decide=lambda: self._decide(config, context, metadata or {}),
            speech=self._speech,
            emit=self._emit,
            room=self._outbox.room,
            new_id=_new_id,
            pacing=self._options.pacing,
            metadata=metadata,
        )
        response = Response(setting, self._response_done)
        self._responses.add(response)
        response.begin()
        response.task = self._tasks.create_task(response.run())

    def _response_done(self, response: Response) -> None:
        self._responses.discard(response)
        self._has_spoken = self._has_spoken or response.spoke

    def _response_cancel(self, event: Mapping[str, Any]) -> None:
        wanted = event.get("response_id")
        response = self._active() if wanted is None else next((r for r in self._responses if r.id == wanted), None)
        if response is None:
            raise EventError("response_cancel_not_active", "Cancellation failed: no active response found")
        response.cancel("client_cancelled")

    async def _decide(
        self, config: SessionConfig, context: Sequence[Item], metadata: Mapping[str, str]
    ) -> AsyncGenerator[Decision, None]:
        """Ask the brain, once the words of the last item are known. An announcement needs no brain."""
        asked = question(context)
        if asked is not None and metadata.get("purpose") == ANNOUNCEMENT:
            yield Say(asked.text)
            return
        if asked is not None and (hearing := self._hearing.get(asked.id)) is not None:
            await asyncio.wait({hearing})
        async with aclosing(
            self._mind.decide(config.tools, context, may_call=config.tool_choice != "none")
        ) as decisions:
            async for decision in decisions:
                yield decision


def _parse(message: str | bytes) -> Mapping[str, Any]:
    if isinstance(message, bytes):
        raise EventError("invalid_event", "Events are text messages, not binary ones.")
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        raise EventError("invalid_json", "The message is not valid JSON.") from None
    if not isinstance(event, Mapping):
        raise EventError("invalid_event", "An event is a JSON object.")
    return event


def _whole(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise EventError("invalid_value", f"Invalid value for '{path}': expected an integer of at least 0.", path)
    return value


def _new_id(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(10)}"
