"""The one place for a response.

A realtime conversation has at most one active response, and a second ``response.create`` is an error. So creates are
queued here, a cancel that comes before ``response.created`` is remembered, and whether audio or a tool call may still
be used is asked here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from assistant.core.commands import CancelResponse, Command, CreateResponse
from assistant.types import ResponseId, TurnId


class Phase(Enum):
    """::

    FREE ──request──> REQUESTED ──created──> ACTIVE ──done──> FREE
      └──────────────created (by the server itself)────^
    """

    FREE = "free"
    REQUESTED = "requested"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class _Wanted:
    turn: TurnId
    tools: bool
    announce: str | None = None


class ResponseSlot:
    """Which response is active, for which turn, and which create waits for it to end."""

    def __init__(self) -> None:
        self._phase = Phase.FREE
        self._response: ResponseId | None = None
        self._owner: _Wanted | None = None  # None: nobody wants the response any more
        self._waiting: _Wanted | None = None

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def response(self) -> ResponseId | None:
        """The active response, wanted or not."""
        return self._response

    def is_live(self, response: ResponseId, turn: TurnId) -> bool:
        """Whether this response is the active one and answers this turn. Everything else is stale."""
        return (
            self._phase is Phase.ACTIVE
            and self._response == response
            and self._owner is not None
            and self._owner.turn == turn
        )

    def busy_for(self, turn: TurnId) -> bool:
        """Whether a response for this turn is requested, active or waiting."""
        return any(wanted is not None and wanted.turn == turn for wanted in (self._owner, self._waiting))

    def request(self, turn: TurnId, *, tools: bool = True, announce: str | None = None) -> list[Command]:
        """Ask for a response now, or as soon as the active one has ended."""
        wanted = _Wanted(turn, tools, announce)
        if self._phase is not Phase.FREE:
            self._waiting = wanted
            return []
        return self._send(wanted)

    def created(self, response: ResponseId, adopt_for: TurnId | None = None) -> list[Command]:
        """The server has begun a response.

        adopt_for: the turn that takes a response which the server began by itself (server turn detection).
        """
        if self._phase is Phase.FREE and adopt_for is not None:
            self._owner = _Wanted(adopt_for, True)
        self._phase = Phase.ACTIVE
        self._response = response
        return [] if self._owner is not None else [CancelResponse(response)]

    def refused(self, *, busy: bool) -> list[Command]:
        """The server did not accept the create. If it was busy, the create waits for the next end of a response."""
        if self._phase is not Phase.REQUESTED:
            return []
        owner, self._owner = self._owner, None
        if busy:
            self._phase = Phase.ACTIVE  # a response that we never saw begin
            if self._waiting is None:
                self._waiting = owner
            return []
        self._phase = Phase.FREE
        return self._next()

    def done(self, response: ResponseId) -> list[Command]:
        """A response has ended; a waiting create goes out."""
        if self._phase is not Phase.ACTIVE or self._response not in (response, None):
            return []
        self._clear()
        return self._next()

    def abandon(self) -> list[Command]:
        """Nobody wants the response any more: cancel it, now or when it is created. Waiting creates are dropped."""
        self._waiting = None
        wanted, self._owner = self._owner, None
        if self._phase is Phase.ACTIVE and wanted is not None and self._response is not None:
            return [CancelResponse(self._response)]
        return []

    def lost(self) -> None:
        """The session is gone, and every response with it."""
        self._waiting = None
        self._clear()

    def _clear(self) -> None:
        self._phase, self._response, self._owner = Phase.FREE, None, None

    def _next(self) -> list[Command]:
        wanted, self._waiting = self._waiting, None
        return self._send(wanted) if wanted is not None else []

    def _send(self, wanted: _Wanted) -> list[Command]:
        self._phase, self._owner = Phase.REQUESTED, wanted
        return [CreateResponse(tools=wanted.tools, announce=wanted.announce)]
