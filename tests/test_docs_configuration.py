"""docs/configuration.md: every example loads, and does what the page says; every message it shows is a real one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assistant.config import Config, parse
from assistant.errors import ConfigError

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "configuration.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", blocks("yaml"))
def test_example_loads_and_changes_something(example: str) -> None:
    assert parse(example, Path("/etc/hearth/config.yaml")) != Config()


def test_every_section_is_on_the_page() -> None:
    table = PAGE.partition("## The sections")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", re.sub(r"\|[^|]*\|[^|]*\|$", "", table, flags=re.MULTILINE))) == set(
        Config.model_fields
    )


def test_what_is_said_about_yaml() -> None:
    (example,) = (block for block in blocks("yaml") if "Norwegian" in block)
    config = parse(example, Path("config.yaml"))
    assert (config.language, config.barge_in.mode, config.local.strictness) == ("no", "off", 1e-9)
    assert config.plugins["lights"]["off_at"] == "22:30"


def test_the_problems_are_those_that_are_shown() -> None:
    text = "provider: local\n\nsesion: {}\n\naudio:\n  earcons: on\n  output:\n    volume: 130\n"
    text += "vad: {aggressiveness: high}\n"
    with pytest.raises(ConfigError) as caught:
        parse(text, Path("config.yaml"))
    (shown,) = blocks("text")
    assert str(caught.value) == shown.strip()


def test_every_setting_that_is_named_exists() -> None:
    def names(config: object) -> set[str]:
        found: set[str] = set()
        for name in getattr(type(config), "model_fields", {}):
            found |= {name} | names(getattr(config, name))
        return found

    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGE))
    credentials = {"openai_api_key", "azure_api_key", "voice_live_api_key", "custom_api_key"}
    assert named - credentials <= names(Config())
    assert {"api_key_file", "api_key_env"} <= named
