"""The assistant as a device of a real Home Assistant, by way of a real Mosquitto: ``make test-home``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.scripted_home import eventually
from tests.plugins.test_mqtt import FakeHouse, harness
from tests.real_broker import PASSWORD, USER, RealBroker, real_broker
from tests.real_home import STAMP, RealHome, real_home

pytestmark = [pytest.mark.home, pytest.mark.timeout(300)]


@pytest.fixture
def house_and_broker() -> Iterator[tuple[RealHome, RealBroker]]:
    if not STAMP.is_file():
        pytest.skip("Home Assistant is not installed: run make test-home")
    with real_broker() as broker, real_home() as home:
        flow = home.request("/api/config/config_entries/flow", {"handler": "mqtt", "show_advanced_options": False})
        settings = {"broker": "127.0.0.1", "port": broker.port, "username": USER, "password": PASSWORD}
        assert home.request(f"/api/config/config_entries/flow/{flow['flow_id']}", settings)["type"] == "create_entry"
        yield home, broker


def states(home: RealHome) -> dict[str, str]:
    return {one["entity_id"]: one["state"] for one in home.request("/api/states") if ".kitchen_" in one["entity_id"]}


def wait_for(home: RealHome, wanted: dict[str, str]) -> None:
    deadline = time.monotonic() + 60
    while not wanted.items() <= (found := states(home)).items():
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_home_assistant_finds_the_assistant_and_steers_it(
    house_and_broker: tuple[RealHome, RealBroker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, broker = house_and_broker
    monkeypatch.setenv("MQTT_PASSWORD", PASSWORD)

    async def main() -> None:
        async with harness(broker, tmp_path, presence={"id": "kitchen", "name": "Kitchen Speaker"}) as assistant:
            house = assistant.registry.house
            assert isinstance(house, FakeHouse)
            known = {
                "sensor.kitchen_state": "idle",
                "sensor.kitchen_last_turn": "completed",
                "sensor.kitchen_cost_today": "0.25",
                "binary_sensor.kitchen_trouble": "off",
                "switch.kitchen_mute": "off",
                "number.kitchen_volume": "80",
            }
            await asyncio.to_thread(wait_for, home, known)
            steer = home.set_state
            await asyncio.to_thread(steer, "button.press", entity_id="button.kitchen_listen")
            await asyncio.to_thread(steer, "number.set_value", entity_id="number.kitchen_volume", value=30)
            await asyncio.to_thread(steer, "text.set_value", entity_id="text.kitchen_say", value="dinner is ready")
            await asyncio.to_thread(steer, "switch.turn_on", entity_id="switch.kitchen_mute")
            await eventually(lambda: house.muted and assistant.ringer.announced == ["dinner is ready"])
            assert house.done == ["listen", ("mute", True)]
            now = {"switch.kitchen_mute": "on", "number.kitchen_volume": "30"}
            await asyncio.to_thread(wait_for, home, now)

    asyncio.run(main())
    wait_for(home, {"sensor.kitchen_state": "unavailable", "switch.kitchen_mute": "unavailable"})
