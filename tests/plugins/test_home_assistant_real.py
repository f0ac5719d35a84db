"""The home_assistant plugin against a real Home Assistant: ``make test-home`` installs it and runs these."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.plugin import ToolError
from assistant.testing.plugins import PluginHarness
from tests.plugins.scripted_home import eventually
from tests.real_home import STAMP, RealHome, real_home

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "home_assistant"
PLACES = {
    "light.kitchen_ceiling": "Kitchen",
    "light.dead_lamp": "Kitchen",
    "light.desk_lamp": "Living Room",
    "cover.bedroom_blind": "Bedroom",
    "sensor.bedroom_temperature": "Bedroom",
    "climate.bedroom_heating": "Bedroom",
}

pytestmark = [pytest.mark.home, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def house() -> Iterator[RealHome]:
    if not STAMP.is_file():
        pytest.skip("Home Assistant is not installed: run make test-home")
    with real_home() as home:
        areas = {area["name"]: area["area_id"] for area in home.administer({"type": "config/area_registry/list"})[0]}
        home.administer(
            *(
                {"type": "config/entity_registry/update", "entity_id": entity, "area_id": areas[area]}
                for entity, area in PLACES.items()
            ),
            {"type": "config/entity_registry/update", "entity_id": "light.desk_lamp", "aliases": ["reading light"]},
            {
                "type": "homeassistant/expose_entity",
                "assistants": ["conversation"],
                "entity_ids": ["media_player.television", "input_boolean.coffee"],
                "should_expose": True,
            },
        )
        yield home


@pytest.fixture(autouse=True)
def _token(house: RealHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_ASSISTANT_TOKEN", house.token)


def use(house: RealHome, state: Path, check: Callable[[PluginHarness], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with PluginHarness(PLUGIN, state, settings={"url": house.url, "area": "kitchen", **settings}) as home:
            await check(home)

    asyncio.run(main())


def test_a_day_in_the_house(house: RealHome, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        for said, answer in {
            "turn on the reading light": "The Desk Lamp is on.",
            "set the ceiling light to 40 percent": "The Kitchen Ceiling is on at 40 percent.",
            "make the kitchen ceiling light blue": "The Kitchen Ceiling is on at 40 percent, blue.",
            "turn off all lights": "3 lights are off.",
            "switch on the coffee machine": "The Coffee Machine is on.",
            "close the bedroom blind": "The Bedroom Blind is closed.",
            "set the bedroom blind to 30 percent": "The Bedroom Blind is open at 30 percent.",
            "turn on the office fan": "The Office Fan is on at 100 percent.",
            "set the office fan to 50 percent": "The Office Fan is on at 50 percent.",
            "turn on the bedroom heating": "The Bedroom Heating is on heat, set to 5 degrees, now at 19.5.",
            "set the temperature in the bedroom to 21 degrees": (
                "The Bedroom Heating is on heat, set to 21 degrees, now at 19.5."
            ),
            "turn on the television": "The Television is playing, at volume 40.",
            "set the television volume to 20 percent": "The Television is playing, at volume 20.",
            "run movie night": "Movie Night is done.",
            "start brew coffee": "Brew Coffee is done.",
            "lock the front door": "The Front Door is locked.",
            "is the front door unlocked": "No, the Front Door is locked.",
            "is the back door open": "No, the Back Door is closed.",
            "how warm is it in the bedroom": "The temperature in the Bedroom is 19.5 degrees.",
        }.items():
            assert (await home.say(said)).answer == answer, said
        assert "Shall I unlock the front door?" in (await home.say("unlock the front door")).answer
        assert (await home.agree("4711"))["say"] == "The Front Door is unlocked."

    use(house, tmp_path, check)
    assert house.state("lock.front_door") == "unlocked"
    assert house.state("input_boolean.coffee") == "on"
    assert house.state("input_number.blind") == "30.0"


def test_done_is_not_said_of_a_lamp_that_stays_dark(house: RealHome, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        with pytest.raises(ToolError, match=r"^That was sent, but the Dead Lamp is still off\.$"):
            await home.call("home_set", name="dead lamp", action="on")
        with pytest.raises(ToolError, match=r"^The Desk Lamp cannot be dimmed\.$"):
            await home.call("home_set", name="desk lamp", level=20)

    use(house, tmp_path, check, read_back_s=0.3)


def test_what_others_do_is_known_at_once(house: RealHome, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        plugin = home.registry._entries["home_assistant"].instance
        assert plugin is not None
        lists = plugin.context.entity_lists
        await asyncio.to_thread(house.set_state, "light.turn_on", entity_id="light.desk_lamp")
        await eventually(lambda: plugin.house.state("light.desk_lamp").value == "on")
        name = {"type": "config/entity_registry/update", "entity_id": "light.desk_lamp", "name": "Bench Light"}
        await asyncio.to_thread(house.administer, name)
        await eventually(lambda: "bench light" in lists["switchable"])
        alias = {"type": "config/entity_registry/update", "entity_id": "light.desk_lamp", "aliases": ["work light"]}
        await asyncio.to_thread(house.administer, alias)
        await eventually(lambda: "work light" in lists["switchable"])
        hide = {"type": "homeassistant/expose_entity", "assistants": ["conversation"], "should_expose": False}
        await asyncio.to_thread(house.administer, {**hide, "entity_ids": ["light.desk_lamp"]})
        await eventually(lambda: "work light" not in lists["switchable"])

    use(house, tmp_path, check)
    house.administer({"type": "config/entity_registry/update", "entity_id": "light.desk_lamp", "name": None})


def test_it_comes_back_after_a_restart(house: RealHome, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        plugin = home.registry._entries["home_assistant"].instance
        assert plugin is not None
        await asyncio.to_thread(house.stop)
        await eventually(lambda: plugin.connection.problem is not None)
        await asyncio.to_thread(house.start)
        deadline = time.monotonic() + 60
        while plugin.connection.problem is not None:
            assert time.monotonic() < deadline, plugin.connection.problem
            await home.advance(10)
            await asyncio.sleep(0.05)
        await eventually(lambda: not plugin.house.state("cover.bedroom_blind").gone)
        assert (await home.say("open the bedroom blind")).answer == "The Bedroom Blind is open."

    use(house, tmp_path, check)


def test_a_wrong_token_is_told(house: RealHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_ASSISTANT_TOKEN", "wrong")

    async def main() -> None:
        home = PluginHarness(PLUGIN, tmp_path, settings={"url": house.url})
        await home.registry.start()
        (info,) = home.registry.plugins
        assert "it refuses the token" in info.reason
        await home.registry.stop()
        await home.runner.close()

    asyncio.run(main())
