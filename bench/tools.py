"""Tools in numbers: ``python -m bench.tools``.

The time from a tool call to its output with 100 tools installed, and what each bundled plugin adds to the start and to
memory. What hostile plugins do is told by ``python -m bench.hostile``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Callable
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


def main() -> None:
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        print(f"one call, of {CALLS}, with 100 tools and the audit log (pid {os.getpid()})")
        asyncio.run(time_calls(Path(folder) / "calls"))
        print("start and memory of each bundled plugin (the first pays for what all share)")
        asyncio.run(time_plugins(Path(folder) / "plugins"))


if __name__ == "__main__":
    main()
