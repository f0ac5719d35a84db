"""What was said lately, as text: a new session is told, so that "and tomorrow?" still makes sense. PURE.

Audio of an assistant's answer cannot be given to a session again, so turns are carried over in words.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from assistant.types import TurnId

MAX_TURNS = 6
"""Turns that are carried over. Each response is billed for all of them."""

MAX_CHARS = 2_000
"""Of one side of one turn; the beginning of a long answer says what it was about."""


@dataclass(frozen=True, slots=True)
class Message:
    """One side of a turn."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(slots=True)
class _Exchange:
    turn: TurnId
    at: float
    user: str
    assistant: str


class History:
    """The turns of the last ``horizon`` seconds. Times are those of the events."""

    def __init__(self, horizon: float) -> None:
        self._horizon = horizon
        self._exchanges: deque[_Exchange] = deque(maxlen=MAX_TURNS)

    def add(self, turn: TurnId, at: float, user: str, assistant: str) -> None:
        """Remember a turn that has ended. A side of which nothing is known is empty."""
        if user.strip() or assistant.strip():
            self._exchanges.append(_Exchange(turn, at, user.strip()[:MAX_CHARS], assistant.strip()[:MAX_CHARS]))

    def cut_off(self, turn: TurnId, share: float) -> None:
        """Only this share of the turn's answer (0 to 1) was heard: the rest was not said, as far as people know."""
        for exchange in self._exchanges:
            if exchange.turn == turn and share < 1:
                words = exchange.assistant.split()
                heard = words[: round(len(words) * share)]
                exchange.assistant = " ".join([*heard, "..."]) if heard else ""

    def heard_late(self, user: str) -> None:
        """The transcript of the last turn's utterance, which may come after the turn has ended."""
        if self._exchanges and not self._exchanges[-1].user:
            self._exchanges[-1].user = user.strip()[:MAX_CHARS]

    def recent(self, at: float) -> tuple[Message, ...]:
        """What a session that opens now should know, oldest first."""
        messages: list[Message] = []
        for exchange in self._exchanges:
            if at - exchange.at <= self._horizon:
                if exchange.user:
                    messages.append(Message("user", exchange.user))
                if exchange.assistant:
                    messages.append(Message("assistant", exchange.assistant))
        return tuple(messages)

    def forget(self) -> None:
        self._exchanges.clear()
