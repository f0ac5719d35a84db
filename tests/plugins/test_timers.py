from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.plugin import Database, ToolError
from assistant.testing.plugins import FRIDAY_MORNING, FakeClock, PluginHarness
from assistant.tools.loading import bundled_plugins_folder, import_file

FILE = bundled_plugins_folder() / "timers" / "__init__.py"


def at_home(folder: Path, script: Callable[[PluginHarness], Awaitable[None]], **options: Any) -> PluginHarness:
    """Run a script in one life of the daemon."""

    async def main() -> PluginHarness:
        async with PluginHarness(FILE, folder, **options) as home:
            await script(home)
            return home

    return asyncio.run(main())


async def say(home: PluginHarness, tool: str, **arguments: Any) -> str:
    text = (await home.call(tool, **arguments))["say"]
    assert isinstance(text, str)
    return text


def test_a_timer_rings_when_its_time_is_over_until_somebody_reacts(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        assert await home.call("set_timer", amount=10, unit="minutes") == {
            "say": "Timer set for 10 minutes.",
            "due": "2025-11-21T09:40:00+01:00",
        }
        await home.advance(599.9)
        assert home.ringer.ringing == []
        await home.advance(0.2)
        assert home.ringer.ringing == ["10 minute timer"]
        home.ringer.dismiss()
        await home.advance(hours=1)
        assert home.ringer.history == ["10 minute timer"]

    at_home(tmp_path, script)


def test_it_stops_ringing_at_the_limit_and_when_told(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("set_timer", amount=1, unit="seconds", name="tea")
        await home.call("set_timer", amount=2, unit="minutes", name="egg")
        await home.advance(30.9)
        assert home.ringer.ringing == ["tea timer"]
        await home.advance(0.2)
        assert home.ringer.ringing == []
        await home.advance(minutes=2)
        assert (await home.call("stop_ringing"))["stopped"] == 0
        await home.call("set_timer", amount=1, unit="seconds", name="rice")
        await home.advance(1)
        assert home.ringer.ringing == ["rice timer"]
        assert (await home.call("stop_ringing"))["stopped"] == 1
        assert home.ringer.ringing == []

    at_home(tmp_path, script, settings={"ring_limit_s": 30})


def test_several_timers_ring_each_at_its_own_time(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        assert await say(home, "set_timer", amount=90, unit="seconds", name="The Pasta timer") == (
            "Pasta timer set for 1 minute and 30 seconds."
        )
        await home.call("set_timer", amount=1, unit="hours")
        assert await say(home, "time_left") == "1 minute and 30 seconds left on the pasta timer."
        assert await say(home, "time_left", name="1 hour") == "1 hour left on the 1 hour timer."
        await home.advance(60)
        listed = await home.call("list_timers")
        assert listed["timers"] == [
            {"name": "pasta", "set_for_s": 90, "left_s": 30},
            {"name": None, "set_for_s": 3600, "left_s": 3540},
        ]
        assert listed["say"] == "30 seconds left on the pasta timer. 59 minutes left on the 1 hour timer."
        await home.advance(30)
        assert home.ringer.ringing == ["pasta timer"]
        await home.advance(hours=1)
        assert home.ringer.history == ["pasta timer", "1 hour timer"]

    at_home(tmp_path, script)


def test_cancelling(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        with pytest.raises(ToolError, match="There is no timer"):
            await home.call("cancel_timer")
        await home.call("set_timer", amount=5, unit="minutes")
        assert await say(home, "cancel_timer") == "The 5 minute timer is cancelled."
        for name in ("pasta", "egg", "tea"):
            await home.call("set_timer", amount=5, unit="minutes", name=name)
        with pytest.raises(ToolError, match="There is no timer named pizza"):
            await home.call("cancel_timer", name="Pizza")
        with pytest.raises(ToolError, match="pasta timer, egg timer and tea timer"):
            await home.call("cancel_timer")
        assert await say(home, "cancel_timer", name="the egg timer") == "The egg timer is cancelled."
        with pytest.raises(ToolError, match="There is a tea timer already"):
            await home.call("set_timer", amount=1, unit="minutes", name="TEA")
        assert await say(home, "cancel_all_timers") == "All 2 timers are cancelled."
        assert await say(home, "cancel_all_timers") == "There is no timer."
        await home.advance(hours=1)
        assert home.ringer.history == []

    at_home(tmp_path, script)


def test_cancel_without_a_name_means_the_one_that_rings(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("set_timer", amount=1, unit="minutes", name="tea")
        await home.call("set_timer", amount=9, unit="minutes", name="egg")
        await home.advance(61)
        assert await say(home, "cancel_timer") == "The tea timer is cancelled."
        assert home.ringer.ringing == []
        assert len((await home.call("list_timers"))["timers"]) == 1

    at_home(tmp_path, script)


def test_a_name_and_a_row_that_are_free_again_are_not_mixed_up(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("set_timer", amount=1, unit="seconds", name="tea")
        await home.advance(1)
        await home.call("set_timer", amount=1, unit="minutes", name="tea")  # the first one rings, so its name is free
        await home.call("cancel_timer", name="tea")
        await home.call("set_timer", amount=1, unit="minutes", name="egg")
        home.ringer.dismiss()
        await home.advance(61)
        assert home.ringer.ringing[-1] == "egg timer"

    at_home(tmp_path, script)


def test_the_number_of_a_timer_is_never_used_again(tmp_path: Path) -> None:
    """A ring that ends late must not delete the timer that was set in the meantime."""
    database = Database(tmp_path / "x.sqlite3")
    store = import_file(FILE).Store(database, FakeClock())
    first = store.add(60, None)
    store.cancel(None)
    assert store.add(60, None).id != first.id
    database.close()


def test_limits(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        for bad in ({"amount": 0, "unit": "minutes"}, {"amount": 1000, "unit": "hours"}, {"amount": 1, "unit": "days"}):
            with pytest.raises(ToolError, match=r"amount|unit"):
                await home.call("set_timer", **bad)
        for _ in range(99):
            await home.call("set_timer", amount=999, unit="hours")
        with pytest.raises(ToolError, match="There are 99 timers already"):
            await home.call("set_timer", amount=1, unit="minutes")

    at_home(tmp_path, script)


# --- restarts and crashes ---------------------------------------------------------------------------------------------


def test_timers_survive_a_restart(tmp_path: Path) -> None:
    async def before(home: PluginHarness) -> None:
        await home.call("set_timer", amount=10, unit="minutes", name="pasta")
        await home.call("set_timer", amount=2, unit="hours", name="bread")

    async def after(home: PluginHarness) -> None:
        assert home.ringer.ringing == ["pasta timer, which ended at 09:40 while I was off"]
        home.ringer.dismiss()
        await home.advance(hours=1, seconds=1)
        assert home.ringer.ringing == ["bread timer"]

    async def at_last(home: PluginHarness) -> None:
        await home.advance(hours=3)
        assert home.ringer.history == []

    at_home(tmp_path, before)
    at_home(tmp_path, after, now=FRIDAY_MORNING + timedelta(hours=1))
    at_home(tmp_path, at_last, now=FRIDAY_MORNING + timedelta(hours=3))


def test_a_timer_of_another_day_says_which(tmp_path: Path) -> None:
    async def before(home: PluginHarness) -> None:
        await home.call("set_timer", amount=1, unit="hours")

    async def after(home: PluginHarness) -> None:
        assert home.ringer.ringing == ["1 hour timer, which ended at 10:30 on Friday while I was off"]

    at_home(tmp_path, before)
    at_home(tmp_path, after, now=FRIDAY_MORNING + timedelta(days=2))


def test_nothing_rings_twice_after_a_crash_while_ringing(tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"

    async def before(home: PluginHarness) -> None:
        await home.call("set_timer", amount=1, unit="minutes")
        await home.advance(61)
        assert home.ringer.ringing
        shutil.copytree(tmp_path / "state", crashed)  # what a power cut would leave on the disk

    async def after(home: PluginHarness) -> None:
        await home.advance(hours=1)
        assert home.ringer.history == []
        assert (await home.call("list_timers"))["timers"] == []
        assert (await home.call("cancel_all_timers"))["cancelled"] == 0

    at_home(tmp_path / "state", before)
    at_home(crashed, after, now=FRIDAY_MORNING + timedelta(minutes=2))


@pytest.mark.parametrize("jump", [timedelta(hours=5), timedelta(days=-300), timedelta(minutes=-3)])
def test_setting_the_clock_moves_no_timer(tmp_path: Path, jump: timedelta) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("set_timer", amount=10, unit="minutes", name="tea")
        await home.advance(minutes=4)
        home.clock.set(home.clock.now() + jump)
        await home.call("set_timer", amount=8, unit="minutes", name="egg")
        assert await say(home, "time_left", name="tea") == "6 minutes left on the tea timer."
        await home.advance(359.9)
        assert home.ringer.history == []
        await home.advance(0.2)
        assert home.ringer.history == ["tea timer"]
        await home.advance(minutes=2)
        assert home.ringer.history == ["tea timer", "egg timer"]

    at_home(tmp_path, script)


def test_a_database_that_cannot_be_read_for_a_while_loses_no_ring(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("set_timer", amount=1, unit="minutes")
        with sqlite3.connect(tmp_path / "timers" / "plugin.sqlite3", isolation_level=None) as other:
            other.execute("ALTER TABLE timer RENAME TO gone")
            await home.advance(70)
            assert home.ringer.history == []
            other.execute("ALTER TABLE gone RENAME TO timer")
        other.close()
        await home.advance(6)
        assert home.ringer.history == ["1 minute timer"]

    at_home(tmp_path, script)
    assert "the timers cannot be read" in caplog.text


# --- any order of events ----------------------------------------------------------------------------------------------

actions = st.one_of(
    st.tuples(st.just("set"), st.integers(1, 300)),
    st.tuples(st.just("advance"), st.integers(1, 200)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("dismiss"), st.just(0)),
    st.tuples(st.just("stop_ringing"), st.just(0)),
    st.tuples(st.just("jump"), st.integers(-500, 500).filter(lambda jump: abs(jump) > 1)),
    st.tuples(st.just("restart"), st.integers(0, 200)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(actions, max_size=20))
def test_every_timer_that_is_not_cancelled_rings_once(script: list[tuple[str, int]]) -> None:
    """Against a model that knows only due times; each timer has a name of its own."""

    async def life(home: PluginHarness, model: Model) -> None:
        model.ring(home)
        while model.script:
            action, number = model.script.pop(0)
            match action:
                case "set":
                    await home.call("set_timer", amount=number, unit="seconds", name=model.add(number))
                case "advance":
                    await home.advance(number)
                    model.now += number
                case "cancel" if model.due:
                    name = sorted(model.due)[number % len(model.due)]
                    await home.call("cancel_timer", name=name)
                    del model.due[name]
                case "dismiss":
                    home.ringer.dismiss()
                case "stop_ringing":
                    await home.call("stop_ringing")
                case "jump":
                    home.clock.set(home.clock.now() + timedelta(seconds=number))
                case "restart":
                    model.off_s = number
                    break
            model.ring(home)
        else:
            await home.advance(1000)
            model.now += 1000
            model.ring(home)
            assert model.due == {}

    with tempfile.TemporaryDirectory() as folder:
        model = Model(list(script))
        while True:
            ended = at_home(Path(folder), lambda home: life(home, model), now=model.wall)
            model.wall = ended.clock.now() + timedelta(seconds=model.off_s)
            model.now += model.off_s
            model.off_s = 0.0
            if not model.due and not model.script:
                break


class Model:
    def __init__(self, script: list[tuple[str, int]]) -> None:
        self.script = script
        self.now = 0.0
        self.wall = FRIDAY_MORNING
        self.off_s = 0.0
        self.due: dict[str, float] = {}
        self.count = 0
        self.seen: dict[int, int] = {}

    def add(self, seconds: int) -> str:
        self.count += 1
        name = f"number {self.count}"
        self.due[name] = self.now + seconds
        return name

    def ring(self, home: PluginHarness) -> None:
        """What has rung since the last look is exactly what has become due."""
        known = self.seen.get(id(home), 0)
        rung = {title.partition(" timer")[0] for title in home.ringer.history[known:]}
        assert len(rung) == len(home.ringer.history) - known
        self.seen = {id(home): len(home.ringer.history)}
        assert rung == {name for name, due in self.due.items() if due <= self.now + 1e-6}
        for name in rung:
            del self.due[name]


def test_stop_means_what_plays_when_nothing_rings(tmp_path: Path) -> None:
    class Quiet:
        hushed = 0

        def hush(self) -> None:
            self.hushed += 1

    async def main() -> None:
        house = Quiet()
        home = PluginHarness(FILE, tmp_path)
        home.registry.house = house  # type: ignore[assignment]
        async with home:
            await home.call("set_timer", amount=1, unit="seconds", name="rice")
            await home.advance(1)
            assert (await home.say("stop")).answer == "Okay."
            assert house.hushed == 0, "the timer rang, and the music goes on"
            assert (await home.say("stop")).answer == "Okay."
            await asyncio.sleep(0.01)
            assert house.hushed == 1

    asyncio.run(main())
