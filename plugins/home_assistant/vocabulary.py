"""The names that the offline brain listens for. PURE.

A cloud model is told of the areas only. It writes the names as people say them, and :mod:`names` finds what is meant:
the names of a house of 500 things would cost more in every session than all other tools together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .actions import Wish, can, is_entrance
from .model import Area, Thing
from .names import in_group, spoken

MAX_AREAS = 40
"""Areas that a model is told of, in every session."""

MAX_FORMS = 400
"""Spoken forms in one list: those of a large house, and a grammar that is compiled in a moment."""

_ON, _LEVEL, _COLOUR = Wish(action="on"), Wish(level=50), Wish(colour="red")
_GROUPS = ("light", "switch", "fan", "blind", "shutter", "curtain", "cover")


def lists(things: Sequence[Thing], areas: Sequence[Area]) -> Mapping[str, Mapping[str, str | Sequence[str]]]:
    """The lists for ``Context.entities``: each value, and how people say it."""
    used = [area for area in areas if any(thing.area == area for thing in things)]
    switched = [t for t in things if can(t, _ON) and t.kind not in ("scene", "script", "button", "input_button")]
    covers = [thing for thing in things if thing.kind == "cover"]
    return {
        "areas": _areas(areas if len(areas) <= MAX_AREAS else used[:MAX_AREAS]),
        "switchable": _forms(switched, used),
        "dimmable": _forms([t for t in things if can(t, _LEVEL) and not is_entrance(t)], used),
        "colourable": _forms([thing for thing in things if can(thing, _COLOUR)], used),
        "openable": _forms([thing for thing in covers if not is_entrance(thing)], used),
        "closable": _forms(covers, used),
        "players": _forms([thing for thing in things if thing.kind == "media_player"], used),
        "thermostats": _forms([thing for thing in things if thing.kind == "climate"], used),
        "runnable": _forms([t for t in things if t.kind in ("scene", "script", "button", "input_button")], ()),
        "locks": _forms([thing for thing in things if thing.kind == "lock" or is_entrance(thing)], used),
        "askable": _forms([t for t in things if t.kind not in ("scene", "script", "button", "input_button")], ()),
    }


def _areas(areas: Sequence[Area]) -> dict[str, Sequence[str]]:
    forms = {area.name: [said for name in (area.name, *area.aliases) if (said := spoken(name))] for area in areas}
    return {name: said for name, said in forms.items() if said}


def _forms(things: Sequence[Thing], areas: Sequence[Area]) -> dict[str, str]:
    """Each spoken form is its own value. If there are too many, the names are kept before the ways to say where."""
    names: dict[str, str] = {}
    located: dict[str, str] = {}
    for thing in things:
        place = spoken(thing.area.name) if thing.area else ""
        for plain in filter(None, map(spoken, (thing.name, *thing.aliases))):
            light = " [light]" if thing.kind == "light" and plain.split()[-1] not in ("light", "lights", "lamp") else ""
            names[plain] = f"{plain}{light}"
            if place:
                other = plain.removeprefix(f"{place} ") if plain.startswith(f"{place} ") else f"{place} {plain}"
                located[other] = f"{other}{light}"
    said = {**_groups(things, areas), **names}
    said |= {form: template for form, template in located.items() if form not in said}
    return dict(list(said.items())[:MAX_FORMS])


def _groups(things: Sequence[Thing], areas: Sequence[Area]) -> dict[str, str]:
    """ "all lights", "the light" and "the lights" (where the speaker stands), and "kitchen lights"."""
    said: dict[str, str] = {}
    for group in _GROUPS:
        if not any(in_group(thing, group) for thing in things):
            continue
        plural = f"{group}es" if group.endswith("ch") else f"{group}s"
        said[f"all {plural}"] = f"all [[of] the] {plural}"
        said[plural] = plural
        said[group] = group
        for area in areas:
            if (place := spoken(area.name)) and any(thing.area == area and in_group(thing, group) for thing in things):
                said[f"{place} {plural}"] = f"({place} ({plural}|{group})|{plural} in [the] {place})"
    return said
