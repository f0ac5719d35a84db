"""``assistant serve --mcp``: the home's tools for other MCP clients, over standard input and output or over HTTP.

Where an assistant runs with the same state folder, its plugins hold the state, so each call goes there by its control
socket. Otherwise the plugins run here, until the client has gone.

A client is no person in the room. What is safe is lent; what asks for a yes is lent only if the owner has listed it in
``tools.lend``, since nobody could be asked; what asks for the PIN, or is denied, never is. The audit log has the
client's name.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import ipaddress
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

try:
    import mcp_types
    import uvicorn
    from mcp.server import Server, ServerRequestContext
    from mcp.server.stdio import stdio_server
except ImportError as missing:
    from assistant.errors import HearthError

    raise HearthError("the package mcp is not installed: pip install 'hearth-assistant[mcp]'") from missing

from assistant import __version__, wiring
from assistant.cli.common import complain, load_config, run_async, say
from assistant.config import Config
from assistant.control import client, socket_path
from assistant.errors import EXIT_OK, HearthError

TOKEN_VARIABLE: Final = "HEARTH_MCP_TOKEN"
PATH: Final = "/mcp"
CALL_TIMEOUT_S: Final = 310.0
"""More than any tool's time limit."""

_INSTRUCTIONS: Final = "Tools of the house in which a voice assistant runs. What they do, they do in that house."

Scope: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class House(Protocol):
    """Where the tools run."""

    async def tools(self) -> list[dict[str, Any]]:
        """Each with ``name``, ``description``, ``parameters`` and ``tier``."""
        ...

    async def call(self, name: str, arguments: str, *, consent: bool, caller: str) -> tuple[str, str]:
        """The output, which is JSON, and the status."""
        ...


class RunningHouse:
    """The assistant that runs already."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def tools(self) -> list[dict[str, Any]]:
        answer = await asyncio.to_thread(client.request, self._path, "tools")
        return list(answer["tools"])

    async def call(self, name: str, arguments: str, *, consent: bool, caller: str) -> tuple[str, str]:
        answer = await asyncio.to_thread(
            client.request,
            self._path,
            "call",
            timeout=CALL_TIMEOUT_S,
            tool=name,
            arguments=arguments,
            yes=consent,
            caller=caller,
        )
        return answer["output"], answer["status"]


class OwnHouse:
    """The plugins, in this process."""

    def __init__(self, config: Config) -> None:
        self._registry = wiring.tool_registry(config, None)
        self._runner = wiring.tool_runner(config, self._registry)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            await self._registry.start()
            await self._registry.ready()
            yield
        finally:
            await self._registry.stop()
            await self._runner.close()

    async def tools(self) -> list[dict[str, Any]]:
        return self._registry.catalogue()

    async def call(self, name: str, arguments: str, *, consent: bool, caller: str) -> tuple[str, str]:
        outcome = await self._runner.call(name, arguments, by_owner=consent, caller=caller)
        return outcome.output, outcome.status


class Lender:
    """Decides what is lent, and calls it."""

    def __init__(self, house: House, lend: tuple[str, ...]) -> None:
        self._house = house
        self._lend = lend

    def server(self) -> Server[Any]:
        """An MCP server for any number of connections."""
        return Server(
            "hearth",
            version=__version__,
            instructions=_INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def _lent(self) -> dict[str, dict[str, Any]]:
        return {tool["name"]: tool for tool in await self._house.tools() if self._may(tool["name"], tool["tier"])}

    def _may(self, name: str, tier: str) -> bool:
        return tier == "safe" or (tier == "confirm" and any(fnmatchcase(name, pattern) for pattern in self._lend))

    async def _list(self, context: ServerRequestContext[Any], params: Any) -> mcp_types.ListToolsResult:
        try:
            lent = await self._lent()
        except HearthError as error:
            complain(f"assistant serve: {error}")
            lent = {}
        return mcp_types.ListToolsResult(tools=[_described(tool) for tool in lent.values()])

    async def _call(
        self, context: ServerRequestContext[Any], params: mcp_types.CallToolRequestParams
    ) -> mcp_types.CallToolResult:
        try:
            tool = (await self._lent()).get(params.name)
            if tool is None:
                return _result("there is no such tool, or it is not lent: see tools.lend in config.yaml", failed=True)
            output, status = await self._house.call(
                params.name,
                json.dumps(params.arguments or {}),
                consent=tool["tier"] == "confirm",
                caller=_caller(context),
            )
        except HearthError as error:
            return _result(str(error), failed=True)
        value = json.loads(output)
        if status != "ok":
            return _result(str(value.get("error", output)) if isinstance(value, dict) else output, failed=True)
        return _result(value if isinstance(value, str) else output, failed=False)


def main(options: argparse.Namespace) -> int:
    """Serve until the client has gone, or until a signal."""
    config = load_config(options, log_level=options.log_level or "warning")
    address = _address(options.mcp_http) if options.mcp_http else None
    token = _token(options.mcp_token_file) if address else ""
    run_async(_serve(config, address, token))
    return EXIT_OK


async def _serve(config: Config, address: tuple[str, int] | None, token: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _house(config) as house:
        server = Lender(house, config.tools.lend).server()
        if address is not None:
            await _over_http(server, *address, token, stop)
            return
        serving = asyncio.ensure_future(_over_stdio(server))
        waiting = asyncio.ensure_future(stop.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            waiting.cancel()
            serving.result()
            return
    os._exit(EXIT_OK)  # a thread still reads standard input, and would be waited for


@contextlib.asynccontextmanager
async def _house(config: Config) -> AsyncIterator[House]:
    running = RunningHouse(socket_path(config.state_folder))
    try:
        await running.tools()
    except client.NotRunning:
        own = OwnHouse(config)
        async with own.running():
            yield own
    else:
        yield running


async def _over_stdio(server: Server[Any]) -> None:
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


async def _over_http(server: Server[Any], host: str, port: int, token: str, stop: asyncio.Event) -> None:
    app = _guarded(server.streamable_http_app(streamable_http_path=PATH, host=host), token)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # before it is said: uvicorn takes its time
        except OSError as error:
            raise HearthError(f"{host}:{port} cannot be used: {error.strerror}") from None
        shown = f"[{host}]" if ":" in host else host
        settings = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        web = uvicorn.Server(settings)

        async def leave() -> None:
            await stop.wait()
            web.should_exit = True

        leaving = asyncio.ensure_future(leave())
        say(f"listening on http://{shown}:{listener.getsockname()[1]}{PATH}")
        try:
            await web.serve(sockets=[listener])
        finally:
            leaving.cancel()


def _guarded(app: App, token: str) -> App:
    """Only those who show the token come in."""
    wanted = f"Bearer {token}".encode()

    async def guard(
        scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        shown = dict(scope["headers"]).get(b"authorization", b"")
        if hmac.compare_digest(shown, wanted):
            await app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"the token is wrong or missing\n"})

    return guard


def _address(text: str) -> tuple[str, int]:
    """HOST:PORT on this machine. Raises HearthError."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]").replace("localhost", "127.0.0.1")
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here or not port.isdecimal() or int(port) > 65535:
        raise HearthError(f"--mcp-http {text}: expected an address of this machine, such as 127.0.0.1:8731")
    return host, int(port)


def _token(file: Path | None) -> str:
    """What clients must show. Raises HearthError."""
    if file is not None:
        try:
            token = file.expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise HearthError(f"{file} cannot be read: {getattr(error, 'strerror', 'it is no text')}") from None
    else:
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if len(token) < 16 or not token.isascii():
        raise HearthError(
            f"--mcp-http needs a token of at least 16 characters, in {TOKEN_VARIABLE} or --mcp-token-file: "
            "make one with: openssl rand -hex 16"
        )
    return token


def _described(tool: dict[str, Any]) -> mcp_types.Tool:
    return mcp_types.Tool(
        name=tool["name"],
        description=tool["description"],
        input_schema=tool["parameters"],
        annotations=mcp_types.ToolAnnotations(destructive_hint=tool["tier"] != "safe"),
    )


def _result(text: str, *, failed: bool) -> mcp_types.CallToolResult:
    return mcp_types.CallToolResult(content=[mcp_types.TextContent(type="text", text=text)], is_error=failed)


def _caller(context: ServerRequestContext[Any]) -> str:
    """The client's name for the audit log; it says so itself, so it is worth as much."""
    params = context.session.client_params
    name = params.client_info.name if params else ""
    return f"mcp {''.join(c for c in name if c.isprintable())[:40] or 'client'}"
