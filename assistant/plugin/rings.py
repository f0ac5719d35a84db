"""Sounding alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from assistant.types import AlertId


class RingEnd(Enum):
    """Why a ring is over."""

    DISMISSED = "dismissed"  # the user reacted
    STOPPED = "stopped"  # the plugin stopped it, or the daemon ends
    LIMIT = "limit"  # nobody reacted in time


class Ring:
    """A sounding alert, made by :meth:`Context.ring`."""

    def __init__(self, alert: AlertId, title: str, loop: asyncio.AbstractEventLoop, on_end: Callable[[Ring], None]):
        self.alert = alert
        self.title = title
        self.ended: RingEnd | None = None
        """None while it rings."""
        self._loop = loop
        self._on_end = on_end
        self._begun = asyncio.Event()
        self._over = asyncio.Event()

    def stop(self) -> None:
        """End the sound. From any thread; harmless when it is over."""
        self._loop.call_soon_threadsafe(self._end, RingEnd.STOPPED)

    async def wait(self) -> RingEnd:
        """Wait until it is over, and say why. Cancelling the wait does not stop the ring."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    def _end(self, why: RingEnd) -> None:
        if self.ended is None:
            self.ended = why
            self._begun.set()
            self._over.set()
            self._on_end(self)
