"""The four tools. They are offered once ``url`` is set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol

from assistant.plugin import Field, tool

from .actions import Action, Colour, Wish
from .control import Control

Kind = Literal["light", "switch", "fan", "blind", "cover", "door", "window", "lock", "thermostat", "vacuum"]
Measure = Literal["temperature", "humidity", "carbon_dioxide", "illuminance", "power", "energy", "battery", "pm25"]
Expected = Literal["on", "off", "open", "closed", "locked", "unlocked", "home", "playing"]
Percent = Annotated[int, Field(ge=0, le=100)]

_IN = "[in [the] {area}]"
_TIME_LIMIT_S = 45.0  # the longest read-back, several service calls, and some room


class _Owner(Protocol):
    control: Control


@tool(
    sentences=[
        "(turn|switch) {onoff:action} [the] {switchable:name}",
        "(turn|switch) [the] {switchable:name} {onoff:action}",
        "(dim|set|turn) [the] {dimmable:name} [brightness|volume|down|up] to {level} percent",
        "(set|turn|make|change) [the] {colourable:name} [to] {colour}",
        "{moving:action} [the] {openable:name}",
        "{closing:action} [the] {closable:name}",
        "{playing:action} [the] {players:name}",
        "{running:action} [the] {runnable:name}",
        f"set the (temperature|heating|thermostat) {_IN} to {{temperature}} [degrees]",
        "set [the] {thermostats:name} to {temperature} [degrees]",
    ],
    lists={
        "area": "areas",
        "switchable": "switchable",
        "dimmable": "dimmable",
        "colourable": "colourable",
        "openable": "openable",
        "closable": "closable",
        "players": "players",
        "runnable": "runnable",
        "thermostats": "thermostats",
        "onoff": {"on": "on", "off": "off"},
        "moving": {"open": "(open|raise)"},
        "closing": {"close": "(close|shut|lower)", "stop": "stop"},
        "playing": {"play": "(play|resume)", "pause": "pause", "mute": "mute", "unmute": "unmute"},
        "running": {"run": "(run|start|activate|press)"},
    },
    time_limit_s=_TIME_LIMIT_S,
)
async def home_set(
    self: _Owner,
    name: str | None = None,
    area: str | None = None,
    action: Action | None = None,
    level: Percent | None = None,
    colour: Colour | None = None,
    kelvin: Annotated[int, Field(ge=1500, le=10000)] | None = None,
    temperature: Annotated[float, Field(ge=5, le=95)] | None = None,
    mode: Literal["heat", "cool", "auto", "dry", "fan_only", "off"] | None = None,
) -> dict[str, object]:
    """Change things of the house: lights, switches, blinds, fans, heating, media players, vacuums, scenes, scripts.
    The answer tells the state they really have afterwards.

    name: as the user said it, such as "desk lamp", "all lights" or "kitchen blinds"
    area: only if the user named one
    level: percent of brightness, opening, speed or volume
    kelvin: of white light
    temperature: for a thermostat, in degrees
    mode: of a thermostat
    """
    return await self.control.set(name, area, Wish(action, level, colour, kelvin, temperature, mode))


@tool(
    sentences=[
        "is [the] {askable:name} {expected}",
        "(what is|what's) the (state|status) of [the] {askable:name}",
        f"(which|what) {{kinds:kind}} are {{expected}} {_IN}",
        f"are (all|any|the|all the|any of the) {{kinds:kind}} {{expected}} {_IN}",
        f"{{feel:measure}} is it {_IN}",
        f"(what is|what's) the {{measured:measure}} {_IN}",
        "{feel:measure} is [the] {area}",
    ],
    lists={
        "area": "areas",
        "askable": "askable",
        "kinds": {
            "light": "lights",
            "switch": "switches",
            "fan": "fans",
            "blind": "(blinds|shades)",
            "door": "doors",
            "window": "windows",
            "lock": "locks",
        },
        "feel": {"temperature": "how (warm|cold|hot)", "humidity": "how (humid|damp)"},
        "measured": {
            "temperature": "temperature",
            "humidity": "humidity",
            "carbon_dioxide": "(carbon dioxide|c o two)",
            "power": "power [consumption|use]",
        },
        "expected": {
            "on": "on",
            "off": "off",
            "open": "open",
            "closed": "(closed|shut)",
            "locked": "locked",
            "unlocked": "unlocked",
            "playing": "playing",
        },
    },
)
async def home_status(
    self: _Owner,
    name: str | None = None,
    area: str | None = None,
    kind: Kind | None = None,
    measure: Measure | None = None,
    expected: Expected | None = None,
) -> dict[str, object]:
    """Tell how things of the house are: by name, by kind ("which lights are on"), or what is measured in an area.

    name: as the user said it
    area: only if the user named one; alone, it tells of everything there
    measure: for questions such as how warm it is
    expected: the state the user asked for
    """
    return await self.control.status(name, area, kind, measure, expected)


@tool(sentences=["lock [the] {lock:name}"], lists={"lock": "locks"}, time_limit_s=_TIME_LIMIT_S)
async def home_lock(self: _Owner, name: str | None = None, area: str | None = None) -> dict[str, object]:
    """Lock a door, or close a garage door or gate.

    name: as the user said it
    area: only if the user named one
    """
    return await self.control.secure(name, area, secure=True)


@tool(
    sentences=["(unlock|open) [the] {lock:name}"],
    lists={"lock": "locks"},
    tier="pin",
    question="Shall I unlock the {name}?",
    time_limit_s=_TIME_LIMIT_S,
)
async def home_unlock(self: _Owner, name: str, area: str | None = None) -> dict[str, object]:
    """Unlock a door, or open a garage door or gate.

    name: as the user said it
    area: only if the user named one
    """
    return await self.control.secure(name, area, secure=False)


TOOLS: tuple[Callable[..., Any], ...] = (home_set, home_status, home_lock, home_unlock)
