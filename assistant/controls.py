"""What people and programs may ask of the running assistant: the one door behind the control socket, the console,
the command line and plugins.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from assistant import __version__
from assistant.core import events as ev
from assistant.core.mixing import Channel
from assistant.engine import Engine
from assistant.errors import ToolError
from assistant.health import Health
from assistant.plugin.services import VolumeChannel
from assistant.tools.registry import ToolRegistry
from assistant.tools.runner import ToolOutcome, ToolRunner

REQUEST_LIMIT = 2000
"""Characters of a request in writing, or of an announcement."""


class ControlError(ToolError):
    """What was asked cannot be done: one line that says why. A plugin's tool may let it through to the model."""


class MuteSwitch(Protocol):
    """Closes the microphone, and opens it again."""

    @property
    def muted(self) -> bool: ...
    async def mute(self, muted: bool) -> None: ...


class Volume(Protocol):
    def set_volume(self, gain: float, channel: Channel | None = None) -> None: ...


class Controls:
    """Belongs to the event loop. Errors are ControlErrors: one line for whoever asked."""

    def __init__(
        self,
        engine: Engine,
        tools: ToolRegistry,
        runner: ToolRunner,
        health: Health,
        volume: Volume,
        percent: int,
        *,
        position: Callable[[], int],
        facts: Callable[[], Mapping[str, Any]],
        switch: MuteSwitch | None,
    ) -> None:
        """
        percent: the volume at the start.
        position: the microphone sample that will be heard next.
        facts: more for the status, from whoever knows it.
        switch: None where there is no microphone.
        """
        self._engine = engine
        self._tools = tools
        self._runner = runner
        self.health = health
        self._volume = volume
        self._percent = percent
        self._channels = dict.fromkeys(Channel, 100)
        self._position = position
        self._facts = facts
        self._switch = switch
        self._began = self._now()

    # --- looking ----------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """How the assistant is, ready for JSON. Nothing that was said is in it."""
        conversation = self._engine.conversation
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(self._now() - self._began, 1),
            "state": conversation.state.value,
            "turn": conversation.turn,
            "persona": conversation.persona,
            "link": conversation.link.value,
            "muted": self._switch.muted if self._switch else None,
            "volume": self._percent,
            "volumes": {channel.value: percent for channel, percent in self._channels.items()},
            "troubles": [
                {"part": trouble.part, "text": trouble.text, "since": round(trouble.since, 1)}
                for trouble in self.health.troubles
            ],
            "plugins": [
                {
                    "name": plugin.name,
                    "status": plugin.status.value,
                    "reason": plugin.reason,
                    "tools": list(plugin.tools),
                }
                for plugin in self._tools.plugins
            ],
            "tasks": [
                {"plugin": task.plugin, "title": task.title, "progress": task.progress}
                for task in self._tools.long_tasks.running
            ],
            **self._facts(),
        }

    @property
    def muted(self) -> bool:
        return self._switch is not None and self._switch.muted

    # --- asking -----------------------------------------------------------------------------------------------------

    async def mute(self, muted: bool) -> None:
        """Close the microphone until it is wanted again, also over restarts; returns when that is done."""
        if self._switch is None:
            raise ControlError("there is no microphone here")
        await self._switch.mute(muted)

    def listen(self) -> None:
        """As if the wake word had been said: ends what is being said, and waits for a request."""
        if self._switch is None:
            raise ControlError("there is no microphone here")
        if self._switch.muted:
            raise ControlError("the microphone is muted: unmute it first")
        self._engine.dispatch(ev.ListenRequested(self._now(), self._position()))

    def stop(self) -> None:
        """End whatever is going on, and what rings."""
        self._engine.end_turn()

    def hush(self) -> None:
        """End what plugins play, and nothing else: "stop" was said, and nothing rings."""
        self._engine.journal.note("hush", self._now())

    def ask(self, text: str) -> None:
        """A request in writing; it is answered aloud."""
        self._engine.dispatch(ev.TextSubmitted(self._now(), _line(text)))

    def announce(self, text: str) -> None:
        """Say a sentence as soon as nobody talks."""
        self._engine.dispatch(ev.AnnouncementRaised(self._now(), _line(text)))

    def set_volume(self, percent: int, channel: VolumeChannel | None = None) -> None:
        """Of one channel, or on top of that of everything the assistant plays, until it ends: 0 to 100."""
        if not 0 <= percent <= 100:
            raise ControlError(f"the volume is 0 to 100 percent, not {percent}")
        if channel is None:
            self._percent = percent
        else:
            self._channels[Channel(channel)] = percent
        self._volume.set_volume(percent / 100, None if channel is None else Channel(channel))
        self._engine.journal.note("volume", self._now(), percent=percent, channel=channel)
        of_answers = self._percent * self._channels[Channel.ANSWERS] / 100
        self._engine.dispatch(ev.VolumeChanged(self._now(), of_answers))

    @property
    def tools(self) -> list[str]:
        """The names of all tools."""
        return sorted(self._tools.tools)

    def tool_list(self) -> list[dict[str, Any]]:
        """All tools with their descriptions, parameters and tiers."""
        return self._tools.catalogue()

    async def call_tool(self, name: str, arguments: str, *, by_owner: bool, caller: str = "") -> ToolOutcome:
        """Run a tool of the house with arguments in JSON; see :meth:`ToolRunner.call` for the rest."""
        return await self._runner.call(name, arguments, by_owner=by_owner, caller=caller)

    async def reload_plugins(self, name: str | None = None) -> list[str]:
        """Load one plugin's file again, or all that have changed; a line for each."""
        if name is None:
            return await self._tools.reload_changed() or ["no plugin has changed"]
        return [f"{name}: {await self._tools.reload(name) or 'loaded again'}"]

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _line(text: str) -> str:
    line = " ".join(text.split())
    if not line:
        raise ControlError("there is nothing to say")
    if len(line) > REQUEST_LIMIT:
        raise ControlError(f"this is longer than {REQUEST_LIMIT} characters")
    return line
