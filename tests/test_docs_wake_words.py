"""docs/wake-words.md: every example loads, every setting and word that it names exists, its JSON has the real shape."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from assistant.adapters.openwakeword_models import bundled_wake_words
from assistant.adapters.wake_engines import ENGINES
from assistant.cli.wake import Trial
from assistant.config import Config, parse
from assistant.config.sections import Wake, WakeWord

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "wake-words.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", blocks("yaml"))
def test_example_loads_and_changes_something(example: str) -> None:
    assert parse(example, Path("/etc/hearth/config.yaml")).wake != Config().wake


def test_what_is_named_exists() -> None:
    assert set(re.findall(r"`wake\.([a-z_]+)`", PAGE)) <= set(Wake.model_fields)
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGE)) - set(bundled_wake_words())
    assert named - {field.name for field in fields(Trial)} <= set(WakeWord.model_fields)
    first = PAGE.split("## Which one")[1].split("```")[0]
    assert set(bundled_wake_words()) <= set(re.findall(r"`([a-z_]+)`", first))
    assert re.findall(r"^\| `([a-z]+)`", PAGE, re.MULTILINE) == list(ENGINES)


def test_the_report_has_the_shape_that_is_shown() -> None:
    (example,) = blocks("json")
    report = json.loads(example)
    assert list(report["files"][0]) == [field.name for field in fields(Trial)]
    assert "recall" in report
