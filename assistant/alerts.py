"""Ringing alerts and announcements, between plugins and the conversation.

A plugin asks for an alert; the conversation decides when it sounds, and what the user does about it. The board holds
who asked, so that each can be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from assistant.core import events as ev
from assistant.core.events import Event
from assistant.types import AlertId


@dataclass(frozen=True, slots=True)
class _Asked:
    on_started: Callable[[], None]
    on_dismissed: Callable[[], None]


class AlertBoard:
    """The ``Ringer`` that plugins get. ``emit`` takes events for the conversation; ``now`` is the loop's clock."""

    def __init__(self, emit: Callable[[Event], None], now: Callable[[], float]) -> None:
        self._emit = emit
        self._now = now
        self._asked: dict[AlertId, _Asked] = {}

    # --- what plugins call ---

    def start(
        self, alert: AlertId, title: str, on_started: Callable[[], None], on_dismissed: Callable[[], None]
    ) -> None:
        """Ring as soon as nobody is talking."""
        self._asked[alert] = _Asked(on_started, on_dismissed)
        self._emit(ev.AlertRaised(self._now(), alert, title))

    def stop(self, alert: AlertId) -> None:
        """End the sound. Harmless when it is over."""
        if self._asked.pop(alert, None) is not None:
            self._emit(ev.AlertEnded(self._now(), alert))

    def announce(self, text: str) -> None:
        """Say a sentence as soon as nobody talks."""
        self._emit(ev.AnnouncementRaised(self._now(), text))

    # --- what the engine calls ---

    def started(self, alert: AlertId) -> None:
        if (asked := self._asked.get(alert)) is not None:
            asked.on_started()

    def stopped(self, alert: AlertId, *, dismissed: bool) -> None:
        asked = self._asked.pop(alert, None)
        if asked is not None and dismissed:
            asked.on_dismissed()
