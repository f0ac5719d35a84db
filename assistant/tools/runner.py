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
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from assistant.errors import ToolError
from assistant.plugin import Tier, WallClock
from assistant.plugin.decorator import strictest
from assistant.plugin.long_work import LongTask, TaskEnd
from assistant.plugin.services import SystemClock
from assistant.plugin.tasks import end_tasks, fault
from assistant.tools.audit import AuditLog, CallRecord
from assistant.tools.consent import CONSENT_TOOLS, Consent
from assistant.tools.output import dump, encode
from assistant.tools.registry import ToolRegistry
from assistant.tools.schema import ToolArgumentsError
from assistant.tools.threads import DaemonThreads, ForeignExit, Places, ThreadsBusy
from assistant.tools.tool import Tool

Status: TypeAlias = Literal["ok", "error", "timeout", "crashed", "invalid", "unknown", "asked", "refused"]

GRACE_S: Final = 0.1
"""How long a call past its limit may still take to end after it was cancelled, before it is left behind."""

_log = logging.getLogger("hearth.tools")


MAX_DEPTH: Final = 3
"""How deep tools may call tools."""

_CONSENTED: Final[ContextVar[Tier]] = ContextVar("consented", default="safe")
"""What the user has agreed to, for the tool call that is going on."""

_DEPTH: Final[ContextVar[int]] = ContextVar("depth", default=0)


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """How a tool call ended.

    output: what the model is given, always valid JSON; ``{"error": ...}`` unless status is ``ok`` or ``asked``.
    status: ``error`` is a ToolError, the tool's own words; ``invalid`` means that the arguments did not fit;
        ``asked`` that the user must agree first; ``refused`` that the user did not, or that the tool is not run now.
    tool: the tool that the model called.
    """

    output: str
    status: Status
    duration_s: float
    tool: str


@dataclass(slots=True)
class _Call:
    """What becomes known of a call while it goes on, for the log."""

    tool: Tool | None = None
    tier: Tier = "safe"
    arguments: str | None = None
    caller: str = ""


class ToolRunner:
    """Calls tools by name. Owns the tasks and threads of the calls, also of those that were left behind."""

    def __init__(
        self,
        registry: ToolRegistry,
        *,
        default_time_limit_s: float = 10.0,
        output_limit: int = 16_000,
        threads: int = 8,
        per_plugin: int = 4,
        consent: Consent | None = None,
        audit: AuditLog | None = None,
        audit_arguments: bool = False,
        pool: DaemonThreads | None = None,
        clock: WallClock | None = None,
    ) -> None:
        """
        output_limit: characters of output that reach the model; more is cut, with a note.
        threads: how many calls of blocking tools run at a time, counting those that never return; likewise for
            async tools that swallow their cancellation. When all are taken a call fails at once as busy.
        per_plugin: how many of them one plugin, or one group of its tools, may take.
        consent: keeps the calls that wait for the user's word; by default one without a PIN.
        audit: keeps every call, with its arguments only if ``audit_arguments``; closed with the runner.
        pool: where blocking tools run, instead of on ``threads`` of its own.
        clock: the time; by default the machine's.
        """
        self._registry = registry
        self._default_time_limit_s = default_time_limit_s
        self._output_limit = output_limit
        self._limit = threads
        self._threads = pool or DaemonThreads(threads)
        self._clock: WallClock = clock or SystemClock()
        self._left_behind: set[asyncio.Task[Any]] = set()
        self._places = Places(per_plugin)
        self._consent = consent or Consent()
        self._audit = audit
        self._audit_arguments = audit_arguments
        registry.call_tool = self.call_from_plugin
        registry.long_tasks.on_end = self._long_task_ended

    @property
    def stuck(self) -> int:
        """Async calls that were left behind and still run."""
        return len(self._left_behind)

    async def call(
        self, name: str, arguments_json: str, *, turn: int = 0, by_owner: bool = False, caller: str = ""
    ) -> ToolOutcome:
        """Call a tool with arguments as the model wrote them; empty means none.

        turn: the turn of the conversation. A tool that needs the user's consent runs in a later turn than the one
            in which it was called; in turn 0, which is no turn, it never runs.
        by_owner: the owner of the machine has typed the call: nobody is asked. Tools of tier deny are not run.
        caller: who calls, if it is another program; for the audit log.

        Never raises but CancelledError: cancelling cancels an async tool, and leaves a blocking one to finish on
        its thread with nobody listening.
        """
        began = self._clock.monotonic()
        call = _Call(caller=caller)
        status: Status = "crashed"
        try:
            output, status = await self._call(call, name, arguments_json, turn, by_owner)
        except asyncio.CancelledError:
            _log.info("tool %s: cancelled after %.3f s", name[:100], self._clock.monotonic() - began)
            self._record(call, name, turn, "cancelled", began)
            raise
        except Exception as error:  # our own fault; the turn must go on all the same
            _log.exception("tool %s: the call failed", name[:100])
            output = _error(f"{name[:100]} failed: {type(error).__name__}")
        duration = self._record(call, name, turn, status, began)
        _log.info("tool %s: %s in %.3f s", name[:100], status, duration)
        return ToolOutcome(output, status, duration, name)

    def _record(self, call: _Call, name: str, turn: int, status: str, began: float) -> float:
        """Write a call down; gives how long it took."""
        duration = self._clock.monotonic() - began
        if self._audit is not None:
            tool = call.tool
            arguments = call.arguments if self._audit_arguments else None
            names = (tool.name, tool.plugin) if tool else (name[:100], "")
            self._audit.write(
                CallRecord(
                    at=self._clock.now().timestamp(),
                    turn=turn,
                    tool=names[0],
                    plugin=names[1],
                    tier=call.tier,
                    status=status,
                    duration_ms=round(duration * 1000, 1),
                    arguments=arguments,
                    caller=call.caller,
                )
            )
        return duration

    def _long_task_ended(self, task: LongTask, how: TaskEnd, duration: float) -> None:
        """Write down how long work has ended: its call has its own line, and was over when the work had begun."""
        _log.info("%s of plugin %s: %s in %.1f s", task.title, task.plugin, how, duration)
        if self._audit is not None:
            self._audit.write(
                CallRecord(
                    at=self._clock.now().timestamp(),
                    turn=0,
                    tool=f"({task.title})",
                    plugin=task.plugin,
                    tier="safe",
                    status=how,
                    duration_ms=round(duration * 1000, 1),
                )
            )

    async def call_from_plugin(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """A tool calls another one: the consent that was given for the outer one is all there is.

        Gives the result, decoded. Raises ToolError if it did not work.
        """
        depth = _DEPTH.get() + 1
        tool = self._registry.find(name)
        if depth > MAX_DEPTH:
            raise ToolError(f"{name} was not called: tools call each other in a circle")
        if tool is not None and strictest(self._registry.tier(tool), tier := _CONSENTED.get()) != tier:
            raise ToolError(f"{name} needs more consent than was given: make the tool that calls it stricter")
        mark = _DEPTH.set(depth)
        try:
            outcome = await self.call(name, json.dumps(arguments), by_owner=True)
        finally:
            _DEPTH.reset(mark)
        result = json.loads(outcome.output)
        if outcome.status != "ok":
            raise ToolError(str(result["error"]))
        return result

    async def close(self, limit_s: float = 0.5) -> None:
        """End the calls that were left behind, as far as they can be ended, and then the audit log.

        Threads are daemons and need no end.
        """
        for task in await end_tasks(self._left_behind, limit_s):
            _log.error("%s does not end; left behind", task.get_name())
        if self._audit is not None:
            await asyncio.to_thread(self._audit.close)

    async def _call(self, call: _Call, name: str, arguments_json: str, turn: int, by_owner: bool) -> tuple[str, Status]:
        call.tool = tool = CONSENT_TOOLS.get(name) or self._registry.find(name)
        if tool is None:
            return _error(f"there is no tool named {name[:100]}"), "unknown"
        try:
            arguments = tool.schema.validate(_parse(arguments_json))
        except ToolArgumentsError as error:
            return _error(f"{name}: {error}"), "invalid"
        except Exception as error:  # a validator in a plugin's model is the author's code
            return self._crashed(tool, error)
        if name in CONSENT_TOOLS:
            return await self._consented(call, tool, arguments, turn)
        call.arguments = arguments_json
        call.tier = self._registry.tier(tool)
        if call.tier != "safe" and not by_owner:
            try:
                question = self._consent.ask(tool, call.tier, arguments, turn=turn, now=self._clock.monotonic())
            except ToolError as error:
                return _error(str(error)), "refused"
            return dump(question), "asked"
        return await self._run(tool, arguments)

    async def _consented(self, call: _Call, answer: Tool, arguments: dict[str, Any], turn: int) -> tuple[str, Status]:
        """The user has answered: run what waits for it, if that may run now."""
        try:
            pending = self._consent.redeem(answer.name, arguments, turn=turn, now=self._clock.monotonic())
        except ToolError as error:
            return _error(str(error)), "refused"
        if pending is None:
            return dump({"say": "Okay, I will leave it."}), "ok"
        call.tool, call.tier = self._registry.find(pending.tool), pending.tier
        call.arguments = dump(dict(pending.arguments)) if self._audit_arguments else None
        if call.tool is None:
            return _error(f"{pending.tool} is not available any more"), "refused"
        return await self._run(call.tool, dict(pending.arguments))

    async def _run(self, tool: Tool, arguments: dict[str, Any]) -> tuple[str, Status]:
        """Run a tool whose arguments fit, within its limits."""
        limit = tool.options.time_limit_s or self._default_time_limit_s
        if (wait_s := self._registry.refuses(tool)) is not None:
            return _error(f"{tool.name} has failed too often; try it again in {wait_s:.0f} seconds"), "refused"
        mark = _CONSENTED.set(self._registry.tier(tool))
        try:
            job = self._submit(tool, partial(self._registry.bound(tool), **arguments))
        except ToolError as error:
            return _error(str(error)), "refused"
        finally:
            _CONSENTED.reset(mark)
        try:
            await asyncio.wait({job}, timeout=limit)  # not wait_for: that waits for ever if cancelling is swallowed
            if not job.done():
                self._registry.report(tool, failed=True)
                await self._abandon(job)
                return _error(f"{tool.name} took longer than {limit:g} s and was given up"), "timeout"
        except asyncio.CancelledError:
            self._leave_behind(job)
            raise
        output, status = self._outcome(tool, job)
        self._registry.report(tool, failed=status == "crashed")
        return output, status

    def _submit(self, tool: Tool, call: Callable[[], Any]) -> asyncio.Future[str]:
        """Start the call; the future gives its output. Raises ThreadsBusy."""
        if tool.is_async and len(self._left_behind) >= self._limit:
            raise ThreadsBusy(f"{len(self._left_behind)} tool calls are stuck: try again later")
        place = self._places.take(tool.group)
        try:
            if not tool.is_async:
                return self._threads.submit(partial(self._run_blocking, call, place))
            job = asyncio.get_running_loop().create_task(self._run_async(call), name=f"tool {tool.name}")
        except BaseException:
            place()
            raise
        job.add_done_callback(lambda _: place())
        return job

    def _run_blocking(self, call: Callable[[], Any], done: Callable[[], None]) -> str:
        try:
            result = call()
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()
                raise TypeError("a tool that awaits must be an async def")
            return encode(result, self._output_limit)
        finally:
            done()

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
    return dump({"error": message})
