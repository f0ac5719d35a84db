"""What a context is made of: small services as protocols, so that tests can bring their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol, TypeVar

from assistant.types import AlertId

T = TypeVar("T")


class WallClock(Protocol):
    """The time of day, and waiting."""

    def now(self) -> datetime:
        """The local time, with its zone. It jumps when somebody sets the clock."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, counting also while the machine sleeps. The zero point has no meaning."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Ringer(Protocol):
    """Makes plugins heard: the alert sound, and announcements. Called on the event loop; calls back on it."""

    def start(
        self, alert: AlertId, title: str, on_started: Callable[[], None], on_dismissed: Callable[[], None]
    ) -> None:
        """Ring as soon as the conversation allows. ``on_started``: the sound begins. ``on_dismissed``: it has ended
        because the user reacted; neither is called after ``stop``."""
        ...

    def stop(self, alert: AlertId) -> None:
        """End the sound. Harmless when it is over."""
        ...

    def announce(self, text: str) -> None:
        """Say a sentence as soon as nobody talks and nothing rings."""
        ...


class Threads(Protocol):
    """Runs blocking functions away from the event loop."""

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result or exception. Cancelling gives up the wait; the function runs to its end."""
        ...


class SystemClock:
    """The machine's clock."""

    # BOOTTIME counts suspended time; a plain monotonic clock would make every suspend look like a set clock.
    _CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> datetime:
        return datetime.now().astimezone()

    def monotonic(self) -> float:
        return time.clock_gettime(self._CLOCK)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SilentRinger:
    """Makes no sound: for commands that run tools without a speaker."""

    def start(
        self, alert: AlertId, title: str, on_started: Callable[[], None], on_dismissed: Callable[[], None]
    ) -> None:
        on_started()

    def stop(self, alert: AlertId) -> None:
        return

    def announce(self, text: str) -> None:
        return
