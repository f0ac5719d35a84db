"""The life of the realtime session: when one is opened, kept, replaced and let go. PURE.

::

             wanted, or a hint                ready
      DOWN ────────────────────> CONNECTING ────────> READY
       ^                              │                 │
       └──────────────────────────────┴─────────────────┘
         lost; kept open long enough; too many turns; near its end; retired; another voice is wanted

There is one at a time, and each has a number: what comes from an earlier one is stale. Methods give commands for the
shell. What hangs on the session elsewhere (responses, late tool calls) is the conversation's business.
"""

from __future__ import annotations

from assistant.core import events as ev
from assistant.core.commands import ChangePersona, CloseSession, Command, OpenSession, RestoreHistory
from assistant.core.history import History
from assistant.core.personas import FALLBACK, MAIN, Persona
from assistant.core.policy import MIN_LIFE, ROTATE_RETRY, ConversationSettings, Link


class SessionLife:
    """Owns what is known of the session of the moment. ``history`` is told to each new one."""

    def __init__(self, settings: ConversationSettings, history: History) -> None:
        self._settings = settings
        self._history = history
        self._persona = MAIN  # whom the session takes itself for
        self._turns = 0
        self._away_until = 0.0  # until then the far brain is not asked
        self._close_at: float | None = None
        self._rotate_at: float | None = None
        self._retired = False
        self.link = Link.DOWN
        self.number = 0

    @property
    def deadline(self) -> float | None:
        return min((at for at in (self._close_at, self._rotate_at) if at is not None), default=None)

    def is_current(self, number: int) -> bool:
        """Whether this is the session of the moment, and not down."""
        return number == self.number and self.link is not Link.DOWN

    # --- opening ----------------------------------------------------------------------------------------------------

    def who_answers(self, at: float, wanted: Persona) -> Persona:
        """The persona, or the embedded brain while the far one is known to be away."""
        return FALLBACK if self._settings.fallback and at < self._away_until else wanted

    def stay_away(self, at: float) -> None:
        """The far brain could not be had: do not ask it for a while."""
        self._away_until = at + self._settings.fallback_hold

    def ensure(self, at: float, persona: Persona) -> list[Command]:
        """A session that is open or opening, and takes itself for ``persona``."""
        commands: list[Command] = []
        if persona.kind != self._persona.kind:
            commands += self.close()
        if self.link is not Link.DOWN and persona != self._persona:
            commands.append(ChangePersona(persona.name))
        self._persona = persona
        if self.link is Link.DOWN:
            commands += self.open(at, persona)
        return commands

    def open(self, at: float, persona: Persona, delay: float = 0.0) -> list[Command]:
        self.number += 1
        self.link = Link.CONNECTING
        self._turns = 0
        self._retired = False
        self._persona = persona
        commands: list[Command] = [OpenSession(self.number, delay, persona.name)]
        if messages := self._history.recent(at):
            commands.append(RestoreHistory(messages))
        return commands

    def prewarm(self, at: float, persona: Persona) -> list[Command]:
        """Connect while it is not sure yet that anybody wants us; without a turn it is let go soon."""
        commands = self.open(at, persona)
        self._close_at = at + self._settings.prewarm
        return commands

    def ready(self, event: ev.SessionReady) -> None:
        if event.session == self.number and self.link is Link.CONNECTING:
            self.link = Link.READY
            if event.expires_in is not None:
                self._rotate_at = event.at + max(MIN_LIFE, event.expires_in - self._settings.rotate_before)

    # --- letting go -------------------------------------------------------------------------------------------------

    def close(self) -> list[Command]:
        """Let go of the session, if there is one."""
        if self.link is Link.DOWN:
            return []
        self.lost()
        return [CloseSession(self.number)]

    def lost(self) -> None:
        """It has gone by itself."""
        self.link = Link.DOWN
        self._close_at = self._rotate_at = None

    def retire(self) -> None:
        """It may not be used any more after the turn that goes on: see :meth:`rest`."""
        self._retired = self.link is not Link.DOWN

    def turn_begins(self) -> None:
        """It is needed: it stays open."""
        self._close_at = None

    def turn_ends(self) -> None:
        """A turn that was asked has ended; each response is billed for all of them."""
        self._turns += 1

    def rest(self, at: float) -> list[Command]:
        """Nobody talks any more: it stays open a while for the next request, unless it must be replaced."""
        if self.link is Link.DOWN:
            return []
        if self._retired:
            return self.close()
        self._close_at = at + self._settings.keep_open
        if 0 < self._settings.max_session_turns <= self._turns:
            return self._rotate(at)  # the new one is told the last turns, and pays for no more than those
        return []

    def tick(self, at: float, *, idle: bool) -> list[Command]:
        """Do what is due. idle: no turn goes on; a session is replaced at no other time."""
        if self._close_at is not None and at >= self._close_at:
            return self.close()
        if self._rotate_at is not None and at >= self._rotate_at:
            if idle and self.link is not Link.DOWN:
                return self._rotate(at)
            self._rotate_at = at + ROTATE_RETRY
        return []

    def _rotate(self, at: float) -> list[Command]:
        """Replace a session that is near its end, or has become dear. It stays open as long as it would have."""
        close_at = self._close_at
        commands = self.close()
        if close_at is not None and close_at > at:
            commands += self.open(at, self._persona)
            self._close_at = close_at
        return commands
