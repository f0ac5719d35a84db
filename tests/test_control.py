"""The control socket: what it refuses, what it streams; and the whole daemon behind it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from assistant.control import client, socket_path
from assistant.control.server import LINE_LIMIT, serve
from assistant.controls import ControlError, Controls
from assistant.core.policy import State
from assistant.errors import EXIT_FAILURE, EXIT_OK, EXIT_UNAVAILABLE
from assistant.happenings import Happenings, happening
from assistant.journal import Journal
from tests.house import House, room, run_command
from tests.test_daemon import answer_everything, base, serving


class Desk:
    """Stands for Controls, and writes down what was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.muted = False

    def status(self) -> dict[str, Any]:
        return {"state": "idle"}

    async def mute(self, muted: bool) -> None:
        self.muted = muted

    def listen(self) -> None:
        raise ControlError("the microphone is muted: unmute it first")

    def ask(self, text: str) -> None:
        self.asked.append(text)

    def set_volume(self, percent: int) -> None:
        self.asked.append(percent)

    def stop(self) -> None:
        raise RuntimeError("a mistake of ours")


def _serves(path: Path) -> bool:
    try:
        client.request(path, "status")
    except client.NotRunning:
        return False
    return True


class Served:
    """The server, and raw lines to and from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.desk = Desk()
        self.journal = Journal()
        self.happenings = Happenings(self.journal, lambda: 12.5)

    async def __aenter__(self) -> Served:
        self._task = asyncio.ensure_future(serve(self.path, cast(Controls, self.desk), self.happenings))
        while not await asyncio.to_thread(_serves, self.path):
            assert not self._task.done()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        assert not self.path.exists()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.path))

    async def say(self, *lines: str) -> list[dict[str, Any]]:
        reader, writer = await self.connect()
        try:
            answers = []
            for line in lines:
                writer.write(line.encode() + b"\n")
                answers.append(json.loads(await reader.readline()))
            return answers
        finally:
            writer.close()


async def nobody_listens(served: Served) -> None:
    while served.happenings._listeners:
        await asyncio.to_thread(int)


def test_answers_and_refusals_come_line_by_line(tmp_path: Path) -> None:
    async def run() -> list[dict[str, Any]]:
        async with Served(tmp_path / "s") as served:
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
            answers = await served.say(
                '{"do": "status"}',
                '{"do": "mute"}',
                '{"do": "listen"}',
                '{"do": "ask", "text": "what time is it"}',
                '{"do": "ask", "text": 5}',
                '{"do": "volume", "percent": true}',
                '{"do": "dance"}',
                "[1]",
                "not json",
                "[" * 10_000,
                '{"do": "stop"}',
            )
            assert served.desk.asked == ["what time is it"]
            return answers

    status, mute, listen, ask, *refused = asyncio.run(run())
    assert status == {"ok": True, "status": {"state": "idle"}}
    assert mute == {"ok": True, "muted": True}
    assert listen == {"ok": False, "error": "the microphone is muted: unmute it first"}
    assert ask == {"ok": True}
    assert not any(answer["ok"] for answer in refused)
    assert "text" in refused[0]["error"] and "percent" in refused[1]["error"] and "try one of" in refused[2]["error"]
    assert refused[-1]["error"] == "RuntimeError in the assistant: see its log"


def test_a_request_without_end_is_refused_and_the_next_client_served(tmp_path: Path) -> None:
    async def run() -> None:
        async with Served(tmp_path / "s") as served:
            reader, writer = await served.connect()
            writer.write(b"x" * (LINE_LIMIT + 100))
            assert not json.loads(await reader.readline())["ok"]
            writer.close()
            assert (await served.say('{"do": "status"}'))[0]["ok"]

    asyncio.run(run())


def test_events_are_streamed_until_the_client_goes(tmp_path: Path) -> None:
    async def run() -> list[dict[str, Any]]:
        async with Served(tmp_path / "s") as served:
            reader, writer = await served.connect()
            writer.write(b'{"do": "events"}\n')
            lines = [json.loads(await reader.readline())]
            served.journal.note("mute", 0.0, muted=True)
            served.journal.note("uplink", 0.0, turn=1)  # nobody's business
            served.happenings.tell("level", dbfs=-40.0)
            lines += [json.loads(await reader.readline()) for _ in range(2)]
            writer.close()
            await nobody_listens(served)
            return lines

    assert asyncio.run(run()) == [
        {"event": "hello", "status": {"state": "idle"}},
        {"event": "mute", "at": 12.5, "muted": True},
        {"event": "level", "at": 12.5, "dbfs": -40.0},
    ]


def test_a_reader_that_falls_behind_is_let_go(tmp_path: Path) -> None:
    async def run() -> None:
        async with Served(tmp_path / "s") as served:
            reader, writer = await served.connect()
            writer.write(b'{"do": "events"}\n')
            await reader.readline()
            for number in range(40_000):
                served.happenings.tell("level", dbfs=number, padding="x" * 200)
                if number % 500 == 0:
                    await asyncio.sleep(0)
            await nobody_listens(served)
            writer.close()

    asyncio.run(run())


def test_a_socket_that_a_dead_assistant_left_is_replaced_and_a_live_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s"

    async def run() -> None:
        async with Served(path) as served:
            await serve(path, cast(Controls, Desk()), served.happenings)
            assert (await served.say('{"do": "status"}'))[0]["ok"], "the first one still serves"

    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    asyncio.run(run())
    assert "another assistant uses it" in caplog.text


def test_a_long_path_works_too(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    path = socket_path(folder)
    assert len(str(path)) > 108
    answers = []

    async def run() -> None:
        async with Served(path):
            answers.append(await asyncio.to_thread(client.request, path, "status"))

    asyncio.run(run())
    assert answers == [{"status": {"state": "idle"}}]


def test_nothing_private_is_told_of_a_tool_call() -> None:
    entry = {"kind": "command", "name": "run_tool", "turn": 1, "call": "c", "tool": "t", "arguments": '{"pin": "1234"}'}
    told = happening(entry)
    assert told is not None and "1234" not in json.dumps(told)


def test_the_light_in_the_guide_shows_what_happens(tmp_path: Path) -> None:
    guide = Path(__file__).parents[1] / "docs" / "control.md"
    [example] = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    told = [
        {"event": "hello", "at": 1, "status": {}},
        {"event": "state", "at": 2, "state": "listening"},
        {"event": "mute", "at": 3, "muted": True},
    ]
    command = tmp_path / "assistant"
    command.write_text("#!/bin/sh\n" + "".join(f"echo '{json.dumps(event)}'\n" for event in told))
    command.chmod(0o755)
    light = subprocess.run(
        [sys.executable, "-c", example],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert light.stdout.split() == ["blue", "red"]


def test_every_state_has_a_colour_in_the_guide() -> None:
    guide = (Path(__file__).parents[1] / "docs" / "control.md").read_text(encoding="utf-8")
    assert all(f'"{state.value}":' in guide for state in State)


def test_without_an_assistant_one_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("state_dir: state\n")
    for command in (["status"], ["control", "mute"], ["tools", "reload"]):
        result = run_command(*command, "--config", str(tmp_path / "config.yaml"), folder=tmp_path)
        assert result.returncode == EXIT_UNAVAILABLE
        assert result.stderr.startswith("assistant: no assistant is running with this state folder")
        assert result.stderr.count("\n") == 1


def test_where_the_service_is_installed_its_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SERVICE", tmp_path)
    with pytest.raises(client.NotRunning, match="start it; for the service's: sudo hearth status"):
        client.request(tmp_path / "control.sock", "status")
    monkeypatch.setattr(client, "SERVICE_STATE", tmp_path)
    with pytest.raises(client.NotRunning, match=r"start it$"):
        client.request(tmp_path / "control.sock", "status")


# --- the whole daemon ------------------------------------------------------------------------------------------------


def steer(house: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, "--config", str(house.folder / "config.yaml"), folder=house.folder)


class Watcher(threading.Thread):
    """Reads the events of the daemon."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.seen: list[Mapping[str, Any]] = []

    def run(self) -> None:
        for event in client.events(self.path):
            self.seen.append(event)

    def wait_for(self, within: float = 20.0, **fields: Any) -> Mapping[str, Any]:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            for event in tuple(self.seen):
                if fields.items() <= event.items():
                    return event
            time.sleep(0.01)
        raise AssertionError(f"{fields} was not told: {self.seen}")


@pytest.mark.daemon
def test_a_daemon_is_looked_at_steered_and_muted(tmp_path: Path) -> None:
    silence = room(60.0)
    with serving(answer_everything) as server, House(tmp_path, base(server)) as house:
        house.start(silence)
        house.wait_for("ready")
        path = socket_path(tmp_path / "state")
        watcher = Watcher(path)
        watcher.start()
        watcher.wait_for(event="hello")

        assert steer(house, "control", "ask", "what time is it").returncode == EXIT_OK
        watcher.wait_for(event="asked", text="what time is it")
        watcher.wait_for(event="turn", state="ended", outcome="answered")
        watcher.wait_for(event="answer", delta="A tone.")

        assert steer(house, "control", "listen").returncode == EXIT_OK
        watcher.wait_for(event="state", state="listening")
        assert steer(house, "control", "mute").returncode == EXIT_OK
        watcher.wait_for(event="mute", muted=True)
        assert house.wait_for("end_turn", 2)["detail"] == "muted"
        refused = steer(house, "control", "listen")
        assert refused.returncode == EXIT_FAILURE and "unmute it first" in refused.stderr
        apart = steer(house, "ask", "what time is it")
        assert apart.returncode == EXIT_UNAVAILABLE and "assistant control ask" in apart.stderr

        status = json.loads(steer(house, "status", "--json").stdout)
        assert status["muted"] is True and status["state"] == "idle" and status["troubles"] == []
        assert status["last_turn"]["outcome"] in ("answered", "stopped")
        assert "muted: the microphone is closed" in steer(house, "status").stdout

        called = steer(house, "tools", "call", "current_time")
        assert called.returncode == EXIT_OK and called.stdout.strip(), "also while the daemon holds the plugins' state"
        unknown = steer(house, "tools", "call", "make_coffee")
        assert unknown.returncode == EXIT_FAILURE and "current_time" in unknown.stderr

        house.process.terminate()  # type: ignore[union-attr]
        assert house.end() == 0
        assert not path.exists()

        (tmp_path / "events.jsonl").unlink()
        house.start(room(1.0, "hey jarvis what time is it", 30.0))
        house.wait_for("ready")
        time_before = house.entries("mute")
        assert [entry["muted"] for entry in time_before] == [True], "mute survives a restart"
        assert os.path.lexists(tmp_path / "state" / "muted")
        assert steer(house, "control", "unmute").returncode == EXIT_OK
        house.wait_for("woken")
