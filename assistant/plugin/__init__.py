"""The public interface for plugins: the only module of Hearth that a plugin imports.

The smallest plugin is a file with one function::

    from assistant.plugin import tool

    @tool(sentences=["roll a dice", "roll {count} dice"])
    def roll_dice(count: int = 1) -> str:
        '''Roll one or more six-sided dice.

        count: how many dice
        '''
        ...

A plugin with state or background work is a subclass of :class:`Plugin` whose tools are methods. The guide is
docs/plugins.md. Everything in ``__all__`` is promised to stay; the rest of the package is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from assistant.errors import ToolError
from assistant.plugin.context import Context
from assistant.plugin.database import Database
from assistant.plugin.decorator import Tier, ToolOptions, tool
from assistant.plugin.http import fetch, fetch_json
from assistant.plugin.jobs import Job, When
from assistant.plugin.long_work import Progress
from assistant.plugin.rings import Ring, RingEnd
from assistant.plugin.rules import EVERY_DAY, WEEKDAYS, WEEKEND, Daily, Weekday
from assistant.plugin.schedule import Schedule
from assistant.plugin.services import House, Ringer, Threads, WallClock
from assistant.plugin.sounds import Sound, SoundEnd

__all__ = [
    "EVERY_DAY",
    "WEEKDAYS",
    "WEEKEND",
    "BaseModel",
    "Context",
    "Daily",
    "Database",
    "Field",
    "House",
    "Job",
    "Plugin",
    "Progress",
    "Ring",
    "RingEnd",
    "Ringer",
    "Schedule",
    "Sound",
    "SoundEnd",
    "Threads",
    "Tier",
    "ToolError",
    "ToolOptions",
    "WallClock",
    "Weekday",
    "When",
    "fetch",
    "fetch_json",
    "tool",
]


class Plugin:
    """Base of plugins with state, settings or background work; at most one in a file. Its tools are methods.

    Config: a pydantic model of the plugin's section in config.yaml (``plugins.NAME``), or None. It is validated
        before the plugin is made. ``self.config`` is then an instance of it.
    """

    Config: ClassVar[type[BaseModel] | None] = None
    config: Any
    tools_come_later: ClassVar[bool] = False
    """The plugin uses ``Context.offer``: a name in the config that fits no tool yet is no mistake."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.config = context.config

    async def start(self) -> None:
        """Called once before any tool is called. If it fails or takes too long, the plugin is off."""

    @classmethod
    def configured_tools(cls, config: Any) -> Iterable[Callable[..., Any]]:
        """Tools that depend on the settings: functions that went through ``tool()``, used as methods.

        Called once, when the plugin is loaded. Raise ToolError with one line if the settings do not fit together.
        """
        return ()

    async def ready(self) -> None:
        """Wait until tools that come later are there. Asked by commands that cannot wait for them in another way."""

    async def check(self) -> str | None:
        """What is wrong right now, in one line that says what to do; None if all is well.

        Asked after the start and by ``assistant tools check``; it has 5 s. Its tools are offered all the same.
        """
        return None

    async def stop(self) -> None:
        """Called once when the daemon ends. Spawned tasks, rings and the database are closed after it."""
