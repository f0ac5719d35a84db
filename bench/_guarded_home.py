"""The things of a house, for ``bench.day``: lamps, blinds, heating, and what must not be opened by mistake."""

from __future__ import annotations

from typing import Annotated, Literal

from assistant.plugin import Field, tool

LAMPS = ["kitchen light", "bedroom light", "office light", "hallway light", "tradfri lamp", "reading lamp"]
ROOMS = ["bedroom", "office", "living room"]
DOORS = ["front", "back"]
GUARDED = ("door_unlock", "garage_move", "alarm_off")

SPOKEN_LAMPS = {name: name.replace("light", "light[s]") for name in LAMPS}
SPOKEN_ROOMS = {name: name for name in ROOMS}
SPOKEN_DOORS = {name: name for name in DOORS}


@tool(
    sentences=["(turn|switch) {state} [the] {lamp}", "(turn|switch) [the] {lamp} {state}"],
    lists={"lamp": SPOKEN_LAMPS},
    reply="The {lamp} is {state}.",
)
def light_switch(lamp: str, state: Literal["on", "off"]) -> None:
    """Switch a lamp on or off."""


@tool(sentences=["set [the] {lamp} to {percent} percent"], lists={"lamp": SPOKEN_LAMPS}, reply="{percent} percent.")
def light_level(lamp: str, percent: Annotated[int, Field(ge=1, le=100)]) -> None:
    """Dim a lamp."""


@tool(
    sentences=["{direction} [the] {room} blinds"],
    lists={"room": SPOKEN_ROOMS},
    reply="Yes.",
)
def blinds_move(room: str, direction: Literal["open", "close"]) -> None:
    """Open or close the blinds of a room."""


@tool(sentences=["set the heating to {degrees} [degrees]"], reply="The heating is set to {degrees} degrees.")
def heating_set(degrees: Annotated[int, Field(ge=5, le=28)]) -> None:
    """Set the temperature of the house."""


@tool(sentences=["lock [the] {door} door"], lists={"door": SPOKEN_DOORS}, reply="The {door} door is locked.")
def door_lock(door: str) -> None:
    """Lock a door."""


@tool(
    sentences=["unlock [the] {door} door"],
    lists={"door": SPOKEN_DOORS},
    reply="The {door} door is unlocked.",
    tier="confirm",
    question="Shall I unlock the {door} door?",
)
def door_unlock(door: str) -> None:
    """Unlock a door."""


@tool(
    sentences=["{direction} the garage [door]"],
    reply="Yes.",
    tier="confirm",
    question="Shall I {direction} the garage?",
)
def garage_move(direction: Literal["open", "close"]) -> None:
    """Open or close the garage."""


@tool(sentences=["(switch|turn) off the alarm"], reply="The alarm is off.", tier="pin", question="Shall I?")
def alarm_off() -> None:
    """Switch the burglar alarm off."""
