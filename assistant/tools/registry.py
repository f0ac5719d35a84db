"""All plugins with their status, and all tools that the model may call.

Life of a plugin::

    found ── disabled in the config ──> DISABLED
      │ load: import, read tools ─────> LOAD_ERROR
      │ load: check its settings ─────> CONFIG_ERROR
      v
    ENABLED ── start fails, or takes too long ──> START_ERROR
      │
      ├── a background task dies ──> CRASHED             its tools are still offered
      ├── check() complains ──> SELF_CHECK_FAILED        likewise; back when it is content
      └── calls fail in a row ──> TRIPPED                its tools are refused for a while

``reload`` begins anew with a plugin's file as it is now.

The registry owns the plugins' instances and contexts: made in ``start``, ended in ``stop``, both by one owner on the
event loop. Nothing that a plugin does makes ``load``, ``start`` or ``stop`` raise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel

from assistant.errors import PluginLoadError, ToolError
from assistant.plugin import Context, Ringer, Threads, Tier, ToolOptions, WallClock
from assistant.plugin.context import HomeEvent, ToolCaller
from assistant.plugin.decorator import strictest, tool_options
from assistant.plugin.long_work import LongTasks
from assistant.plugin.services import House, SystemClock
from assistant.plugin.sounds import Sounds
from assistant.tools import loading
from assistant.tools.breaker import Breaker
from assistant.tools.consent import CONSENT_TOOLS, ENTER_PIN
from assistant.tools.entry import OFFERED, Entry, PluginInfo, PluginStatus, bounded
from assistant.tools.happenings import happening
from assistant.tools.loading import Candidate, LoadedPlugin
from assistant.tools.misfits import unknown_plugins, useless_tiers
from assistant.tools.settings import WrongSettings, validated
from assistant.tools.state import StateFolder
from assistant.tools.threads import DaemonThreads
from assistant.tools.tool import Entities, Tool, build_tool
from assistant.tools.translations import AUTHORS, Translations

__all__ = ["PluginInfo", "PluginStatus", "ToolRegistry"]

READY_LIMIT_S: Final = 10.0
_log = logging.getLogger("hearth.tools")


class ToolRegistry:
    """Loads plugins, starts and stops them, and knows their tools."""

    def __init__(
        self,
        state_folder: Path,
        *,
        clock: WallClock | None = None,
        ringer: Ringer | None = None,
        threads: Threads | None = None,
        start_limit_s: float = 10.0,
        stop_limit_s: float = 1.0,
        tiers: Mapping[str, Tier] | None = None,
        language: str = AUTHORS,
    ) -> None:
        """
        state_folder: holds a folder for each plugin that wants one; made when needed.
        threads: where ``Context.in_thread`` runs; by default at most 8 daemon threads for all plugins.
        start_limit_s: for each plugin's ``start``. stop_limit_s: for all plugins' ends together.
        language: of the household; the sentences of tools are in it as far as there are translations.
        tiers: what the owner wants for tools, by name or pattern ("shell_*"); it can only be stricter than the author.
        """
        self._state = StateFolder(state_folder)
        self._clock = clock
        self._ringer = ringer
        self._threads = threads or DaemonThreads(8, "plugin")
        self._loaders = DaemonThreads(2, "plugin reload")
        self._start_limit_s = start_limit_s
        self._stop_limit_s = stop_limit_s
        self._tiers = dict(tiers or {})
        self._translations = Translations(language)
        self._now = (clock or SystemClock()).monotonic
        self._settings: Mapping[str, Mapping[str, Any]] = {}
        self._reloading = asyncio.Lock()
        self._running = False
        self._entries: dict[str, Entry] = {}
        self._tools: dict[str, Tool] = {}
        self.call_tool: ToolCaller | None = None
        """How plugins call tools; set by the runner, before ``start``."""
        self.house: House | None = None
        """The running assistant, for plugins; set before ``start`` where there is one."""
        self.sounds: Sounds | None = None
        """Plays sounds of plugins; set before ``start`` where there is a speaker."""
        self.long_tasks = LongTasks()
        """Work of plugins that goes on longer than a turn."""
        self.unknown: tuple[str, ...] = ()
        """One line for each name in ``disabled``, ``settings`` or ``tiers`` that fits nothing or has no effect."""

    # --- loading ------------------------------------------------------------------------------------------------------

    def load(
        self,
        folders: Sequence[Path] = (),
        *,
        bundled: bool = True,
        installed: bool = True,
        disabled: Sequence[str] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Find and import all plugins: bundled ones, installed ones (entry points), and those of the user's folders.

        Of one name the user's wins over an installed one, and that over a bundled one; of two folders the later.
        A disabled plugin is not imported. Blocks while plugins are imported; call it once, before the event loop
        has anything to lose. Never raises for a plugin's sake.
        """
        groups = []
        if bundled:
            groups.append(self._list_folder(loading.bundled_plugins_folder()))
        if installed:
            groups.append(loading.installed())
        groups += [self._list_folder(folder) for folder in folders]
        self.load_candidates(loading.choose(groups), disabled=disabled, settings=settings)

    def load_candidates(
        self,
        candidates: Sequence[Candidate],
        *,
        disabled: Sequence[str] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """The second half of ``load``: for plugins that were found in another way."""
        self._settings = settings = settings or {}
        for candidate in candidates:
            entry = Entry(candidate.name, candidate.source, candidate=candidate)
            self._entries[candidate.name] = entry
            entry.version = candidate.version()
            if candidate.name in disabled:
                entry.status, entry.reason = PluginStatus.DISABLED, "listed under tools.disabled in the config"
                continue
            try:
                self._adopt(entry, *self._read(candidate))
            except (PluginLoadError, WrongSettings) as error:
                self._note(entry, error)
        self.unknown = (
            *unknown_plugins("tools.disabled", disabled, self._entries),
            *unknown_plugins("plugins", settings, self._entries),
            *useless_tiers(self._tiers, self._tools, more_to_come=self.more_to_come),
        )
        for line in self.unknown:
            _log.warning("%s", line)

    def _read(self, candidate: Candidate) -> tuple[LoadedPlugin, BaseModel | None]:
        """Import a plugin and check it and its settings. Raises PluginLoadError and WrongSettings."""
        loaded = loading.load_plugin(candidate)
        config = validated(loaded, self._settings.get(candidate.name))
        loaded = loading.with_configured_tools(loaded, config)
        for tool in loaded.tools:
            self._refuse_taken_name(tool)
        return loaded, config

    def _adopt(self, entry: Entry, loaded: LoadedPlugin, config: BaseModel | None) -> None:
        self._drop((*(entry.loaded.tools if entry.loaded else ()), *entry.offered))
        entry.offered = ()
        entry.loaded, entry.config, entry.problems, entry.breaker = loaded, config, (), Breaker()
        entry.status, entry.reason = PluginStatus.ENABLED, ""
        self._tools.update({tool.name: tool for tool in loaded.tools})

    def _note(self, entry: Entry, error: PluginLoadError | WrongSettings) -> None:
        if isinstance(error, WrongSettings):
            entry.problems = error.problems
            entry.fail(PluginStatus.CONFIG_ERROR, str(error))
        else:
            entry.fail(PluginStatus.LOAD_ERROR, str(error))
            _log.debug("plugin %s: cause of the load error", entry.name, exc_info=error.__cause__)

    def _list_folder(self, folder: Path) -> list[Candidate]:
        try:
            return loading.in_folder(folder)
        except OSError as error:
            entry = Entry(str(folder), str(folder))
            entry.fail(
                PluginStatus.LOAD_ERROR,
                f"the folder cannot be read ({error.strerror}): create it, or remove it from tools.folders",
            )
            self._entries[entry.name] = entry
            return []

    def _refuse_taken_name(self, tool: Tool) -> None:
        if tool.name in CONSENT_TOOLS:
            raise PluginLoadError(f"its tool {tool.name} has a name of Hearth's own: rename it with @tool(name=...)")
        if (other := self._tools.get(tool.name)) and other.plugin != tool.plugin:
            raise PluginLoadError(
                f"its tool {tool.name} exists already in plugin {other.plugin}: "
                f"rename it with @tool(name=...), or disable {other.plugin}"
            )

    def _offer(self, entry: Entry, functions: Sequence[Callable[..., Any]]) -> list[str]:
        """A running plugin replaces the tools that came later; one line for each that cannot be offered."""
        self._drop(entry.offered)
        entry.offered = ()
        problems = []
        for function in functions:
            options = tool_options(function) or ToolOptions()
            try:
                built = build_tool(function, options, plugin=entry.name, file=f"plugins.{entry.name}", method=False)
                self._refuse_taken_name(built)
                if built.name in entry.tools:
                    raise PluginLoadError(f"two tools are named {built.name}")
            except PluginLoadError as error:
                problems.append(str(error))
            else:
                entry.offered += (built,)
                self._tools[built.name] = built
        return problems

    def _drop(self, tools: Sequence[Tool]) -> None:
        for tool in tools:
            self._tools.pop(tool.name, None)

    # --- what is there ------------------------------------------------------------------------------------------------

    @property
    def plugins(self) -> list[PluginInfo]:
        """All plugins, whatever their status, in load order."""
        now = self._now()
        return [entry.info(now) for entry in self._entries.values()]

    @property
    def troubles(self) -> dict[str, str | None]:
        """What is wrong with each plugin, or None, by name. Cheap: for whoever looks all the time."""
        now = self._now()
        return {name: entry.trouble(now) for name, entry in self._entries.items()}

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The tools that are offered, by name. Those of a plugin that is off, and those of tier deny, are not."""
        return MappingProxyType({name: tool for name, tool in self._tools.items() if self.find(name) is not None})

    @property
    def more_to_come(self) -> bool:
        """Some plugin finds its tools only while it runs, so that a name that fits no tool yet is no mistake."""
        return any(
            entry.status in OFFERED and entry.loaded and entry.loaded.factory and entry.loaded.factory.tools_come_later
            for entry in self._entries.values()
        )

    def find(self, name: str) -> Tool | None:
        """The tool of that name, if it is offered."""
        tool = self._tools.get(name)
        if tool is None or self._entries[tool.plugin].status not in OFFERED or self.tier(tool) == "deny":
            return None
        return tool

    def tier(self, tool: Tool) -> Tier:
        """What a call of this tool needs: the stricter of its author's word and the owner's."""
        return strictest(
            tool.options.tier, *(tier for pattern, tier in self._tiers.items() if fnmatchcase(tool.name, pattern))
        )

    def specs(self, offline: bool, allowed: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The tools for ``session.update``. With tools that need consent come those by which the user gives it.

        offline: with ``x-offline``, for the embedded server only.
        allowed: only these, by name or by plugin; None means all.
        """
        tools = [t for t in self.tools.values() if allowed is None or t.name in allowed or t.plugin in allowed]
        tiers = {self.tier(tool) for tool in tools}
        if tiers & {"confirm", "pin"}:
            tools += [tool for name, tool in CONSENT_TOOLS.items() if name != ENTER_PIN or "pin" in tiers]
        return [self._translated(tool).spec(offline, self._entities(tool)) for tool in tools]

    def _translated(self, tool: Tool) -> Tool:
        entry = self._entries.get(tool.plugin)
        main = entry.candidate.main if entry is not None and entry.candidate is not None else None
        return self._translations.of(tool, main)

    def catalogue(self) -> list[dict[str, Any]]:
        """The tools for other programs, each with ``name``, ``description``, ``parameters`` and ``tier``."""
        return [{**tool.spec(False, self._entities(tool)), "tier": self.tier(tool)} for tool in self.tools.values()]

    def _entities(self, tool: Tool) -> Entities | None:
        entry = self._entries.get(tool.plugin)
        return entry.context.entity_lists if entry and entry.context else None

    def refuses(self, tool: Tool) -> float | None:
        """Seconds until a call of this tool may be tried, if its plugin has failed too often of late; else None."""
        return self._entries[tool.plugin].breaker.refuses(self._now())

    def report(self, tool: Tool, *, failed: bool) -> None:
        """A call has ended. ``failed``: by a crash or its time limit."""
        entry = self._entries[tool.plugin]
        if entry.breaker.report(failed=failed, now=self._now()):
            _log.error("plugin %s: %s", entry.name, entry.info(self._now()).reason)

    def bound(self, tool: Tool) -> Callable[..., Any]:
        """The function to call. Raises ToolError when its plugin has not started, or has stopped."""
        if not tool.method:
            return tool.function
        instance = self._entries[tool.plugin].instance
        if instance is None:
            raise ToolError(f"{tool.name} is not available: its plugin {tool.plugin} is not running")
        return partial(tool.function, instance)

    def tell(self, event: HomeEvent, facts: Mapping[str, Any]) -> None:
        """Something has happened in the house: plugins that asked for it are called back."""
        for entry in self._entries.values():
            if entry.context is not None:
                entry.context.tell(event, facts)

    def hear(self, entry: Mapping[str, Any]) -> None:
        """For the journal: pass on what plugins may know."""
        if (found := happening(entry)) is not None:
            self.tell(*found)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self, *, late_only: bool = False) -> None:
        """Make and start the plugins, one after the other in load order.

        late_only: only those whose tools come later, for who wants to know the tools and use none.
        Cancelled half-way it has started some of them: call ``stop`` all the same.
        """
        self._running = True
        waiting = [
            entry
            for entry in self._entries.values()
            if entry.status is PluginStatus.ENABLED
            and entry.loaded
            and (make := entry.loaded.factory)
            and (make.tools_come_later or not late_only)
        ]
        if waiting and (problem := self._state.lock()):
            for entry in waiting:
                entry.status, entry.reason = PluginStatus.START_ERROR, problem
            _log.error("plugins: %s: %s", PluginStatus.START_ERROR, problem)
            return
        for entry in waiting:
            await entry.start(self._context(entry), self._start_limit_s)

    async def stop(self) -> None:
        """Stop the plugins in reverse order, within ``stop_limit_s`` or little more. Safe to call twice."""
        self._running = False
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._stop_limit_s
        try:
            for entry in reversed(self._entries.values()):
                if entry.context is not None:
                    await entry.stop(max(0.05, deadline - loop.time()))
        finally:
            self._state.unlock()

    async def reload_changed(self) -> list[str]:
        """Reload the plugins whose files have changed since they were read; a line for each, of what came of it."""
        lines = []
        for entry in tuple(self._entries.values()):
            if entry.candidate is None or entry.status is PluginStatus.DISABLED:
                continue
            if (version := entry.candidate.version()) and version != entry.version:
                lines.append(f"{entry.name}: {await self.reload(entry.name) or 'loaded again'}")
        return lines

    async def reload(self, name: str) -> str | None:
        """Read a plugin's file again and put the new code in place of the old; None, or why that was not possible.

        If the new code cannot be loaded, the old goes on. Calls that run meanwhile end with the old code, whose
        database is closed. Sessions that begin afterwards know of the new tools. Cancelled half-way the plugin may
        be stopped: reload it again.
        """
        async with self._reloading:
            entry = self._entries.get(name)
            if entry is None or entry.candidate is None or entry.status is PluginStatus.DISABLED:
                return f"there is no plugin {name} that could be loaded again"
            entry.version = entry.candidate.version()
            try:
                loaded, config = await self._loaders.run(partial(self._read, loading.again(entry.candidate)))
            except (PluginLoadError, WrongSettings) as error:
                if entry.loaded is None:
                    self._note(entry, error)
                _log.error("plugin %s: not loaded again: %s", name, error)
                return str(error)
            await entry.stop(self._stop_limit_s)
            self._adopt(entry, loaded, config)
            if self._running and loaded.factory is not None:
                if problem := self._state.lock():
                    entry.fail(PluginStatus.START_ERROR, problem)
                else:
                    await entry.start(self._context(entry), self._start_limit_s)
            _log.info("plugin %s: loaded again: %s", name, entry.status)
            return entry.reason or None

    async def ready(self, limit_s: float = READY_LIMIT_S) -> None:
        """Wait, for at most ``limit_s`` or little more, until tools that come later are there."""
        instances = [entry.instance for entry in self._entries.values() if entry.instance is not None]
        await asyncio.gather(*(bounded("ready", instance.ready, limit_s) for instance in instances))

    async def check(self) -> None:
        """Let every running plugin check itself again; ``plugins`` then has the new statuses."""
        for entry in self._entries.values():
            await entry.check()

    def _context(self, entry: Entry) -> Context:
        return Context(
            entry.name,
            self._state.path / entry.name,
            threads=self._threads,
            config=entry.config,
            clock=self._clock,
            ringer=self._ringer,
            sounds=self.sounds,
            on_crash=entry.crashed,
            call_tool=self.call_tool,
            house=self.house,
            on_offer=partial(self._offer, entry),
            on_report=entry.report,
            tasks=self.long_tasks,
        )
