"""One plugin as the registry keeps it: its status, and how it is started and stopped without harm to anybody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from assistant.errors import ConfigProblem, ToolError
from assistant.plugin import Context, Plugin
from assistant.plugin.tasks import end_tasks, fault
from assistant.tools.breaker import Breaker
from assistant.tools.loading import Candidate, LoadedPlugin, Version
from assistant.tools.tool import Tool

T = TypeVar("T")

CHECK_LIMIT_S: Final = 5.0
_log = logging.getLogger("hearth.tools")


class PluginStatus(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"
    LOAD_ERROR = "load error"
    CONFIG_ERROR = "config error"
    START_ERROR = "start error"
    CRASHED = "crashed"
    SELF_CHECK_FAILED = "self-check failed"
    TRIPPED = "tripped"


OFFERED: Final = (PluginStatus.ENABLED, PluginStatus.CRASHED, PluginStatus.SELF_CHECK_FAILED)
"""Plugins with one of these offer their tools. (One that is tripped has one of these, too, once it has cooled down.)"""


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
class Entry:
    """A plugin that was found. ``status`` is one of those that last; ``tripped`` is computed from the breaker."""

    name: str
    source: str
    status: PluginStatus = PluginStatus.ENABLED
    reason: str = ""
    candidate: Candidate | None = None
    loaded: LoadedPlugin | None = None
    config: BaseModel | None = None
    problems: tuple[ConfigProblem, ...] = ()
    instance: Plugin | None = None
    context: Context | None = None
    breaker: Breaker = field(default_factory=Breaker)
    version: Version = frozenset()
    """Of the files that were read last, whether or not they could be loaded."""
    offered: tuple[Tool, ...] = ()
    """Tools that came later, by ``Context.offer``."""

    @property
    def tools(self) -> tuple[str, ...]:
        return tuple(tool.name for tool in (*(self.loaded.tools if self.loaded else ()), *self.offered))

    def trouble(self, now: float) -> str | None:
        """What is wrong with it, in words that stay the same as long as it lasts; None if all is as it should be."""
        if self._rests_for(now):
            return f"{PluginStatus.TRIPPED}: {self.breaker.failures} failures in a row"
        if self.status in (PluginStatus.ENABLED, PluginStatus.DISABLED):
            return None
        return f"{self.status}: {self.reason}" if self.reason else self.status

    def _rests_for(self, now: float) -> float:
        """Seconds until its breaker lets it be tried again; 0 if it may be used."""
        until = self.breaker.open_until if self.status in OFFERED else None
        return max(0.0, until - now) if until is not None else 0.0

    def info(self, now: float) -> PluginInfo:
        status, reason = self.status, self.reason
        if left := self._rests_for(now):
            status = PluginStatus.TRIPPED
            reason = f"{self.breaker.failures} failures in a row; it is tried again in {left:.0f} s"
        return PluginInfo(self.name, status, reason, self.source, self.tools, self.problems)

    def fail(self, status: PluginStatus, reason: str) -> None:
        self.status, self.reason = status, reason
        _log.error("plugin %s: %s: %s", self.name, status, reason)

    def crashed(self, reason: str) -> None:
        """A background task has died; the tools are still offered."""
        if self.status in (PluginStatus.ENABLED, PluginStatus.SELF_CHECK_FAILED):
            self.status, self.reason = PluginStatus.CRASHED, reason

    async def start(self, context: Context, limit_s: float) -> None:
        """Make and start the plugin. Whatever it does, its status says how that went."""
        assert self.loaded is not None and self.loaded.factory is not None
        self.context = context
        try:
            instance = self.loaded.factory(context)
        except BaseException as error:  # a plugin's SystemExit must not end the daemon
            problem: str | None = _problem("start", error)
        else:
            problem = (await bounded("start", instance.start, limit_s))[1]
        if problem is not None:
            self.fail(PluginStatus.START_ERROR, problem)
            self.context = None
            await context.close(0.1)
            return
        self.instance = instance
        await self.check()

    async def check(self) -> None:
        """Ask the plugin how it is; the status follows the answer."""
        if self.instance is None or self.status not in (PluginStatus.ENABLED, PluginStatus.SELF_CHECK_FAILED):
            return
        answer, problem = await bounded("check", self.instance.check, CHECK_LIMIT_S)
        self.report(problem or answer)

    def report(self, problem: object) -> None:
        """The plugin says how it is."""
        if self.status not in (PluginStatus.ENABLED, PluginStatus.SELF_CHECK_FAILED):
            return
        reason = " ".join(str(problem or "").split())[:300]
        if not reason:
            self.status, self.reason = PluginStatus.ENABLED, ""
        elif reason != self.reason:
            self.fail(PluginStatus.SELF_CHECK_FAILED, reason)

    async def stop(self, limit_s: float) -> None:
        """Stop the plugin and everything it has begun, within the limit or little more."""
        instance, context = self.instance, self.context
        self.instance = self.context = None
        if context is None:
            return
        try:
            if instance is not None and (problem := (await bounded("stop", instance.stop, limit_s))[1]):
                _log.error("plugin %s: while stopping: %s", self.name, problem)
        finally:
            await context.close(limit_s)


async def bounded(name: str, step: Callable[[], Awaitable[T]], limit_s: float) -> tuple[T | None, str | None]:
    """Run a step of a plugin's life; its result, and its problem in one line or None.

    Cancelling cancels the step and leaves it.
    """

    async def contained() -> tuple[T | None, str | None]:
        try:
            return await step(), None
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # a plugin's SystemExit must not end the daemon
            _log.debug("plugin step failed", exc_info=error)
            return None, _problem(name, error)

    task: asyncio.Task[Any] = asyncio.ensure_future(contained())
    try:
        await asyncio.wait({task}, timeout=limit_s)
    finally:
        if not task.done():
            await end_tasks({task}, 0.1)
    if task.done() and not task.cancelled() and task.exception() is None:
        result: tuple[T | None, str | None] = task.result()
        return result
    return None, f"{name}: it takes longer than {limit_s:g} s"


def _problem(step: str, error: BaseException) -> str:
    # ToolError and OSError are meant for people; other messages may hold anything.
    message = f": {error}" if isinstance(error, ToolError | OSError) else ""
    return " ".join(f"{step} failed: {fault(error)}{message}".split())
