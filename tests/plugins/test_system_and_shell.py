"""The machine, and commands of the owner's choice; the programs that are run are real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import pytest

from assistant.plugin import ToolError
from assistant.plugin.services import House
from assistant.testing.plugins import PluginHarness
from assistant.tools.loading import from_file
from assistant.tools.registry import PluginStatus, ToolRegistry
from tests.plugins.spoken import understood

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
ECHO = [sys.executable, "-c", "import sys; print(sys.argv[1:])"]


def use(plugin: str, state: Path, check: Callable[[PluginHarness], Awaitable[None]], **config: Any) -> None:
    async def main() -> None:
        async with PluginHarness(PLUGINS / f"{plugin}.py", state, settings=config) as home:
            await check(home)

    asyncio.run(main())


# --- system -----------------------------------------------------------------------------------------------------------


def test_the_machine_knows_itself(tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        disk = await home.call("free_disk")
        assert disk["free_bytes"] > 0
        assert re.fullmatch(r"[\d.]+ gigabytes are free; the disk is \d+ percent full\.", disk["say"])
        try:
            assert re.fullmatch(r"My address is [\d.]+\.", await home.call("ip_address"))
        except ToolError as error:
            assert str(error) == "This machine has no network."

    use("system", tmp_path, check, disk=str(tmp_path))


def test_the_warmest_sensor_counts(tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        thermal = tmp_path / "thermal"
        home.registry.tools["processor_temperature"].function.__globals__["THERMAL"] = thermal
        with pytest.raises(ToolError, match="no thermometer"):
            await home.call("processor_temperature")
        for number, text in enumerate(("41500\n", "81200\n", "asleep")):
            (thermal / f"thermal_zone{number}").mkdir(parents=True)
            (thermal / f"thermal_zone{number}" / "temp").write_text(text)
        said = await home.call("processor_temperature")
        assert said == {"say": "I am at 81 degrees. That is too hot.", "celsius": 81.2}

    use("system", tmp_path / "state", check)


@pytest.mark.parametrize(("tool", "setting"), [("shut_down", "shutdown_command"), ("reboot", "reboot_command")])
def test_ending_the_machine_asks_first(tmp_path: Path, tool: str, setting: str) -> None:
    mark = tmp_path / "ended"

    async def check(home: PluginHarness) -> None:
        assert (await home.call(tool))["say"].endswith("machine?") or tool == "shut_down"
        assert not mark.exists()
        assert (await home.agree()).startswith("I am ")
        assert mark.exists()

    use("system", tmp_path / "state", check, **{setting: ["touch", str(mark)]})


def test_a_machine_that_refuses_says_so(tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        await home.call("reboot")
        with pytest.raises(ToolError, match="The machine refused: false ended with status 1"):
            await home.agree()

    use("system", tmp_path, check, reboot_command=["false"])


class Household:
    """The part of the running assistant that closes the microphone."""

    muted = False

    async def mute(self, muted: bool) -> None:
        self.muted = muted


@pytest.mark.parametrize("sentence", ["mute the microphone", "stop listening"])
def test_the_microphone_is_closed_after_a_yes_and_a_word_of_how_it_opens(tmp_path: Path, sentence: str) -> None:
    household = Household()

    async def main() -> None:
        home = PluginHarness(PLUGINS / "system.py", tmp_path)
        home.registry.house = cast("House", household)
        async with home:
            question = await home.say(sentence)
            assert (
                question.answer == "Shall I close the microphone? Then I hear nothing until somebody opens it by hand."
            )
            assert not household.muted
            assert "assistant control unmute" in (await home.say("yes")).answer
            assert household.muted

    asyncio.run(main())


def test_without_a_daemon_there_is_no_microphone_to_close(tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        await home.call("mute_microphone")
        with pytest.raises(ToolError, match="There is no microphone here"):
            await home.agree()

    use("system", tmp_path, check)


@contextlib.contextmanager
def index(answer: object) -> Iterator[tuple[str, list[str]]]:
    """A package index on loopback that knows one answer; gives its address, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/pypi/hearth-assistant/json", asked
        finally:
            server.shutdown()
            thread.join()


OWN = version("hearth-assistant")


@pytest.mark.parametrize(
    ("newest", "say"),
    [
        ("999.1", f"Version 999.1 is there; I am {OWN}."),
        (OWN, f"I am up to date, at version {OWN}."),
        (f"{OWN}.0", f"I am up to date, at version {OWN}."),
        ("0.0.0", f"I am up to date, at version {OWN}."),
    ],
)
def test_a_newer_version_is_asked_for_only_after_a_yes(tmp_path: Path, newest: str, say: str) -> None:
    with index({"info": {"version": newest}}) as (url, asked):

        async def check(home: PluginHarness) -> None:
            question = await home.say("check for updates")
            assert (question.tool, asked) == ("check_for_update", [])
            assert "Shall I ask on the internet" in question.answer
            assert (await home.agree())["say"] == say
            assert asked == ["/pypi/hearth-assistant/json"]

        use("system", tmp_path, check, update_url=url)


@pytest.mark.parametrize("answer", [{}, [], {"info": None}, {"info": {"version": 3}}, {"info": {"version": "new!"}}])
def test_an_index_that_talks_nonsense_is_not_repeated(tmp_path: Path, answer: object) -> None:
    with index(answer) as (url, _):

        async def check(home: PluginHarness) -> None:
            await home.call("check_for_update")
            with pytest.raises(ToolError, match="makes no sense"):
                await home.agree()

        use("system", tmp_path, check, update_url=url)


# --- shell ------------------------------------------------------------------------------------------------------------

FAN = {
    "description": "Set the fan.",
    "run": [*ECHO, "--speed={percent}", "{mode}"],
    "parameters": {
        "percent": {"type": "integer", "minimum": 0, "maximum": 100, "description": "how fast"},
        "mode": {"type": "choice", "choices": ["day", "night"]},
    },
    "sentences": ["set the fan to {percent} percent for the {mode}"],
}
SAY = {"description": "Say something.", "run": [*ECHO, "{words}"], "parameters": {"words": {}}}


def test_a_command_is_a_tool_with_typed_parameters(tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        (spec,) = home.registry.specs(offline=False)
        assert (spec["name"], spec["description"]) == ("set_fan", "Set the fan.")
        percent = spec["parameters"]["properties"]["percent"]
        assert (percent["type"], percent["minimum"], percent["maximum"], percent["description"]) == (
            "integer", 0, 100, "how fast"
        )  # fmt: skip
        assert await home.call("set_fan", percent=40, mode="night") == "['--speed=40', 'night']"
        with pytest.raises(ToolError, match="percent"):
            await home.call("set_fan", percent=101, mode="night")
        assert understood(home.registry, "set the fan to forty percent for the day") == (
            "set_fan",
            {"percent": 40, "mode": "day"},
        )

    use("shell", tmp_path, check, commands={"set_fan": FAN})


@pytest.mark.parametrize("words", ["; touch {mark}", "$(touch {mark})", "`touch {mark}`", "| touch {mark}", "a b  *"])
def test_no_word_reaches_a_shell(tmp_path: Path, words: str) -> None:
    mark = tmp_path / "mark"
    text = words.replace("{mark}", str(mark))

    async def check(home: PluginHarness) -> None:
        assert await home.call("say", words=text) == repr([text])
        assert not mark.exists()

    use("shell", tmp_path / "state", check, commands={"say": SAY})


@pytest.mark.parametrize("words", ["-rf", "--help", "a\nb", "a\x00b"])
def test_a_word_cannot_become_an_option(tmp_path: Path, words: str) -> None:
    async def check(home: PluginHarness) -> None:
        with pytest.raises(ToolError, match="words cannot be that"):
            await home.call("say", words=words)

    use("shell", tmp_path, check, commands={"say": SAY})


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    hang = {"description": "Hang.", "run": ["sh", "-c", "sleep 77 & sleep 77"], "time_limit_s": 0.1}

    async def check(home: PluginHarness) -> None:
        with pytest.raises(ToolError, match=r"sh took longer than 0\.1 seconds and was ended"):
            await home.call("hang")

    use("shell", tmp_path, check, commands={"hang": hang})


def test_failures_are_told(tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        with pytest.raises(ToolError, match=r"sh ended with status 3: out of paper\."):
            await home.call("fails")
        with pytest.raises(ToolError, match="no_such_program cannot be run: No such file"):
            await home.call("missing")
        assert (await home.call("asks"))["say"] == "Shall I really asks?"
        assert await home.agree() == "Well done."

    fails = {"description": "Fail.", "run": ["sh", "-c", "echo out of paper; exit 3"]}
    asks = {"description": "Ask.", "run": ["true"], "tier": "confirm", "say": "Well done."}
    use("shell", tmp_path, check, commands={
        "fails": fails, "missing": {"description": "Miss.", "run": ["no_such_program"]}, "asks": asks,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ({"run": ["{x}"], "parameters": {"x": {}}}, "the program itself cannot be a parameter"),
        ({"run": ["a", "{x}"]}, "{x} is not among the parameters"),
        ({"run": ["a"], "parameters": {"x": {}}}, "x is not used in run"),
        ({"run": ["a", "{x}"], "parameters": {"x": {"type": "choice"}}}, "belong together"),
        ({"run": ["a", "{x}"], "parameters": {"x": {"type": "choice", "choices": ["-f"]}}}, "begin with a dash"),
        ({"run": ["a"], "tier": "deny"}, "tier"),
        ({"run": ["a"], "sentences": ["do {y}"]}, "{y} is not a parameter"),
    ],
)
def test_a_command_that_cannot_work_is_refused_at_the_start(
    tmp_path: Path, command: dict[str, Any], reason: str
) -> None:
    registry = ToolRegistry(tmp_path)
    settings = {"shell": {"commands": {"a": {"description": "Do.", **command}}}}
    registry.load_candidates([from_file(PLUGINS / "shell.py")], settings=settings)
    (info,) = registry.plugins
    assert info.status in (PluginStatus.CONFIG_ERROR, PluginStatus.LOAD_ERROR)
    assert reason in info.reason
