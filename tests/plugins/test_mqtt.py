"""The mqtt plugin against a real Mosquitto: devices, presence, restarts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from assistant.plugin import ToolError
from assistant.testing.plugins import PluginHarness
from assistant.tools.registry import PluginStatus
from tests.house import House, room
from tests.plugins.scripted_home import eventually
from tests.real_broker import PASSWORD, USER, RealBroker, real_broker

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "mqtt"
DEVICES = {
    "desk_lamp": {"topic": "zigbee2mqtt/desk lamp", "kind": "light", "names": ["desk lamp", "reading light"]},
    "dead_lamp": {"topic": "zigbee2mqtt/dead", "kind": "light"},
    "kettle": {"topic": "kettle", "kind": "switch", "style": "tasmota"},
    "back_door": {"topic": "zigbee2mqtt/back door", "kind": "contact"},
    "cellar": {"topic": "cellar", "kind": "temperature", "style": "tasmota", "names": ["cellar temperature"]},
    "garage": {
        "topic": "garage/state",
        "command_topic": "garage/set",
        "kind": "cover",
        "style": "plain",
        "names": ["garage door"],
        "tier": "pin",
    },
}


class FakeHouse:
    """The running assistant, as far as a plugin sees it."""

    def __init__(self) -> None:
        self.muted = False
        self.volume = 80
        self.done: list[object] = []

    def status(self) -> Mapping[str, Any]:
        return {
            "version": "1.2.3",
            "state": "idle",
            "muted": self.muted,
            "volume": self.volume,
            "troubles": [],
            "last_turn": {"turn": 4, "outcome": "completed", "stages": {"a": 1}},
            "money": {"today": 0.25, "month": 1.5, "currency": "EUR"},
        }

    async def mute(self, muted: bool) -> None:
        self.muted = muted
        self.done.append(("mute", muted))

    def listen(self) -> None:
        if self.muted:
            raise ToolError("the microphone is muted: unmute it first")
        self.done.append("listen")

    def stop(self) -> None:
        self.done.append("stop")

    def ask(self, text: str) -> None:
        self.done.append(("ask", text))

    def set_volume(self, percent: int) -> None:
        self.volume = percent


class Neighbour:
    """Another client of the broker: it sees every message, and plays the devices that it was told to play."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.latest: dict[str, str] = {}
        self.history: list[tuple[str, str]] = []
        self.playing = True

    async def listen(self) -> None:
        async for message in self.client.messages:
            topic, payload = message.topic.value, bytes(message.payload).decode()  # type: ignore[arg-type]
            self.latest[topic] = payload
            self.history.append((topic, payload))
            if self.playing:
                await self._play(topic, payload)

    async def _play(self, topic: str, payload: str) -> None:
        match topic:
            case "zigbee2mqtt/desk lamp/set":
                await self.client.publish("zigbee2mqtt/desk lamp", payload)
            case "zigbee2mqtt/desk lamp/get":
                await self.client.publish("zigbee2mqtt/desk lamp", '{"state": "OFF", "brightness": 254}')
            case "cmnd/kettle/POWER":
                await self.client.publish("stat/kettle/RESULT", json.dumps({"POWER": payload}))
            case "garage/set":
                await self.client.publish("garage/state", payload.lower())


@pytest.fixture
def broker() -> Iterator[RealBroker]:
    with real_broker() as running:
        yield running


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQTT_PASSWORD", PASSWORD)


@contextlib.asynccontextmanager
async def neighbour(broker: RealBroker) -> AsyncIterator[Neighbour]:
    async with aiomqtt.Client("127.0.0.1", broker.port, username=USER, password=PASSWORD) as client:
        await client.subscribe("#")
        other = Neighbour(client)
        task = asyncio.create_task(other.listen())
        try:
            yield other
        finally:
            while not task.done():  # wait_for() of Python 3.11, in publish(), can lose a cancellation
                task.cancel()
                await asyncio.wait({task}, timeout=1)
            with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await task


def plugin_of(home: PluginHarness) -> Any:
    return home.registry._entries["mqtt"].instance


def harness(broker: RealBroker, state: Path, **settings: Any) -> PluginHarness:
    wanted = {"host": "127.0.0.1", "port": broker.port, "username": USER, "read_back_s": 10, **settings}
    home = PluginHarness(PLUGIN, state, settings=wanted)
    home.registry.house = FakeHouse()
    return home


def use(
    broker: RealBroker, state: Path, check: Callable[[PluginHarness, Neighbour], Awaitable[None]], **settings: Any
) -> None:
    async def main() -> None:
        async with neighbour(broker) as other, harness(broker, state, **settings) as home:
            await plugin_of(home).link.ready(20)
            await check(home, other)

    asyncio.run(main())


def test_devices_do_and_tell(broker: RealBroker, tmp_path: Path) -> None:
    async def check(home: PluginHarness, other: Neighbour) -> None:
        await eventually(lambda: plugin_of(home).readings["desk_lamp"].known)
        assert (await home.say("is the desk lamp on")).answer == "No, the desk lamp is off."
        assert (await home.say("turn on the reading light")).answer == "The desk lamp is on."
        assert (await home.say("dim the desk lamp to 40 percent")).answer == "The desk lamp is on at 40 percent."
        assert json.loads(other.latest["zigbee2mqtt/desk lamp/set"]) == {"state": "ON", "brightness": 102}
        assert (await home.say("switch the kettle on")).answer == "The kettle is on."
        await other.client.publish("zigbee2mqtt/back door", '{"contact": false, "battery": 90}')
        assert (await home.say("is the back door closed")).answer == "No, the back door is open."
        await other.client.publish("tele/cellar/SENSOR", '{"Time": "x", "SI7021": {"Temperature": 11.46}}')
        assert (await home.say("what is the cellar temperature")).answer == "The cellar temperature is 11.5 degrees."
        await other.client.publish("tele/kettle/LWT", "Offline")
        await eventually(lambda: not plugin_of(home).readings["kettle"].available)
        with pytest.raises(ToolError, match=r"^The kettle is not answering\.$"):
            await home.call("mqtt_set", device="kettle", action="off")

    use(broker, tmp_path, check, devices=DEVICES)


def test_done_is_not_said_of_a_lamp_that_stays_dark(broker: RealBroker, tmp_path: Path) -> None:
    async def check(home: PluginHarness, other: Neighbour) -> None:
        with pytest.raises(ToolError, match=r"^That was sent, but the dead lamp is still unknown: it has told nothing"):
            await home.call("mqtt_set", device="dead_lamp", action="on")
        with pytest.raises(ToolError, match=r"^The kettle cannot be dimmed\.$"):
            await home.call("mqtt_set", device="kettle", level=20)
        with pytest.raises(ToolError, match=r"^The back door can only be asked\.$"):
            await home.call("mqtt_set", device="back_door", action="on")

    use(broker, tmp_path, check, devices=DEVICES, read_back_s=0.2)


def test_a_garage_wants_the_pin_by_whichever_tool(broker: RealBroker, tmp_path: Path) -> None:
    async def check(home: PluginHarness, other: Neighbour) -> None:
        with pytest.raises(ToolError, match=r"^The garage door is set with the tool for its tier, pin\.$"):
            await home.call("mqtt_set", device="garage", action="open")
        assert "Shall I change the garage?" in (await home.say("open the garage door")).answer
        assert "garage/set" not in other.latest
        assert (await home.agree("4711"))["say"] == "The garage door is open."

    use(broker, tmp_path, check, devices=DEVICES)


def test_the_assistant_is_a_device_of_home_assistant(broker: RealBroker, tmp_path: Path) -> None:
    async def check(home: PluginHarness, other: Neighbour) -> None:
        await eventually(lambda: "hearth/kitchen/state" in other.latest)
        assert other.latest["hearth/kitchen/availability"] == "online"
        state = json.loads(other.latest["hearth/kitchen/state"])
        assert (state["state"], state["mute"], state["volume"], state["last_turn"], state["cost_today"]) == (
            "idle",
            "OFF",
            80,
            "completed",
            0.25,
        )
        mute = json.loads(other.latest["homeassistant/switch/kitchen/mute/config"])
        assert mute["command_topic"] == "hearth/kitchen/mute/set"
        assert mute["device"]["name"] == "Kitchen Speaker"
        cost = json.loads(other.latest["homeassistant/sensor/kitchen/cost_today/config"])
        assert cost["unit_of_measurement"] == "EUR"

    use(broker, tmp_path, check, presence={"name": "Kitchen Speaker", "id": "kitchen"})

    async def later() -> None:
        async with neighbour(broker) as other:
            await eventually(lambda: "hearth/kitchen/availability" in other.latest)
            assert other.latest["hearth/kitchen/availability"] == "offline", "said at the end, and kept by the broker"
            assert "homeassistant/button/kitchen/listen/config" in other.latest

    asyncio.run(later())


def test_commands_are_obeyed(broker: RealBroker, tmp_path: Path) -> None:
    async def check(home: PluginHarness, other: Neighbour) -> None:
        house = home.registry.house
        assert isinstance(house, FakeHouse)
        for command, payload in [("volume", "35"), ("stop", "PRESS"), ("listen", "PRESS"), ("mute", "ON")]:
            await other.client.publish(f"hearth/kitchen/{command}/set", payload, qos=1)
        await eventually(lambda: ("mute", True) in house.done)
        assert house.done == ["stop", "listen", ("mute", True)]
        await eventually(lambda: json.loads(other.latest.get("hearth/kitchen/state", "{}")).get("mute") == "ON")
        assert json.loads(other.latest["hearth/kitchen/state"])["volume"] == 35
        for command, payload in [("listen", "PRESS"), ("ask", "open the door"), ("volume", "loud"), ("volume", "200")]:
            await other.client.publish(f"hearth/kitchen/{command}/set", payload, qos=1)
        await other.client.publish("hearth/kitchen/say/set", "dinner is ready", qos=1)
        await eventually(lambda: home.ringer.announced == ["dinner is ready"])
        assert len(house.done) == 3, "muted, not offered, and no number: none of them was done"
        assert house.volume == 35

    use(broker, tmp_path, check, presence={"id": "kitchen"})


def test_a_command_that_the_broker_kept_is_old(broker: RealBroker, tmp_path: Path) -> None:
    async def main() -> None:
        async with neighbour(broker) as other:
            await other.client.publish("hearth/kitchen/say/set", "boo", qos=1, retain=True)
            async with harness(broker, tmp_path, presence={"id": "kitchen"}) as home:
                await plugin_of(home).link.ready(20)
                await other.client.publish("hearth/kitchen/say/set", "new", qos=1)
                await eventually(lambda: home.ringer.announced)
                assert home.ringer.announced == ["new"]

    asyncio.run(main())


def test_the_broker_tells_of_a_speaker_that_is_lost(broker: RealBroker, tmp_path: Path) -> None:
    async def check(home: PluginHarness, other: Neighbour) -> None:
        await eventually(lambda: other.latest.get("hearth/kitchen/availability") == "online")
        plugin_of(home).link._client._client.socket().shutdown(socket.SHUT_RDWR)  # as if the cable was cut
        await eventually(lambda: other.latest["hearth/kitchen/availability"] == "offline")
        while other.latest["hearth/kitchen/availability"] != "online":
            await home.advance(5)
            await asyncio.sleep(0.01)

    use(broker, tmp_path, check, presence={"id": "kitchen"})


def test_a_restart_of_the_broker(broker: RealBroker, tmp_path: Path) -> None:
    async def main() -> None:
        async with harness(broker, tmp_path, presence={"id": "kitchen"}, devices=DEVICES) as home:
            link = plugin_of(home).link
            await link.ready(20)
            await asyncio.to_thread(broker.stop)
            await eventually(lambda: link.problem is not None)
            with pytest.raises(ToolError, match="The MQTT broker cannot be used now"):
                await home.call("mqtt_status", device="back_door")
            await asyncio.to_thread(broker.start)
            assert link.problem is not None, "the next attempt is due later"
            await link.ready(20)
            async with neighbour(broker) as other:
                await other.client.publish("zigbee2mqtt/back door", '{"contact": true}')
                assert (await home.say("is the back door closed")).answer == "Yes, the back door is closed."
                await eventually(lambda: other.latest.get("hearth/kitchen/availability") == "online")

    asyncio.run(main())


def test_attempts_come_less_and_less_often_and_begin_anew(broker: RealBroker, tmp_path: Path) -> None:
    pauses: list[float] = []

    async def main() -> None:
        async with harness(broker, tmp_path) as home:
            link = plugin_of(home).link
            await link.ready(20)
            stopped = asyncio.Event()

            async def sleep(seconds: float, _: asyncio.Event | None) -> None:
                await stopped.wait()
                pauses.append(seconds)
                if len(pauses) == 4:
                    await asyncio.to_thread(broker.start)
                elif len(pauses) == 5:
                    await asyncio.Event().wait()

            link._sleep = sleep
            await asyncio.to_thread(broker.stop)
            stopped.set()
            await eventually(lambda: len(pauses) == 4 and link.problem is None)
            link._client._client.socket().shutdown(socket.SHUT_RDWR)
            await eventually(lambda: len(pauses) == 5)

    asyncio.run(main())
    assert [pause / usual for pause, usual in zip(pauses, [1, 2, 4, 8, 1], strict=True)] == pytest.approx(
        [1] * 5, abs=0.21
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "MQTT broker 127.0.0.1: it refuses "),
        ({"password_file": "/no/such/file"}, "MQTT broker 127.0.0.1: plugins.mqtt.password_file: /no/such/file cannot"),
        ({"port": 1}, "MQTT broker 127.0.0.1: it cannot be reached (Connection refused)"),
    ],
)
def test_why_it_does_not_work_is_told_without_the_password(
    broker: RealBroker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
    reason: str,
) -> None:
    monkeypatch.setenv("MQTT_PASSWORD", "wrong-password")
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        home = harness(broker, tmp_path, **settings)
        await home.registry.start()
        (info,) = home.registry.plugins
        assert info.status is PluginStatus.SELF_CHECK_FAILED
        assert info.reason.startswith(reason)
        await home.registry.stop()
        await home.runner.close()

    asyncio.run(main())
    assert "wrong-password" not in caplog.text


def test_without_a_host_there_is_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with PluginHarness(PLUGIN, tmp_path) as home:
            assert home.registry.specs(offline=True) == []

    asyncio.run(main())


@pytest.mark.daemon
def test_a_real_assistant_is_seen_steered_and_missed(broker: RealBroker, tmp_path: Path) -> None:
    settings = f"host: 127.0.0.1, port: {broker.port}, username: {USER}, presence: {{id: kitchen}}"

    async def main(house: House) -> None:
        def told(**wanted: object) -> bool:
            return wanted.items() <= json.loads(other.latest.get("hearth/kitchen/state", "{}")).items()

        async with neighbour(broker) as other:
            await eventually(lambda: told(state="idle", mute="OFF", volume=80), 60)
            await other.client.publish("hearth/kitchen/volume/set", "35", qos=1)
            await other.client.publish("hearth/kitchen/listen/set", "PRESS", qos=1)
            await eventually(lambda: told(state="listening", volume=35))
            await other.client.publish("hearth/kitchen/mute/set", "ON", qos=1)
            await eventually(lambda: told(state="idle", mute="ON", last_turn="stopped"))
            assert other.latest["hearth/kitchen/availability"] == "online"
            assert house.process is not None
            house.process.kill()
            await eventually(lambda: other.latest["hearth/kitchen/availability"] == "offline")

    with House(tmp_path, more=f"plugins: {{mqtt: {{{settings}}}}}\nendpointing: {{no_speech_timeout_s: 60}}") as house:
        house.start(room(90.0), MQTT_PASSWORD=PASSWORD)
        asyncio.run(main(house))
