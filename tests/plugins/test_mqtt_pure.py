"""The pure parts of the mqtt plugin: what devices say, what they are told, what Home Assistant is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from plugins.mqtt.devices import Device, Reading, describe, orders, proves, questions, read, topics
from plugins.mqtt.presence import Presence, command_value

NOTHING = Reading()


def zigbee(kind: str, **more: Any) -> Device:
    return Device.model_validate({"topic": "z/d", "kind": kind, **more})


def tasmota(kind: str, **more: Any) -> Device:
    return Device.model_validate({"topic": "d", "kind": kind, "style": "tasmota", **more})


def plain(kind: str, **more: Any) -> Device:
    return Device.model_validate({"topic": "p/state", "kind": kind, "style": "plain", **more})


@pytest.mark.parametrize(
    ("device", "topic", "payload", "said"),
    [
        (zigbee("light"), "z/d", '{"state": "ON", "brightness": 127}', "on at 50 percent"),
        (zigbee("light"), "z/d", '{"state": "ON", "brightness": 254}', "on"),
        (zigbee("light"), "z/d", '{"linkquality": 3}', "unknown: it has told nothing yet"),
        (zigbee("light"), "z/d/availability", '{"state": "offline"}', "not answering"),
        (zigbee("light"), "z/d/availability", "offline", "not answering"),
        (zigbee("cover"), "z/d", '{"state": "OPEN", "position": 30}', "open at 30 percent"),
        (zigbee("contact"), "z/d", '{"contact": true}', "closed"),
        (zigbee("contact"), "z/d", '{"contact": false}', "open"),
        (zigbee("contact", key="open"), "z/d", '{"open": true}', "open"),
        (zigbee("motion"), "z/d", '{"occupancy": true}', "seeing motion"),
        (zigbee("leak"), "z/d", '{"water_leak": false}', "dry"),
        (zigbee("temperature"), "z/d", '{"temperature": 21.46}', "21.5 degrees"),
        (zigbee("value", key="co2", unit="ppm"), "z/d", '{"co2": 800}', "800 ppm"),
        (tasmota("switch"), "stat/d/POWER", "ON", "on"),
        (tasmota("switch"), "stat/d/RESULT", '{"POWER": "OFF"}', "off"),
        (tasmota("switch", key="POWER2"), "stat/d/POWER2", "ON", "on"),
        (tasmota("switch", key="POWER2"), "stat/d/POWER1", "ON", "unknown: it has told nothing yet"),
        (tasmota("light"), "tele/d/STATE", '{"POWER": "ON", "Dimmer": 40}', "on at 40 percent"),
        (tasmota("light"), "stat/d/STATUS11", '{"StatusSTS": {"POWER": "ON", "Dimmer": 40}}', "on at 40 percent"),
        (tasmota("switch"), "tele/d/LWT", "Offline", "not answering"),
        (tasmota("humidity"), "tele/d/SENSOR", '{"AM2301": {"Humidity": 45}}', "45 percent"),
        (tasmota("value", key="ENERGY.Total"), "tele/d/SENSOR", '{"ENERGY": {"Total": 3.25}}', "3.2"),
        (plain("switch", command_topic="p/set", on="1", off="0"), "p/state", "1", "on"),
        (plain("cover", command_topic="p/set"), "p/state", "closed", "closed"),
        (plain("contact", on="auf", off="zu"), "p/state", "auf", "open"),
        (plain("contact", on="auf", off="zu"), "p/state", "zu", "closed"),
        (plain("value"), "p/state", "sunny", "sunny"),
        (plain("temperature"), "p/state", "7", "7 degrees"),
    ],
)
def test_what_devices_say(device: Device, topic: str, payload: str, said: str) -> None:
    assert describe(device, read(device, topic, payload.encode(), NOTHING)) == said


@pytest.mark.parametrize(
    ("device", "wish", "message", "proof", "not_yet"),
    [
        (zigbee("light"), ("on", None), ("z/d/set", {"state": "ON"}), Reading("on"), Reading("off")),
        (zigbee("light"), ("toggle", None), ("z/d/set", {"state": "ON"}), Reading("on"), NOTHING),
        (zigbee("light"), (None, 0), ("z/d/set", {"state": "OFF"}), Reading("off"), Reading("on", 1)),
        (
            zigbee("light"),
            (None, 50),
            ("z/d/set", {"state": "ON", "brightness": 127}),
            Reading("on", 51),
            Reading("on", 90),
        ),
        (zigbee("cover"), ("close", None), ("z/d/set", {"state": "CLOSE"}), Reading("closed"), Reading("open")),
        (zigbee("cover"), (None, 30), ("z/d/set", {"position": 30}), Reading("open", 30), Reading("open", 80)),
        (tasmota("switch"), ("off", None), ("cmnd/d/POWER", "OFF"), Reading("off"), Reading("on")),
        (tasmota("light"), (None, 40), ("cmnd/d/Dimmer", 40), Reading("on", 40), Reading("on", 10)),
        (plain("switch", command_topic="p/set", on="1"), ("on", None), ("p/set", 1), Reading("on"), NOTHING),
    ],
)
def test_what_devices_are_told(
    device: Device, wish: tuple[Any, Any], message: tuple[str, Any], proof: Reading, not_yet: Reading
) -> None:
    (sent,), wanted = orders(device, *wish, NOTHING)
    content = sent.payload if sent.payload.isalpha() else json.loads(sent.payload)
    assert (sent.topic, content) == message
    assert proves(wanted, proof)
    assert not proves(wanted, not_yet)


@pytest.mark.parametrize(
    "wrong",
    [
        {"topic": "a/#", "kind": "light"},
        {"topic": "a", "kind": "light", "style": "plain"},
        {"topic": "a", "kind": "light", "command_topic": "b"},
        {"topic": "a", "kind": "cover", "style": "tasmota"},
        {"topic": "a", "kind": "lamp"},
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Device.model_validate(wrong)


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["state", "brightness", "contact", "POWER", "Temperature", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
devices = st.sampled_from(
    [
        zigbee("light"),
        zigbee("contact"),
        zigbee("temperature"),
        zigbee("cover"),
        tasmota("light"),
        tasmota("temperature"),
        tasmota("motion", key="Switch1"),
        plain("value"),
        plain("switch", command_topic="s"),
        zigbee("value", key="x.y"),
    ]
)


@given(devices, st.integers(0, 2), st.binary(max_size=40) | json_value.map(lambda v: json.dumps(v).encode()))
def test_nothing_that_is_published_breaks_a_reading(device: Device, which: int, payload: bytes) -> None:
    topic = topics(device)[which % len(topics(device))].replace("+", "RESULT")
    reading = read(device, topic, payload, NOTHING)
    assert describe(device, reading)
    assert reading.level is None or 0 <= reading.level <= 100
    for question in questions(device):
        assert "+" not in question.topic


PRESENCE = Presence("kitchen", "Kitchen", prefix="homeassistant", commands=("mute", "say"), version="1")


def test_what_is_not_offered_is_taken_back() -> None:
    messages = {message.topic: message.payload for message in PRESENCE.discovery(None)}
    assert messages["homeassistant/text/kitchen/ask/config"] == ""
    assert messages["homeassistant/sensor/kitchen/cost_today/config"] == ""
    say = json.loads(messages["homeassistant/text/kitchen/say/config"])
    assert "state_topic" not in say
    assert set(PRESENCE.command_topics.values()) == {"mute", "say"}
    configs = [json.loads(payload) for payload in messages.values() if payload]
    assert len({config["unique_id"] for config in configs}) == len(configs) == 5


def test_an_assistant_that_knows_little_tells_little() -> None:
    state = json.loads(PRESENCE.state({"state": "idle", "muted": None, "last_turn": None, "money": None}).payload)
    assert state["mute"] == "OFF"
    assert state["last_turn"] is None
    trouble = json.loads(PRESENCE.state({"troubles": [{"part": "link", "text": "no network", "since": 1}]}).payload)
    assert (trouble["trouble"], trouble["trouble_more"]) == ("ON", {"troubles": ["no network"]})
    turn = {"turn": 3, "outcome": "answered", "heard": "my secret"}
    told = json.loads(PRESENCE.state({"last_turn": turn}).payload)
    assert (told["last_turn"], told["last_turn_more"]) == ("answered", {"turn": 3, "outcome": "answered"})


@pytest.mark.parametrize(
    ("command", "payload", "value"),
    [
        ("mute", b"ON", True),
        ("mute", b"off", False),
        ("mute", b"maybe", None),
        ("volume", b"35.0", 35),
        ("volume", b"101", None),
        ("volume", b"nan", None),
        ("listen", b"PRESS", True),
        ("say", b"  dinner\n is ready ", "dinner is ready"),
        ("say", b"  ", None),
        ("say", b"x" * 5000, "x" * 500),
        ("say", b"\xff", "�"),
    ],
)
def test_commands(command: Any, payload: bytes, value: object) -> None:
    assert command_value(command, payload) == value
