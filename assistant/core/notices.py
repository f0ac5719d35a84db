"""What the house wants to tell people who did not ask: alerts that ring, and announcements. PURE.

Both wait until nobody talks. An alert rings until somebody reacts; announcements are said one after another, and not
while something rings.
"""

from __future__ import annotations

from assistant.core.commands import Command, StartAlert, StopAlert
from assistant.types import AlertId

MAX_ANNOUNCEMENTS = 8
"""Announcements that wait for a quiet moment. Of more, the oldest are forgotten: they are the most out of date."""


class Notices:
    """Keeps what waits and what rings; the conversation says when."""

    def __init__(self) -> None:
        self._waiting: list[AlertId] = []
        self._ringing: list[AlertId] = []
        self._announcements: list[str] = []

    @property
    def alert_waits(self) -> bool:
        """Whether an alert rings, or wants to."""
        return bool(self._waiting or self._ringing)

    def add_alert(self, alert: AlertId) -> None:
        self._waiting.append(alert)

    def start_alerts(self) -> list[Command]:
        """Let everything ring that waits."""
        started, self._waiting = self._waiting, []
        self._ringing += started
        return [StartAlert(alert) for alert in started]

    def dismiss_alerts(self) -> list[Command]:
        """The user has reacted."""
        ringing, self._ringing = self._ringing, []
        return [StopAlert(alert, dismissed=True) for alert in ringing]

    def end_alert(self, alert: AlertId) -> list[Command]:
        """Its plugin has ended it, before or while it rings."""
        if alert in self._waiting:
            self._waiting.remove(alert)
        elif alert in self._ringing:
            self._ringing.remove(alert)
            return [StopAlert(alert, dismissed=False)]
        return []

    def add_announcement(self, text: str) -> None:
        self._announcements.append(text)
        del self._announcements[:-MAX_ANNOUNCEMENTS]

    def next_announcement(self) -> str | None:
        """The next one to say now, if there is one and nothing rings."""
        return self._announcements.pop(0) if self._announcements and not self._ringing else None
