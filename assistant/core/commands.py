"""Everything that a conversation can ask of its shell: a closed union of frozen dataclasses.

The shell carries them out in order and none of them blocks. Those that concern the session are queued until it is
ready, so the order of commands is the order on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, get_args

from assistant.core.endpointing import Expect
from assistant.core.history import Message
from assistant.types import AlertId, CallId, ItemId, Milliseconds, ResponseId, TurnId


class EarconKind(Enum):
    """A short sound that tells the user something without words."""

    WAKE = "wake"
    ERROR = "error"
    FALLBACK = "done"  # the embedded brain answers in place of the far one


class Phrase(Enum):
    """A sentence that must be sayable when no brain can be reached."""

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    NOT_SIGNED_IN = "not_signed_in"
    NO_QUOTA = "no_quota"
    MISCONFIGURED = "misconfigured"
    TOO_SLOW = "too_slow"
    FAILED = "failed"


class TurnOutcome(Enum):
    """How a turn ended."""

    ANSWERED = "answered"
    EMPTY = "empty"  # the brain had nothing to say
    NO_SPEECH = "no_speech"  # a wake word, and then silence: nothing was sent
    INTERRUPTED = "interrupted"  # the user began the next turn
    STOPPED = "stopped"  # somebody ended it without words
    FAILED = "failed"


# --- hearing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listen:
    """Tell endpointing what to expect.

    since: frames before this sample do not count; None means from now on.
    delay_ms: with ``since=None``, ignore this much more, so that the room's echo of the answer dies away.
    """

    expect: Expect
    since: int | None = None
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class OpenUplink:
    """Send microphone audio from ``from_sample`` on, out of the ring buffer first and then live."""

    turn: TurnId
    from_sample: int


@dataclass(frozen=True, slots=True)
class CloseUplink:
    """The utterance is complete: send what was heard of it, and nothing that comes later."""

    turn: TurnId


@dataclass(frozen=True, slots=True)
class DropUplink:
    """The utterance is not wanted any more: stop sending, and forget what was kept of it."""

    turn: TurnId


# --- the realtime session --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Connect. ``delay_s`` is the wait before a retry, to which the shell adds jitter; ``persona`` is who answers."""

    session: int
    delay_s: float = 0.0
    persona: str = ""


@dataclass(frozen=True, slots=True)
class ChangePersona:
    """Make the open session answer as somebody else."""

    persona: str


@dataclass(frozen=True, slots=True)
class RestoreHistory:
    """Tell the session that is opening what was said before it."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class CloseSession:
    session: int


@dataclass(frozen=True, slots=True)
class ReplayUplink:
    """Send the turn's utterance, as far as it has been spoken, once more to the session that is opening."""

    turn: TurnId


@dataclass(frozen=True, slots=True)
class ClearInput:
    """Make the server forget audio that was sent and not committed."""


@dataclass(frozen=True, slots=True)
class CommitInput:
    """The audio sent so far is one complete user message."""


@dataclass(frozen=True, slots=True)
class SendText:
    text: str


@dataclass(frozen=True, slots=True)
class CreateResponse:
    """Ask for an answer. ``tools=False`` forbids further tool calls in it. ``announce``: say this text instead."""

    tools: bool = True
    announce: str | None = None


@dataclass(frozen=True, slots=True)
class CancelResponse:
    response: ResponseId


@dataclass(frozen=True, slots=True)
class TruncateItem:
    """Tell the server how much of an answer was heard."""

    item: ItemId
    heard_ms: Milliseconds


@dataclass(frozen=True, slots=True)
class AnswerToolCall:
    call: CallId
    output: str


# --- the speaker -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Play:
    item: ItemId
    pcm: bytes


@dataclass(frozen=True, slots=True)
class FinishPlayback:
    """No more audio comes for this item; it ends when its last sample has been heard."""

    item: ItemId


@dataclass(frozen=True, slots=True)
class StopPlayback:
    """Silence the answer at once; a PlaybackStopped event follows for each item."""


@dataclass(frozen=True, slots=True)
class HoldPlayback:
    """Silence the answer at once and keep the rest of it, since somebody may have interrupted it."""


@dataclass(frozen=True, slots=True)
class ResumePlayback:
    """Nobody has: go on where the answer was held."""


@dataclass(frozen=True, slots=True)
class Duck:
    """Make the answer softer by ``db``; 0 for as it was."""

    db: float


@dataclass(frozen=True, slots=True)
class PlayEarcon:
    kind: EarconKind


@dataclass(frozen=True, slots=True)
class SayPhrase:
    """Say a fixed sentence that needs no session; it is played as this item."""

    item: ItemId
    phrase: Phrase


@dataclass(frozen=True, slots=True)
class StartAlert:
    alert: AlertId


@dataclass(frozen=True, slots=True)
class StopAlert:
    """End the alert's sound. ``dismissed`` tells its plugin that the user reacted."""

    alert: AlertId
    dismissed: bool


# --- tools and bookkeeping -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunTool:
    turn: TurnId
    call: CallId
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class BeginTurn:
    """A turn begins; for the journal, logs and traces."""

    turn: TurnId


@dataclass(frozen=True, slots=True)
class EndTurn:
    turn: TurnId
    outcome: TurnOutcome
    detail: str = ""


Command: TypeAlias = (
    Listen
    | OpenUplink
    | CloseUplink
    | DropUplink
    | OpenSession
    | ChangePersona
    | RestoreHistory
    | CloseSession
    | ReplayUplink
    | ClearInput
    | CommitInput
    | SendText
    | CreateResponse
    | CancelResponse
    | TruncateItem
    | AnswerToolCall
    | Play
    | FinishPlayback
    | StopPlayback
    | HoldPlayback
    | ResumePlayback
    | Duck
    | PlayEarcon
    | SayPhrase
    | StartAlert
    | StopAlert
    | RunTool
    | BeginTurn
    | EndTurn
)

COMMAND_TYPES: tuple[type, ...] = get_args(Command)
