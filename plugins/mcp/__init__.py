"""Tools of other programs: any Model Context Protocol server becomes part of the assistant; see docs/mcp.md.

Settings (``plugins.mcp`` in config.yaml)::

    plugins:
      mcp:
        servers:
          time:
            command: mcp-server-time
          notes:
            url: https://notes.example.org/mcp
            token_file: ~/.config/hearth/notes-token
            tools: [search, "read_*"]
            tier: confirm

Each server is talked to by a process of its own (:mod:`worker`), since reading what a stranger sends takes time,
memory and a large library, none of which the daemon has to spare. That process needs the ``mcp`` package:
``pip install hearth-assistant[mcp]``.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import ConfigDict, model_validator

from assistant.plugin import BaseModel, Context, Field, Plugin, Tier, tool

from .link import Link, secret

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
TIERS: tuple[Tier, ...] = get_args(Tier)


class Server(BaseModel):
    """One server: a command that is started, or a URL."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    command: str | None = None
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    url: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    token_env: str | None = None
    token_file: Path | None = None
    tools: list[str] = Field(default_factory=lambda: ["*"])
    tier: Literal["safe", "confirm", "pin"] = "safe"
    tiers: dict[str, Tier] = Field(default_factory=dict)
    sentences: dict[str, list[str]] = Field(default_factory=dict)
    time_limit_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    start_limit_s: Annotated[float, Field(gt=0, le=300)] = 30.0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("a server has either a command or a url")
        if self.url is None and (self.token_env or self.token_file):
            raise ValueError("token_env and token_file belong to a url; a command gets its secrets by env")
        if self.url is not None and (self.args or self.env):
            raise ValueError("args and env belong to a command")
        return self

    def tier_of(self, name: str, *, destructive: bool) -> Tier:
        """What a call of a tool needs: the strictest of what the owner says, and confirm if it destroys something."""
        wanted: list[Tier] = [tier for pattern, tier in self.tiers.items() if fnmatchcase(name, pattern)]
        return max([self.tier, *wanted, *(["confirm"] if destructive else [])], key=TIERS.index)


class Mcp(Plugin):
    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")

        servers: dict[Name, Server] = Field(default_factory=dict)

    config: Config
    tools_come_later = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._links: dict[str, Link] = {}

    async def start(self) -> None:
        if not self.config.servers:
            return
        if importlib.util.find_spec("mcp") is None:
            self.context.report("the package mcp is not installed: pip install 'hearth-assistant[mcp]'")
            return
        for name, server in self.config.servers.items():
            link = self._links[name] = Link(name, self._settings(name, server), self.context, self._changed)
            self.context.spawn(link.run(), f"server {name}")

    async def ready(self) -> None:
        await asyncio.gather(*(link.settled.wait() for link in self._links.values()))

    async def check(self) -> str | None:
        return self._problem()

    async def stop(self) -> None:
        await asyncio.gather(*(link.stop() for link in self._links.values()))

    def _settings(self, name: str, server: Server) -> Callable[[], dict[str, Any]]:
        """The worker's settings; made for each start, so that a secret that was replaced is read again."""

        def settings() -> dict[str, Any]:
            plain = server.model_dump(include={"command", "args", "url", "tools", "start_limit_s"})
            env: dict[str, str] = {}
            for key, value in server.env.items():
                variable, _, kind = key.rpartition("_")
                if kind in ("env", "file") and variable:
                    value, key = secret(**{kind: value}), variable
                env[key] = value
            token = secret(env=server.token_env, file=server.token_file) if server.url else ""
            return {**plain, "name": name, "env": env, "token": token}

        return settings

    def _changed(self) -> None:
        """A server has come, gone, or changed its tools."""
        functions = [
            self._tool(link, self.config.servers[link.name], offer)
            for link in self._links.values()
            for offer in link.tools
        ]
        refused = self.context.offer(functions)
        self.context.report("; ".join(filter(None, [self._problem(), *refused])) or None)

    def _problem(self) -> str | None:
        return "; ".join(link.problem for link in self._links.values() if link.problem) or None

    def _tool(self, link: Link, server: Server, offer: Mapping[str, Any]) -> Callable[..., Any]:
        called: str = offer["tool"]

        async def call(**arguments: Any) -> Any:
            return await link.call(called, arguments, server.time_limit_s)

        call.__doc__ = offer["description"]
        return tool(
            name=offer["name"],
            parameters=offer["parameters"],
            sentences=server.sentences.get(called, ()),
            tier=server.tier_of(called, destructive=offer["destructive"]),
            time_limit_s=server.time_limit_s + 2.0,
            question=f"Shall I use {called.replace('_', ' ')} of {link.name}?",
            reply="{result}",
            group=link.name,
        )(call)
