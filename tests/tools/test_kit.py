"""The authors' kit: a plugin from nothing, its test, and the check of all plugins together."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from assistant.cli.tools_check import review
from assistant.cli.tools_new import write_plugin
from assistant.errors import HearthError
from assistant.local.samples import samples
from assistant.local.skills import read_tools
from assistant.plugin import tool
from assistant.testing.plugins import PluginHarness
from assistant.tools.loading import bundled_plugins_folder, from_object
from assistant.tools.registry import ToolRegistry
from tests.house import run_command

BUNDLED = bundled_plugins_folder()


def test_a_new_plugin_works_and_so_does_its_test(tmp_path: Path) -> None:
    done = run_command("tools", "new", "my_lamp", "--folder", "mine", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "wrote mine/my_lamp.py and mine/test_my_lamp.py"
    test = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "mine/test_my_lamp.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert test.returncode == 0, test.stdout
    assert "1 passed" in test.stdout
    again = run_command("tools", "new", "my_lamp", "--folder", "mine", folder=tmp_path)
    assert (again.returncode, again.stderr) == (
        1,
        "assistant: tools new: mine/my_lamp.py exists already: take another name\n",
    )


def test_a_new_plugin_has_nothing_to_complain_about(tmp_path: Path) -> None:
    write_plugin("my_lamp", tmp_path)
    (tmp_path / "test_my_lamp.py").unlink()
    registry = ToolRegistry(tmp_path / "state")
    registry.load([tmp_path], bundled=False, installed=False)
    assert review(registry) == []


@pytest.mark.parametrize("name", ["", "Lamp", "my-lamp", "../lamp", "9lives", "a" * 41])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HearthError, match="is no name for a plugin"):
        write_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_bundled_plugins_get_on_with_each_other(tmp_path: Path) -> None:
    registry = ToolRegistry(tmp_path)
    registry.load(installed=False)
    assert len(registry.tools) > 20
    assert review(registry) == []


def test_what_is_wrong_is_found(tmp_path: Path) -> None:
    @tool(sentences=["make coffee"])
    def make_coffee(cups: int = 1) -> None:
        """Make coffee for some people."""

    @tool(sentences=["make [me] coffee"])
    def make_cofee(size: Literal["big", "small"] = "big") -> None:
        """Coffee."""

    @tool
    def silent() -> None:
        """Do something nobody can ask for."""

    registry = ToolRegistry(tmp_path)
    registry.load_candidates(
        [from_object(function.__name__, function) for function in (make_coffee, make_cofee, silent)],
        settings={"coffee": {}},
    )
    found = review(registry)
    assert [finding.serious for finding in found] == sorted((f.serious for f in found), reverse=True)
    for text in (
        "tool make_coffee (make_coffee): parameter cups has no description: add a line 'cups: ...' to the docstring",
        "tool make_cofee (make_cofee): its description is 'Coffee.': say what it does and when to use it",
        "tool silent (silent): it has no sentences, so the offline brain cannot reach it",
    ):
        assert any(finding.text == text for finding in found), (text, found)
    texts = [finding.text for finding in found if finding.serious]
    assert any(text.startswith('"make coffee" of tool ') and "is understood as make_cof" in text for text in texts)
    assert any("have names so alike" in finding.text for finding in found)


def test_a_sentence_is_said_understood_called_and_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with PluginHarness(BUNDLED / "timers", tmp_path) as home:
            said = await home.say("Please set a timer for five minutes!")
            assert (said.tool, said.answer) == ("set_timer", "Timer set for 5 minutes.")
            assert said.arguments == {"amount": 5, "unit": "minutes"}
            assert (await home.say("sing me a song")).tool is None
            assert (await home.say("sing me a song")).answer.startswith("Sorry, I did not understand that.")
            assert (await home.say("cancel the pasta timer")).answer == "There is no timer named pasta."

    asyncio.run(main())


def test_a_question_is_answered_in_the_next_sentence(tmp_path: Path) -> None:
    async def main() -> None:
        async with PluginHarness(BUNDLED / "lists.py", tmp_path) as home:
            await home.say("add milk to the shopping list")
            assert (await home.say("clear my shopping list")).answer == "Shall I clear the whole shopping list?"
            assert (await home.say("what is on my shopping list")).answer == "On your shopping list: milk."
            assert (await home.say("yes please")).answer == "Your shopping list is empty now."
            assert (await home.say("yes please")).answer == "There is nothing to confirm."

    asyncio.run(main())


def test_the_log_is_shown_and_a_yes_can_be_typed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "state_dir: state\ntools: {tiers: {current_date: confirm, set_timer: deny}, log_arguments: yes}\n"
    )
    asked = run_command("tools", "call", "current_date", folder=tmp_path)
    assert asked.returncode == 1
    assert "add --yes to give it" in asked.stderr
    assert run_command("tools", "call", "current_date", "--yes", folder=tmp_path).returncode == 0
    log = run_command("tools", "log", "--last", "5", folder=tmp_path)
    lines = [line.split() for line in log.stdout.splitlines()]
    assert [line[4:7] for line in lines] == [["current_date", "confirm", "asked"], ["current_date", "confirm", "ok"]]
    assert lines[1][-1] == "{}"
    listed = run_command("tools", "list", folder=tmp_path).stdout
    assert "[confirm] Tell today's date" in listed
    assert any(line.split() == ["set_timer", "[deny]"] for line in listed.splitlines())


def test_samples_cover_every_alternative() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "x": {"type": "string"}}, "required": []}
    sentence = "(set|start) [the] {n} minute[s] {x}"
    spec = {"type": "function", "name": "a", "parameters": schema, "x-offline": {"sentences": [sentence]}}
    (skill,) = read_tools([spec]).skills
    assert set(samples(skill, skill.templates[0])) == {
        f"{verb} {the}5 minute{s} something" for verb in ("set", "start") for the in ("the ", "") for s in ("s", "")
    }
    assert len(samples(skill, skill.templates[0], limit=3)) == 3
