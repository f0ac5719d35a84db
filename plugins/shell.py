"""Commands of the owner's choice, each a tool of its own.

They never pass through a shell: a parameter is one word of the command, whatever it holds.

Settings (``plugins.shell`` in config.yaml)::

    plugins:
      shell:
        commands:
          wake_computer:
            description: Wake the computer in the study.
            run: [wakeonlan, "00:11:22:33:44:55"]
            sentences: ["wake [up] the computer"]
          set_fan:
            description: Set the speed of the fan.
            run: [fanctl, --speed, "{percent}"]
            parameters: {percent: {type: integer, minimum: 0, maximum: 100}}
            sentences: ["set the fan to {percent} percent"]
            tier: confirm            # safe (the default), confirm or pin
            time_limit_s: 10
            say: The fan is set.     # without it, what the command prints is the answer

A parameter may not begin with a dash, so that it cannot become an option, unless it is a number.
"""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, model_validator

from assistant.plugin import BaseModel, Field, Plugin, ToolError, tool

OUTPUT_LIMIT = 4000
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,60}$")]
PLACE = re.compile(r"\{(\w+)\}")


class Parameter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["integer", "number", "text", "choice"] = "text"
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    choices: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("type choice and choices belong together")
        if any(choice.startswith("-") for choice in self.choices):
            raise ValueError("a choice may not begin with a dash")
        if self.pattern is not None:
            re.compile(self.pattern)
        return self

    def hint(self) -> Any:
        """The parameter's type, as a tool's function would have it."""
        description = self.description or None
        match self.type:
            case "choice":
                return Annotated[Literal[tuple(self.choices)], Field(description=description)]
            case "text":
                return Annotated[
                    str, Field(min_length=1, max_length=200, pattern=self.pattern, description=description)
                ]
            case _:
                number = int if self.type == "integer" else float
                return Annotated[number, Field(ge=self.minimum, le=self.maximum, description=description)]


class Command(BaseModel):
    model_config = ConfigDict(extra="forbid")

    description: Annotated[str, Field(min_length=1)]
    run: Annotated[list[str], Field(min_length=1)]
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    sentences: list[str] = Field(default_factory=list)
    tier: Literal["safe", "confirm", "pin"] = "safe"
    time_limit_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    say: str | None = None

    @model_validator(mode="after")
    def _places(self) -> Self:
        named = {name for word in self.run for name in PLACE.findall(word)}
        if PLACE.search(self.run[0]):
            raise ValueError("the program itself cannot be a parameter")
        if unknown := sorted(named - self.parameters.keys()):
            raise ValueError(f"run: {{{unknown[0]}}} is not among the parameters")
        if unused := sorted(self.parameters.keys() - named):
            raise ValueError(f"parameters: {unused[0]} is not used in run")
        return self

    def words(self, arguments: dict[str, Any]) -> list[str]:
        """The words to run. Raises ToolError if an argument could be taken for an option."""
        for name, value in arguments.items():
            if isinstance(value, str) and (value.startswith("-") or not value.isprintable()):
                raise ToolError(f"{name} cannot be that.")
        return [PLACE.sub(lambda place: f"{arguments[place[1]]}", word) for word in self.run]


class Shell(Plugin):
    class Config(BaseModel):
        commands: dict[Name, Command] = Field(default_factory=dict)

    config: Config

    @classmethod
    def configured_tools(cls, config: Config) -> Iterable[Callable[..., Any]]:
        return [make_tool(name, command) for name, command in config.commands.items()]


def make_tool(name: str, command: Command) -> Callable[..., Any]:
    """A tool for one command, with the parameters that the owner gave it."""

    def run(self: Shell, **arguments: Any) -> str | None:
        return execute(command.words(arguments), command.time_limit_s, command.say)

    hints = {key: parameter.hint() for key, parameter in command.parameters.items()}
    kind = inspect.Parameter.KEYWORD_ONLY
    signature = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    signature += [inspect.Parameter(key, kind, annotation=hint) for key, hint in hints.items()]
    run.__name__, run.__doc__, run.__annotations__ = name, command.description, hints
    run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    return tool(sentences=command.sentences, tier=command.tier, time_limit_s=command.time_limit_s + 2.0)(run)


def execute(words: list[str], limit_s: float, say: str | None) -> str | None:
    """Run a program and give what it printed, or ``say``. Raises ToolError in words for the user."""
    with tempfile.TemporaryFile() as output:  # not a pipe: a child that lives on would keep it open
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise ToolError(f"{words[0]} cannot be run: {error.strerror}.") from None
        with process:
            try:
                status = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise ToolError(f"{words[0]} took longer than {limit_s:g} seconds and was ended.") from None
        output.seek(0)
        text = output.read(OUTPUT_LIMIT).decode(errors="replace").strip()
    if status != 0:
        raise ToolError(f"{words[0]} ended with status {status}{f': {text[:300]}' if text else ''}.")
    return say or text or None
