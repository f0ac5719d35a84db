"""States in words: "on at 40 percent", "closed", "19.5 degrees". PURE."""

from __future__ import annotations

from collections.abc import Sequence

from .actions import HUES
from .model import State, Thing

_UNITS = {
    "°C": "degrees",
    "°F": "degrees",
    "%": "percent",
    "W": "watts",
    "kW": "kilowatts",
    "kWh": "kilowatt hours",
    "Wh": "watt hours",
    "V": "volts",
    "A": "amperes",
    "lx": "lux",
    "ppm": "parts per million",
    "µg/m³": "micrograms per cubic metre",
    "min": "minutes",
    "s": "seconds",
    "h": "hours",
    "m/s": "metres per second",
    "km/h": "kilometres per hour",
    "hPa": "hectopascals",
    "mbar": "millibars",
}
# What on and off mean for a binary sensor of some device class.
_OPENING = ("open", "closed")
_BINARY = {
    **dict.fromkeys(("door", "garage_door", "opening", "window"), _OPENING),
    "lock": ("unlocked", "locked"),
    "motion": ("seeing motion", "seeing no motion"),
    "occupancy": ("occupied", "empty"),
    "presence": ("home", "away"),
    "moisture": ("wet", "dry"),
    "smoke": ("smelling smoke", "clear"),
    "gas": ("smelling gas", "clear"),
    "carbon_monoxide": ("smelling carbon monoxide", "clear"),
    "battery": ("low", "fine"),
    "problem": ("in trouble", "fine"),
    "plug": ("plugged in", "unplugged"),
    "running": ("running", "not running"),
    "vibration": ("shaking", "still"),
}


def plain_state(thing: Thing, state: State) -> str:
    """The state as one would ask for it: "on", "open", "locked"."""
    if state.gone:
        return "not answering" if state.value == "unavailable" else "unknown"
    if thing.kind == "binary_sensor" and state.value in ("on", "off"):
        return _BINARY.get(thing.device_class or "", ("on", "off"))[state.value == "off"]
    return state.value.replace("_", " ")


def describe(thing: Thing, state: State) -> str:
    """The state with what belongs to it; fits behind "The desk lamp is"."""
    plain, attributes = plain_state(thing, state), state.attributes
    if state.gone:
        return plain
    match thing.kind:
        case "light" if plain == "on":
            level = attributes.get("brightness")
            bright = f" at {round(level * 100 / 255)} percent" if isinstance(level, int | float) else ""
            return f"on{bright}{_colour(state)}"
        case "cover" if isinstance(position := attributes.get("current_position"), int | float) and 0 < position < 100:
            return f"{plain} at {round(position)} percent"
        case "fan" if plain == "on" and isinstance(speed := attributes.get("percentage"), int | float):
            return f"on at {round(speed)} percent"
        case "media_player" if plain not in ("off", "standby"):
            title, artist, volume = (attributes.get(key) for key in ("media_title", "media_artist", "volume_level"))
            what = f" {title}{f' by {artist}' if artist else ''}" if title and plain in ("playing", "paused") else ""
            loud = f", at volume {round(volume * 100)}" if isinstance(volume, int | float) else ""
            return f"{plain}{what}{loud}"
        case "climate":
            return _climate(plain, state)
        case "sensor":
            unit = attributes.get("unit_of_measurement")
            return f"{number(state.value)} {_UNITS.get(unit, unit)}" if unit else number(state.value)
        case _:
            return plain


def _colour(state: State) -> str:
    """ ", blue" where a lamp shines in a colour that has a name."""
    if state.attributes.get("color_mode") in ("color_temp", "white", "brightness"):
        return ""
    match state.attributes.get("hs_color"):
        case [int() | float() as hue, int() | float() as saturation] if saturation > 40:
            gaps = {name: abs(hue - other) for name, (other, _) in HUES.items()}
            gap, name = min((min(gap, 360 - gap), name) for name, gap in gaps.items())
            return f", {name}" if gap <= 15 else ""
    return ""


def _climate(plain: str, state: State) -> str:
    target, now = state.attributes.get("temperature"), state.attributes.get("current_temperature")
    parts = [f"on {plain}" if plain in ("auto", "heat", "cool", "dry", "fan only", "heat cool") else plain]
    if target is not None:
        parts.append(f"set to {number(target)} degrees")
    if now is not None:
        parts.append(f"now at {number(now)}")
    return ", ".join(parts)


def number(value: object) -> str:
    """A number with at most one digit behind the point; anything else as it is."""
    try:
        figure = round(float(str(value)), 1)
    except ValueError:
        return str(value)
    return f"{figure:g}" if abs(figure) < 1e6 else f"{figure:.0f}"


def listed(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def the(name: str) -> str:
    """A thing at the beginning of a sentence."""
    return name if name.split()[0].lower() in ("the", "all", "my") else f"The {name}"
