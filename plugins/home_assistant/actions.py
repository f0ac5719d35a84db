"""From a wish to a service call and to the state that proves it done. PURE.

Services and attributes are those of Home Assistant's entity platforms
(https://www.home-assistant.io/docs/scripts/service-calls and the page of each platform).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .model import State, Thing

Action = Literal[
    "on", "off", "toggle", "open", "close", "stop", "play", "pause", "next", "previous", "mute", "unmute", "run"
]
Colour = Literal[
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "warm white", "white", "cool white"
]

HUES: Mapping[str, tuple[float, float]] = {
    "red": (0, 100),
    "orange": (30, 100),
    "yellow": (60, 100),
    "green": (120, 100),
    "cyan": (180, 100),
    "blue": (240, 100),
    "purple": (280, 100),
    "pink": (330, 60),
}
"""Hue in degrees and saturation in percent."""

_KELVIN: Mapping[str, int] = {"warm white": 2700, "white": 4000, "cool white": 6000}
_HUE_MODES = frozenset(("hs", "xy", "rgb", "rgbw", "rgbww"))

# Doors that let people into the house: opening one needs the PIN, as unlocking does.
_ENTRANCES = frozenset(("garage", "door", "gate"))


class CannotDo(Exception):
    """This thing has no such function; the message is for the user, after its name."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a thing. level: percent of brightness, opening, speed or volume. temperature: in degrees of
    the house's unit. mode: of a thermostat."""

    action: Action | None = None
    level: int | None = None
    colour: Colour | None = None
    kelvin: int | None = None
    temperature: float | None = None
    mode: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The state that proves a wish fulfilled. With neither states nor attributes any state will do.

    states: one of these; or, if ``but``, none of these. attributes: name to (value, tolerance).
    """

    states: frozenset[str] = frozenset()
    but: bool = False
    attributes: Mapping[str, tuple[Any, float]] = field(default_factory=dict)

    def holds(self, state: State) -> bool:
        if self.states and (state.value in self.states) == self.but:
            return False
        return all(_near(state.attributes.get(key), *wanted) for key, wanted in self.attributes.items())


@dataclass(frozen=True, slots=True)
class Call:
    """One service call for one thing; calls that are alike but for the thing can be sent as one."""

    domain: str
    service: str
    data: Mapping[str, Any] = field(default_factory=dict)
    wanted: Wanted = field(default_factory=Wanted)


def is_entrance(thing: Thing) -> bool:
    """Whether opening it lets people into the house."""
    return thing.kind == "cover" and thing.device_class in _ENTRANCES


def plan(thing: Thing, state: State, wish: Wish) -> Call:
    """The call that fulfils a wish. Raises CannotDo."""
    if wish.action == "toggle":
        opposite: Action = "on" if state.value in ("off", "closed", "standby") else "off"
        if thing.kind == "cover":
            opposite = "open" if opposite == "on" else "close"
        wish = Wish(opposite, wish.level, wish.colour, wish.kelvin)
    match thing.kind:
        case "light":
            return _light(state, wish)
        case "switch" | "input_boolean":
            _only(wish, "action")
            return _on_off(thing.kind, wish)
        case "cover":
            return _cover(thing, wish)
        case "fan":
            return _fan(wish)
        case "media_player":
            return _player(wish)
        case "climate":
            return _climate(state, wish)
        case "vacuum":
            return _vacuum(wish)
        case "scene" | "script" | "button" | "input_button":
            return _run(thing, wish)
        case "lock":
            raise CannotDo("is a lock: lock and unlock it with the tools for that")
        case _:
            raise CannotDo("can only be asked, not changed")


def plan_lock(thing: Thing, *, secure: bool) -> Call:
    """Lock or unlock a lock, or close or open an entrance. Raises CannotDo."""
    if thing.kind == "lock":
        done = ("locked", "locking") if secure else ("unlocked", "unlocking", "open", "opening")
        return Call("lock", "lock" if secure else "unlock", wanted=Wanted(frozenset(done)))
    if is_entrance(thing):
        done = ("closed", "closing") if secure else ("open", "opening")
        return Call("cover", "close_cover" if secure else "open_cover", wanted=Wanted(frozenset(done)))
    raise CannotDo("is no lock")


def can(thing: Thing, wish: Wish) -> bool:
    """Whether things of this kind know such wishes at all; to tell a lamp from a blind of the same name."""
    if wish.temperature is not None or wish.mode is not None:
        return thing.kind == "climate"
    if wish.colour is not None or wish.kelvin is not None:
        return thing.kind == "light"
    if wish.level is not None:
        return thing.kind in ("light", "cover", "fan", "media_player")
    match wish.action:
        case "open" | "close":
            return thing.kind == "cover"
        case "play" | "next" | "previous" | "mute" | "unmute":
            return thing.kind == "media_player"
        case "pause" | "stop":
            return thing.kind in ("media_player", "cover", "vacuum")
        case "run":
            return thing.kind in ("scene", "script", "button", "input_button", "vacuum")
        case "toggle":
            return thing.kind in ("light", "switch", "input_boolean", "fan", "cover", "media_player")
        case _:
            return thing.kind not in ("cover", "lock", "sensor", "binary_sensor")


# --- each kind --------------------------------------------------------------------------------------------------------


def _on_off(domain: str, wish: Wish) -> Call:
    if wish.action not in ("on", "off"):
        raise CannotDo("can only be turned on and off")
    return Call(domain, f"turn_{wish.action}", wanted=Wanted(frozenset((wish.action,))))


def _light(state: State, wish: Wish) -> Call:
    _only(wish, "action", "level", "colour", "kelvin")
    if wish.action == "off" or wish.level == 0:
        return Call("light", "turn_off", wanted=Wanted(frozenset(("off",))))
    if wish.action not in ("on", None):
        raise CannotDo("is a light: it can be turned on and off, dimmed or coloured")
    modes = frozenset(state.attributes.get("supported_color_modes") or ())
    data: dict[str, Any] = {}
    proof: dict[str, tuple[Any, float]] = {}
    if wish.level is not None:
        if modes and modes <= {"onoff"}:
            raise CannotDo("cannot be dimmed")
        data["brightness_pct"] = wish.level
        proof["brightness"] = (wish.level * 255 / 100, 4)
    kelvin = wish.kelvin or _KELVIN.get(wish.colour or "")
    if kelvin is not None:
        if not modes & (_HUE_MODES | {"color_temp"}):
            raise CannotDo("cannot change its colour")
        data["color_temp_kelvin"] = kelvin = _clamped(state, "color_temp_kelvin", kelvin)
        if "color_temp" in modes:  # Home Assistant imitates it with colours where a lamp has no white of its own
            proof["color_temp_kelvin"] = (kelvin, kelvin * 0.05)
    elif wish.colour is not None:
        if not modes & _HUE_MODES:
            raise CannotDo("cannot change its colour")
        data["hs_color"] = list(HUES[wish.colour])
        proof["hs_color"] = (HUES[wish.colour], 8)
    return Call("light", "turn_on", data, Wanted(frozenset(("on",)), attributes=proof))


def _clamped(state: State, key: str, value: int) -> int:
    low, high = state.attributes.get(f"min_{key}"), state.attributes.get(f"max_{key}")
    return int(max(low, min(high, value))) if isinstance(low, int) and isinstance(high, int) else value


def _cover(thing: Thing, wish: Wish) -> Call:
    _only(wish, "action", "level")
    if is_entrance(thing) and (wish.action == "open" or wish.level):
        raise CannotDo("lets people in: open it with the tool for unlocking, which asks for the PIN")
    match wish:
        case Wish(level=int() as level):
            moving = Wanted(attributes={"current_position": (level, 3)})
            return Call("cover", "set_cover_position", {"position": level}, moving)
        case Wish(action="open"):
            return Call("cover", "open_cover", wanted=Wanted(frozenset(("open", "opening"))))
        case Wish(action="close"):
            return Call("cover", "close_cover", wanted=Wanted(frozenset(("closed", "closing"))))
        case Wish(action="stop" | "pause"):
            return Call("cover", "stop_cover", wanted=Wanted(frozenset(("opening", "closing")), but=True))
        case _:
            raise CannotDo("can be opened, closed, stopped, or set to a percentage")


def _fan(wish: Wish) -> Call:
    _only(wish, "action", "level")
    if wish.level is None:
        return _on_off("fan", wish)
    proof = Wanted(attributes={"percentage": (wish.level, 17)})  # a fan of three speeds takes the nearest
    return Call("fan", "set_percentage", {"percentage": wish.level}, proof)


def _player(wish: Wish) -> Call:
    _only(wish, "action", "level")
    if wish.level is not None:
        proof = Wanted(attributes={"volume_level": (wish.level / 100, 0.02)})
        return Call("media_player", "volume_set", {"volume_level": wish.level / 100}, proof)
    silent = frozenset(("off", "standby"))
    match wish.action:
        case "on":
            return Call("media_player", "turn_on", wanted=Wanted(silent, but=True))
        case "off":
            return Call("media_player", "turn_off", wanted=Wanted(silent))
        case "play" | "run":
            return Call("media_player", "media_play", wanted=Wanted(frozenset(("playing", "buffering"))))
        case "pause" | "stop":
            done = Wanted(frozenset(("playing", "buffering")), but=True)
            return Call("media_player", f"media_{wish.action}", wanted=done)
        case "next" | "previous":
            return Call("media_player", f"media_{wish.action}_track")
        case "mute" | "unmute":
            mute = wish.action == "mute"
            proof = Wanted(attributes={"is_volume_muted": (mute, 0)})
            return Call("media_player", "volume_mute", {"is_volume_muted": mute}, proof)
        case _:
            raise CannotDo("can be turned on and off, played, paused, skipped, or set to a volume")


def _climate(state: State, wish: Wish) -> Call:
    _only(wish, "action", "temperature", "mode")
    modes = [str(mode) for mode in state.attributes.get("hvac_modes") or ()]
    mode = wish.mode
    if mode is None and wish.action is not None:
        if wish.action not in ("on", "off"):
            raise CannotDo("can be turned on and off, or set to a temperature")
        best = ("auto", "heat_cool", "heat", "cool", *modes) if wish.action == "on" else ("off",)
        mode = next((name for name in best if name in modes and (name == "off") == (wish.action == "off")), None)
        if mode is None:
            raise CannotDo(f"cannot be turned {wish.action}")
    if mode is not None and mode not in modes:
        raise CannotDo(f"has no mode {mode}: it knows {', '.join(modes)}")
    if wish.temperature is None:
        if mode is None:
            raise CannotDo("can be turned on and off, or set to a temperature")
        return Call("climate", "set_hvac_mode", {"hvac_mode": mode}, Wanted(frozenset((mode,))))
    low, high = state.attributes.get("min_temp"), state.attributes.get("max_temp")
    if isinstance(low, int | float) and isinstance(high, int | float) and not low <= wish.temperature <= high:
        raise CannotDo(f"can be set from {low:g} to {high:g} degrees")
    data: dict[str, Any] = {"temperature": wish.temperature}
    if mode is not None:
        data["hvac_mode"] = mode
    states = frozenset((mode,)) if mode else frozenset()
    return Call("climate", "set_temperature", data, Wanted(states, attributes={"temperature": (wish.temperature, 0.5)}))


def _vacuum(wish: Wish) -> Call:
    _only(wish, "action")
    match wish.action:
        case "on" | "run":
            return Call("vacuum", "start", wanted=Wanted(frozenset(("cleaning", "on"))))
        case "off":
            return Call("vacuum", "return_to_base", wanted=Wanted(frozenset(("returning", "docked", "idle"))))
        case "pause" | "stop":
            return Call("vacuum", wish.action, wanted=Wanted(frozenset(("cleaning",)), but=True))
        case _:
            raise CannotDo("can be started, paused, stopped, and sent home with off")


def _run(thing: Thing, wish: Wish) -> Call:
    _only(wish, "action")
    if wish.action not in ("run", "on"):
        raise CannotDo("can only be run")
    return Call(thing.kind, "press" if thing.kind.endswith("button") else "turn_on")


def _only(wish: Wish, *fields: str) -> None:
    words = {"level": "a level", "colour": "a colour", "kelvin": "a colour", "temperature": "a temperature"}
    for name, what in {**words, "mode": "a mode"}.items():
        if name not in fields and getattr(wish, name) is not None:
            raise CannotDo(f"has no setting for {what}")


def _near(value: Any, wanted: Any, tolerance: float) -> bool:
    if isinstance(wanted, tuple):
        values = value if isinstance(value, list | tuple) and len(value) == len(wanted) else None
        if values is None:
            return False
        hue, saturation = (abs(a - b) for a, b in zip(values, wanted, strict=True))
        return bool(min(hue, 360 - hue) <= tolerance and saturation <= tolerance)
    if isinstance(wanted, bool):
        return value is wanted
    return isinstance(value, int | float) and bool(abs(value - wanted) <= tolerance)
