"""The tools of a small household, as ``session.update`` carries them."""

from __future__ import annotations

from typing import Any

AREAS = ["kitchen", "living_room", "bedroom"]


def tool(name: str, properties: dict[str, Any], sentences: list[Any], **offline: Any) -> dict[str, Any]:
    """A spec; every property is required."""
    return {
        "type": "function",
        "name": name,
        "description": offline.pop("description", name),
        "parameters": {"type": "object", "properties": properties, "required": offline.pop("required", [*properties])},
        "x-offline": {"sentences": sentences, **offline},
    }


LIGHTS = tool(
    "light_set",
    {"state": {"type": "string", "enum": ["on", "off"]}, "area": {"type": "string", "enum": AREAS}},
    ["(turn|switch) {state} [the] {area} light[s]", "(turn|switch) [the] {area} light[s] {state}"],
    description="Turn the light of a room on or off.",
    reply="The {area} light is {state}.",
)
TIMERS = tool(
    "timer_set",
    {
        "n": {"type": "integer", "minimum": 1, "maximum": 99},
        "unit": {"type": "string", "enum": ["seconds", "minutes", "hours"]},
    },
    ["(set|start) a timer for {n} {unit}", "set (a|an) {n} {unit} timer"],
    description="Set a kitchen timer. It rings until it is stopped.",
    lists={"n": {"1": "(a|an)"}, "unit": {"seconds": "second[s]", "minutes": "minute[s]", "hours": "hour[s]"}},
    reply="Timer set for {n} {unit}.",
)
CLOCK = tool("time_get", {}, ["what time is it", "(what's|what is) the time"], description="Tell the time.")
NOTES = tool("note_add", {"text": {"type": "string"}}, ["note [down] {text}"], description="Keep a note.")
FAN = tool("fan_set", {"on": {"type": "boolean"}}, ["turn the fan {on}"], description="Turn the fan on or off.")

TOOLS = [LIGHTS, TIMERS, CLOCK, NOTES, FAN]
