"""The process that talks to one MCP server, so that the daemon need not: ``python worker.py``.

Whatever the server sends is read, judged and cut here. If it is too much, this process ends, and the plugin starts it
again later. One life of this process is one connection. Its first line of standard input is a JSON object of settings,
each later one a call; standard output holds one JSON object a line for the plugin::

    {"tools": [...], "left_out": [...]}      after the start, and whenever they have changed
    {"id": 1, "result": "..."}  {"id": 1, "error": "..."}
    {"end": "why"}                           the last line, where there is time for one

When standard input ends, however that came, the server is killed with everything it has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any, Final

import anyio
import httpx2
import mcp_types
from measuring import MESSAGE_LIMIT, TOO_LONG, Gone, MeasuredTransport, Meter
from vetting import vet

from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage

RESULT_LIMIT: Final = 100_000
"""Characters of a result that reach the plugin; the daemon cuts further."""

MEMORY_LIMIT: Final = 1_000_000_000
GARBAGE_LINES: Final = 50
"""Lines on a server's standard output that are no messages; some servers print a greeting there."""

PAGES: Final = 10
LOOK_AGAIN_S: Final = 60.0
"""How often a server behind a URL is asked for its tools: that is how a dead one is noticed."""

REFRESH_PAUSE_S: Final = 5.0
"""At least so long between two looks, however often a server says that its tools have changed."""

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


class Worker:
    """One connection, from its settings to its end."""

    def __init__(self, settings: dict[str, Any], output: int) -> None:
        self._settings = settings
        self._output = output
        self._meter = Meter()
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._told: dict[str, Any] = {}
        self._ended = False  # the server has closed its standard output
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.group: int | None = None
        """The server's process group."""

    def request(self, line: dict[str, Any]) -> None:
        self._requests.put_nowait(line)

    async def run(self) -> str:
        """Connect and serve; gives the reason of the end."""
        try:
            async with asyncio.timeout(self._settings["start_limit_s"]) as start, self._client() as client:
                await self._tell_tools(client)
                start.reschedule(None)
                return await self._serve(client)
        except BaseException as error:
            if self._over.done():
                return self._over.result()
            return _reason(error, self._settings["start_limit_s"])

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_result(reason)

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        transport = self._http() if self._settings.get("url") else self._stdio()
        info = mcp_types.Implementation(name="hearth", version="1")
        async with Client(transport, cache=None, client_info=info, message_handler=self._notified) as client:
            yield client

    async def _notified(self, message: object) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self._changed.set()

    async def _serve(self, client: Client) -> str:
        helpers = [asyncio.ensure_future(work) for work in (self._refresh(client), self._take(client))]
        try:
            await asyncio.wait({self._over, *helpers}, return_when=asyncio.FIRST_COMPLETED)
            for helper in helpers:
                if helper.done():
                    helper.result()
            return self._over.result()
        finally:
            for task in (*helpers, *self._calls.values()):
                task.cancel()

    async def _take(self, client: Client) -> None:
        while True:
            request = await self._requests.get()
            number = request["id"]
            if "cancel" in request:
                if task := self._calls.get(number):
                    task.cancel()
                continue
            task = self._calls[number] = asyncio.ensure_future(self._call(client, request))
            task.add_done_callback(lambda _, number=number: self._calls.pop(number, None))

    async def _call(self, client: Client, request: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"id": request["id"]}
        try:
            result = await client.call_tool(request["tool"], request["arguments"], request["limit_s"])
            text = _text(result)
            if result.is_error:
                answer["error"] = text[:1000] or "the tool failed without saying why"
            else:
                answer["result"] = text
        except MCPError as error:
            answer["error"] = " ".join(str(error).split())[:1000]
        except Exception as error:
            answer["error"] = f"the answer cannot be read ({type(error).__name__})"
            if isinstance(error, httpx2.TransportError):
                self._end("it cannot be reached any more")
        self.tell(answer)

    async def _refresh(self, client: Client) -> None:
        """Tell of the tools again when they have changed."""
        watching = asyncio.ensure_future(self._watch(client))
        try:
            while True:
                try:
                    async with asyncio.timeout(LOOK_AGAIN_S if self._settings.get("url") else None):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                await asyncio.sleep(0.2)  # servers that change many tools say so for each
                self._changed.clear()
                await self._tell_tools(client)
                await asyncio.sleep(REFRESH_PAUSE_S)
        finally:
            watching.cancel()

    async def _watch(self, client: Client) -> None:
        """Servers of the newer protocol tell of changes only those who listen."""
        with contextlib.suppress(Exception):
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._changed.set()

    async def _tell_tools(self, client: Client) -> None:
        tools: list[dict[str, Any]] = []
        cursor = None
        for _ in range(PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += [tool.model_dump(by_alias=True, mode="json") for tool in page.tools]
            if not (cursor := page.next_cursor):
                break
        offers, left_out = vet(self._settings["name"], tools, self._settings["tools"])
        line = {"tools": [asdict(offer) for offer in offers], "left_out": left_out[:20]}
        if line != self._told:
            self._told = line
            self.tell(line)

    def tell(self, line: dict[str, Any]) -> None:
        """One line for the plugin. It reads all the time; should it not, this process may as well wait for it."""
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[os.write(self._output, data) :]

    # --- ways to a server -----------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _http(self) -> AsyncIterator[Any]:
        token = self._settings.get("token")
        headers = {"Accept-Encoding": "identity"}  # what is counted is what has to be held
        if token:
            headers["Authorization"] = f"Bearer {token}"
        _limit_memory()
        timeout = httpx2.Timeout(30.0, read=300.0)
        transport = MeasuredTransport(self._meter, self._end)
        async with (
            httpx2.AsyncClient(headers=headers, timeout=timeout, transport=transport, trust_env=False) as client,
            streamable_http_client(self._settings["url"], http_client=client) as streams,
        ):
            yield streams

    @contextlib.asynccontextmanager
    async def _stdio(self) -> AsyncIterator[Any]:
        process = await asyncio.create_subprocess_exec(
            self._settings["command"],
            *self._settings["args"],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **self._settings["env"]},
            start_new_session=True,
            limit=MESSAGE_LIMIT,
            preexec_fn=_die_with_parent,
        )
        self.group = process.pid
        _limit_memory()  # only now: a server has a right to memory of its own
        incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        sent, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        pumps = [
            asyncio.ensure_future(self._pump_in(process, incoming)),
            asyncio.ensure_future(self._pump_out(process, outgoing)),
        ]
        try:
            yield received, sent
        finally:
            if self._ended:
                await asyncio.wait(pumps[:1], timeout=1.5)  # it finds out why
            for pump in pumps:
                pump.cancel()
            for stream in (incoming, received, sent, outgoing):
                stream.close()

    async def _pump_in(self, process: asyncio.subprocess.Process, incoming: Any) -> None:
        assert process.stdout is not None
        garbage = 0
        try:
            async with incoming:
                while line := await process.stdout.readline():
                    self._meter.count(len(line))
                    try:
                        message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                    except ValueError:
                        garbage += 1
                        if garbage > GARBAGE_LINES:
                            raise Gone("what it writes to its standard output is not MCP") from None
                        continue
                    await incoming.send(SessionMessage(message))
                self._ended = True
        except ValueError:
            self._end(TOO_LONG)
        except Gone as gone:
            self._end(str(gone))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        else:
            try:
                async with asyncio.timeout(1.0):
                    status = await process.wait()
            except TimeoutError:
                self._end("it closed its standard output")
            else:
                self._end(f"it ended with status {status}: run its command by hand to see why")

    async def _pump_out(self, process: asyncio.subprocess.Process, outgoing: Any) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            async for message in outgoing:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode() + b"\n")
                await process.stdin.drain()


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, resource.RLIM_INFINITY))


def _die_with_parent() -> None:
    """The server dies with this process, also if that is killed. Runs in the child, which has one thread."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _text(result: mcp_types.CallToolResult) -> str:
    """A result as text. Pictures and the like are named, not sent: nobody could hear them."""
    parts: list[str] = []
    length = 0
    for block in result.content:
        text = block.text if isinstance(block, mcp_types.TextContent) else f"[{block.type} left out]"
        parts.append(text[: RESULT_LIMIT - length])
        length += len(parts[-1])
        if length >= RESULT_LIMIT:
            break
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content)[:RESULT_LIMIT]
    return "\n".join(parts)


def _reason(error: BaseException, start_limit_s: float) -> str:
    """Why a connection is over, without a word of what the server said: that could be anything."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case Gone():
            return str(error)
        case TimeoutError():
            return f"it did not get ready within {start_limit_s:g} s"
        case FileNotFoundError():
            return "its command is not installed"
        case PermissionError():
            return "its command may not be run"
        case httpx2.TransportError():
            return "it cannot be reached"
        case MCPError() if error.error.code == mcp_types.PARSE_ERROR:
            return "what it answers is not MCP"
        case MCPError():
            return f"it answered with error {error.error.code}"
        case _:
            return f"its answers cannot be understood ({type(error).__name__})"


def _kill(group: int | None) -> None:
    if group is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _listen(worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
    """The plugin's lines, read on a thread: its end must be noticed also while the loop is busy."""
    for line in sys.stdin.buffer:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(worker.request, json.loads(line))
    _kill(worker.group)
    os._exit(0)


async def _main() -> None:
    output = os.dup(1)
    os.dup2(2, 1)  # what libraries print is not for the plugin
    os.nice(5)
    worker = Worker(json.loads(sys.stdin.buffer.readline()), output)
    threading.Thread(target=_listen, args=(worker, asyncio.get_running_loop()), daemon=True).start()
    reason = await worker.run()
    _kill(worker.group)
    worker.tell({"end": reason})
    os._exit(0)  # nothing is left to be saved, and a library may hold a thread


if __name__ == "__main__":
    asyncio.run(_main())
