"""What a plugin knows of the house: its things, its events, its settings' tools, and the other tools."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from assistant.core import commands as do
from assistant.core import events as ev
from assistant.core.policy import State
from assistant.journal import Journal
from assistant.plugin import BaseModel, Plugin, ToolError, tool
from assistant.tools.loading import from_object
from assistant.tools.registry import PluginStatus, ToolRegistry
from assistant.types import ItemId, TurnId
from tests.plugins.spoken import understood


class Lights(Plugin):
    """Knows the rooms only once it runs."""

    heard: list[tuple[str, Mapping[str, Any]]]

    async def start(self) -> None:
        self.heard = []
        self.context.on("wake", lambda facts: self.heard.append(("wake", facts)))
        self.context.on("turn", lambda facts: self.heard.append(("turn", facts)))
        self.context.on("mute", lambda facts: self.heard.append(("mute", facts)))
        self.context.on("link", lambda facts: self.heard.append(("link", facts)))
        self.context.on("state", lambda facts: self.heard.append(("state", facts)))
        self.context.on("playback", self._crash)

    def _crash(self, facts: Mapping[str, Any]) -> None:
        raise SystemExit(3)

    @tool(sentences=["(light|lights) on in the {room}", "lights on"], lists={"room": "rooms"})
    async def light_on(self, room: str | None = None) -> str:
        """Switch the lights of a room on.

        room: which room
        """
        return f"on in {room}"


def use(state: Path, check: Callable[[ToolRegistry, Lights], Awaitable[None]]) -> None:
    async def main() -> None:
        registry = ToolRegistry(state)
        registry.load_candidates([from_object("lights", Lights)])
        await registry.start()
        try:
            instance = registry._entries["lights"].instance
            assert isinstance(instance, Lights)
            await check(registry, instance)
        finally:
            await registry.stop()

    asyncio.run(main())


def test_things_of_the_house_reach_models_and_sentences(tmp_path: Path) -> None:
    async def check(registry: ToolRegistry, lights: Lights) -> None:
        (spec,) = registry.specs(offline=True)
        assert spec["x-offline"]["sentences"] == ["lights on"], "an empty list leaves nothing to say"
        assert "enum" not in spec["parameters"]["properties"]["room"]
        lights.context.entities("rooms", {"r1": ["living room", "lounge"], "r2": "kitchen"})
        assert understood(registry, "lights on in the lounge") == ("light_on", {"room": "r1"})
        assert understood(registry, "lights on in the kitchen") == ("light_on", {"room": "r2"})
        (spec,) = registry.specs(offline=False)
        assert spec["parameters"]["properties"]["room"]["enum"] == ["r1", "r2"]
        lights.context.entities("rooms", {"r3": "attic"})
        assert understood(registry, "lights on in the kitchen") is None
        assert registry.tools["light_on"].schema.parameters["properties"]["room"].get("enum") is None

    use(tmp_path, check)


def test_events_are_told_and_a_crash_shows(tmp_path: Path) -> None:
    async def check(registry: ToolRegistry, lights: Lights) -> None:
        journal = Journal()
        journal.subscribe(registry.hear)
        journal.event(ev.Woken(1.0, "alexa", 0.9, 5))
        journal.event(ev.UserTranscript(1.0, "secret words"))
        journal.command(do.BeginTurn(TurnId(1)), 1.0)
        assert lights.heard == [("wake", {"word": "alexa"}), ("turn", {"turn": 1, "state": "begun"})]
        assert registry.plugins[0].status is PluginStatus.ENABLED
        journal.event(ev.PlaybackStarted(2.0, ItemId("a")))
        (info,) = registry.plugins
        assert info.status is PluginStatus.CRASHED
        assert info.reason.startswith("on playback crashed: SystemExit at test_home.py:")
        registry.tell("wake", {"word": "again"})
        assert len(lights.heard) == 3
        del lights.heard[:]
        journal.note("mute", 3.0, muted=True)
        journal.note("link", 3.0, state="ready", persona="default")
        journal.state(State.LISTENING, 3.0)
        assert lights.heard == [
            ("mute", {"muted": True}),
            ("link", {"state": "ready", "persona": "default"}),
            ("state", {"state": "listening"}),
        ]

    use(tmp_path, check)


class Menu(Plugin):
    class Config(BaseModel):
        dishes: list[str] = []  # noqa: RUF012

    @classmethod
    def configured_tools(cls, config: Config) -> Iterable[Callable[..., Any]]:
        if "nothing" in config.dishes:
            raise ToolError("nothing is no dish")
        if "crash" in config.dishes:
            raise SystemExit(2)

        def make(dish: str) -> Callable[..., Any]:
            async def cook(self: Menu) -> str:
                return f"{dish} by {type(self).__name__}"

            cook.__doc__ = f"Cook {dish}."
            return tool(name=f"cook_{dish}")(cook)

        return [make(dish) for dish in config.dishes]


@pytest.mark.parametrize(
    ("dishes", "reason"),
    [
        (["nothing"], "plugins.menu: nothing is no dish"),
        (["crash"], "plugins.menu: its tools cannot be made: SystemExit"),
        (["soup", "soup"], "plugins.menu: two tools are named cook_soup"),
        (["so up"], "the name 'cook_so up' may only hold letters"),
    ],
)
def test_settings_that_give_no_tools_are_a_load_error(tmp_path: Path, dishes: list[str], reason: str) -> None:
    registry = ToolRegistry(tmp_path)
    registry.load_candidates([from_object("menu", Menu)], settings={"menu": {"dishes": dishes}})
    (info,) = registry.plugins
    assert (info.status, reason in info.reason) == (PluginStatus.LOAD_ERROR, True), info.reason
    assert registry.specs(offline=False) == []


def test_tools_of_the_settings_are_methods(tmp_path: Path) -> None:
    async def main() -> None:
        registry = ToolRegistry(tmp_path)
        registry.load_candidates([from_object("menu", Menu)], settings={"menu": {"dishes": ["soup"]}})
        await registry.start()
        assert await registry.bound(registry.tools["cook_soup"])() == "soup by Menu"
        await registry.stop()

    asyncio.run(main())
