"""``assistant serve --mcp`` with the official client; and its HTTP side as a server for the plugin ``mcp``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import httpx2
import mcp_types
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from assistant.cli import execute
from assistant.cli.serve_mcp import TOKEN_VARIABLE
from assistant.control import socket_path
from assistant.control.server import serve
from assistant.controls import Controls
from assistant.happenings import Happenings
from assistant.journal import Journal
from assistant.tools.audit import AuditLog, read_calls
from assistant.tools.registry import ToolRegistry
from assistant.tools.runner import ToolOutcome, ToolRunner
from tests.house import run_command
from tests.plugins.test_mcp import home, links, until

TOKEN = "open-sesame-open-sesame"
PLUGIN = '''
from assistant.plugin import ToolError, tool


@tool
async def greet(name: str = "you") -> str:
    """Greet somebody."""
    if name == "nobody":
        raise ToolError("Nobody is there.")
    print("stray output")
    return f"Hello {name}."


@tool(tier="confirm")
async def set_fan(percent: int) -> dict[str, int]:
    """Set the fan."""
    return {"percent": percent}


@tool(tier="confirm")
async def reboot() -> str:
    """Reboot."""
    return "rebooted"


@tool(tier="pin")
async def unlock() -> str:
    """Unlock the door."""
    return "unlocked"


@tool(tier="deny")
async def explode() -> str:
    """Explode."""
    return "boom"
'''
BUNDLED = sorted(file.stem for file in (Path(__file__).parents[1] / "plugins").iterdir() if file.stem[0] != "_")
CONFIG = f"""\
state_dir: state
tools:
  folders: [mine]
  disabled: [{", ".join(name for name in BUNDLED if "." not in name)}]
  lend: [set_fan, "unl*", explode]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "house.py").write_text(PLUGIN)
    return tmp_path


@contextlib.asynccontextmanager
async def over_stdio(folder: Path) -> AsyncIterator[Client]:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "assistant", "serve", "--mcp", "--config", str(folder / "config.yaml")],
        env={key: value for key, value in os.environ.items() if key.startswith(("PYTHON", "VIRTUAL"))},
    )
    info = mcp_types.Implementation(name="tester\n\x1b[2J", version="1")
    async with Client(server, client_info=info, read_timeout_seconds=40) as client:
        yield client


async def said(client: Client, tool: str, **arguments: Any) -> tuple[str, bool]:
    result = await client.call_tool(tool, arguments)
    (block,) = result.content
    assert isinstance(block, mcp_types.TextContent)
    return block.text, bool(result.is_error)


async def offered(client: Client) -> list[str]:
    return sorted(tool.name for tool in (await client.list_tools()).tools)


def test_what_is_safe_or_listed_is_lent_and_the_rest_is_not(folder: Path) -> None:
    async def check() -> None:
        async with over_stdio(folder) as client:
            assert await offered(client) == ["greet", "set_fan"]
            assert await said(client, "greet", name="Ada") == ("Hello Ada.", False)
            assert await said(client, "greet", name="nobody") == ("Nobody is there.", True)
            assert await said(client, "set_fan", percent=40) == ('{"percent":40}', False)
            assert (await said(client, "set_fan", percent="much"))[1]
            for hidden in ("reboot", "unlock", "explode", "confirm_action", "enter_pin", "no_such_tool"):
                text, failed = await said(client, hidden)
                assert (failed, "not lent" in text) == (True, True)

    asyncio.run(check())
    calls = read_calls(folder / "state" / "tools.sqlite3", 10)
    assert [(call.tool, call.status, call.caller) for call in calls] == [
        ("greet", "ok", "mcp tester[2J"),
        ("greet", "error", "mcp tester[2J"),
        ("set_fan", "ok", "mcp tester[2J"),
        ("set_fan", "invalid", "mcp tester[2J"),
    ]
    shown = run_command("tools", "log", "--config", str(folder / "config.yaml"), folder=folder).stdout
    assert "lent      greet" in shown
    assert "mcp tester" in shown


class Desk:
    """What of Controls a lender needs, of a running assistant."""

    def __init__(self, folder: Path) -> None:
        self.registry = ToolRegistry(folder / "state" / "plugins")
        self.registry.load([folder / "mine"], bundled=False, installed=False)
        self.runner = ToolRunner(self.registry, audit=AuditLog(folder / "state" / "tools.sqlite3"))
        self.tools = ["greet"]

    def status(self) -> dict[str, Any]:
        return {}

    def tool_list(self) -> list[dict[str, Any]]:
        return self.registry.catalogue()

    async def call_tool(self, name: str, arguments: str, *, by_owner: bool, caller: str) -> ToolOutcome:
        return await self.runner.call(name, arguments, by_owner=by_owner, caller=f"here: {caller}")


def test_a_running_assistant_runs_its_tools_itself(folder: Path) -> None:
    async def check() -> None:
        desk = Desk(folder)
        path = socket_path(folder / "state")
        door = asyncio.ensure_future(serve(path, cast(Controls, desk), Happenings(Journal(), lambda: 0.0)))
        try:
            await until(path.exists)
            async with over_stdio(folder) as client:
                assert await offered(client) == ["greet", "set_fan"]
                assert await said(client, "set_fan", percent=40) == ('{"percent":40}', False)
                assert (await said(client, "unlock"))[1]
                door.cancel()
                await asyncio.wait({door})
                text, failed = await said(client, "greet")
                assert (failed, "no assistant is running" in text) == (True, True)
        finally:
            door.cancel()
            await asyncio.wait({door})
            await desk.runner.close()

    asyncio.run(check())
    (call,) = read_calls(folder / "state" / "tools.sqlite3", 10)
    assert (call.tool, call.caller) == ("set_fan", "here: mcp tester[2J")


@contextlib.contextmanager
def over_http(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with subprocess.Popen(
        [sys.executable, "-m", "assistant", "serve", "--mcp-http", "127.0.0.1:0", "--config", "config.yaml"],
        cwd=folder,
        env={**os.environ, TOKEN_VARIABLE: TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removeprefix("listening on "), process
        finally:
            process.terminate()
            _, complaints = process.communicate(timeout=20)
            assert "Traceback" not in complaints


def test_http_clients_need_the_token(folder: Path) -> None:
    async def check(url: str) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False) as http,
            Client(streamable_http_client(url, http_client=http), read_timeout_seconds=40) as client,
        ):
            assert await offered(client) == ["greet", "set_fan"]
            assert await said(client, "greet") == ("Hello you.", False)
        async with httpx2.AsyncClient(trust_env=False) as http:
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
                assert (await http.post(url, json=body, headers=shown)).status_code == 401
            rebound = {**headers, "Host": "evil.example", "Accept": "application/json, text/event-stream"}
            assert (await http.post(url, json=body, headers=rebound)).status_code in (403, 421)

    with over_http(folder) as (url, process):
        asyncio.run(check(url))
    assert process.returncode == 0


def test_a_url_becomes_a_plugin_and_comes_back_after_a_restart(folder: Path) -> None:
    (folder / "token").write_text(TOKEN)

    async def check(url: str, process: subprocess.Popen[str]) -> None:
        server = {"url": url, "token_file": str(folder / "token")}
        strange = await asyncio.start_server(_strange, "127.0.0.1", 0)
        odd = f"http://127.0.0.1:{strange.sockets[0].getsockname()[1]}"
        async with (
            strange,
            home(
                folder / "other",
                house=server,
                locked={"url": url},
                odd={"url": f"{odd}/garbage"},
                fat={"url": f"{odd}/huge"},
                slow={"url": f"{odd}/silent", "start_limit_s": 3},
            ) as it,
        ):
            assert sorted(it.registry.tools) == ["house_greet", "house_set_fan"]
            assert it.registry.tier(it.registry.tools["house_set_fan"]) == "confirm", "it calls itself destructive"
            assert json.loads((await it.call("house_greet", name="Bob")).output) == "Hello Bob."
            problems = {link.name: link.problem for link in links(it)}
            assert problems["house"] is None
            for name, wanted in {
                "locked": "it refuses the token: set token_file or token_env",
                "odd": "what it answers is not MCP",
                "fat": "it sent a message of more than 4 MB",
                "slow": "it did not get ready within 3 s",
            }.items():
                assert problems[name].startswith(f"{name}: {wanted}")
            process.terminate()
            process.wait(20)
            assert (await it.call("house_greet")).status == "error"
            await until(lambda: links(it)[0].problem is not None)

    with over_http(folder) as (url, process):
        asyncio.run(check(url, process))


async def _strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP server that is no MCP server."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/silent" in head:
            await reader.read()
        body = b"{" * 20_000_000 if b"/huge" in head else b"\x00garbage"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("arguments", "token", "wanted"),
    [
        (["--mcp-http", "0.0.0.0:80"], TOKEN, "expected an address of this machine, such as 127.0.0.1:8731"),
        (["--mcp-http", "127.0.0.1"], TOKEN, "expected an address of this machine"),
        (["--mcp-http", "127.0.0.1:0"], "short", "needs a token of at least 16 characters"),
        (["--mcp-http", "127.0.0.1:0", "--mcp-token-file", "gone"], TOKEN, "gone cannot be read: No such file"),
    ],
)
def test_an_unsafe_way_to_listen_is_refused(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    token: str,
    wanted: str,
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    assert execute(["serve", *arguments, "--config", str(folder / "config.yaml")]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert wanted in line
