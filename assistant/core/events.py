"""Everything that can happen to a conversation: a closed union of frozen dataclasses.

``at`` is seconds on the event loop's monotonic clock; it is the only way in which time enters the core.
``sample`` is a position in the microphone stream (16 kHz). Events that answer something asynchronous carry the id of
what they answer (session, response, call, item), so that a stale one is recognised and dropped in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, get_args

from assistant.types import AlertId, CallId, ItemId, Milliseconds, ResponseId


class Failure(Enum):
    """Why a session could not be had or did not live on, as far as the conversation must tell them apart."""

    CONNECT = "connect"
    RATE_LIMITED = "rate_limited"
    EXPIRED = "expired"
    PROTOCOL = "protocol"
    AUTHENTICATION = "authentication"
    QUOTA = "quota"
    REFUSED = "refused"  # the server is there, and says that what we ask for cannot work

    @property
    def retryable(self) -> bool:
        """Whether the same turn may be tried again on a new session."""
        return self not in (Failure.AUTHENTICATION, Failure.QUOTA, Failure.REFUSED)


class ResponseStatus(Enum):
    """How a response ended (the realtime protocol's ``response.status``)."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


class StopReason(Enum):
    """Why endpointing ended an utterance."""

    SILENCE = "silence"
    MAX_LENGTH = "max_length"


# --- from the microphone ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Woken:
    """A wake word was heard; ``sample`` is where the detector was certain."""

    at: float
    word: str
    score: float
    sample: int


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Endpointing is sure that the user speaks. The uplink begins at ``sample`` (pre-roll included)."""

    at: float
    sample: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """Endpointing is sure that the user has finished.

    sample: the microphone position of the decision.
    last_voiced: one past the last sample that held speech; what a person feels as latency begins there.
    """

    at: float
    sample: int
    last_voiced: int
    reason: StopReason


@dataclass(frozen=True, slots=True)
class BargeInSuspected:
    """Somebody seems to speak into the answer. It is not certain: SpeechStarted or Woken says that."""

    at: float


@dataclass(frozen=True, slots=True)
class BargeInCleared:
    """The last suspicion is over, whether it came to something or not."""

    at: float


@dataclass(frozen=True, slots=True)
class BargeInConfirmed:
    """The speech that began with the last SpeechStarted goes on now that the answer is silent: it is no echo of it."""

    at: float


# --- from the realtime session ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConnectHint:
    """A wake word or a request may be about to come: a session that is opened now is ready in time.

    A hint is not a wake word. It opens a connection at most, and no audio follows from it.
    """

    at: float


@dataclass(frozen=True, slots=True)
class SessionReady:
    """The session is open and has accepted our settings.

    expires_in: seconds that it has left, if it says so.
    connected_at, created_at: when the socket was open, and when the server had made the session; for traces.
    """

    at: float
    session: int
    expires_in: float | None = None
    connected_at: float | None = None
    created_at: float | None = None


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The session is gone, or could not be had. Sent at most once for each session."""

    at: float
    session: int
    failure: Failure
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class SessionRetired:
    """The session may not be used any more once its turn has ended: a cap on costs is reached."""

    at: float


@dataclass(frozen=True, slots=True)
class ServerSpeechStopped:
    """The server's own turn detection says that the user has finished."""

    at: float
    session: int


@dataclass(frozen=True, slots=True)
class UserTranscript:
    """What the server's transcription made of the utterance; for people, never for logic."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class ResponseCreated:
    at: float
    session: int
    response: ResponseId


@dataclass(frozen=True, slots=True)
class ResponseRefused:
    """The server did not accept our ``response.create``; no ResponseDone follows.

    ``busy`` means that another response is still active, and that asking again after it makes sense.
    """

    at: float
    session: int
    busy: bool


@dataclass(frozen=True, slots=True)
class AnswerAudio:
    """A piece of the spoken answer: 24 kHz int16 mono."""

    at: float
    response: ResponseId
    item: ItemId
    pcm: bytes


@dataclass(frozen=True, slots=True)
class AnswerAudioDone:
    """No more audio will come for this item."""

    at: float
    response: ResponseId
    item: ItemId


@dataclass(frozen=True, slots=True)
class AnswerText:
    """A piece of the answer in words: the transcript of its audio, or a text answer."""

    at: float
    response: ResponseId
    item: ItemId
    delta: str


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model asks for a tool. ``complete=False``: its arguments were cut off, and it must not be run."""

    at: float
    response: ResponseId
    call: CallId
    tool: str
    arguments: str
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ResponseDone:
    at: float
    response: ResponseId
    status: ResponseStatus
    reason: str | None = None


# --- from tools and the speaker --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool has answered, whatever the answer is: ``output`` goes to the model as it stands."""

    at: float
    call: CallId
    output: str


@dataclass(frozen=True, slots=True)
class PlaybackStarted:
    at: float
    item: ItemId


@dataclass(frozen=True, slots=True)
class PlaybackStopped:
    """An item has left the speaker. ``played_ms`` is what was heard, not what was sent."""

    at: float
    item: ItemId
    played_ms: Milliseconds
    interrupted: bool


# --- from people and plugins -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextSubmitted:
    """A request in writing."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class AnnouncementRaised:
    """Something wants to be said that nobody asked for. It waits until nobody talks."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class ListenRequested:
    """A button, or a program, stands for the wake word; ``sample`` is where the request may begin."""

    at: float
    sample: int


@dataclass(frozen=True, slots=True)
class MuteChanged:
    """The user has closed the microphone, or opened it again."""

    at: float
    muted: bool


@dataclass(frozen=True, slots=True)
class VolumeChanged:
    """Answers are played this loud from now on, in percent: the volume of everything times their own."""

    at: float
    percent: float


@dataclass(frozen=True, slots=True)
class StopRequested:
    """End whatever is going on, silently: a button, a command, a shutdown; or ``spoken``, the word "stop"."""

    at: float
    spoken: bool = False


@dataclass(frozen=True, slots=True)
class AlertRaised:
    """A plugin wants to ring until somebody reacts."""

    at: float
    alert: AlertId
    title: str


@dataclass(frozen=True, slots=True)
class AlertEnded:
    """A plugin has stopped its own alert."""

    at: float
    alert: AlertId


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline that the conversation had set has come."""

    at: float


Event: TypeAlias = (
    Woken
    | SpeechStarted
    | SpeechStopped
    | BargeInSuspected
    | BargeInCleared
    | BargeInConfirmed
    | ConnectHint
    | SessionReady
    | SessionLost
    | SessionRetired
    | ServerSpeechStopped
    | UserTranscript
    | ResponseCreated
    | ResponseRefused
    | AnswerAudio
    | AnswerAudioDone
    | AnswerText
    | ToolCalled
    | ResponseDone
    | ToolFinished
    | PlaybackStarted
    | PlaybackStopped
    | TextSubmitted
    | AnnouncementRaised
    | ListenRequested
    | MuteChanged
    | VolumeChanged
    | StopRequested
    | AlertRaised
    | AlertEnded
    | Tick
)

EVENT_TYPES: tuple[type, ...] = get_args(Event)
