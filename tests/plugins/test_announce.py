"""A plugin that speaks without being asked, up to the conversation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from assistant.alerts import AlertBoard
from assistant.core import commands as do
from assistant.core.conversation import Conversation
from assistant.core.events import Event
from assistant.plugin import Plugin, tool
from assistant.testing.plugins import PluginHarness


class Washer(Plugin):
    @tool
    async def finish(self, what: str) -> str:
        """Pretend that the washing machine is done."""
        self.context.announce(what)
        return "ok"


def test_what_a_plugin_announces_is_one_line_of_bounded_length(tmp_path: Path) -> None:
    async def main() -> None:
        async with PluginHarness(Washer, tmp_path) as home:
            await home.call("finish", what="The washing\n machine   is done.")
            await home.call("finish", what="x" * 5000)
            assert home.ringer.announced[0] == "The washing machine is done."
            assert len(home.ringer.announced[1]) == 500
            with pytest.raises(AssertionError, match="failed"):
                await home.call("finish", what=" ")

    asyncio.run(main())


def test_the_board_passes_it_on_to_the_conversation() -> None:
    events: list[Event] = []
    AlertBoard(events.append, lambda: 5.0).announce("Dinner is ready.")
    [event] = events
    commands = Conversation().handle(event)
    assert do.CreateResponse(tools=False, announce="Dinner is ready.") in commands
