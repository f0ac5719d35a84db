"""One realtime session: one socket, one owner.

The owner awaits :meth:`RealtimeSession.run` in a task and calls the other methods from the same event loop. What is
said before the session is ready waits in the outbox and goes out in order as soon as it is. What is said to a session
that is over is dropped.

Cancelling ``run`` closes the socket; what was in the outbox is lost, and no SessionLost is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, SecurityError

from assistant import __version__
from assistant.core import events as ev
from assistant.core.completeness import Completeness
from assistant.core.events import Event, Failure, ResponseStatus
from assistant.core.history import Message
from assistant.errors import ProtocolError
from assistant.realtime import codec, failures
from assistant.realtime import events as rt
from assistant.realtime.dialects import Dialect
from assistant.realtime.failures import Loss
from assistant.realtime.settings import Persona, SessionSettings
from assistant.types import SPEAKER_RATE, CallId, ItemId, Milliseconds, ResponseId

log = logging.getLogger(__name__)

Id = TypeVar("Id", bound=str)

_wire_log = logging.getLogger(f"{__name__}.wire")
_wire_log.setLevel(logging.WARNING)  # below that the library logs headers and messages: keys, and what people say

MAX_MESSAGE: Final = 16 * 1024 * 1024
"""Bytes of the largest message accepted: a retrieved item holds its whole audio (the library's default is 1 MiB)."""

MAX_APPEND: Final = SPEAKER_RATE * 2 // 5
"""Bytes of audio in one append: 200 ms. Live audio goes out frame by frame, a backlog in these larger pieces."""

MAX_PENDING_AUDIO: Final = SPEAKER_RATE * 2 * 60
"""Bytes of audio that may wait for the network: a minute. More means that the link is dead in all but name."""

MAX_MALFORMED: Final = 20
"""Malformed events that a session may send before it is replaced."""

PING_INTERVAL: Final = 8.0
PING_TIMEOUT: Final = 7.0
"""A connection that is dead and does not know it is found out within the sum of both, before a turn is given up."""

JITTER: Final = 0.25


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a session is opened, and as whom. ``headers`` hold secrets: never log them.

    offline_tools: the server knows ``x-offline`` (Hearth's own).
    on_unauthorized: called when the server does not accept the headers (HTTP 401), so that a token is not kept.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    dialect: Dialect = Dialect.GA
    offline_tools: bool = False
    on_unauthorized: Callable[[], None] | None = field(default=None, repr=False)

    @property
    def where(self) -> str:
        """Host and port for messages: a query may hold a key."""
        return urlsplit(self.url).netloc.rpartition("@")[2] or "the server"


@dataclass(slots=True)
class SessionCounters:
    """What went over the wire, for the journal and for proofs."""

    audio_bytes: int = 0  # PCM appended to the input buffer
    messages_out: int = 0
    messages_in: int = 0
    malformed: int = 0
    unknown: int = 0


class _Closed(Exception):
    """The session is over; carries why."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss.message)
        self.loss = loss


class RealtimeSession:
    """Speaks the realtime protocol with one server, as core events and plain methods.

    emit: takes core events; called on the event loop.
    usage: takes the ``usage`` object of each finished response.
    """

    def __init__(
        self,
        number: int,
        endpoint: Callable[[], Awaitable[Endpoint]],
        settings: SessionSettings,
        emit: Callable[[Event], None],
        *,
        ready_timeout: float,
        usage: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self.number = number
        self.counters = SessionCounters()
        self.expires_at: float | None = None
        self.model: str | None = None
        """The model that answers, as the server names it: a deployment's name does not tell."""
        self.lost_because = ""
        """With SessionLost: why, in one line that holds no secret and nothing that was said."""
        self._connected_at: float | None = None
        self._created_at: float | None = None
        self._endpoint = endpoint
        self._settings = settings
        self._offered = _names(settings.persona)
        self._emit = emit
        self._usage = usage
        self._ready_timeout = ready_timeout
        self._outbox: deque[rt.ClientEvent] = deque()
        self._pending_audio = 0
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._closing = False
        self._over = False
        self._ids = itertools.count(1)
        self._creates: set[str] = set()
        self._question: tuple[str, Callable[[Completeness], None]] | None = None
        self._dialect = Dialect.GA
        self._offline_tools = False
        self._where = "the server"

    # --- what the owner says ----------------------------------------------------------------------------------------

    def append(self, pcm: bytes) -> None:
        """Send microphone audio: 24 kHz int16 mono."""
        if not self._over:
            self._pending_audio += len(pcm)
            self._put(rt.AppendAudio(pcm))

    def change_persona(self, persona: Persona) -> None:
        """Give the assistant other instructions and tools from the next response on."""
        self._offered = _names(persona)
        self._put(rt.ChangePersona(persona))

    def offers(self, tool: str) -> bool:
        """Whether the model has been told of this tool."""
        return tool in self._offered

    def commit(self) -> None:
        self._put(rt.CommitAudio())

    def ask_completeness(self, tell: Callable[[Completeness], None]) -> None:
        """Have the server say whether the audio so far is a whole request. Of several questions the last is answered.

        Only our own server can tell, and only while we end utterances ourselves is it of use: else there is no answer.
        """
        if self._offline_tools and self._settings.turn_detection is None:
            event_id = f"ask_{self.number}_{next(self._ids)}"
            self._question = event_id, tell
            self._put(rt.AskCompleteness(event_id))

    def clear(self) -> None:
        """Forget uncommitted audio, here and at the server."""
        self._outbox = deque(event for event in self._outbox if not isinstance(event, rt.AppendAudio))
        self._pending_audio = 0
        self._put(rt.ClearAudio())

    def say(self, text: str) -> None:
        """Add a written user message."""
        self._put(rt.CreateUserMessage(text))

    def restore(self, messages: Iterable[Message]) -> None:
        """Tell a new session what was said before it."""
        for message in messages:
            is_user = message.role == "user"
            self._put(rt.CreateUserMessage(message.text) if is_user else rt.CreateAssistantMessage(message.text))

    def answer_call(self, call: CallId, output: str) -> None:
        self._put(rt.CreateToolOutput(self._theirs(call), output))

    def create_response(self, *, tools: bool = True, announce: str | None = None, must_call: bool = False) -> None:
        """Ask for an answer, or have ``announce`` said outside of the conversation. ``must_call``: a tool."""
        event_id = f"create_{self.number}_{next(self._ids)}"
        self._creates.add(event_id)
        self._put(rt.CreateResponse(event_id, tools, announce, must_call))

    def cancel_response(self, response: ResponseId) -> None:
        self._put(rt.CancelResponse(self._theirs(response)))

    def truncate(self, item: ItemId, heard_ms: Milliseconds) -> None:
        self._put(rt.TruncateItem(self._theirs(item), heard_ms))

    def close(self) -> None:
        """End the session; ``run`` returns soon after, and reports nothing."""
        self._closing = True
        self._ready.set()
        self._wake.set()

    def _put(self, event: rt.ClientEvent) -> None:
        if not self._over:
            self._outbox.append(event)
            self._wake.set()

    # --- the life of the socket -------------------------------------------------------------------------------------

    async def run(self, delay: float = 0.0) -> None:
        """Wait ``delay`` seconds (with jitter), connect, and serve until the end. Reports at most one SessionLost."""
        try:
            if delay:
                await asyncio.sleep(delay * random.uniform(1 - JITTER, 1 + JITTER))
            if not self._closing:
                await self._live()
            loss = None if self._closing else Loss(Failure.CONNECT, f"{self._where}: closed")
        except Exception as error:
            loss = None if self._closing else self._explain(error)
        finally:
            self._over = True
            self._outbox.clear()
        if loss is not None:
            self.lost_because = loss.message
            log.warning("session lost: %s", loss.message)
            self._emit(ev.SessionLost(self._now(), self.number, loss.failure, loss.retry_after))

    def _explain(self, error: Exception) -> Loss:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, _Closed):
            return error.loss
        return failures.from_exception(error, self._where)

    async def _live(self) -> None:
        # The deadline covers sign-in, connecting and the settings; once the session is ready there is none.
        async with asyncio.timeout(self._ready_timeout) as deadline:
            endpoint = await self._endpoint()
            self._where = endpoint.where
            self._dialect = endpoint.dialect
            self._offline_tools = endpoint.offline_tools
            async with _connect(endpoint) as socket:
                self._connected_at = self._now()
                # No need to wait for session.created: the server reads in order.
                await self._send(socket, rt.UpdateSession(self._settings))
                async with asyncio.TaskGroup() as group:
                    writer = group.create_task(self._write(socket), name=f"session-{self.number}-writer")
                    await self._read(socket, deadline)
                    writer.cancel()

    async def _read(self, socket: ClientConnection, deadline: asyncio.Timeout) -> None:
        try:
            while True:
                message = await socket.recv()
                self.counters.messages_in += 1
                try:
                    event = codec.decode(message, self._dialect)
                except ProtocolError as error:
                    self._malformed(error)
                    continue
                if isinstance(event, rt.SessionUpdated) and not self._ready.is_set():
                    deadline.reschedule(None)
                    self.expires_at = event.expires_at or self.expires_at
                    self._ready.set()
                    self._emit(
                        ev.SessionReady(
                            self._now(), self.number, self._expires_in(), self._connected_at, self._created_at
                        )
                    )
                else:
                    self._receive(event)
        except ConnectionClosed as error:
            raise _Closed(failures.from_exception(error, self._where)) from error

    def _malformed(self, error: ProtocolError) -> None:
        self.counters.malformed += 1
        log.warning("%s: %s", self._where, error)
        if self.counters.malformed > MAX_MALFORMED:
            raise _Closed(Loss(Failure.PROTOCOL, f"{self._where}: sends nonsense")) from error

    async def _write(self, socket: ClientConnection) -> None:
        await self._ready.wait()
        while not self._closing:
            if not self._outbox:
                self._wake.clear()
                await self._wake.wait()
                continue
            if self._pending_audio > MAX_PENDING_AUDIO:
                raise _Closed(Loss(Failure.CONNECT, f"{self._where}: takes audio too slowly"))
            await self._send(socket, self._next())
        await socket.close()

    def _next(self) -> rt.ClientEvent:
        """The next event to send; audio that waits in a row becomes one append of up to 200 ms."""
        event = self._outbox.popleft()
        if not isinstance(event, rt.AppendAudio):
            return event
        pieces = [event.pcm]
        size = len(event.pcm)
        while self._outbox:
            following = self._outbox[0]
            if not isinstance(following, rt.AppendAudio) or size + len(following.pcm) > MAX_APPEND:
                break
            self._outbox.popleft()
            pieces.append(following.pcm)
            size += len(following.pcm)
        self._pending_audio -= size
        self.counters.audio_bytes += size
        return rt.AppendAudio(b"".join(pieces))

    async def _send(self, socket: ClientConnection, event: rt.ClientEvent) -> None:
        await socket.send(codec.encode(event, self._dialect, offline_tools=self._offline_tools))
        self.counters.messages_out += 1

    # --- what the server says ---------------------------------------------------------------------------------------

    def _receive(self, event: rt.ServerEvent) -> None:
        now = self._now()
        match event:
            case rt.AudioDelta(response, item, pcm):
                self._emit(ev.AnswerAudio(now, self._ours(response), self._ours(item), pcm))
            case rt.AudioDone(response, item):
                self._emit(ev.AnswerAudioDone(now, self._ours(response), self._ours(item)))
            case rt.AnswerTextDelta(response, item, delta):
                self._emit(ev.AnswerText(now, self._ours(response), self._ours(item), delta))
            case rt.ResponseCreated(response):
                self._emit(ev.ResponseCreated(now, self.number, self._ours(response)))
            case rt.FunctionCall(response, call, name, arguments, complete):
                call, response = self._ours(call), self._ours(response)
                self._emit(ev.ToolCalled(now, response, call, name, arguments, complete))
            case rt.ResponseFinished(response, status, reason, usage):
                if usage is not None and self._usage is not None:
                    self._usage(usage)
                self._emit(ev.ResponseDone(now, self._ours(response), ResponseStatus(status), reason))
            case rt.InputTranscribed(_, text):
                self._emit(ev.UserTranscript(now, text))
            case rt.CompletenessFound(asked_by, found):
                if self._question is not None and asked_by == self._question[0]:
                    self._question[1](found)
            case rt.ServerSpeechStopped():
                self._emit(ev.ServerSpeechStopped(now, self.number))
            case rt.SessionCreated(model, expires_at):
                self.model = model
                self._created_at = now
                self.expires_at = expires_at or self.expires_at
            case rt.SessionUpdated(expires_at):
                self.expires_at = expires_at or self.expires_at
            case rt.ServerError():
                self._refused(event, now)
            case rt.Unknown(event_type):
                self.counters.unknown += 1
                log.debug("unknown server event %s", event_type[:80])
            case rt.InputCommitted() | rt.ServerSpeechStarted() | rt.Ignored():
                pass

    def _ours(self, theirs: Id) -> Id:
        """A server's id as the rest of Hearth knows it: a server may begin again with the same ids in each session."""
        return cast(Id, f"{self.number}/{theirs}")

    def _theirs(self, ours: Id) -> Id:
        return cast(Id, ours.removeprefix(f"{self.number}/"))

    def _refused(self, error: rt.ServerError, now: float) -> None:
        busy = error.code == "conversation_already_has_active_response"
        if error.event_id in self._creates:
            self._creates.discard(error.event_id)
            self._emit(ev.ResponseRefused(now, self.number, busy))
        loss = failures.from_server_error(error)
        if loss is not None:
            raise _Closed(Loss(loss.failure, f"{self._where}: {loss.message}", loss.retry_after))
        if failures.is_benign(error):
            log.debug("server: %s", error.code)
            return
        what = f"{error.code or error.kind or 'error'}{f' ({error.param})' if error.param else ''}"
        if not self._ready.is_set():
            raise _Closed(Loss(Failure.REFUSED, f"{self._where}: refused the session settings: {what}"))
        log.error("%s: refused what we sent: %s", self._where, what)

    def _expires_in(self) -> float | None:
        """Seconds that the session has left; the server names a time of day."""
        return None if self.expires_at is None else self.expires_at - time.time()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _names(persona: Persona) -> frozenset[str]:
    return frozenset(str(tool.get("name")) for tool in persona.tools)


class _Connect(connect):
    """Follows a redirect within the same server, and no other: the library would take our key there."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        target = super().process_redirect(exc)
        if isinstance(target, str) and urlsplit(target)[:2] != urlsplit(self.uri)[:2]:
            return SecurityError("redirect to another server")
        return target


@contextlib.asynccontextmanager
async def _connect(endpoint: Endpoint) -> AsyncIterator[ClientConnection]:
    """An open socket; closed at the end, within a second."""
    connecting = _Connect(
        endpoint.url,
        additional_headers=dict(endpoint.headers),
        user_agent_header=f"hearth/{__version__}",
        logger=_wire_log,
        proxy=None if _is_loopback(endpoint.url) else True,
        compression=None,  # base64 of PCM does not compress
        max_size=MAX_MESSAGE,
        open_timeout=None,
        close_timeout=1,
        ping_interval=PING_INTERVAL,
        ping_timeout=PING_TIMEOUT,
    )
    try:
        socket = await connecting
    except InvalidStatus as error:
        if error.response.status_code == HTTPStatus.UNAUTHORIZED and endpoint.on_unauthorized is not None:
            endpoint.on_unauthorized()
        raise
    async with socket:
        yield socket


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
