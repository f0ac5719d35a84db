"""The realtime protocol without a dialect: what a client says and what a server says, as frozen dataclasses.

The codec (:mod:`assistant.realtime.codec`) turns them into JSON and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from assistant.core.completeness import Completeness
from assistant.realtime.settings import Persona, SessionSettings
from assistant.types import CallId, ItemId, Milliseconds, ResponseId

# --- client to server ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UpdateSession:
    settings: SessionSettings


@dataclass(frozen=True, slots=True)
class ChangePersona:
    """Give an open session other instructions and tools, between two turns."""

    persona: Persona


@dataclass(frozen=True, slots=True)
class AppendAudio:
    """24 kHz int16 mono."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class CommitAudio:
    pass


@dataclass(frozen=True, slots=True)
class ClearAudio:
    pass


@dataclass(frozen=True, slots=True)
class AskCompleteness:
    """Whether the audio so far is a whole request; our own server knows. ``event_id`` comes back in the answer."""

    event_id: str


@dataclass(frozen=True, slots=True)
class CreateUserMessage:
    text: str


@dataclass(frozen=True, slots=True)
class CreateAssistantMessage:
    """What the assistant has said in an earlier session, in writing."""

    text: str


@dataclass(frozen=True, slots=True)
class CreateToolOutput:
    call: CallId
    output: str


@dataclass(frozen=True, slots=True)
class CreateResponse:
    """``event_id`` comes back in an error that refuses it.

    announce: say this text, outside of the conversation, instead of answering it.
    must_call: call a tool; our own server says nothing when there is none for what was said.
    """

    event_id: str
    tools: bool = True
    announce: str | None = None
    must_call: bool = False


@dataclass(frozen=True, slots=True)
class CancelResponse:
    response: ResponseId


@dataclass(frozen=True, slots=True)
class TruncateItem:
    item: ItemId
    heard_ms: Milliseconds


ClientEvent: TypeAlias = (
    UpdateSession
    | ChangePersona
    | AppendAudio
    | CommitAudio
    | AskCompleteness
    | ClearAudio
    | CreateUserMessage
    | CreateAssistantMessage
    | CreateToolOutput
    | CreateResponse
    | CancelResponse
    | TruncateItem
)

CLIENT_EVENT_TYPES: tuple[type, ...] = get_args(ClientEvent)

# --- server to client ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """``expires_at``: seconds since the epoch, if the server says so."""

    model: str | None
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class ServerSpeechStarted:
    item: ItemId
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class ServerSpeechStopped:
    item: ItemId
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class InputCommitted:
    item: ItemId


@dataclass(frozen=True, slots=True)
class CompletenessFound:
    """``asked_by``: the id of the question, if it had one."""

    asked_by: str | None
    completeness: Completeness


@dataclass(frozen=True, slots=True)
class InputTranscribed:
    item: ItemId
    text: str


@dataclass(frozen=True, slots=True)
class ResponseCreated:
    response: ResponseId


@dataclass(frozen=True, slots=True)
class AudioDelta:
    response: ResponseId
    item: ItemId
    pcm: bytes


@dataclass(frozen=True, slots=True)
class AudioDone:
    response: ResponseId
    item: ItemId


@dataclass(frozen=True, slots=True)
class AnswerTextDelta:
    """A piece of the transcript of the spoken answer, or of a written one."""

    response: ResponseId
    item: ItemId
    delta: str


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function call item. ``complete=False``: the response was cut off, so its arguments may be, too."""

    response: ResponseId
    call: CallId
    name: str
    arguments: str
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ResponseFinished:
    """``reason``: for a response that did not complete, the server's code or reason. ``usage``: as it was sent."""

    response: ResponseId
    status: Literal["completed", "cancelled", "incomplete", "failed"]
    reason: str | None
    usage: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ServerError:
    """``message`` may quote what we sent; it is for debug logs only."""

    code: str | None
    kind: str | None
    message: str
    param: str | None
    event_id: str | None


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event of the protocol that Hearth does not need."""

    type: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event type that we do not know: a newer server. Ignored, and counted."""

    type: str


ServerEvent: TypeAlias = (
    SessionCreated
    | SessionUpdated
    | ServerSpeechStarted
    | ServerSpeechStopped
    | InputCommitted
    | CompletenessFound
    | InputTranscribed
    | ResponseCreated
    | AudioDelta
    | AudioDone
    | AnswerTextDelta
    | FunctionCall
    | ResponseFinished
    | ServerError
    | Ignored
    | Unknown
)

SERVER_EVENT_TYPES: tuple[type, ...] = get_args(ServerEvent)
