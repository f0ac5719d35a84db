"""One MCP server as the daemon sees it: a worker process that is kept running, and calls that always end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from assistant.plugin import Context, ToolError

LINE_LIMIT: Final = 8_000_000
"""Bytes of a line of the worker, which keeps to far less."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0
STABLE_AFTER_S: Final = 60.0
"""A connection that lasted this long was a good one: the next wait is short again."""

END_GRACE_S: Final = 0.5
_INHERITED: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE"}
    | {"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "NODE_EXTRA_CA_CERTS"}
)
"""All that a server learns of the daemon's environment, which holds keys that are not for it."""


def secret(env: str | None = None, file: str | Path | None = None) -> str:
    """A secret from a file or a variable, or nothing. Raises ToolError, which never quotes it."""
    if file is not None:
        try:
            return Path(file).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ToolError(f"{file} cannot be read: {getattr(error, 'strerror', 'it is no text')}") from None
    if env is None:
        return ""
    if not (value := os.environ.get(env)):
        raise ToolError(f"the variable {env} is not set")
    return value


class Link:
    """Keeps a worker running for one server. Belongs to the event loop.

    tools: what is offered now; kept while the server is away for a moment, so that sessions need not change.
    problem: one line while it does not work, or tools were left out; else None.
    settled: set once it is known whether the server works.
    """

    def __init__(
        self, name: str, settings: Callable[[], dict[str, Any]], context: Context, on_change: Callable[[], None]
    ) -> None:
        self.name = name
        self.tools: list[dict[str, Any]] = []
        self.problem: str | None = None
        self.settled = asyncio.Event()
        self._settings = settings
        self._context = context
        self._on_change = on_change
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._connected = False
        self._stopping = False

    async def run(self) -> None:
        """Keep the server connected until :meth:`stop`. Cancelling ends the worker, and with it the server."""
        wait = FIRST_WAIT_S
        while True:
            began = self._context.clock.monotonic()
            reason = await self._live_once()
            if self._stopping:
                return
            if self._context.clock.monotonic() - began > STABLE_AFTER_S:
                wait = FIRST_WAIT_S
            self._lost(f"{reason}; tried again in {wait:.0f} s")
            await self._context.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def call(self, tool: str, arguments: Mapping[str, Any], limit_s: float) -> str:
        """A tool's result. Raises ToolError, also when the server is away, dies, or takes too long."""
        process = self._process
        if process is None or process.stdin is None or not self._connected:
            raise ToolError(self.problem or f"{self.name} is not connected yet.")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._write(process, {"id": number, "tool": tool, "arguments": dict(arguments), "limit_s": limit_s})
            async with asyncio.timeout(limit_s):
                return await answer
        except TimeoutError:
            raise ToolError(f"{self.name} did not answer within {limit_s:g} seconds.") from None
        finally:
            del self._waiting[number]
            if not answer.done() or answer.cancelled():
                self._write(process, {"id": number, "cancel": True})

    async def stop(self) -> None:
        """End the worker: asked first, then killed."""
        self._stopping = True
        if (process := self._process) is not None:
            await _end(process)

    # --- one life of a worker ---------------------------------------------------------------------------------------

    async def _live_once(self) -> str:
        """Start a worker and listen to it; gives why it ended."""
        try:
            settings = self._settings()
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("worker.py")),
                stdin=asyncio.subprocess.PIPE,  # its end tells the worker that the daemon is gone, however it went
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={key: os.environ[key] for key in _INHERITED if key in os.environ},
                limit=LINE_LIMIT,
                start_new_session=True,
            )
        except ToolError as error:
            return str(error)
        except OSError as error:
            return f"its worker cannot be started: {error.strerror}"
        try:
            self._write(process, settings)
            async with asyncio.timeout(settings["start_limit_s"] + 5.0) as start:
                return await self._listen(process, start)
        except TimeoutError:
            return f"it did not get ready within {settings['start_limit_s']:g} s"
        except ValueError:
            return "its worker wrote too much"
        finally:
            self._process, self._connected = None, False
            await _end(process)

    async def _listen(self, process: asyncio.subprocess.Process, start: asyncio.Timeout) -> str:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            match json.loads(line):
                case {"tools": tools, "left_out": left_out}:
                    start.reschedule(None)
                    self._offered(tools, left_out)
                case {"id": number, "result": result}:
                    self._answer(number, lambda future, result=result: future.set_result(result))
                case {"id": number, "error": error}:
                    problem = ToolError(f"{self.name}: {error}")
                    self._answer(number, lambda future, problem=problem: future.set_exception(problem))
                case {"end": reason}:
                    return str(reason)
        status = await process.wait()
        return f"its worker ended with status {status}"

    def _answer(self, number: int, settle: Callable[[asyncio.Future[str]], None]) -> None:
        future = self._waiting.get(number)
        if future is not None and not future.done():
            settle(future)

    def _offered(self, tools: list[dict[str, Any]], left_out: list[str]) -> None:
        self._connected = True
        self.tools = tools
        more = f" (and {len(left_out) - 1} more)" if len(left_out) > 1 else ""
        self.problem = f"{self.name}: left out {left_out[0]}{more}" if left_out else None
        self._context.logger.info("server %s: %d tools", self.name, len(tools))
        self._on_change()
        self.settled.set()

    def _lost(self, reason: str) -> None:
        self.problem = f"{self.name}: {reason}"
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ToolError(f"{self.name} went away during the call."))
        self._on_change()
        self.settled.set()

    def _write(self, process: asyncio.subprocess.Process, line: dict[str, Any]) -> None:
        """Lines are short and the worker reads them on a thread of its own: nothing to wait for."""
        if process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(json.dumps(line).encode() + b"\n")


async def _end(process: asyncio.subprocess.Process) -> None:
    """No worker outlives its link; with it ends its server."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(END_GRACE_S):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
