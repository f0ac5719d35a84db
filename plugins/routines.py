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
            late_minutes: 60         # skipped if it cannot begin within that time, such as after a power cut
            aloud: true              # when it runs by itself, what it has to say is announced
            tier: safe               # confirm or pin, if one of its tools needs that much
            say: null                # instead of what the tools say
          quiet:
            when: {event: mute, muted: true}    # also by itself, whenever that happens
            steps:
              - {tool: lamp_off}

What runs by itself is of tier safe, and so are its tools: nobody is there to say yes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, model_validator

from assistant.plugin import EVERY_DAY, BaseModel, Context, Daily, Field, Job, Plugin, ToolError, Weekday, tool

FACTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "wake": {"word": ()},
    "turn": {"state": ("begun", "ended"), "outcome": ()},
    "playback": {"state": ("started", "stopped")},
    "mute": {"muted": ()},
    "link": {"state": ("down", "connecting", "ready"), "persona": ()},
    "state": {"state": ()},
}
"""What can be asked of an event, and the values that it may have, if those are few."""

HEARD = ("playback", "state")
"""Events that an announcement brings about."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class When(BaseModel):
    """An event of the house, and what must be true of it."""

    model_config = ConfigDict(extra="forbid")

    event: Literal["wake", "turn", "playback", "mute", "link", "state"]
    word: str | None = None
    state: str | None = None
    outcome: str | None = None
    muted: bool | None = None
    persona: str | None = None

    @property
    def facts(self) -> dict[str, Any]:
        return self.model_dump(exclude={"event"}, exclude_none=True)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = FACTS[self.event]
        for name, value in self.facts.items():
            if name not in known:
                raise ValueError(f"the event {self.event} has no {name}, only {' and '.join(known)}")
            if known[name] and value not in known[name]:
                raise ValueError(f"{name} of the event {self.event} is one of {', '.join(known[name])}")
        return self


class Routine(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: Annotated[list[Step], Field(min_length=1, max_length=20)]
    sentences: list[str] = Field(default_factory=list)
    description: str = ""
    tier: Literal["safe", "confirm", "pin"] = "safe"
    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    days: Annotated[list[Weekday], Field(min_length=1)] = Field(default_factory=lambda: [*EVERY_DAY])
    late_minutes: Annotated[int, Field(ge=1, le=1440)] = 60
    when: When | None = None
    aloud: bool = False
    say: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.at or self.when) and self.tier != "safe":
            raise ValueError(f"what runs by itself cannot be of tier {self.tier}: nobody is there to say yes")
        if self.aloud and self.when and self.when.event in HEARD:
            raise ValueError(f"aloud: an announcement is a {self.when.event} event itself, so it would never end")
        return self


class Routines(Plugin):
    class Config(BaseModel):
        routines: dict[Name, Routine] = Field(default_factory=dict)

    config: Config

    @classmethod
    def configured_tools(cls, config: Config) -> Iterable[Callable[..., Any]]:
        return [make_tool(name, routine) for name, routine in config.routines.items()]

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._running: set[str] = set()

    async def start(self) -> None:
        schedule = self.context.schedule
        schedule.handle("routine", self._due)
        for name, routine in self.config.routines.items():
            if routine.at is not None:
                schedule.add("routine", Daily.of(routine.at, routine.days), key=name)
            if routine.when is not None:
                self.context.on(routine.when.event, partial(self._happened, name, routine))
        for job in schedule.jobs("routine"):
            if job.key not in self.config.routines or self.config.routines[job.key].at is None:
                schedule.cancel(job)

    async def _due(self, job: Job) -> None:
        routine = self.config.routines.get(job.key or "")
        if job.key is None or routine is None:  # it is not in the config any more
            return
        if job.late_s > routine.late_minutes * 60:
            self.context.logger.warning("routine %s is skipped: it is %.0f minutes late", job.key, job.late_s / 60)
            return
        await self._run_alone(job.key, routine)

    def _happened(self, name: str, routine: Routine, facts: Mapping[str, Any]) -> None:
        """An event; while the routine still runs because of an earlier one, it is passed over."""
        if routine.when and routine.when.facts.items() <= facts.items() and name not in self._running:
            self._running.add(name)
            self.context.spawn(self._run_alone(name, routine), f"routine {name}")

    async def _run_alone(self, name: str, routine: Routine) -> None:
        """Nobody has asked, and nobody is there to say yes."""
        try:
            said = await self.run(name, routine)
        except ToolError as error:
            self.context.logger.error("routine %s: %s", name, error)
            said = str(error)
        finally:
            self._running.discard(name)
        if routine.aloud:
            self.context.announce(said)

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
