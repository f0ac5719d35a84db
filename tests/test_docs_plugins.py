"""Runs every code block of docs/plugins.md."""

from __future__ import annotations

import asyncio
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from assistant.plugin import ToolError
from assistant.testing.plugins import PluginHarness
from assistant.tools.loading import ENTRY_POINT_GROUP, import_file
from assistant.tools.registry import PluginStatus, ToolRegistry

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "plugins.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with every Python block of the guide as the file that its first line names."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for language, text in BLOCKS:
        if language == "python":
            name = re.match(r"# (\w+\.py)\n", text)
            assert name, f"a block of {GUIDE.name} does not begin with its file's name:\n{text}"
            (folder / name[1]).write_text(text)
    return folder


def block(language: str) -> str:
    (text,) = [text for kind, text in BLOCKS if kind == language]
    return text


def call(plugin: Path, state: Path, tool: str, **arguments: Any) -> Any:
    async def main() -> Any:
        async with PluginHarness(plugin, state) as home:
            return await home.call(tool, **arguments)

    return asyncio.run(main())


def test_every_plugin_of_the_guide_loads(folder: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load(block("yaml"))["plugins"]
    for test in folder.glob("test_*.py"):
        test.unlink()
    registry = ToolRegistry(tmp_path / "state")
    registry.load([folder], bundled=False, installed=False, settings=settings)
    assert [(info.name, info.status, info.reason) for info in registry.plugins] == [
        (name, PluginStatus.ENABLED, "")
        for name in (
            "backup",
            "bins",
            "blinds",
            "bridge",
            "dice",
            "door",
            "egg",
            "fog_horn",
            "fridge",
            "kettle",
            "lamps",
        )
    ]
    assert registry.unknown == ()
    assert {spec["name"] for spec in registry.specs(offline=True) if "x-offline" not in spec} == {"lamp_on"}


def test_the_door_asks_first_and_the_lamps_have_names(folder: Path, tmp_path: Path) -> None:
    async def main() -> list[str]:
        said = []
        async with PluginHarness(folder / "door.py", tmp_path / "door") as home:
            said += [(await home.say(text)).answer for text in ("unlock the garage door", "yes")]
        async with PluginHarness(folder / "lamps.py", tmp_path / "lamps") as home:
            said.append((await home.say("switch on the reading lamp")).answer)
        async with PluginHarness(folder / "bridge.py", tmp_path / "bridge") as home:
            await home.advance(seconds=1)
            said.append((await home.say("let the hall lamp blink")).answer)
        return said

    assert asyncio.run(main()) == [
        "Shall I unlock the garage door?",
        "The garage door is unlocked.",
        "The reading lamp is on.",
        "The hall lamp blinks.",
    ]


def test_the_bins_are_announced_on_tuesdays_and_the_backup_when_it_is_done(folder: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with PluginHarness(folder / "bins.py", tmp_path / "bins") as home:
            await home.advance(hours=4 * 24 + 10.1)
            assert (await home.say("ask me again in an hour")).answer == "I will."
            await home.advance(hours=24)
            assert home.ringer.announced == ["The bins are collected tomorrow."] * 2
        async with PluginHarness(folder / "backup.py", tmp_path / "backup") as home:
            said = await home.say("back up my photos")
            assert said.answer == "I have begun the backup, and tell you when I am done."
            await home.advance(minutes=21)
            assert "19 of 20 albums are copied" in home.ringer.announced
            assert home.ringer.announced[-1] == "All photos are safe."

    asyncio.run(main())


def test_the_tools_of_the_guide_do_what_it_says(folder: Path, tmp_path: Path) -> None:
    rolled = call(folder / "dice.py", tmp_path, "roll_dice", count=2)
    assert 2 <= int(re.fullmatch(r"You rolled (\d+)\.", rolled)[1]) <= 12  # type: ignore[index]
    assert call(folder / "fridge.py", tmp_path, "look", shelf=1)["say"] == "There is milk on shelf 1."
    with pytest.raises(ToolError, match="The fridge has no shelf 3"):
        call(folder / "fridge.py", tmp_path, "look", shelf=3)
    assert call(folder / "blinds.py", tmp_path, "move_blinds", room="bedroom", direction="up") is None


def test_the_tests_of_the_guide_pass(folder: Path, tmp_path: Path) -> None:
    ran = []
    for file in folder.glob("test_*.py"):
        for name, function in inspect.getmembers(import_file(file), inspect.isfunction):
            if name.startswith("test_"):
                function(tmp_path / name)
                ran.append(name)
    assert sorted(ran) == ["test_an_egg", "test_it_blows_until_told_otherwise", "test_what_people_say"]


def test_the_entry_point_of_the_guide_is_the_one_that_is_read() -> None:
    assert list(tomllib.loads(block("toml"))["project"]["entry-points"]) == [ENTRY_POINT_GROUP]
