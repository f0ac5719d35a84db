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

from assistant.local.brain import CallTool, Decision, Say
from assistant.local.chat import Chat, ChatRequest
from assistant.local.checks import EventError, is_string, required
from assistant.local.conversation import Conversation, Item, read_audio, read_item
from assistant.local.dialects import GaWire
from assistant.local.faults import EventFaults, Fault, Faults
from assistant.local.language import Language
from assistant.local.limits import RateLimits
from assistant.local.listening import Listening, Turn
from assistant.local.mind import Mind, question
from assistant.local.outbox import Outbox, SlowClient
from assistant.local.protocol import SessionConfig, new_session, response_overrides
from assistant.local.recognizer import Recognizer
from assistant.local.response import Pacing, Response, ResponseError, Setting, Speech
from assistant.realtime.codec import ANNOUNCEMENT
from assistant.realtime.dialects import Dialect

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
    faults: Faults
    chat: Chat | None = None


class Session:
    """Serves one client until it goes."""

    def __init__(
        self,
        connection: ServerConnection,
        recognizer: Recognizer,
        speech: Speech,
        options: SessionOptions,
        model: str | None,
        wire: GaWire,
    ) -> None:
        self._connection = connection
        self._recognizer = recognizer
        self._speech = speech
        self._options = options
        self._wire = wire
        self._outbox = Outbox(connection)
        self._faults = EventFaults(options.faults)
        self._limits = RateLimits(time.monotonic())
        self._conversation = Conversation(_new_id("conv"))
        self._mind = Mind(recognizer, options.language, options.wake_phrases, options.strictness, options.chat)
        self._listening = Listening(
            recognizer,
            self._mind.completeness,
            self._conversation,
            self._emit,
            lambda work: self._tasks.create_task(work),
            _new_id,
            log_transcripts=options.log_transcripts,
        )
        expires_at = int(time.time() + options.limit_s)
        self._config = new_session(_new_id("sess"), model, options.voice, expires_at, wire.dialect)
        self._loading: asyncio.Task[None] | None = None  # the grammar on its way to the recogniser
        self._responses: set[Response] = set()
        self._has_spoken = False
        self._tasks: asyncio.TaskGroup
        self._handlers: Final[Mapping[str, Callable[[Mapping[str, Any]], None]]] = {
            "session.update": self._session_update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "hearth.completeness.get": self._completeness_get,
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
                if self._wire.dialect is Dialect.PREVIEW:
                    conversation = {"id": self._conversation.id, "object": "realtime.conversation"}
                    self._emit("conversation.created", conversation=conversation)
                self._listening.configure(self._config)
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
        return loading + [response.task for response in self._responses if response.task] + self._listening.tasks

    async def _expire(self) -> None:
        await asyncio.sleep(self._options.limit_s)
        minutes = self._options.limit_s / 60
        message = f"Your session hit the maximum duration of {minutes:g} minutes."
        self._refuse(EventError("session_expired", message), None)
        await self._outbox.flush()
        await self._connection.close(1001, message)

    # -- in and out --------------------------------------------------------------------------------------------------

    def _emit(self, event_type: str, **fields: Any) -> None:
        events, fault = self._faults.spoil({"type": event_type, "event_id": _new_id("event"), **fields})
        for event in events:
            if (shown := self._wire.outbound(event)) is not None:
                self._outbox.put(shown)
        if fault is not None:
            self._tasks.create_task(self._break(fault))

    async def _break(self, fault: Fault) -> None:
        """End the connection as somebody wants it, for a test."""
        await self._outbox.flush()
        if fault.kind == "close":
            await self._connection.close(int(fault.value))
        else:
            self._connection.transport.abort()

    def _refuse(self, error: EventError, event_id: str | None) -> None:
        self._emit("error", error=error.to_json(event_id))

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
            self._obey(handler, self._wire.inbound(event))
        except EventError as error:
            self._refuse(error, event_id)
        except (TypeError, RecursionError):
            # A value of a kind that no check foresaw, such as a list where a name belongs.
            _log.exception("a client event could not be handled")
            self._refuse(EventError("invalid_event", "The event could not be understood."), event_id)

    def _obey(self, handler: Callable[[Mapping[str, Any]], None], event: Mapping[str, Any]) -> None:
        try:
            handler(event)
        except EventError as error:
            raise self._wire.error(error) from None

    # -- session -----------------------------------------------------------------------------------------------------

    def _session_update(self, event: Mapping[str, Any]) -> None:
        config = self._config.updated(required(event, "session"), voice_is_fixed=self._has_spoken)
        new_tools = config.tools != self._config.tools
        self._config = config
        if new_tools:
            self._mind.set_tools(config.tools)
        if new_tools or self._loading is None:
            self._load_grammar()
        self._listening.configure(config)
        self._emit("session.updated", session=config.json)

    def _load_grammar(self) -> None:
        """Begin to load it. What is said before it is loaded is kept and recognised then."""
        self._loading = self._tasks.create_task(self._mind.load())

    # -- audio in ----------------------------------------------------------------------------------------------------

    def _append(self, event: Mapping[str, Any]) -> None:
        chunk = read_audio(required(event, "audio"), "audio")
        if self._loading is None:
            self._load_grammar()
        for turn in self._listening.append(chunk, answering=self._active() is not None):
            settings, active = self._listening.settings, self._active()
            if settings is None:
                continue
            if turn is Turn.BEGAN and settings.interrupt_response and active is not None:
                active.cancel("turn_detected")
            elif turn is Turn.ENDED and settings.create_response and active is None:
                self._start(self._config, self._conversation, list(self._conversation), None)

    def _commit(self, event: Mapping[str, Any]) -> None:
        self._listening.commit()

    def _clear(self, event: Mapping[str, Any]) -> None:
        self._listening.clear()

    def _completeness_get(self, event: Mapping[str, Any]) -> None:
        asked_by = event.get("event_id")
        self._listening.ask(asked_by if isinstance(asked_by, str) else None)

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
        overrides = response_overrides(event, self._wire.dialect)
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
            limits=self._limits,
        )
        response = Response(setting, self._response_done)
        self._responses.add(response)
        response.begin()
        response.task = self._tasks.create_task(response.run())

    def _response_done(self, response: Response) -> None:
        self._responses.discard(response)
        self._has_spoken = self._has_spoken or response.spoken_ms > 0
        if response.in_conversation:
            self._listening.answered(response.spoken_ms)

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
        if wait_s := self._limits.admit(time.monotonic()):
            raise ResponseError("rate_limit_exceeded", f"Rate limit reached. Please try again in {wait_s:.3f}s.")
        if slow := self._options.faults.take("slow"):
            await asyncio.sleep(float(slow.value))
        if fault := self._options.faults.take("fail"):
            raise ResponseError(fault.value, "This failure was asked for.")
        asked = question(context)
        if asked is not None and metadata.get("purpose") == ANNOUNCEMENT:
            yield Say(asked.text)
            return
        if asked is not None:
            await self._listening.heard(asked.id)
        answers = bool(context) and context[-1].type == "function_call_output"
        request = ChatRequest(config.instructions, context, config.tools, config.tool_choice)
        async with aclosing(self._mind.decide(request)) as decisions:
            async for decision in decisions:
                # Nobody can be made to call a tool that does not fit; then it is better to say nothing.
                if isinstance(decision, CallTool) or config.tool_choice != "required" or answers:
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
