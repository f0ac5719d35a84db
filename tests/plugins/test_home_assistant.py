"""The home_assistant plugin against a scripted server: what it does, says and survives."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from assistant.plugin import ToolError
from assistant.testing.plugins import PluginHarness
from assistant.tools.registry import PluginStatus
from tests.plugins.scripted_home import TOKEN, ScriptedHome, entity, eventually

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "home_assistant"
PAUSES = [1, 2, 4, 8, 16, 32, 60, 60, 60, 1]
"""Seconds between attempts, give or take a fifth; the last is after a connection that stood."""

Check = Callable[[PluginHarness, ScriptedHome], Awaitable[None]]


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_ASSISTANT_TOKEN", TOKEN)


def plugin_of(home: PluginHarness) -> Any:
    return home.registry._entries["home_assistant"].instance


def use(state: Path, check: Check, *, scripted: ScriptedHome | None = None, **settings: Any) -> ScriptedHome:
    server = scripted or ScriptedHome()

    async def main() -> None:
        async with server:
            wanted = {"url": server.url, "read_back_s": 0.05, **settings}
            async with PluginHarness(PLUGIN, state, settings=wanted) as home:
                await plugin_of(home).connection.ready(10)
                await check(home, server)

    asyncio.run(main())
    return server


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("turn on the desk lamp", "The Desk Lamp is on."),
        ("switch the coffee machine on", "The Coffee Machine is on."),
        ("set the kitchen ceiling to 40 percent", "The Kitchen Ceiling is on at 40 percent."),
        ("make the kitchen ceiling light blue", "The Kitchen Ceiling is on, blue."),
        ("set the kitchen ceiling to warm white", "The Kitchen Ceiling is on."),
        ("turn on the counter light", "The Worktop is on."),
        ("turn on the lights in the kitchen", "2 lights are on."),
        ("close the bedroom blind", "The Bedroom Blind is closing."),
        ("dim the bedroom blind to 30 percent", "The Bedroom Blind is open at 30 percent."),
        ("set the temperature in the bedroom to 21 degrees", "The Bedroom Heating is off, set to 21 degrees."),
        ("turn on the bedroom heating", "The Bedroom Heating is on heat, set to 5 degrees."),
        ("play the radio", "The Radio is playing Jazz, at volume 30."),
        ("set the radio volume to 10 percent", "The Radio is off."),
        ("activate movie night", "Movie Night is done."),
        ("is the back door open", "No, the Back Door is closed."),
        ("which windows are open", "1 of 1 windows is open: Kitchen Window."),
        ("are all the doors closed", "2 of 3 doors are closed: Back Door and Garage Door."),
        ("how warm is it in the bedroom", "The temperature in the Bedroom is 19.5 degrees."),
        ("what is the temperature", "Bedroom Temperature: 19.5 degrees."),
        ("what's the state of the front door", "The Front Door is locked."),
        ("turn on the attic light", "The Attic Light is not answering."),
    ],
)
def test_sentences_and_answers(tmp_path: Path, said: str, answer: str) -> None:
    async def check(home: PluginHarness, _: ScriptedHome) -> None:
        assert (await home.say(said)).answer == answer

    use(tmp_path, check)


def test_the_lights_are_those_where_the_speaker_stands(tmp_path: Path) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        assert (await home.call("home_set", action="on"))["say"] == "2 lights are on."
        assert server.states["light.desk"]["s"] == "off"
        assert (await home.call("home_set", action="off", name="lights", area="office"))[
            "say"
        ] == "The Desk Lamp is off."
        assert (await home.call("home_set", action="on", name="all lights"))["say"] == (
            "3 lights are on. But the Attic Light is not answering."
        )

    server = use(tmp_path, check, area="the kitchen")
    assert server.calls[0]["target"]["entity_id"] == ["light.kitchen_ceiling", "light.worktop"], "one call for both"


def test_a_name_as_it_was_said_comes_before_one_that_is_nearly_so(tmp_path: Path) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        with pytest.raises(ToolError, match=r"^The Dock Lamp can only be asked"):
            await home.call("home_set", name="dock lamp", action="on")
        assert (await home.call("home_set", name="dusk lamp", action="on"))["say"] == "The Desk Lamp is on."
        assert len(server.calls) == 1

    server = ScriptedHome()
    server.states["binary_sensor.dock"] = entity("Dock Lamp", "off", device_class="window")
    use(tmp_path, check, scripted=server)


def test_what_does_not_answer_is_not_passed_over(tmp_path: Path) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        await server.change("binary_sensor.window", "unavailable")
        await eventually(lambda: plugin_of(home).house.state("binary_sensor.window").gone)
        assert (await home.say("which windows are open")).answer == (
            "No window is open. The Kitchen Window is not answering."
        )

    use(tmp_path, check)


def test_the_light_is_the_one_here(tmp_path: Path) -> None:
    async def check(home: PluginHarness, _: ScriptedHome) -> None:
        assert (await home.say("turn on the light")).answer == "The Desk Lamp is on."
        assert (await home.say("turn off the lights")).answer == "The Desk Lamp is off."

    use(tmp_path, check, area="office")


@pytest.mark.parametrize("nonsense", ["no json", '{"id": STATES, "type": "event", "event": "x"}', "[3]", "{}"])
def test_nonsense_only_costs_the_connection(tmp_path: Path, nonsense: str) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        await server.send_raw(nonsense)
        await server.change("light.desk", "on")
        await eventually(
            lambda: plugin_of(home).connection.problem or plugin_of(home).house.state("light.desk").value == "on"
        )
        assert (await home.say("is the desk lamp on")).answer == "Yes, the Desk Lamp is on."

    use(tmp_path, check)


def test_done_is_said_only_when_it_is_true(tmp_path: Path) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        server.deaf = {"light.desk"}
        with pytest.raises(ToolError, match=r"^That was sent, but the Desk Lamp is still off\.$"):
            await home.call("home_set", name="desk lamp", action="on")
        server.refuse = "Bulb not paired"
        with pytest.raises(ToolError, match=r"^Home Assistant refuses: Bulb not paired\.$"):
            await home.call("home_set", name="desk lamp", action="on")

    use(tmp_path, check)


def test_a_slow_lamp_is_waited_for(tmp_path: Path) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        server.deaf = {"light.desk"}
        call = asyncio.ensure_future(home.call("home_set", name="desk lamp", action="on"))
        await eventually(lambda: server.calls)
        await server.change("light.desk", "on")
        assert (await call)["say"] == "The Desk Lamp is on."

    use(tmp_path, check, read_back_s=20)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"name": "desk lamp", "level": 50}, "The Desk Lamp cannot be dimmed."),
        ({"name": "worktop", "colour": "red"}, "The Worktop cannot change its colour."),
        (
            {"name": "front door", "action": "off"},
            "The Front Door is a lock: lock and unlock it with the tools for that.",
        ),
        ({"name": "back door", "action": "off"}, "The Back Door can only be asked, not changed."),
        ({"name": "bedroom heating", "temperature": 60}, "The Bedroom Heating can be set from 5 to 30 degrees."),
        ({"name": "bedroom heating", "mode": "cool"}, "The Bedroom Heating has no mode cool: it knows heat, off."),
        ({"name": "pool pump", "action": "on"}, "Home Assistant has nothing called pool pump for this."),
        ({"name": "router uptime", "action": "on"}, "Home Assistant has nothing called router uptime for this."),
        (
            {"name": "desk lamp", "area": "cellar", "action": "on"},
            "There is no area cellar. There are: Kitchen, Bedroom,",
        ),
        (
            {"name": "desk lamp", "area": "kitchen", "action": "on"},
            "Home Assistant has nothing called desk lamp in the K",
        ),
        ({"name": "lamp", "action": "on"}, "Which one: "),
        ({"name": "desk lamp"}, "Say what to do: an action, a level, a colour or a temperature."),
        (
            {"name": "garage door", "action": "open"},
            "The Garage Door lets people in: open it with the tool for unlocking",
        ),
    ],
)
def test_what_cannot_be_is_explained(tmp_path: Path, arguments: dict[str, Any], problem: str) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        with pytest.raises(ToolError) as error:
            await home.call("home_set", **arguments)
        assert str(error.value).startswith(problem)
        assert server.calls == []

    use(tmp_path, check)


def test_unlocking_needs_the_pin(tmp_path: Path) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        assert "Shall I unlock the front door?" in (await home.say("unlock the front door")).answer
        assert server.calls == []
        assert (await home.agree("4711"))["say"] == "The Front Door is unlocked."
        assert "Shall I unlock the garage door?" in (await home.say("open the garage door")).answer
        assert (await home.agree("4711"))["say"] == "The Garage Door is opening."
        assert (await home.say("lock the front door")).answer == "The Front Door is locked."

    use(tmp_path, check)


def test_names_states_and_areas_follow_at_once(tmp_path: Path) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        await server.change("light.desk", "on")
        await eventually(lambda: plugin_of(home).house.state("light.desk").value == "on")
        assert (await home.say("is the desk lamp on")).answer == "Yes, the Desk Lamp is on."
        await server.change("light.new", "off", friendly_name="Reading Light")
        await eventually(lambda: "reading light" in plugin_of(home).context.entity_lists["switchable"])
        assert (await home.say("turn on the reading light")).answer == "The Reading Light is on."
        await server.change("light.desk", "on", friendly_name="Bench Light")
        await eventually(lambda: "desk lamp" not in plugin_of(home).context.entity_lists["switchable"])
        server.areas["attic"], server.places["light.desk"] = "Attic", "attic"
        await server.registry_changed()
        await eventually(lambda: any(area.name == "Attic" for area in plugin_of(home).house.areas))
        assert (await home.call("home_set", action="off", area="attic"))["say"] == "The Bench Light is off."
        await server.change("light.desk", None)
        await eventually(lambda: "bench light" not in plugin_of(home).context.entity_lists["switchable"])

    use(tmp_path, check)


def test_a_lost_connection_comes_back_when_it_is_wanted(tmp_path: Path) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        connection = plugin_of(home).connection
        await server.stop()
        await eventually(lambda: connection.problem is not None)
        await home.advance(2)
        await eventually(lambda: "cannot connect" in connection.problem)
        server.states["light.desk"]["s"] = "on"
        await server.start()
        assert connection.problem is not None, "the next attempt is due later"
        assert (await home.say("is the desk lamp on")).answer == "Yes, the Desk Lamp is on."

    use(tmp_path, check)


def test_attempts_come_less_and_less_often_and_begin_anew(tmp_path: Path) -> None:
    pauses: list[float] = []

    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        connection = plugin_of(home).connection

        async def sleep(seconds: float, _: asyncio.Event | None) -> None:
            pauses.append(seconds)
            if len(pauses) == 9:
                await server.start()
            elif len(pauses) == 10:
                await asyncio.Event().wait()

        connection._sleep = sleep
        await server.stop()
        await eventually(lambda: len(pauses) == 9 and connection.problem is None)
        await server.drop()
        await eventually(lambda: len(pauses) == 10)

    use(tmp_path, check)
    assert [pause / usual for pause, usual in zip(pauses, PAUSES, strict=True)] == pytest.approx([1] * 10, abs=0.21)


def test_a_call_is_not_called_done_when_the_connection_breaks(tmp_path: Path) -> None:
    async def check(home: PluginHarness, server: ScriptedHome) -> None:
        server.silent = True
        call = asyncio.ensure_future(home.call("home_set", name="desk lamp", action="on"))
        await eventually(lambda: plugin_of(home).connection._waiting)
        await server.drop()
        with pytest.raises(
            ToolError, match="not known whether that was done: the connection to Home Assistant is lost"
        ):
            await call
        server.silent = False

    use(tmp_path, check)


@pytest.mark.parametrize(
    ("settings", "status", "reason"),
    [
        ({}, 200, "Home Assistant: it refuses the token: make a long-lived one in your Home Assistant profile"),
        ({}, 502, "Home Assistant: "),
        (
            {"token_env": "NO_SUCH_TOKEN"},
            200,
            "Home Assistant: there is no token in the environment variable NO_SUCH_TOKEN",
        ),
        (
            {"token_file": "/no/such/file"},
            200,
            "Home Assistant: plugins.home_assistant.token_file: /no/such/file cannot be read (No",
        ),
        ({"url": "http://127.0.0.1:1"}, 200, "Home Assistant: cannot connect to 127.0.0.1:1"),
    ],
)
def test_why_it_does_not_work_is_told_without_the_token(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
    status: int,
    reason: str,
) -> None:
    monkeypatch.setenv("HOME_ASSISTANT_TOKEN", "wrong-token-wrong")
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        async with ScriptedHome() as server:
            server.status = status
            home = PluginHarness(PLUGIN, tmp_path, settings={"url": server.url, **settings})
            await home.registry.start()
            (info,) = home.registry.plugins
            assert info.status is PluginStatus.SELF_CHECK_FAILED
            assert info.reason.startswith(reason)
            await home.registry.stop()
            await home.runner.close()

    asyncio.run(main())
    assert "wrong-token-wrong" not in caplog.text


def test_the_token_may_be_in_a_file_and_an_unknown_area_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "token"
        file.write_text(f"{TOKEN}\n")
        settings = {"token_file": str(file), "token_env": "NO_SUCH_TOKEN", "area": "Cellar"}
        async with ScriptedHome() as server:
            home = PluginHarness(PLUGIN, tmp_path, settings={"url": server.url, **settings})
            await home.registry.start()
            (info,) = home.registry.plugins
            assert info.reason == (
                "plugins.home_assistant.area: there is no area Cellar; there are: Kitchen, Bedroom, Office"
            )
            await home.registry.stop()
            await home.runner.close()

    asyncio.run(main())


def test_who_is_no_administrator_gets_the_defaults(tmp_path: Path) -> None:
    async def check(home: PluginHarness, _: ScriptedHome) -> None:
        names = {thing.name for thing in plugin_of(home).house.things}
        assert {"Desk Lamp", "Front Door", "Bedroom Temperature"} <= names
        assert names.isdisjoint({"Radio", "Router Uptime"})

    server = ScriptedHome()
    server.admin = False
    use(tmp_path, check, scripted=server)


def test_without_a_url_there_are_no_tools(tmp_path: Path) -> None:
    async def main() -> None:
        async with PluginHarness(PLUGIN, tmp_path) as home:
            assert home.registry.specs(offline=True) == []

    asyncio.run(main())


def test_five_hundred_things_cost_a_session_no_more_than_fifteen(tmp_path: Path) -> None:
    sizes = []

    async def check(home: PluginHarness, _: ScriptedHome) -> None:
        specs = [spec for spec in home.registry.specs(offline=False) if spec["name"].startswith("home_")]
        sizes.append(len(json.dumps(specs)))
        assert len(specs) == 4

    use(tmp_path, check)
    server = ScriptedHome()
    server.states |= {f"light.l{number}": entity(f"Spot {number}", "off") for number in range(500)}
    use(tmp_path, check, scripted=server)
    small, large = sizes
    assert large == small < 3_200
