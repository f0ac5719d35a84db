"""All plugins with their status, and all tools that the model may call.

Life of a plugin::

    found ── disabled in the config ──> DISABLED
      │ load: import, read tools ─────> LOAD_ERROR
      │ load: check its settings ─────> CONFIG_ERROR
      v
    ENABLED ── start fails, or takes too long ──> START_ERROR
      │ ^ no way back in this version
      v
    CRASHED   a background task has died; its tools are still offered

The registry owns the plugins' instances and contexts: made in ``start``, ended in ``stop``, both by one owner on the
event loop. Nothing that a plugin does makes ``load``, ``start`` or ``stop`` raise.
"""

from __future__ import annotations

import asyncio
import difflib
import fcntl
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from pydantic import BaseModel, ValidationError

from assistant.errors import ConfigProblem, PluginConfigError, PluginLoadError, ToolError
from assistant.plugin import Context, Plugin, Ringer, Threads, WallClock
from assistant.plugin.tasks import end_tasks, fault
from assistant.tools import loading
from assistant.tools.loading import Candidate, LoadedPlugin
from assistant.tools.threads import DaemonThreads
from assistant.tools.tool import Tool

_log = logging.getLogger("hearth.tools")


class PluginStatus(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"
    LOAD_ERROR = "load error"
    CONFIG_ERROR = "config error"
    START_ERROR = "start error"
    CRASHED = "crashed"


_OFFERED = (PluginStatus.ENABLED, PluginStatus.CRASHED)


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin for people: ``assistant tools list`` and ``assistant doctor``.

    reason: one line that says why the status is not ``enabled``, and what to do; else empty.
    problems: with ``config error``, each wrong setting; the line number is for the config's owner to add.
    """

    name: str
    status: PluginStatus
    reason: str
    source: str
    tools: tuple[str, ...]
    problems: tuple[ConfigProblem, ...] = ()


@dataclass(slots=True)
class _Entry:
    name: str
    source: str
    status: PluginStatus
    reason: str = ""
    loaded: LoadedPlugin | None = None
    config: BaseModel | None = None
    problems: tuple[ConfigProblem, ...] = ()
    instance: Plugin | None = None
    context: Context | None = None
    tools: tuple[str, ...] = field(default=())

    def fail(self, status: PluginStatus, reason: str) -> None:
        self.status, self.reason = status, reason
        _log.error("plugin %s: %s: %s", self.name, status, reason)


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
    ) -> None:
        """
        state_folder: holds a folder for each plugin that wants one; made when needed.
        threads: where ``Context.in_thread`` runs; by default at most 8 daemon threads for all plugins.
        start_limit_s: for each plugin's ``start``. stop_limit_s: for all plugins' ends together.
        """
        self._state_folder = state_folder
        self._clock = clock
        self._ringer = ringer
        self._threads = threads or DaemonThreads(8, "plugin")
        self._start_limit_s = start_limit_s
        self._stop_limit_s = stop_limit_s
        self._entries: dict[str, _Entry] = {}
        self._tools: dict[str, Tool] = {}
        self._lock_file: IO[str] | None = None
        self.unknown: tuple[str, ...] = ()
        """One line for each name in ``disabled`` or ``settings`` that fits no plugin."""

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
        settings = settings or {}
        for candidate in candidates:
            entry = _Entry(candidate.name, candidate.source, PluginStatus.ENABLED)
            self._entries[candidate.name] = entry
            if candidate.name in disabled:
                entry.status, entry.reason = PluginStatus.DISABLED, "listed under tools.disabled in the config"
                continue
            try:
                entry.loaded = loading.load_plugin(candidate)
                self._refuse_taken_names(entry.loaded)
                entry.config = _validated(entry.loaded, settings.get(candidate.name))
            except PluginLoadError as error:
                entry.fail(PluginStatus.LOAD_ERROR, str(error))
                _log.debug("plugin %s: cause of the load error", entry.name, exc_info=error.__cause__)
            except _WrongSettings as error:
                entry.problems = error.problems
                entry.fail(PluginStatus.CONFIG_ERROR, str(error))
            else:
                entry.tools = tuple(tool.name for tool in entry.loaded.tools)
                self._tools.update({tool.name: tool for tool in entry.loaded.tools})
        self.unknown = tuple(self._unknown("tools.disabled", disabled) + self._unknown("plugins", settings))
        for line in self.unknown:
            _log.warning("%s", line)

    def _list_folder(self, folder: Path) -> list[Candidate]:
        try:
            return loading.in_folder(folder)
        except OSError as error:
            entry = _Entry(str(folder), str(folder), PluginStatus.ENABLED)
            entry.fail(
                PluginStatus.LOAD_ERROR,
                f"the folder cannot be read ({error.strerror}): create it, or remove it from tools.folders",
            )
            self._entries[entry.name] = entry
            return []

    def _refuse_taken_names(self, plugin: LoadedPlugin) -> None:
        for tool in plugin.tools:
            if other := self._tools.get(tool.name):
                raise PluginLoadError(
                    f"its tool {tool.name} exists already in plugin {other.plugin}: "
                    f"rename it with @tool(name=...), or disable {other.plugin}"
                )

    def _unknown(self, section: str, names: Sequence[str] | Mapping[str, Any]) -> list[str]:
        lines = []
        for name in names:
            if name not in self._entries:
                close = difflib.get_close_matches(name, self._entries, n=1)
                hint = f"did you mean {close[0]}?" if close else f"plugins are: {', '.join(sorted(self._entries))}"
                lines.append(f"{section}: there is no plugin named {name}: {hint}")
        return lines

    # --- what is there ------------------------------------------------------------------------------------------------

    @property
    def plugins(self) -> list[PluginInfo]:
        """All plugins, whatever their status, in load order."""
        return [
            PluginInfo(entry.name, entry.status, entry.reason, entry.source, entry.tools, entry.problems)
            for entry in self._entries.values()
        ]

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The tools that are offered, by name. Those of a plugin that is off are not among them."""
        return MappingProxyType(
            {name: tool for name, tool in self._tools.items() if self._entries[tool.plugin].status in _OFFERED}
        )

    def specs(self, offline: bool) -> list[dict[str, Any]]:
        """The tools for ``session.update``. ``offline``: with ``x-offline``, for the embedded server only."""
        return [tool.spec(offline) for tool in self.tools.values()]

    def bound(self, tool: Tool) -> Callable[..., Any]:
        """The function to call. Raises ToolError when its plugin has not started, or has stopped."""
        if not tool.method:
            return tool.function
        instance = self._entries[tool.plugin].instance
        if instance is None:
            raise ToolError(f"{tool.name} is not available: its plugin {tool.plugin} is not running")
        return partial(tool.function, instance)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make and start the plugins, one after the other in load order.

        Cancelled half-way it has started some of them: call ``stop`` all the same.
        """
        waiting = [
            e for e in self._entries.values() if e.status is PluginStatus.ENABLED and e.loaded and e.loaded.factory
        ]
        if waiting and (problem := self._lock_state()):
            for entry in waiting:
                entry.fail(PluginStatus.START_ERROR, problem)
            return
        for entry in waiting:
            await self._start_plugin(entry)

    async def stop(self) -> None:
        """Stop the plugins in reverse order, within ``stop_limit_s`` or little more. Safe to call twice."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._stop_limit_s
        try:
            for entry in reversed(self._entries.values()):
                if entry.context is not None:
                    await self._stop_plugin(entry, max(0.05, deadline - loop.time()))
        finally:
            if self._lock_file is not None:
                self._lock_file.close()
                self._lock_file = None

    async def _start_plugin(self, entry: _Entry) -> None:
        assert entry.loaded is not None and entry.loaded.factory is not None
        entry.context = Context(
            entry.name,
            self._state_folder / entry.name,
            threads=self._threads,
            config=entry.config,
            clock=self._clock,
            ringer=self._ringer,
            on_crash=partial(_mark_crashed, entry),
        )
        problem = None
        try:
            instance = entry.loaded.factory(entry.context)
        except BaseException as error:  # a plugin's SystemExit must not end the daemon
            problem = _start_problem(error)
        else:
            problem = await _bounded(instance.start, self._start_limit_s)
        if problem is None:
            entry.instance = instance
        else:
            entry.fail(PluginStatus.START_ERROR, problem)
            await entry.context.close(0.1)
            entry.context = None

    async def _stop_plugin(self, entry: _Entry, limit_s: float) -> None:
        instance, context = entry.instance, entry.context
        entry.instance = entry.context = None
        assert context is not None
        try:
            if instance is not None and (problem := await _bounded(instance.stop, limit_s)):
                _log.error("plugin %s: while stopping: %s", entry.name, problem)
        finally:
            await context.close(limit_s)

    def _lock_state(self) -> str | None:
        """Take the state folder for this process, so that no other one rings the same timers. A problem, or None."""
        try:
            self._state_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = (self._state_folder / ".lock").open("w")
        except OSError as error:
            return f"{self._state_folder} cannot be used ({error.strerror}): check its owner, or set state_dir"
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return f"{self._state_folder} is in use by a running assistant: stop that one, or set another state_dir"
        self._lock_file = file
        return None


class _WrongSettings(PluginConfigError):
    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__("; ".join(f"{problem.key}: {problem.message}" for problem in problems))
        self.problems = problems


def _validated(plugin: LoadedPlugin, settings: Mapping[str, Any] | None) -> BaseModel | None:
    """The plugin's settings as its Config model. Raises _WrongSettings, never quoting a value."""
    section = f"plugins.{plugin.name}"
    model = plugin.factory.Config if plugin.factory else None
    if model is None:
        if settings:
            raise _WrongSettings((ConfigProblem(section, "this plugin has no settings: remove the section"),))
        return None
    try:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise PluginLoadError("Config must be a class derived from BaseModel")
        unknown = tuple(
            ConfigProblem(f"{section}.{key}", f"there is no such setting; known are: {', '.join(sorted(_keys(model)))}")
            for key in sorted(set(settings or {}) - _keys(model))
        )
        if unknown and model.model_config.get("extra") != "allow":
            raise _WrongSettings(unknown)
        return model.model_validate(dict(settings or {}))
    except ValidationError as error:
        raise _WrongSettings(
            tuple(
                ConfigProblem(".".join([section, *map(str, item["loc"])]), item["msg"])
                for item in error.errors(include_url=False, include_input=False, include_context=False)
            )
        ) from None
    except (PluginLoadError, _WrongSettings):
        raise
    except BaseException as error:  # a validator is the author's code
        raise PluginLoadError(f"its Config crashed: {fault(error)}") from error


def _keys(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _mark_crashed(entry: _Entry, reason: str) -> None:
    if entry.status is PluginStatus.ENABLED:
        entry.status, entry.reason = PluginStatus.CRASHED, reason


def _start_problem(error: BaseException) -> str:
    # ToolError and OSError are meant for people; other messages may hold anything.
    message = f": {error}" if isinstance(error, ToolError | OSError) else ""
    return " ".join(f"start failed: {fault(error)}{message}".split())


async def _bounded(step: Callable[[], Coroutine[Any, Any, None]], limit_s: float) -> str | None:
    """Run a plugin's start or stop; its problem in one line, or None. Cancelling cancels the step and leaves it."""

    async def contained() -> str | None:
        try:
            await step()
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # a plugin's SystemExit must not end the daemon
            _log.debug("plugin step failed", exc_info=error)
            return _start_problem(error)
        return None

    task = asyncio.ensure_future(contained())
    try:
        await asyncio.wait({task}, timeout=limit_s)
    finally:
        if not task.done():
            await end_tasks({task}, 0.1)
    if task.done() and not task.cancelled() and task.exception() is None:
        return task.result()
    return f"it takes longer than {limit_s:g} s"
