"""Several tools in a row: "good night" sets the alarm and tells the weather. Stops at the first failure and says so.

Settings (``plugins.routines`` in config.yaml)::

    plugins:
      routines:
        routines:
          good_morning:
            sentences: ["good morning routine", "start my day"]
            steps:
              - {tool: current_time}
              - {tool: weather, arguments: {day: today}}
            at: "07:30"              # also by itself, at this time of day
            days: [mon, tue, wed, thu, fri]
            tier: safe               # confirm or pin, if one of its tools needs that much
            say: null                # instead of what the tools say

What runs by itself can hold tools of tier safe only: nobody is there to say yes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import ConfigDict

from assistant.plugin import BaseModel, Field, Plugin, ToolError, tool

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Routine(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: Annotated[list[Step], Field(min_length=1, max_length=20)]
    sentences: list[str] = Field(default_factory=list)
    description: str = ""
    tier: Literal["safe", "confirm", "pin"] = "safe"
    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    days: Annotated[list[Weekday], Field(min_length=1)] = Field(default_factory=lambda: [*DAYS])
    say: str | None = None


class Routines(Plugin):
    class Config(BaseModel):
        routines: dict[Name, Routine] = Field(default_factory=dict)

    config: Config

    @classmethod
    def configured_tools(cls, config: Config) -> Iterable[Callable[..., Any]]:
        return [make_tool(name, routine) for name, routine in config.routines.items()]

    async def start(self) -> None:
        for name, routine in self.config.routines.items():
            if routine.at is not None:
                self.context.spawn(self._daily(name, routine, time.fromisoformat(routine.at)), f"waiting for {name}")

    async def _daily(self, name: str, routine: Routine, at: time) -> None:
        while True:
            await self.context.sleep_until(next_time(self.context.now(), at, routine.days))
            try:
                await self.run(name, routine)
            except ToolError as error:
                self.context.logger.error("routine %s: %s", name, error)

    async def run(self, name: str, routine: Routine) -> str:
        """Call the tools, one after the other. Raises ToolError at the first that fails."""
        said = []
        for number, step in enumerate(routine.steps, start=1):
            try:
                result = await self.context.call_tool(step.tool, **step.arguments)
            except ToolError as error:
                done = f"after {number - 1} of {len(routine.steps)} steps" if number > 1 else "at its first step"
                what = step.tool.replace("_", " ")
                raise ToolError(f"{name.replace('_', ' ')} stopped {done}, at {what}: {error}") from None
            say = result.get("say") if isinstance(result, dict) else result
            if isinstance(say, str) and say.strip():
                said.append(say.strip())
        return routine.say or " ".join(said) or "Done."


def make_tool(name: str, routine: Routine) -> Callable[..., Any]:
    async def run(self: Routines) -> str:
        return await self.run(name, routine)

    run.__name__ = f"routine_{name}"
    run.__doc__ = routine.description or f"Run the household's routine named {name.replace('_', ' ')}."
    return tool(sentences=routine.sentences, tier=routine.tier, time_limit_s=120.0)(run)


def next_time(now: datetime, at: time, days: list[Weekday]) -> datetime:
    """The next such time on such a day, after now, in the zone of now."""
    for ahead in range(8):
        day = now.date() + timedelta(days=ahead)
        when = aware(datetime.combine(day, at), now)
        if DAYS[day.weekday()] in days and when.timestamp() > now.timestamp():
            return when
    raise AssertionError("a week has every day")


def aware(local: datetime, now: datetime) -> datetime:
    """A local time with the offset that the machine's zone has on that day, unless ``now`` is in another zone."""
    when = local.astimezone()
    return when if now.astimezone().utcoffset() == now.utcoffset() else local.replace(tzinfo=now.tzinfo)
