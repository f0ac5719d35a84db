"""The assistant as a device of Home Assistant, through its MQTT discovery. PURE.

One retained message an entity tells Home Assistant what there is
(https://www.home-assistant.io/integrations/mqtt/#discovery-messages), one retained JSON object holds all states, and
one topic says ``online`` or ``offline``, which the broker says itself when the assistant is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from .devices import Message

Command = Literal["mute", "volume", "listen", "stop", "say", "ask"]
_PAYLOAD_LIMIT = 500

_ENTITIES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "state": ("sensor", {"name": "State", "icon": "mdi:account-voice", "device_class": "enum",
                         "options": ["idle", "listening", "thinking", "speaking", "follow_up"]}),
    "last_turn": ("sensor", {"name": "Last turn", "icon": "mdi:comment-check-outline"}),
    "cost_today": ("sensor", {"name": "Cost today", "icon": "mdi:cash", "suggested_display_precision": 3}),
    "trouble": ("binary_sensor", {"name": "Trouble", "device_class": "problem"}),
    "mute": ("switch", {"name": "Mute", "icon": "mdi:microphone-off"}),
    "volume": ("number", {"name": "Volume", "icon": "mdi:volume-high", "min": 0, "max": 100, "step": 1,
                          "unit_of_measurement": "%"}),
    "listen": ("button", {"name": "Listen", "icon": "mdi:ear-hearing"}),
    "stop": ("button", {"name": "Stop", "icon": "mdi:stop"}),
    "say": ("text", {"name": "Say", "icon": "mdi:bullhorn", "mode": "text"}),
    "ask": ("text", {"name": "Ask", "icon": "mdi:comment-question", "mode": "text"}),
}  # fmt: skip
_TOLD = ("turn", "time", "trigger", "outcome", "detail", "provider")  # of a turn; a list, so that no word ever slips in
_COMMANDS = get_args(Command)


class Presence:
    """What is published about one assistant."""

    def __init__(self, id: str, name: str, *, prefix: str, commands: tuple[Command, ...], version: str) -> None:
        """
        id: letters, digits, - and _; the part of all topics that is this assistant's own.
        prefix: of Home Assistant's discovery, ``homeassistant`` unless it was changed there.
        commands: those that are taken.
        """
        self._id = id
        self._name = name
        self._prefix = prefix
        self._commands = commands
        self._version = version
        self.base = f"hearth/{id}"
        self.availability = f"{self.base}/availability"
        self.state_topic = f"{self.base}/state"

    @property
    def command_topics(self) -> dict[str, Command]:
        """Topics to subscribe to."""
        return {f"{self.base}/{command}/set": command for command in self._commands}

    def discovery(self, currency: str | None = None) -> list[Message]:
        """An entity each. The empty ones take back what was once announced and is not offered any more.

        currency: of the costs; None where nothing is paid.
        """
        messages = []
        for key, (kind, details) in _ENTITIES.items():
            offered = key not in _COMMANDS or key in self._commands
            if key == "cost_today":
                offered, details = currency is not None, {**details, "unit_of_measurement": currency}
            payload = json.dumps(self._entity(key, kind, details)) if offered else ""
            messages.append(Message(f"{self._prefix}/{kind}/{self._id}/{key}/config", payload))
        return messages

    def _entity(self, key: str, kind: str, details: Mapping[str, Any]) -> dict[str, Any]:
        entity: dict[str, Any] = {
            **details,
            "unique_id": f"hearth_{self._id}_{key}",
            "object_id": f"{self._id}_{key}",
            "availability_topic": self.availability,
            "device": {
                "identifiers": [f"hearth_{self._id}"],
                "name": self._name,
                "manufacturer": "Hearth",
                "model": "voice assistant",
                "sw_version": self._version,
            },
        }
        if kind not in ("button", "text"):
            entity["state_topic"] = self.state_topic
            entity["value_template"] = f"{{{{ value_json.{key} }}}}"
        if key in ("last_turn", "trouble"):
            entity["json_attributes_topic"] = self.state_topic
            entity["json_attributes_template"] = f"{{{{ value_json.{key}_more | tojson }}}}"
        if key in _COMMANDS:
            entity["command_topic"] = f"{self.base}/{key}/set"
        return entity

    def state(self, status: Mapping[str, Any]) -> Message:
        """The states, from ``House.status()``. Nothing that was said is in them."""
        turn, money = _mapping(status.get("last_turn")), _mapping(status.get("money"))
        troubles = [str(_mapping(one).get("text", "")) for one in status.get("troubles") or ()]
        content = {
            "state": status.get("state"),
            "mute": "ON" if status.get("muted") else "OFF",
            "volume": status.get("volume"),
            "last_turn": turn.get("outcome"),
            "last_turn_more": {key: turn[key] for key in _TOLD if key in turn},
            "cost_today": money.get("today"),
            "trouble": "ON" if troubles else "OFF",
            "trouble_more": {"troubles": troubles},
        }
        return Message(self.state_topic, json.dumps(content))


def command_value(command: Command, payload: bytes) -> str | int | bool | None:
    """What a command's payload means; None if it means nothing."""
    text = " ".join(payload[: 4 * _PAYLOAD_LIMIT].decode("utf-8", "replace").split())
    match command:
        case "mute":
            return {"ON": True, "OFF": False}.get(text.upper())
        case "volume":
            try:
                level = float(text)
            except ValueError:
                return None
            return round(level) if 0 <= level <= 100 else None
        case "listen" | "stop":
            return True
        case "say" | "ask":
            return text[:_PAYLOAD_LIMIT] or None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
