"""Devices as Zigbee2MQTT, Tasmota and others publish them: which topics, which payloads. PURE.

Zigbee2MQTT (https://www.zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages.html): the state is a JSON object on
``TOPIC``, commands go to ``TOPIC/set``, questions to ``TOPIC/get``.

Tasmota (https://tasmota.github.io/docs/MQTT/): the state is on ``stat/TOPIC/...`` and ``tele/TOPIC/...``, commands go
to ``cmnd/TOPIC/NAME``; ``tele/TOPIC/LWT`` says whether it is there.

Everything else (``plain``): one topic with the state, as text or JSON, and one for commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, model_validator

from assistant.plugin import BaseModel, Field

Action = Literal["on", "off", "toggle", "open", "close", "stop"]
SETTABLE = ("switch", "light", "cover")
Topic = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^+#\x00]+$")]

# Where the reading of each kind is in a Zigbee2MQTT state; whether true is the first or the second word for it.
_READINGS: Mapping[str, tuple[str, bool]] = {
    "contact": ("contact", False),  # true: the magnet is there, so it is closed
    "motion": ("occupancy", True),
    "leak": ("water_leak", True),
    "temperature": ("temperature", True),
    "humidity": ("humidity", True),
    "power": ("power", True),
    "battery": ("battery", True),
}
_WORDS = {"contact": ("open", "closed"), "motion": ("seeing motion", "seeing no motion"), "leak": ("wet", "dry")}
_UNITS = {"temperature": "degrees", "humidity": "percent", "power": "watts", "battery": "percent"}
_TRUE = frozenset(("true", "on", "1", "yes", "open", "detected"))


class Device(BaseModel):
    """One device, or one reading of it."""

    model_config = ConfigDict(extra="forbid")

    topic: Topic
    kind: Literal[
        "switch", "light", "cover", "contact", "motion", "leak", "temperature", "humidity", "power", "battery", "value"
    ]
    style: Literal["zigbee2mqtt", "tasmota", "plain"] = "zigbee2mqtt"
    names: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(default_factory=list)
    key: str = ""
    unit: str = ""
    command_topic: Topic | None = None
    on: str = "ON"
    off: str = "OFF"
    tier: Literal["safe", "confirm", "pin"] = "safe"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.style == "plain" and self.kind in SETTABLE) != (self.command_topic is not None):
            raise ValueError("command_topic belongs to style plain, and to it alone, if the device can be set")
        if self.style == "tasmota" and self.kind == "cover":
            raise ValueError("style tasmota knows no covers yet: use style plain")
        return self


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    payload: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a device.

    state: its word, such as on or open. level: in percent. available: whether it says that it is there.
    """

    state: str | None = None
    level: int | None = None
    value: float | str | None = None
    available: bool = True

    @property
    def known(self) -> bool:
        return self.available and (self.state is not None or self.value is not None)


def topics(device: Device) -> tuple[str, ...]:
    """What to subscribe to."""
    match device.style:
        case "zigbee2mqtt":
            return (device.topic, f"{device.topic}/availability")
        case "tasmota":
            return (f"stat/{device.topic}/+", f"tele/{device.topic}/+")
        case "plain":
            return (device.topic,)


def questions(device: Device) -> tuple[Message, ...]:
    """What makes a device tell its state, for those whose broker does not keep it."""
    match device.style:
        case "zigbee2mqtt" if device.kind in SETTABLE:
            return (Message(f"{device.topic}/get", '{"state": ""}'),)
        case "tasmota":
            return (Message(f"cmnd/{device.topic}/STATE", ""),)
        case _:
            return ()


def orders(
    device: Device, action: Action | None, level: int | None, now: Reading
) -> tuple[tuple[Message, ...], Reading]:
    """The messages for a wish, and the reading that proves it: what is None there may be anything.

    Raises ValueError with the end of a sentence that begins with the device's name.
    """
    if device.kind not in SETTABLE:
        raise ValueError("can only be asked")
    if action == "toggle":
        closing = now.state in ("on", "open")
        action = ("close" if closing else "open") if device.kind == "cover" else "off" if closing else "on"
    if device.kind == "cover":
        return _cover_orders(device, action, level)
    if action not in ("on", "off", None):
        raise ValueError("can only be turned on and off")
    if level is not None and action != "off":
        if device.kind != "light" or device.style == "plain":
            raise ValueError("cannot be dimmed")
        if device.style == "tasmota":
            return (Message(f"cmnd/{device.topic}/Dimmer", str(level)),), Reading(
                "on" if level else "off", level or None
            )
        state = {"state": "ON", "brightness": round(level * 254 / 100)} if level else {"state": "OFF"}
        return (Message(f"{device.topic}/set", json.dumps(state)),), Reading("on" if level else "off", level or None)
    if action is None:
        raise ValueError("needs an action or a level")
    return (_plain_order(device, action.upper()),), Reading(action)


def _cover_orders(device: Device, action: Action | None, level: int | None) -> tuple[tuple[Message, ...], Reading]:
    if level is not None:
        if device.style == "plain":
            raise ValueError("can only be opened and closed")
        return (Message(f"{device.topic}/set", json.dumps({"position": level})),), Reading(level=level)
    match action:
        case "open" | "close":
            return (_plain_order(device, action.upper()),), Reading("open" if action == "open" else "closed")
        case "stop":
            return (_plain_order(device, "STOP"),), Reading()
        case _:
            raise ValueError("can be opened, closed, stopped, or set to a percentage")


def _plain_order(device: Device, word: str) -> Message:
    match device.style:
        case "zigbee2mqtt":
            return Message(f"{device.topic}/set", json.dumps({"state": word}))
        case "tasmota":
            return Message(f"cmnd/{device.topic}/{device.key or 'POWER'}", word)
        case "plain":
            assert device.command_topic is not None
            return Message(device.command_topic, {"ON": device.on, "OFF": device.off}.get(word, word))


def proves(wanted: Reading, reading: Reading) -> bool:
    """Whether a reading is what was wanted; a level may be off by 2 percent."""
    if wanted.state is not None and reading.state != wanted.state:
        return False
    return wanted.level is None or (reading.level is not None and abs(reading.level - wanted.level) <= 2)


def read(device: Device, topic: str, payload: bytes, old: Reading) -> Reading:
    """The reading after a message; the old one if it says nothing about this device."""
    text = payload[:100_000].decode("utf-8", "replace").strip()
    if (available := _availability(device, topic, text)) is not None:
        return Reading(old.state, old.level, old.value, available)
    content = _decoded(device, topic, text)
    if device.kind in SETTABLE:
        return _state(device, content, old)
    found = _at(content, device.key) if device.key else _default_reading(device, content)
    if found is None or isinstance(found, dict | list):
        return old
    if (words := _WORDS.get(device.kind)) is not None:
        straight = _READINGS[device.kind][1] if device.style == "zigbee2mqtt" and not device.key else True
        if device.style == "plain":
            truth = str(found) == device.on or (str(found) != device.off and str(found).lower() in _TRUE)
        else:
            truth = str(found).lower() in _TRUE
        return Reading(words[truth != straight], None, None, True)
    try:
        return Reading(None, None, float(found), True)
    except (TypeError, ValueError):
        return Reading(None, None, str(found).strip()[:100] or None, True)


def _availability(device: Device, topic: str, text: str) -> bool | None:
    """Whether the message is about being there, and what it says."""
    if device.style == "zigbee2mqtt" and topic == f"{device.topic}/availability":
        content = _json(text)
        return (content.get("state") if isinstance(content, dict) else text) == "online"
    if device.style == "tasmota" and topic == f"tele/{device.topic}/LWT":
        return text == "Online"
    return None


def _decoded(device: Device, topic: str, text: str) -> Any:
    """The payload as an object with keys; the bare text under the last level of its topic."""
    content = _json(text)
    if isinstance(content, dict):
        status = content.get("StatusSTS") or content.get("StatusSNS")  # Tasmota wraps some answers
        return {**content, **status} if isinstance(status, dict) else content
    return {topic.rpartition("/")[2]: text, "": text}


def _state(device: Device, content: Any, old: Reading) -> Reading:
    key = device.key or {"zigbee2mqtt": "state", "tasmota": "POWER", "plain": ""}[device.style]
    raw = _at(content, key)
    state, level = old.state, old.level
    if isinstance(raw, str | bool | int):
        word = {device.on.lower(): "on", device.off.lower(): "off", "true": "on", "false": "off"}.get(str(raw).lower())
        known = {"open": "open", "opened": "open", "close": "closed", "closed": "closed"}
        state = word if word and device.kind != "cover" else known.get(str(raw).lower(), state)
    where = {"zigbee2mqtt": "position" if device.kind == "cover" else "brightness", "tasmota": "Dimmer", "plain": None}
    amount = content.get(where[device.style]) if isinstance(content, dict) else None
    if isinstance(amount, int | float) and not isinstance(amount, bool):
        full = 254 if device.style == "zigbee2mqtt" and device.kind == "light" else 100
        level = max(0, min(100, round(amount * 100 / full)))
    return old if (state, level) == (old.state, old.level) else Reading(state, level, None, True)


def _default_reading(device: Device, content: Any) -> Any:
    if device.style == "plain" or device.kind == "value":
        return _at(content, "")
    name = _READINGS[device.kind][0]
    if device.style == "zigbee2mqtt":
        return _at(content, name)
    return next(_deep(content, name.capitalize()), None)


def _deep(content: Any, key: str) -> Iterator[Any]:
    """Tasmota puts a sensor's values under the sensor's name: {"SI7021": {"Temperature": 21.5}}."""
    if isinstance(content, dict):
        if key in content:
            yield content[key]
        for inner in content.values():
            yield from _deep(inner, key)


def _at(content: Any, path: str) -> Any:
    """The value under a path such as ``SI7021.Temperature``."""
    for step in path.split("."):
        content = content.get(step) if isinstance(content, dict) else None
    return content


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def describe(device: Device, reading: Reading) -> str:
    """Fits behind "The desk lamp is"."""
    if not reading.available:
        return "not answering"
    if not reading.known:
        return "unknown: it has told nothing yet"
    if reading.value is not None:
        figure = f"{round(reading.value, 1):g}" if isinstance(reading.value, float) else reading.value
        unit = device.unit or _UNITS.get(device.kind, "")
        return f"{figure} {unit}".strip()
    shown = reading.level is not None and reading.state in ("on", "open") and reading.level < 100
    return f"{reading.state} at {reading.level} percent" if shown else str(reading.state)
