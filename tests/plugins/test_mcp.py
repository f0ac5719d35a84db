"""MCP servers as plugins: real ones, and one that goes wrong in every way that came to mind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from assistant.errors import ConfigProblem
from assistant.testing.plugins import FakeClock
from assistant.tools import loading
from assistant.tools.registry import PluginStatus, ToolRegistry
from assistant.tools.runner import ToolOutcome, ToolRunner

pytest.importorskip("mcp", reason="the extra mcp is not installed")

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "mcp" / "__init__.py"
ROGUE = Path(__file__).with_name("rogue_mcp_server.py")
READY_S = 40.0


def rogue(habit: str, **more: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": [str(ROGUE), habit], **more}


class Home:
    """A registry with nothing but the plugin, and a clock that the test moves."""

    def __init__(self, folder: Path, servers: dict[str, Any]) -> None:
        self.clock = FakeClock()
        self.registry = ToolRegistry(folder, clock=self.clock)
        self.registry.load_candidates([loading.from_file(PLUGIN)], settings={"mcp": {"servers": servers}})
        self.runner = ToolRunner(self.registry)

    async def call(self, tool: str, **arguments: Any) -> ToolOutcome:
        return await self.runner.call(tool, json.dumps(arguments))

    @property
    def reason(self) -> str:
        (plugin,) = self.registry.plugins
        return plugin.reason


@contextlib.asynccontextmanager
async def home(folder: Path, **servers: Any) -> AsyncIterator[Home]:
    it = Home(folder, servers)
    await it.registry.start()
    try:
        await it.registry.ready(READY_S)
        yield it
    finally:
        await it.registry.stop()
        await it.runner.close()


async def until(true: Callable[[], bool]) -> None:
    """Wait for other processes."""
    async with asyncio.timeout(READY_S):
        while not true():  # noqa: ASYNC110 (nobody could set an event)
            await asyncio.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_real_servers_are_four_lines_of_config(tmp_path: Path) -> None:
    programs = Path(sys.executable).parent
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    (repository / "new.txt").write_text("new")

    async def check() -> None:
        async with home(
            tmp_path / "state",
            time={"command": str(programs / "mcp-server-time")},
            git={"command": str(programs / "mcp-server-git"), "tools": ["git_status"]},
        ) as it:
            assert it.registry.plugins[0].status is PluginStatus.ENABLED, it.reason
            assert sorted(it.registry.tools) == ["git_git_status", "time_convert_time", "time_get_current_time"]
            asked = await it.call("time_get_current_time", timezone="Europe/Berlin")
            assert asked.status == "ok"
            assert "Europe/Berlin" in json.loads(asked.output)
            status = await it.call("git_git_status", repo_path=str(repository))
            assert "new.txt" in status.output
            wrong = await it.call("git_git_status", repo_path="/nowhere")
            assert wrong.status == "error"
            missing = await it.call("time_get_current_time")
            assert (missing.status, "timezone: is missing" in missing.output) == ("invalid", True)

    asyncio.run(check())


def test_servers_that_never_get_ready_have_one_clear_line_each(tmp_path: Path) -> None:
    async def check() -> None:
        async with home(
            tmp_path,
            good=rogue("good"),
            hanging=rogue("hangs", start_limit_s=2),
            quitting=rogue("quits"),
            garbled=rogue("garbage"),
            absent={"command": "no-such-program"},
            dark={"url": "http://127.0.0.1:9/mcp"},
            keyless=rogue("good", env={"HOUSE_KEY_file": "/no/such/file"}),
        ) as it:
            assert (await it.call("good_echo", text="still here")).output == '"still here"'
            for line in (
                "hanging: it did not get ready within 2 s",
                "quitting: it ended with status 7: run its command by hand to see why",
                "garbled: what it writes to its standard output is not MCP",
                "absent: its command is not installed",
                "dark: it cannot be reached",
                "keyless: /no/such/file cannot be read: No such file or directory",
            ):
                assert line in " ".join(link.problem or "" for link in links(it)), line
            assert it.registry.plugins[0].status is PluginStatus.SELF_CHECK_FAILED

    asyncio.run(check())


def links(it: Home) -> list[Any]:
    instance: Any = it.registry._entries["mcp"].instance
    return list(instance._links.values())


def test_a_server_that_goes_wrong_in_a_call_costs_that_call(tmp_path: Path) -> None:
    async def check() -> None:
        async with home(
            tmp_path,
            good=rogue("good"),
            dying=rogue("dies"),
            huge=rogue("huge"),
            long=rogue("long"),
            silent=rogue("silent", time_limit_s=0.5),
            flooding=rogue("floods"),
        ) as it:
            names = ("dying", "huge", "long", "silent", "flooding", "good")
            outcomes = dict(
                zip(names, await asyncio.gather(*(it.call(f"{n}_echo", text="hi") for n in names)), strict=True)
            )
            assert {name: outcome.status for name, outcome in outcomes.items()} == {
                **dict.fromkeys(names, "error"),
                "good": "ok",
                "long": "ok",
            }
            assert len(outcomes["long"].output) <= 16_000
            assert "silent did not answer within 0.5 seconds." in outcomes["silent"].output
            broken = ("dying", "huge", "flooding")
            await until(lambda: all(link.problem for link in links(it) if link.name in broken))
            problems = {link.name: link.problem or "" for link in links(it)}
            assert "it ended with status 3" in problems["dying"]
            assert "it sent a message of more than 4 MB" in problems["huge"]
            assert "it sends more than anybody asked for" in problems["flooding"]
            away = await it.call("dying_echo", text="hi")
            assert (away.status, "dying: it ended" in away.output) == ("error", True)
            await it.clock.advance(1.0)  # the first wait
            await until(lambda: not any(link.problem for link in links(it)))
            assert (await it.call("good_echo", text="hi")).status == "ok"

    asyncio.run(check())


def test_a_strangers_names_and_schemas_are_vetted(tmp_path: Path) -> None:
    async def check() -> None:
        async with home(tmp_path, wild=rogue("nasty", tools=["*"], tiers={"preacher": "pin"})) as it:
            tools = it.registry.tools
            assert sorted(tools) == [
                "wild_______etc_passwd",
                "wild_confirm_action",
                "wild_echo",
                "wild_preacher",
                "wild_wipe",
            ]
            description = tools["wild_preacher"].schema.description
            assert len(description) <= 1000
            assert description.isprintable()
            assert {name: it.registry.tier(tool) for name, tool in tools.items()} == {
                **dict.fromkeys(tools, "safe"),
                "wild_preacher": "pin",
                "wild_wipe": "confirm",
            }
            assert "wild: left out echo: the server has two tools of that name (and 5 more)" in it.reason
            assert (await it.call("wild_wipe", text="all")).status == "asked"
            assert json.loads((await it.call("wild_echo", text="a", more=1)).output)["error"].endswith("not known here")

    asyncio.run(check())


def test_changed_tools_are_offered_and_secrets_stay_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-servers")
    (tmp_path / "key").write_text("open sesame\n")

    async def check() -> None:
        server = rogue("changes", env={"HOUSE_KEY_file": str(tmp_path / "key"), "COLOUR": "red"})
        async with home(tmp_path / "state", shy=server) as it:
            assert "shy_secret" not in it.registry.tools
            await it.call("shy_echo", text="now")
            await until(lambda: "shy_secret" in it.registry.tools)
            assert "shy_family" not in it.registry.tools
            seen = (await it.call("shy_secret")).output
            assert "COLOUR" in seen
            assert "open sesame" in seen
            assert "OPENAI_API_KEY" not in seen

    with caplog.at_level(logging.DEBUG):
        asyncio.run(check())
    assert "open sesame" not in caplog.text


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_no_server_outlives_the_daemon(tmp_path: Path, how: str) -> None:
    program = f"""
import asyncio, sys
from pathlib import Path
from tests.plugins.test_mcp import home, rogue

async def main():
    async with home(Path({str(tmp_path)!r}), stubborn=rogue("stubborn")) as it:
        print((await it.call("stubborn_family")).output, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, env={**os.environ}
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdin is not None
        pids = json.loads(json.loads(daemon.stdout.readline()))
        assert all(_alive(pid) for pid in pids)
        if how == "kill":
            daemon.kill()
        else:
            daemon.stdin.close()
        daemon.wait(20)
    for pid in pids:
        asyncio.run(until(lambda pid=pid: not _alive(pid)))


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ({}, "a server has either a command or a url"),
        ({"command": "x", "url": "http://y/"}, "a server has either a command or a url"),
        ({"command": "x", "token_env": "T"}, "token_env and token_file belong to a url"),
        ({"url": "http://y/", "args": ["-v"]}, "args and env belong to a command"),
        ({"url": "http://user:secret@y/"}, "String should match pattern"),
        ({"command": "x", "tier": "deny"}, "Input should be 'safe', 'confirm' or 'pin'"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, server: dict[str, Any], problem: str) -> None:
    it = Home(tmp_path, {"s": server})
    (plugin,) = it.registry.plugins
    assert plugin.status is PluginStatus.CONFIG_ERROR
    assert problem in plugin.reason
    assert "user:secret" not in plugin.reason
    assert isinstance(plugin.problems[0], ConfigProblem)
