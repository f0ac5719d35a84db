"""docs/tools.md tells of every bundled plugin, its examples are understood, and its config blocks load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assistant.config import load
from assistant.local.brain import Brain, CallTool, Said
from assistant.local.skills import read_tools
from assistant.tools.registry import PluginStatus, ToolRegistry

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "tools.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def registry_with(text: str, tmp_path: Path) -> ToolRegistry:
    (tmp_path / "config.yaml").write_text(text)
    config = load(tmp_path / "config.yaml")
    registry = ToolRegistry(tmp_path / "state", tiers=config.tools.tiers)
    registry.load(installed=False, settings=config.plugins)
    return registry


def test_every_bundled_plugin_has_a_row(tmp_path: Path) -> None:
    names = {info.name for info in registry_with("", tmp_path).plugins}
    assert {name for name, _, _ in ROWS} >= {"lists", "notes", "weather", "system", "shell", "routines"}
    assert {name for name, _, _ in ROWS} <= names


@pytest.mark.parametrize("block", BLOCKS)
def test_the_examples_load(tmp_path: Path, block: str) -> None:
    registry = registry_with(block, tmp_path)
    assert [(info.name, info.reason) for info in registry.plugins if info.status is not PluginStatus.ENABLED] == []
    assert [line for line in registry.unknown if "routine_*" not in line] == []


def test_what_people_may_say_is_understood(tmp_path: Path) -> None:
    registry = registry_with("", tmp_path)
    brain = Brain(read_tools(registry.specs(offline=True)))
    for name, examples, _ in ROWS:
        for example in examples.split("; "):
            if example.startswith("what you give it"):
                continue
            decision = brain.decide(Said(re.sub(r" \(.*\)", "", example).strip()))
            assert isinstance(decision, CallTool), example
            assert registry.tools[decision.tool].plugin == name
