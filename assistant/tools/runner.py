"""Runs tool calls so that nothing a tool does can harm the daemon.

Whatever happens, :meth:`ToolRunner.call` gives an outcome with a text for the model, in time: arguments that do not
fit, a tool that raises (also SystemExit), never returns, swallows its cancellation, blocks, or returns a megabyte.

What is out of reach in one process: a tool that blocks the event loop in an ``async def``, holds the GIL in C code,
or calls ``os._exit``.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from pydantic_core import to_json

from assistant.errors import ToolError
from assistant.plugin.tasks import end_tasks, fault
from assistant.tools.registry import ToolRegistry
from assistant.tools.schema import ToolArgumentsError
from assistant.tools.threads import DaemonThreads, ForeignExit, ThreadsBusy
from assistant.tools.tool import Tool

Status: TypeAlias = Literal["ok", "error", "timeout", "crashed", "invalid", "unknown"]

GRACE_S: Final = 0.1
"""How long a call past its limit may still take to end after it was cancelled, before it is left behind."""

_SAY_LIMIT: Final = 1000
_log = logging.getLogger("hearth.tools")


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """How a tool call ended.

    output: what the model is given, always valid JSON; ``{"error": ...}`` unless status is ``ok``.
    status: ``error`` is a ToolError, the tool's own words; ``invalid`` means that the arguments did not fit.
    """

    output: str
    status: Status
    duration_s: float
    tool: str


class ToolRunner:
    """Calls tools by name. Owns the tasks and threads of the calls, also of those that were left behind."""

    def __init__(
        self,
        registry: ToolRegistry,
        *,
        default_time_limit_s: float = 10.0,
        output_limit: int = 16_000,
        threads: int = 8,
    ) -> None:
        """
        output_limit: characters of output that reach the model; more is cut, with a note.
        threads: how many calls of blocking tools run at a time, counting those that never return; likewise for
            async tools that swallow their cancellation. When all are taken a call fails at once as busy.
        """
        self._registry = registry
        self._default_time_limit_s = default_time_limit_s
        self._output_limit = output_limit
        self._limit = threads
        self._threads = DaemonThreads(threads)
        self._left_behind: set[asyncio.Task[Any]] = set()

    @property
    def stuck(self) -> int:
        """Async calls that were left behind and still run."""
        return len(self._left_behind)

    async def call(self, name: str, arguments_json: str) -> ToolOutcome:
        """Call a tool with arguments as the model wrote them; empty means none.

        Never raises but CancelledError: cancelling cancels an async tool, and leaves a blocking one to finish on
        its thread with nobody listening.
        """
        began = time.monotonic()
        try:
            output, status = await self._call(name, arguments_json)
        except asyncio.CancelledError:
            _log.info("tool %s: cancelled after %.3f s", name, time.monotonic() - began)
            raise
        except Exception as error:  # our own fault; the turn must go on all the same
            _log.exception("tool %s: the call failed", name)
            output, status = _error(f"{name} failed: {type(error).__name__}"), "crashed"
        duration = time.monotonic() - began
        _log.info("tool %s: %s in %.3f s", name, status, duration)
        return ToolOutcome(output, status, duration, name)

    async def close(self, limit_s: float = 0.5) -> None:
        """End the calls that were left behind, as far as they can be ended. Threads are daemons and need no end."""
        for task in await end_tasks(self._left_behind, limit_s):
            _log.error("%s does not end; left behind", task.get_name())

    async def _call(self, name: str, arguments_json: str) -> tuple[str, Status]:
        tool = self._registry.tools.get(name)
        if tool is None:
            return _error(f"there is no tool named {name[:100]}"), "unknown"
        try:
            arguments = tool.schema.validate(_parse(arguments_json))
        except ToolArgumentsError as error:
            return _error(f"{name}: {error}"), "invalid"
        except Exception as error:  # a validator in a plugin's model is the author's code
            return self._crashed(tool, error)
        limit = tool.options.time_limit_s or self._default_time_limit_s
        try:
            job = self._submit(tool, partial(self._registry.bound(tool), **arguments))
        except ToolError as error:
            return _error(str(error)), "error"
        try:
            await asyncio.wait({job}, timeout=limit)  # not wait_for: that waits for ever if cancelling is swallowed
            if not job.done():
                await self._abandon(job)
                return _error(f"{name} took longer than {limit:g} s and was given up"), "timeout"
        except asyncio.CancelledError:
            self._leave_behind(job)
            raise
        return self._outcome(tool, job)

    def _submit(self, tool: Tool, call: Callable[[], Any]) -> asyncio.Future[str]:
        """Start the call; the future gives its output. Raises ThreadsBusy."""
        if not tool.is_async:
            return self._threads.submit(partial(self._run_blocking, call))
        if len(self._left_behind) >= self._limit:
            raise ThreadsBusy(f"{len(self._left_behind)} tool calls are stuck: try again later")
        return asyncio.get_running_loop().create_task(self._run_async(call), name=f"tool {tool.name}")

    def _run_blocking(self, call: Callable[[], Any]) -> str:
        result = call()
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError("a tool that awaits must be an async def")
        return encode(result, self._output_limit)

    async def _run_async(self, call: Callable[[], Any]) -> str:
        try:
            return encode(await call(), self._output_limit)
        except (GeneratorExit, Exception):
            raise
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise ForeignExit("CancelledError") from error  # the tool raised it by itself
        except BaseException as error:  # SystemExit would pass through the task and end the daemon
            raise ForeignExit(type(error).__name__) from error

    async def _abandon(self, job: asyncio.Future[str]) -> None:
        self._leave_behind(job)
        await asyncio.wait({job}, timeout=GRACE_S)
        if not job.done():
            _log.warning("a tool call swallows its cancellation; left behind: %d in all", len(self._left_behind))

    def _leave_behind(self, job: asyncio.Future[str]) -> None:
        job.cancel()
        if isinstance(job, asyncio.Task):
            self._left_behind.add(job)
            job.add_done_callback(self._left_behind.discard)
            job.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen: nobody will ask again

    def _outcome(self, tool: Tool, job: asyncio.Future[str]) -> tuple[str, Status]:
        if job.cancelled():
            return self._crashed(tool, asyncio.CancelledError())
        error = job.exception()
        if error is None:
            return job.result(), "ok"
        if isinstance(error, ToolError):
            return _error(_text(error)[: self._output_limit // 2]), "error"
        return self._crashed(tool, (error.__cause__ or error) if isinstance(error, ForeignExit) else error)

    def _crashed(self, tool: Tool, error: BaseException) -> tuple[str, Status]:
        _log.error("tool %s of plugin %s crashed: %s", tool.name, tool.plugin, fault(error))
        _log.debug("tool %s crashed", tool.name, exc_info=error)
        return _error(f"{tool.name} failed: {type(error).__name__} in its plugin"), "crashed"


def encode(result: object, limit: int) -> str:
    """A tool's result as JSON, of at most ``limit`` characters. Raises whatever the result's own code raises.

    A result that is too long becomes an object with its beginning, a note, and its ``say`` if it has one.
    """
    text = to_json(result, inf_nan_mode="null").decode()
    if len(text) <= limit:
        return text
    cut: dict[str, str] = {"note": f"cut: the result has {len(text)} characters", "beginning": ""}
    say = result.get("say") if isinstance(result, dict) else None
    if isinstance(say, str):
        cut["say"] = say[: min(_SAY_LIMIT, limit // 4)]
        if len(_dump(cut)) > limit:  # escapes make it longer
            del cut["say"]
    start = result if isinstance(result, str) else text
    size = max(0, limit - len(_dump(cut)))
    while size and len(_dump({**cut, "beginning": start[:size]})) > limit:
        size = size * 3 // 4
    return _dump({**cut, "beginning": start[:size]})


def _parse(arguments_json: str) -> dict[str, Any]:
    """The model's arguments. Raises ToolArgumentsError."""
    try:
        arguments = json.loads(arguments_json, parse_constant=_no_constant) if arguments_json.strip() else {}
    except (ValueError, RecursionError):
        raise ToolArgumentsError("the arguments are not valid JSON") from None
    if not isinstance(arguments, dict):
        raise ToolArgumentsError('the arguments must be a JSON object such as {"name": "value"}')
    return arguments


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _text(error: ToolError) -> str:
    try:
        return str(error) or "the tool failed without saying why"
    except Exception:
        return "the tool failed"


def _error(message: str) -> str:
    return _dump({"error": message})


def _dump(value: dict[str, str]) -> str:
    # A model can send half a surrogate pair, as "\\ud800"; it must not come back as text that no socket can encode.
    return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()
