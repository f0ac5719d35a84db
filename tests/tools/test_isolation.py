"""What a failing or greedy plugin costs others: its own calls, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from assistant.plugin import Context, Plugin, ToolError, tool
from assistant.testing.plugins import FakeClock
from assistant.tools.breaker import COOL_DOWN_S, LONGEST_COOL_DOWN_S, TRIPS_AFTER, Breaker
from assistant.tools.loading import from_object
from assistant.tools.registry import PluginStatus, ToolRegistry
from assistant.tools.runner import ToolRunner


def test_a_breaker_trips_cools_down_and_lets_one_call_through() -> None:
    breaker = Breaker()
    for _ in range(TRIPS_AFTER - 1):
        assert not breaker.report(failed=True, now=0.0)
        assert breaker.refuses(0.0) is None
    assert breaker.report(failed=True, now=0.0)
    assert breaker.refuses(1.0) == COOL_DOWN_S - 1
    assert breaker.refuses(COOL_DOWN_S) is None
    assert breaker.refuses(COOL_DOWN_S) == COOL_DOWN_S, "one call at a time while it is in doubt"
    assert breaker.report(failed=True, now=COOL_DOWN_S)
    assert breaker.refuses(COOL_DOWN_S) == 2 * COOL_DOWN_S
    breaker.report(failed=False, now=4 * COOL_DOWN_S)
    assert breaker == Breaker()


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2000))))
def test_a_breaker_never_refuses_for_longer_than_its_limit(steps: list[tuple[bool, float]]) -> None:
    breaker, now = Breaker(), 0.0
    for failed, wait in steps:
        now += wait
        if breaker.refuses(now) is None:
            breaker.report(failed=failed, now=now)
        left = (breaker.open_until or 0.0) - now
        assert left <= LONGEST_COOL_DOWN_S
        assert failed or left <= 0 or breaker.failures >= TRIPS_AFTER


class Moody(Plugin):
    """Crashes while told to."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.broken = True
        self.complaint: str | None = None

    async def check(self) -> str | None:
        return self.complaint

    @tool
    async def work(self) -> str:
        """Work."""
        if self.broken:
            raise RuntimeError("secret words")
        return "done"

    @tool
    async def refuse(self) -> None:
        """Refuse."""
        raise ToolError("not today")


def test_a_plugin_that_keeps_crashing_is_left_alone_and_comes_back(tmp_path: Path) -> None:
    clock = FakeClock()

    async def main() -> None:
        registry = ToolRegistry(tmp_path, clock=clock)
        registry.load_candidates([from_object("moody", Moody)])
        runner = ToolRunner(registry)
        await registry.start()
        for _ in range(2 * TRIPS_AFTER):
            assert (await runner.call("refuse", "")).status == "error"
        assert registry.plugins[0].status is PluginStatus.ENABLED, "an answer that is no is no failure"
        for _ in range(TRIPS_AFTER):
            assert (await runner.call("work", "")).status == "crashed"
        assert registry.plugins[0].status is PluginStatus.TRIPPED
        assert registry.plugins[0].reason == "5 failures in a row; it is tried again in 30 s"
        assert registry.troubles == {"moody": "tripped: 5 failures in a row"}
        await clock.advance(1.0)
        assert registry.troubles == {"moody": "tripped: 5 failures in a row"}, "no new words each second"
        outcome = await runner.call("work", "")
        assert (outcome.status, "try it again in 29 seconds" in outcome.output) == ("refused", True)
        instance = registry._entries["moody"].instance
        assert isinstance(instance, Moody)
        instance.broken = False
        await clock.advance(COOL_DOWN_S)
        assert (await runner.call("work", "")).status == "ok"
        assert registry.plugins[0].status is PluginStatus.ENABLED
        assert registry.troubles == {"moody": None}
        await registry.stop()
        await runner.close()

    asyncio.run(main())


def test_a_self_check_shows_in_the_status_and_heals(tmp_path: Path) -> None:
    async def main() -> None:
        registry = ToolRegistry(tmp_path)
        registry.load_candidates([from_object("moody", Moody)])
        await registry.start()
        instance = registry._entries["moody"].instance
        assert isinstance(instance, Moody)
        instance.complaint = "the bridge\ndoes not answer"
        await registry.check()
        (info,) = registry.plugins
        assert (info.status, info.reason) == (PluginStatus.SELF_CHECK_FAILED, "the bridge does not answer")
        assert set(registry.tools) == {"work", "refuse"}
        instance.complaint = None
        await registry.check()
        assert registry.plugins[0].status is PluginStatus.ENABLED
        await registry.stop()

    asyncio.run(main())


def test_one_plugin_cannot_take_everybodys_threads(tmp_path: Path) -> None:
    release = threading.Event()

    @tool(time_limit_s=0.02)
    def stuck() -> None:
        """Never return."""
        release.wait()

    @tool
    def quick() -> str:
        """Answer."""
        return "quick"

    async def main() -> None:
        registry = ToolRegistry(tmp_path)
        registry.load_candidates([from_object("greedy", stuck), from_object("modest", quick)])
        runner = ToolRunner(registry, threads=4, per_plugin=2)
        assert [(await runner.call("stuck", "")).status for _ in range(3)] == ["timeout", "timeout", "refused"]
        assert (await runner.call("quick", "")).status == "ok"
        release.set()
        for _ in range(1000):  # the threads give their places back
            if (await runner.call("stuck", "")).status != "refused":
                break
            await asyncio.sleep(0.001)
        else:
            raise AssertionError("the places were never given back")
        await runner.close()

    asyncio.run(main())
