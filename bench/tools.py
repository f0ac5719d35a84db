"""Tools in numbers: ``python -m bench.tools``.

The time from a tool call to its output with 100 tools installed; what each bundled plugin adds to the start and to
memory; and what hostile tools do to the event loop, on which wake words are reported and answers are played, and to a
good tool that is called meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from assistant.plugin import tool
from assistant.tools import loading
from assistant.tools.audit import AuditLog
from assistant.tools.loading import bundled_plugins_folder, from_object
from assistant.tools.registry import ToolRegistry
from assistant.tools.runner import ToolRunner

CALLS = 2000
HUNG_S = 0.5  # the time limit of hostile tools


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def hundred_tools(state: Path) -> ToolRegistry:
    """An empty async tool, an empty blocking one, and 98 others."""

    @tool
    async def empty() -> None:
        """Do nothing on the event loop."""

    @tool
    def empty_blocking() -> None:
        """Do nothing on a thread."""

    def other(number: int) -> Callable[..., Any]:
        async def work(room: str, level: int = 3) -> str:
            return f"{room} {level}"

        work.__doc__ = f"Do the thing of number {number} in a room."
        return tool(name=f"other_{number}")(work)

    registry = ToolRegistry(state, tiers={"other_9*": "confirm", "lock_*": "pin"})
    functions = [empty, empty_blocking, *(other(number) for number in range(98))]
    registry.load_candidates([from_object(f"p{number}", function) for number, function in enumerate(functions)])
    assert len(registry.tools) == 100
    return registry


async def time_calls(state: Path) -> None:
    registry = hundred_tools(state)
    runner = ToolRunner(registry, audit=AuditLog(state / "tools.sqlite3"))
    for name in ("empty", "empty_blocking"):
        times = []
        for turn in range(CALLS):
            began = time.perf_counter()
            await runner.call(name, "{}", turn=turn)
            times.append((time.perf_counter() - began) * 1000)
            if turn % 50 == 0:
                await asyncio.sleep(0.01)  # let the audit log's thread catch up, as it would between turns
        print(f"  {name:<16} p50 {percentile(times, 50):6.3f} ms   p95 {percentile(times, 95):6.3f} ms")
    began = time.perf_counter()
    specs = registry.specs(offline=True)
    print(f"  specs of {len(specs)} tools for a session: {(time.perf_counter() - began) * 1000:.2f} ms")
    await runner.close()


async def time_plugins(state: Path) -> None:
    process = psutil.Process()
    for candidate in loading.in_folder(bundled_plugins_folder()):
        memory = process.memory_info().rss
        began = time.perf_counter()
        registry = ToolRegistry(state)
        registry.load_candidates([candidate])
        await registry.start()
        took = (time.perf_counter() - began) * 1000
        grown = (process.memory_info().rss - memory) / 1024
        await registry.stop()
        print(f"  {candidate.name:<10} {took:7.1f} ms {grown:8.0f} KiB   {len(registry.tools)} tools")


# --- hostile tools ----------------------------------------------------------------------------------------------------

_release = threading.Event()


@tool
def never_returns() -> None:
    """Wait for ever."""
    _release.wait()


@tool
async def swallows_cancellation() -> None:
    """Refuse to end."""
    while not _release.is_set():
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
    """Start children."""
    return sum(subprocess.run(["true"], check=False).returncode for _ in range(20))


@tool
def burns_the_processor() -> int:
    """Count, holding the GIL most of the time."""
    end, count = time.monotonic() + HUNG_S, 0
    while time.monotonic() < end:
        count += 1
    return count


@tool
async def floods_the_loop() -> None:
    """Schedule many callbacks."""
    loop = asyncio.get_running_loop()
    for _ in range(100_000):
        loop.call_soon(int)


@tool
async def blocks_the_loop_2_s() -> None:
    """Block where one must not."""
    time.sleep(2.0)  # noqa: ASYNC251


@tool
async def good() -> str:
    """Answer."""
    return "ok"


HOSTILE = (
    never_returns,
    swallows_cancellation,
    raises_system_exit,
    returns_100_mb,
    forks,
    burns_the_processor,
    floods_the_loop,
    blocks_the_loop_2_s,
)


@contextlib.contextmanager
def watched(lags: list[float]) -> Iterator[None]:
    """Notes how late the event loop is, every 5 ms."""

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.005
            await asyncio.sleep(0.005)
            lags.append((loop.time() - due) * 1000)

    task = asyncio.ensure_future(tick())
    try:
        yield
    finally:
        task.cancel()


async def meet_hostile_tools(state: Path) -> None:
    registry = ToolRegistry(state)
    registry.load_candidates([from_object(function.__name__, function) for function in (*HOSTILE, good)])
    runner = ToolRunner(registry, default_time_limit_s=HUNG_S)
    print(f"  {'tool':<24}{'outcome':<10}{'after':>9}{'loop late by':>15}{'good tool meanwhile':>22}")
    for function in HOSTILE:
        lags: list[float] = []
        with watched(lags):
            await asyncio.sleep(0.02)
            began = time.perf_counter()
            call = asyncio.ensure_future(runner.call(function.__name__, ""))
            await asyncio.sleep(0.01)
            answered = (await runner.call("good", "")).status == "ok"
            good_ms = (time.perf_counter() - began - 0.01) * 1000  # from when it was due, also if the loop was late
            outcome = await call
            after = (time.perf_counter() - began) * 1000
            await asyncio.sleep(0.02)
        assert answered, "the good tool must always answer"
        print(f"  {function.__name__:<24}{outcome.status:<10}{after:6.0f} ms{max(lags):12.1f} ms{good_ms:19.2f} ms")
    _release.set()
    await runner.close()


def main() -> None:
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        print(f"one call, of {CALLS}, with 100 tools and the audit log (pid {os.getpid()})")
        asyncio.run(time_calls(Path(folder) / "calls"))
        print("start and memory of each bundled plugin (the first pays for what all share)")
        asyncio.run(time_plugins(Path(folder) / "plugins"))
        print("hostile tools; 'loop late by' is the longest time in which nothing else could run on the event loop")
        asyncio.run(meet_hostile_tools(Path(folder) / "hostile"))


if __name__ == "__main__":
    main()
