"""Several tools in a row, by voice and by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import ToolError
from assistant.plugin import tool
from assistant.testing.plugins import FRIDAY_MORNING, FakeClock, InlineThreads, RecordingRinger, settle
from assistant.tools.consent import CONFIRM
from assistant.tools.loading import from_file, from_object
from assistant.tools.registry import PluginStatus, ToolRegistry
from assistant.tools.runner import ToolOutcome, ToolRunner

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "routines.py"


class Home:
    """Some tools that note what they did, and the routines."""

    def __init__(self, state: Path, routines: dict[str, Any], now: datetime = FRIDAY_MORNING) -> None:
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

        @tool(tier="confirm")
        async def toggle() -> None:
            """Open or close the microphone."""
            self.done.append("toggle")
            self.registry.tell("mute", {"muted": True})

        self.clock = FakeClock(now)
        self.ringer = RecordingRinger()
        self.registry = ToolRegistry(state, clock=self.clock, ringer=self.ringer, threads=InlineThreads())
        tools = [from_object(function.__name__, function) for function in (light, heat, fail, lock, toggle)]
        self.registry.load_candidates([*tools, from_file(PLUGIN)], settings={"routines": {"routines": routines}})
        self.runner = ToolRunner(self.registry)

    async def call(self, name: str, turn: int = 1) -> ToolOutcome:
        return await self.runner.call(name, "", turn=turn)


def use(state: Path, check: Callable[[Home], Awaitable[None]], now: datetime = FRIDAY_MORNING, **routines: Any) -> None:
    async def main() -> None:
        home = Home(state, routines, now)
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


def test_a_routine_by_the_clock_cannot_do_what_needs_a_yes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def check(home: Home) -> None:
        await home.clock.advance(2 * 86400)
        await settle_until(lambda: "lock needs more consent" in caplog.text)
        assert home.done == []
        assert all(info.status is PluginStatus.ENABLED for info in home.registry.plugins)
        assert "lock needs more consent" in home.ringer.announced[0]

    use(tmp_path, check, r={"steps": [LOCK], "at": "11:00", "aloud": True})


def test_a_routine_that_was_missed_while_off_runs_unless_that_is_long_ago(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    routines = {"r": {"steps": [HEAT], "at": "11:00"}, "gone": {"steps": [HEAT], "at": "11:00"}}

    async def nothing(home: Home) -> None:
        await settle()
        assert home.done == []

    async def late(home: Home) -> None:
        await settle_until(lambda: home.done == ["heat"])

    async def too_late(home: Home) -> None:
        await settle_until(lambda: "routine r is skipped: it is 61 minutes late" in caplog.text)
        assert home.done == []

    use(tmp_path / "a", nothing, **routines)
    use(tmp_path / "a", late, now=FRIDAY_MORNING.replace(hour=11, minute=59), r=routines["r"])
    use(tmp_path / "b", nothing, **routines)
    use(tmp_path / "b", too_late, now=FRIDAY_MORNING.replace(hour=12, minute=1), r=routines["r"])


def test_a_routine_runs_when_something_happens(tmp_path: Path) -> None:
    async def check(home: Home) -> None:
        home.registry.tell("mute", {"muted": False})
        home.registry.tell("wake", {"word": "alexa"})
        await settle()
        assert home.done == []
        home.registry.tell("mute", {"muted": True})
        home.registry.tell("mute", {"muted": True})  # the routine is at it
        await settle_until(lambda: home.ringer.announced == ["It gets cooler."])
        assert home.done == ["heat"]
        home.registry.tell("mute", {"muted": True})
        await settle_until(lambda: len(home.done) == 2)

    use(tmp_path, check, r={"steps": [HEAT], "when": {"event": "mute", "muted": True}, "aloud": True})


def test_an_event_that_a_tool_brings_about_does_not_lend_its_consent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(home: Home) -> None:
        await home.call("toggle", turn=1)
        assert (await home.runner.call(CONFIRM, "", turn=2)).status == "ok"
        await settle_until(lambda: "lock needs more consent" in caplog.text)
        assert home.done == ["toggle"]

    use(tmp_path, check, r={"steps": [LOCK], "when": {"event": "mute"}})


@pytest.mark.parametrize(
    ("routine", "key", "message"),
    [
        ({"at": "25:00"}, "r.at", "pattern"),
        ({"at": "07:00", "tier": "confirm"}, "r", "what runs by itself cannot be of tier confirm"),
        ({"when": {"event": "doorbell"}}, "r.when.event", "'wake', 'turn'"),
        ({"when": {"event": "mute", "state": "ready"}}, "r.when", "the event mute has no state, only muted"),
        ({"when": {"event": "link", "state": "up"}}, "r.when", "one of down, connecting, ready"),
        ({"when": {"event": "state"}, "aloud": True}, "r", "it would never end"),
    ],
)
def test_what_a_config_may_say_wrong(tmp_path: Path, routine: Any, key: str, message: str) -> None:
    info = next(i for i in Home(tmp_path, {"r": {"steps": [HEAT], **routine}}).registry.plugins if i.name == "routines")
    assert info.status is PluginStatus.CONFIG_ERROR
    (problem,) = info.problems
    assert problem.key == f"plugins.routines.routines.{key}"
    assert message in problem.message


async def settle_until(done: Callable[[], bool]) -> None:
    for _ in range(20):
        if done():
            return
        await settle()
    raise AssertionError("it did not happen")
