"""What a context is made of: small services as protocols, so that tests can bring their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from assistant.types import AlertId

T = TypeVar("T")

VolumeChannel: TypeAlias = Literal["answers", "alerts", "media"]
"""What has a volume of its own: what the assistant says, what rings, what plugins play."""


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


class House(Protocol):
    """The running assistant, as far as a plugin may look at it and steer it. Belongs to the event loop."""

    @property
    def muted(self) -> bool:
        """Whether the microphone is closed."""
        ...

    def status(self) -> Mapping[str, Any]:
        """How the assistant is: state, link, muted, volume, troubles, last_turn, money; docs/control.md lists all."""
        ...

    async def mute(self, muted: bool) -> None:
        """Close the microphone until it is wanted again, also over restarts. Raises ToolError with one line."""
        ...

    def listen(self) -> None:
        """As if the wake word had been said. Raises ToolError with one line, such as when it is muted."""
        ...

    def stop(self) -> None:
        """End whatever is going on, and what rings."""
        ...

    def hush(self) -> None:
        """The user has said "stop", and nothing rings: sounds of plugins end, and those that asked for ``stop`` are
        told. The turn goes on."""
        ...

    def ask(self, text: str) -> None:
        """A request in writing; it is answered aloud."""
        ...

    def set_volume(self, percent: int, channel: VolumeChannel | None = None) -> None:
        """Of one channel, or on top of that of everything that plays: 0 to 100. ``status()["volumes"]`` has them."""
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
