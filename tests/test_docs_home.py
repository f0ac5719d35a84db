"""docs/home-assistant.md and docs/mqtt.md: what they say one can say and set."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from assistant.testing.plugins import PluginHarness
from tests.plugins.scripted_home import TOKEN, ScriptedHome
from tests.plugins.test_mqtt import harness
from tests.real_broker import PASSWORD, RealBroker, real_broker

ROOT = Path(__file__).resolve().parents[1]
HOME = (ROOT / "docs" / "home-assistant.md").read_text("utf-8")
MQTT = (ROOT / "docs" / "mqtt.md").read_text("utf-8")


def settings(page: str, plugin: str) -> dict[str, Any]:
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    found = yaml.safe_load(block)["plugins"]
    assert list(found) == [plugin]
    return dict(found[plugin])


def test_everything_that_can_be_said_to_home_assistant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_ASSISTANT_TOKEN", TOKEN)
    table = HOME.partition("## What to say")[2].partition("Names may be said")[0]
    sentences = [said for row in re.findall(r"^\| (\w[^|]*) \|", table, re.MULTILINE) for said in row.split("; ")]
    assert len(sentences) > 15

    async def main() -> None:
        async with ScriptedHome() as server:
            wanted = {**settings(HOME, "home_assistant"), "url": server.url, "token_file": None}
            async with PluginHarness(ROOT / "plugins" / "home_assistant", tmp_path, settings=wanted) as home:
                for said in sentences:
                    assert (await home.say(said)).tool in ("home_set", "home_status", "home_lock", "home_unlock"), said

    asyncio.run(main())


def test_everything_that_can_be_said_to_mqtt_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_PASSWORD", PASSWORD)
    sentences = re.findall(r'"([^"]+)"', MQTT.partition("\nSay ")[2].partition("After each command")[0])
    assert len(sentences) > 3
    wanted = settings(MQTT, "mqtt")
    for key in ("host", "username", "password_file"):
        wanted.pop(key)

    async def main(broker: RealBroker) -> None:
        async with harness(broker, tmp_path, **{**wanted, "read_back_s": 0}) as home:
            for said in sentences:
                assert (await home.say(said)).tool in ("mqtt_set", "mqtt_status", "mqtt_set_pin"), said

    with real_broker() as broker:
        asyncio.run(main(broker))


@pytest.mark.parametrize(("page", "plugin"), [(HOME, "home_assistant"), (MQTT, "mqtt")])
def test_every_setting_has_its_place_on_the_page(page: str, plugin: str, tmp_path: Path) -> None:
    registry = PluginHarness(ROOT / "plugins" / plugin, tmp_path, settings=settings(page, plugin)).registry
    config = registry._entries[plugin].config
    assert config is not None, registry.plugins
    for name in type(config).model_fields:
        assert f"`{name}`" in page, name
