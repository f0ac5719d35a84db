"""Everything a plugin must not do, as a plugin: for tests and ``python -m bench.hostile``. ``good`` is well-behaved.

Each lasts about two seconds, or for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
import time

from assistant.plugin import Plugin, tool

LASTS_S = 2.0


@tool
async def good() -> str:
    """Answer."""
    return "ok"


@tool
def never_returns() -> None:
    """Wait for ever on a thread."""
    threading.Event().wait()


@tool
async def swallows_cancellation() -> None:
    """Refuse to end."""
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


@tool
def raises_system_exit() -> None:
    """Leave."""
    raise SystemExit(1)


@tool
def returns_100_mb() -> str:
    """Answer at length."""
    return "x" * 100_000_000


@tool
def forks() -> int:
    """Start children, one after the other."""
    end, count = time.monotonic() + LASTS_S, 0
    while time.monotonic() < end:
        count += 1 + subprocess.run(["true"], check=False).returncode
    return count


@tool
def burns_the_processor() -> int:
    """Count, holding the GIL most of the time."""
    end, count = time.monotonic() + LASTS_S, 0
    while time.monotonic() < end:
        count += 1
    return count


@tool
async def floods_the_loop() -> None:
    """Schedule many callbacks."""
    loop = asyncio.get_running_loop()
    end = time.monotonic() + LASTS_S
    while time.monotonic() < end:
        for _ in range(10_000):
            loop.call_soon(int)
        await asyncio.sleep(0)


@tool
async def blocks_the_loop() -> None:
    """Block where one must not."""
    time.sleep(LASTS_S)  # noqa: ASYNC251


class Hostile(Plugin):
    @tool
    async def floods_events(self) -> None:
        """Change the lists of the house, and crash in the background, again and again."""

        async def crash() -> None:
            raise RuntimeError

        end = time.monotonic() + LASTS_S
        while time.monotonic() < end:
            for number in range(100):
                self.context.entities("rooms", {str(number): "room"})
                self.context.spawn(crash(), "crash")
            await asyncio.sleep(0)


HABITS = (
    good,
    never_returns,
    swallows_cancellation,
    raises_system_exit,
    returns_100_mb,
    forks,
    burns_the_processor,
    floods_the_loop,
    Hostile.floods_events,
    blocks_the_loop,
)
