"""A session that asks the embedded brain first, and the provider only about what that does not understand.

::

    what is said ──> near session (the embedded server, some tools only)
          │               ├── it calls a tool: the near session answers; nothing of it goes to the provider
          └── kept ───────┴── anything else: the far session (the provider) gets what was kept, and answers

The owner sees one session. A response has one id: that of the near session, also when the far one takes it over.

Both sessions are connected at the same time, so that a question costs no more than the time in which the near brain
gives up, and that in which the audio goes out at once instead of while it was spoken. The provider can see that
somebody spoke, but not what, until it is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from enum import Enum, auto
from typing import Any, Final

from assistant.core import events as ev
from assistant.core.completeness import Completeness
from assistant.core.events import Event, ResponseStatus
from assistant.core.history import Message
from assistant.realtime.session import MAX_PENDING_AUDIO, Endpoint, RealtimeSession
from assistant.realtime.settings import Persona, SessionSettings
from assistant.types import CallId, ItemId, Milliseconds, ResponseId

log = logging.getLogger(__name__)

NEAR_PATIENCE_S: Final = 2.0
"""How long the near session may think about a request, once it is ready. It needs 0.1 s."""

_REMEMBERED: Final = 40
"""What was said and answered at home, which the provider is not told later: so many pieces of text."""


class NearMemory:
    """Texts of requests that were answered at home; shared by all sessions, since a new one is told of the last."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque(maxlen=_REMEMBERED)

    def add(self, text: str) -> None:
        if text.strip():
            self._texts.append(text.strip())

    def knows(self, text: str) -> bool:
        """An answer that was interrupted is known by its beginning."""
        return any(known.startswith(text.strip()) for known in self._texts)


class _Phase(Enum):
    HOLDING = auto()
    """A request is being made. The near session hears it, and it is kept for the far one."""
    ASKING = auto()
    """The near session was asked, and has not decided."""
    NEAR = auto()
    """The near session answers, until a response of its calls no tool any more."""
    FAR = auto()
    """Nothing is asked, or the far session was."""


class LocalFirstSession(RealtimeSession):
    """The far session, with a near one in front of it. Owns both.

    near: where the embedded server is, and what it is asked for; its tools are those that are answered at home.
    """

    def __init__(
        self,
        number: int,
        endpoint: Callable[[], Awaitable[Endpoint]],
        settings: SessionSettings,
        emit: Callable[[Event], None],
        *,
        near: tuple[Callable[[], Awaitable[Endpoint]], SessionSettings],
        memory: NearMemory,
        ready_timeout: float,
        usage: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        super().__init__(number, endpoint, settings, self._from_far, ready_timeout=ready_timeout, usage=usage)
        self._tell = emit
        self._near = RealtimeSession(number, near[0], near[1], self._from_near, ready_timeout=ready_timeout)
        self._near_tools = frozenset(str(tool.get("name")) for tool in near[1].tools)
        self._memory = memory
        self._phase = _Phase.FAR
        self._held: list[bytes | str] = []  # audio and texts of the request
        self._held_bytes = 0
        self._committed = False
        self._near_is_ready = False
        self._near_is_lost = False
        self._patience: asyncio.TimerHandle | None = None  # with the near session, while it is asked
        self._near_ids: set[str] = set()  # responses, items and calls of the near session
        self._near_response: ResponseId | None = None  # the one that is going on
        self._near_called = False  # a tool, in that response
        self._near_answer = ""
        self._shown: ResponseId | None = None  # the near response that the owner knows the far one by
        self._far: ResponseId | None = None  # that far one, once it has begun
        self._cancels = False  # the far one is not wanted any more
        self._transcript: ev.UserTranscript | None = None
        self._loss: ev.SessionLost | None = None  # of the far session, while the near one is at work
        self._told = asyncio.Event()  # the loss

    # --- what the owner says ----------------------------------------------------------------------------------------

    def append(self, pcm: bytes) -> None:
        self._hold(pcm)
        self._near.append(pcm)

    def say(self, text: str) -> None:
        self._hold(text)
        self._near.say(text)

    def commit(self) -> None:
        self._committed = True
        self._near.commit()

    def ask_completeness(self, tell: Callable[[Completeness], None]) -> None:
        self._near.ask_completeness(tell)

    def clear(self) -> None:
        self._begin_request()
        self._phase = _Phase.FAR
        self._near.clear()
        self._tell_loss()

    def restore(self, messages: Iterable[Message]) -> None:
        known = list(messages)
        self._near.restore(known)
        super().restore([message for message in known if not self._memory.knows(message.text)])

    def change_persona(self, persona: Persona) -> None:
        super().change_persona(persona)
        tools = [tool for tool in persona.tools if tool.get("name") in self._near_tools]
        self._near.change_persona(Persona(persona.instructions, tools))

    def answer_call(self, call: CallId, output: str) -> None:
        if call in self._near_ids:
            self._near.answer_call(call, output)
        else:
            super().answer_call(call, output)

    def create_response(self, *, tools: bool = True, announce: str | None = None, must_call: bool = False) -> None:
        if announce is not None:
            super().create_response(tools=tools, announce=announce)
        elif self._phase is _Phase.HOLDING and self._near_is_lost:
            self._hand_over()
        elif self._phase is _Phase.HOLDING:
            self._phase = _Phase.ASKING
            self._near.create_response(must_call=True)
            self._wait_for_near()
        elif self._phase is _Phase.NEAR and self._near_is_lost:
            self._tell(ev.ResponseRefused(self._now(), self.number, busy=False))
        elif self._phase is _Phase.NEAR:
            self._near.create_response(tools=tools)
        else:
            super().create_response(tools=tools, must_call=must_call)

    def cancel_response(self, response: ResponseId) -> None:
        if response == self._shown:
            self._cancels = True
            if self._far is not None:
                super().cancel_response(self._far)
        elif response in self._near_ids:
            self._near.cancel_response(response)
        else:
            super().cancel_response(response)

    def truncate(self, item: ItemId, heard_ms: Milliseconds) -> None:
        if item in self._near_ids:
            self._near.truncate(item, heard_ms)
        else:
            super().truncate(item, heard_ms)

    def close(self) -> None:
        super().close()
        self._near.close()
        self._told.set()
        self._stop_waiting()

    async def run(self, delay: float = 0.0) -> None:
        """Run both sessions. The near one ends with the far one, but not before it has answered."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._near.run(), name=f"session-{self.number}-near")
            await super().run(delay)
            if self._loss is not None:
                await self._told.wait()
            self._near.close()
            self._stop_waiting()

    # --- the request ------------------------------------------------------------------------------------------------

    def _begin_request(self) -> None:
        self._phase = _Phase.HOLDING
        self._held, self._held_bytes, self._committed = [], 0, False
        self._transcript = None

    def _hold(self, piece: bytes | str) -> None:
        if self._phase is not _Phase.HOLDING:
            self._begin_request()
            self._tell_loss()
        self._held.append(piece)
        self._held_bytes += len(piece)
        while self._held_bytes > MAX_PENDING_AUDIO and len(self._held) > 1:  # no request is a minute long
            self._held_bytes -= len(self._held.pop(0))

    def _hand_over(self) -> None:
        """The provider gets the request, and answers it. The owner may know of a response for it already."""
        self._phase = _Phase.FAR
        self._shown, self._far, self._cancels = self._near_response, None, False
        self._near_response = None
        for piece in self._held:
            if isinstance(piece, bytes):
                super().append(piece)
            else:
                super().say(piece)
        if self._committed:
            super().commit()
        self._held = []
        super().create_response()
        self._tell_loss()

    def _wait_for_near(self) -> None:
        """It gets its time from when it is asked, and ready."""
        if self._near_is_ready and self._phase is _Phase.ASKING:
            self._stop_waiting()
            self._patience = asyncio.get_running_loop().call_later(NEAR_PATIENCE_S, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()

    def _lose_patience(self) -> None:
        if self._phase is _Phase.ASKING:
            self._near.close()
            self._near_lost(self._now(), f"did not decide within {NEAR_PATIENCE_S:g} s")

    def _tell_loss(self) -> None:
        """The far session is lost, and now somebody may know."""
        loss, self._loss = self._loss, None
        if loss is not None:
            self._shown = None
            self._tell(loss)
            self._told.set()

    # --- what the near session says ---------------------------------------------------------------------------------

    def _from_near(self, event: Event) -> None:
        if self._near_is_lost:
            return
        match event:
            case ev.SessionReady():  # the owner waits for the far one
                self._near_is_ready = True
                self._wait_for_near()
            case ev.SessionLost():
                self._near_lost(event.at, "is away")
            case ev.ResponseRefused():
                if self._phase is _Phase.ASKING:
                    self._hand_over()
                else:
                    self._tell(event)
            case ev.UserTranscript():
                self._transcript = event
            case ev.ResponseCreated():
                self._near_ids.add(event.response)
                self._near_response, self._near_called, self._near_answer = event.response, False, ""
                self._tell(event)
            case ev.ToolCalled():
                self._understood(event.call)
                self._tell(event)
            case ev.AnswerAudio():
                self._near_ids.add(event.item)
                self._tell(event)
            case ev.AnswerText():
                self._near_answer += event.delta
                self._tell(event)
            case ev.ResponseDone():
                self._near_done(event)
            case _:
                self._tell(event)

    def _understood(self, call: CallId) -> None:
        """The provider is not asked, and never hears of it."""
        self._near_ids.add(call)
        self._near_called = True
        if self._phase is not _Phase.ASKING:
            return
        self._phase = _Phase.NEAR
        for piece in self._held:
            if isinstance(piece, str):
                self._memory.add(piece)
        self._held = []
        if self._transcript is not None:
            self._memory.add(self._transcript.text)
            self._tell(self._transcript)

    def _near_done(self, event: ev.ResponseDone) -> None:
        if self._phase is _Phase.ASKING and event.status is not ResponseStatus.CANCELLED:
            self._hand_over()
            return
        self._near_response = None
        self._memory.add(self._near_answer)
        self._tell(event)
        if self._phase in (_Phase.NEAR, _Phase.ASKING) and not self._near_called:
            self._phase = _Phase.FAR
            self._tell_loss()

    def _near_lost(self, at: float, why: str) -> None:
        """The far session does without it from now on."""
        self._near_is_lost = True
        log.warning("session.local_first: the embedded brain %s; until the next session the provider hears all", why)
        if self._phase is _Phase.ASKING:
            self._hand_over()
        elif self._near_response is not None:
            response, self._near_response = self._near_response, None
            self._tell(ev.ResponseDone(at, response, ResponseStatus.FAILED, "server_error"))

    # --- what the far session says ----------------------------------------------------------------------------------

    def _from_far(self, event: Event) -> None:
        match event:
            case ev.SessionLost() if self._phase is not _Phase.FAR and not self._near_is_lost:
                self._loss = event
            case ev.ResponseCreated() if self._shown is not None and self._far is None:
                self._far = event.response
                if self._cancels:
                    super().cancel_response(event.response)
            case ev.ResponseRefused() if self._shown is not None and self._far is None:
                shown, self._shown = self._shown, None
                self._tell(ev.ResponseDone(event.at, shown, ResponseStatus.FAILED, "refused"))
            case ev.ResponseDone() if event.response == self._far and self._shown is not None:
                shown, self._shown, self._far = self._shown, None, None
                self._tell(replace(event, response=shown))
            case ev.AnswerAudio() | ev.AnswerAudioDone() | ev.AnswerText() | ev.ToolCalled():
                if event.response == self._far and self._shown is not None:
                    event = replace(event, response=self._shown)
                self._tell(event)
            case _:
                self._tell(event)
