"""What Home Assistant has told us: areas, things, states. PURE: fed with its messages, it answers questions.

The shapes of the messages are those of https://developers.home-assistant.io/docs/api/websocket, where
``subscribe_entities`` sends compressed states: ``s`` state and ``a`` attributes, under ``a`` (added), ``c`` (changed:
``+`` and ``-``) and ``r`` (removed).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

GONE = ("unavailable", "unknown")
"""States of a thing that does not answer."""

# Which kinds of entities can be told or asked by voice. An entity of another domain is passed over.
KINDS = frozenset(
    [
        "light",
        "switch",
        "input_boolean",
        "cover",
        "climate",
        "fan",
        "media_player",
        "lock",
        "scene",
        "script",
        "button",
        "input_button",
        "vacuum",
        "sensor",
        "binary_sensor",
    ]
)

# What Home Assistant exposes to Assist unless its owner has said otherwise for an entity; as in its own
# homeassistant/exposed_entities.py.
DEFAULT_EXPOSED = frozenset(("climate", "cover", "fan", "light", "lock", "scene", "script", "switch", "vacuum"))
DEFAULT_EXPOSED_CLASSES = {
    "binary_sensor": frozenset(["door", "garage_door", "lock", "motion", "opening", "presence", "window"]),
    "sensor": frozenset(
        [
            "aqi",
            "carbon_monoxide",
            "carbon_dioxide",
            "humidity",
            "pm10",
            "pm25",
            "temperature",
            "volatile_organic_compounds",
        ]
    ),
}


class Offline(Exception):
    """Nothing can be asked of Home Assistant now; the message says why, in one line for the user."""


class Refused(Exception):
    """Home Assistant has answered a command with an error; the message is its own."""


@dataclass(frozen=True, slots=True)
class State:
    """A thing's state, as Home Assistant words it."""

    value: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gone(self) -> bool:
        return self.value in GONE


@dataclass(frozen=True, slots=True)
class Area:
    id: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that can be told or asked by voice."""

    entity_id: str
    name: str
    aliases: tuple[str, ...] = ()
    area: Area | None = None
    device_class: str | None = None

    @property
    def kind(self) -> str:
        """The domain: ``light``, ``cover`` and so on."""
        return self.entity_id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Registry:
    """The lists that Home Assistant keeps beside the states, as it sends them."""

    areas: tuple[Area, ...] = ()
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By entity id: area_id, device_id, hidden_by, disabled_by, entity_category, aliases."""
    device_areas: Mapping[str, str | None] = field(default_factory=dict)
    exposed: Mapping[str, bool] = field(default_factory=dict)
    """By entity id: what the owner has chosen for Assist."""
    expose_new: bool = True
    """Whether entities without such a choice follow Home Assistant's default."""


def read_registry(
    areas: Iterable[Mapping[str, Any]],
    devices: Iterable[Mapping[str, Any]],
    entries: Iterable[Mapping[str, Any]],
    exposed: Mapping[str, Mapping[str, bool]],
    *,
    expose_new: bool = True,
) -> Registry:
    """From the answers to ``config/*_registry/list`` and ``homeassistant/expose_entity/list``."""
    return Registry(
        tuple(Area(area["area_id"], area["name"], tuple(sorted(area.get("aliases") or ()))) for area in areas),
        {entry["entity_id"]: entry for entry in entries},
        {device["id"]: device.get("area_id") for device in devices},
        {entity: choice["conversation"] for entity, choice in exposed.items() if "conversation" in choice},
        expose_new,
    )


class House:
    """All that is known. ``things`` are those that the owner lets Assist have."""

    def __init__(self) -> None:
        self.registry = Registry()
        self._states: dict[str, State] = {}
        self._things: tuple[Thing, ...] | None = None

    @property
    def things(self) -> tuple[Thing, ...]:
        if self._things is None:
            self._things = tuple(self._thing(entity) for entity in sorted(self._states) if self._is_exposed(entity))
        return self._things

    @property
    def areas(self) -> tuple[Area, ...]:
        return self.registry.areas

    def state(self, entity: str) -> State:
        """Its state; ``unavailable`` if there is none."""
        return self._states.get(entity, State("unavailable"))

    def set_registry(self, registry: Registry) -> None:
        self.registry = registry
        self._things = None

    def forget_states(self) -> None:
        """A new subscription begins: its first message holds everything."""
        self._states.clear()
        self._things = None

    def apply(self, event: Mapping[str, Any]) -> bool:
        """Take in a message of ``subscribe_entities``; True if the things or their names may have changed."""
        renamed = False
        for entity, raw in event.get("a", {}).items():
            renamed |= self._put(entity, State(raw["s"], raw.get("a") or {}))
        for entity, change in event.get("c", {}).items():
            if (old := self._states.get(entity)) is not None:
                renamed |= self._put(entity, _changed(old, change))
        for entity in event.get("r", ()):
            renamed |= self._states.pop(entity, None) is not None
        if renamed:
            self._things = None
        return renamed

    def _put(self, entity: str, new: State) -> bool:
        old = self._states.get(entity)
        self._states[entity] = new
        return old is None or any(
            old.attributes.get(key) != new.attributes.get(key) for key in ("friendly_name", "device_class")
        )

    def _thing(self, entity: str) -> Thing:
        entry = self.registry.entries.get(entity, {})
        attributes = self._states[entity].attributes
        area_id = entry.get("area_id") or self.registry.device_areas.get(entry.get("device_id") or "")
        name = attributes.get("friendly_name") or entity.partition(".")[2].replace("_", " ")
        device_class = attributes.get("device_class")
        return Thing(
            entity,
            str(name),
            tuple(sorted(alias for alias in entry.get("aliases") or () if alias)),
            next((area for area in self.areas if area.id == area_id), None),
            device_class if isinstance(device_class, str) else None,
        )

    def _is_exposed(self, entity: str) -> bool:
        kind = entity.partition(".")[0]
        entry = self.registry.entries.get(entity, {})
        if kind not in KINDS or entry.get("disabled_by"):
            return False
        if (chosen := self.registry.exposed.get(entity)) is not None:
            return chosen
        if not self.registry.expose_new or entry.get("hidden_by") or entry.get("entity_category"):
            return False
        device_class = self._states[entity].attributes.get("device_class")
        return kind in DEFAULT_EXPOSED or device_class in DEFAULT_EXPOSED_CLASSES.get(kind, ())


def _changed(old: State, change: Mapping[str, Any]) -> State:
    more, less = change.get("+", {}), change.get("-", {})
    attributes = {**old.attributes, **(more.get("a") or {})}
    for key in less.get("a") or ():
        attributes.pop(key, None)
    return State(more.get("s", old.value), attributes)
