"""Several tools in a row, by voice and by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import ToolError
from assistant.plugin import tool
from assistant.testing.plugins import FakeClock, settle
from assistant.tools.consent import CONFIRM
from assistant.tools.loading import from_file, from_object, import_file
from assistant.tools.registry import PluginStatus, ToolRegistry
from assistant.tools.runner import ToolOutcome, ToolRunner

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "routines.py"
ELSEWHERE = timezone(timedelta(hours=5, minutes=17)), timezone(-timedelta(hours=3, minutes=41))  # no machine is there


class Home:
    """Some tools that note what they did, and the routines."""

    def __init__(self, state: Path, routines: dict[str, Any]) -> None:
        self.done: list[str] = []

        @tool
        def light(room: str) -> str:
            """Switch a light off."""
            self.done.append(f"light {room}")
            return f"The {room} is dark."

        @tool
        async def heat() -> dict[str, str]:
            """Turn the heating down."""
            self.done.append("heat")
            return {"say": "It gets cooler."}

        @tool
        def fail() -> None:
            """Fail."""
            raise ToolError("the boiler does not answer")

        @tool(tier="confirm")
        def lock() -> str:
            """Lock the door."""
            self.done.append("lock")
            return "Locked."

        self.clock = FakeClock()
        self.registry = ToolRegistry(state, clock=self.clock)
        tools = [from_object(function.__name__, function) for function in (light, heat, fail, lock)]
        self.registry.load_candidates([*tools, from_file(PLUGIN)], settings={"routines": {"routines": routines}})
        self.runner = ToolRunner(self.registry)

    async def call(self, name: str, turn: int = 1) -> ToolOutcome:
        return await self.runner.call(name, "", turn=turn)


def use(state: Path, check: Callable[[Home], Awaitable[None]], **routines: Any) -> None:
    async def main() -> None:
        home = Home(state, routines)
        await home.registry.start()
        assert all(info.status is PluginStatus.ENABLED for info in home.registry.plugins), home.registry.plugins
        try:
            await check(home)
        finally:
            await home.registry.stop()
            await home.runner.close()

    asyncio.run(main())


LIGHT = {"tool": "light", "arguments": {"room": "hall"}}
HEAT, FAIL, LOCK = {"tool": "heat"}, {"tool": "fail"}, {"tool": "lock"}


def test_a_routine_runs_its_tools_and_says_what_they_say(tmp_path: Path) -> None:
    async def check(home: Home) -> None:
        outcome = await home.call("routine_good_night")
        assert outcome.output == '"The hall is dark. It gets cooler."'
        assert home.done == ["light hall", "heat"]
        assert (await home.call("routine_short")).output == '"Sleep well."'

    use(tmp_path, check, good_night={"steps": [LIGHT, HEAT]}, short={"steps": [HEAT], "say": "Sleep well."})


@pytest.mark.parametrize(
    ("steps", "done", "message"),
    [
        ([LIGHT, FAIL, HEAT], ["light hall"], "r stopped after 1 of 3 steps, at fail: the boiler does not answer"),
        ([FAIL, HEAT], [], "r stopped at its first step, at fail: the boiler does not answer"),
        ([{"tool": "dance"}], [], "r stopped at its first step, at dance: there is no tool named dance"),
        ([{"tool": "light"}], [], "r stopped at its first step, at light: light: room: is missing"),
        ([LOCK], [], "r stopped at its first step, at lock: lock needs more consent than was given"),
        ([{"tool": "routine_r"}], [], "in a circle"),
    ],
)
def test_a_routine_stops_at_the_first_failure(tmp_path: Path, steps: Any, done: list[str], message: str) -> None:
    async def check(home: Home) -> None:
        outcome = await home.call("routine_r")
        assert outcome.status == "error"
        assert message in outcome.output
        assert home.done == done

    use(tmp_path, check, r={"steps": steps})


def test_the_consent_for_a_routine_is_for_its_tools(tmp_path: Path) -> None:
    async def check(home: Home) -> None:
        assert (await home.call("routine_leave", turn=1)).status == "asked"
        assert home.done == []
        assert (await home.call(CONFIRM, turn=2)).output == '"Locked. It gets cooler."'
        assert home.done == ["lock", "heat"]
        assert (await home.call("lock", turn=3)).status == "asked"

    use(tmp_path, check, leave={"steps": [LOCK, HEAT], "tier": "confirm"})


def test_a_routine_runs_by_the_clock_on_its_days(tmp_path: Path) -> None:
    async def check(home: Home) -> None:
        await home.clock.advance(3600)  # Friday, 10:30
        assert home.done == []
        await home.clock.advance(3600)
        await settle_until(lambda: home.done == ["heat"])
        await home.clock.advance(2 * 86400)  # Sunday, 11:30
        assert home.done == ["heat"]
        home.clock.set(home.clock.now() + timedelta(days=1))  # somebody sets the clock to Monday, 11:30
        await home.clock.advance(60)
        await settle_until(lambda: home.done == ["heat", "heat"])

    use(tmp_path, check, r={"steps": [HEAT], "at": "11:00", "days": ["mon", "fri"]})


def test_a_routine_by_the_clock_cannot_do_what_needs_a_yes(tmp_path: Path) -> None:
    async def check(home: Home) -> None:
        await home.clock.advance(2 * 86400)
        await settle()
        assert home.done == []
        assert all(info.status is PluginStatus.ENABLED for info in home.registry.plugins)

    use(tmp_path, check, r={"steps": [LOCK], "at": "11:00", "tier": "confirm"})


async def settle_until(done: Callable[[], bool]) -> None:
    for _ in range(20):
        if done():
            return
        await settle()
    raise AssertionError("it did not happen")


days = st.lists(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1, unique=True)


@given(st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)), st.times(), days, st.sampled_from(ELSEWHERE))
def test_the_next_time_is_the_first_on_such_a_day(now: datetime, at: time, days: list[Any], zone: timezone) -> None:
    routines = import_file(PLUGIN)
    here, at = now.replace(tzinfo=zone), at.replace(second=0, microsecond=0)
    when = routines.next_time(here, at, days)
    local = when.astimezone(zone)
    assert when > here
    assert (local.hour, local.minute) == (at.hour, at.minute)
    assert routines.DAYS[local.weekday()] in days
    assert when - here <= timedelta(days=7)
