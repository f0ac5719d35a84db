"""From what people say to the things they mean: "the kitchen light", "all the blinds", "desk lamp". PURE.

Tried in this order, and the first that fits wins:

1. a name or alias, with or without the area before or behind it: "ceiling", "ceiling light in the kitchen"
2. a group: a word for a kind of thing, with "all" or an area, or near the speaker: "all lights", "bedroom blinds"
3. a part of a name: "floor lamp" for "Big Floor Lamp"
4. a name that is spelt nearly so: "desk lmap"

Where several things fit, those in the area that was said count, else those where the speaker stands; if there still are
several, nobody guesses: :class:`Unclear`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from .model import Area, Thing

Words = tuple[str, ...]

_ARTICLES = frozenset(("the", "a", "an", "my", "our", "please"))
_ALL = frozenset(("all", "every", "everything", "both", "each"))
_LINKS = frozenset(("in", "of", "at", "on", "from"))
_HERE = (("here",), ("this", "room"))
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SYNONYMS = {
    "lamp": "light",
    "bulb": "light",
    "tv": "television",
    "telly": "television",
    "hoover": "vacuum",
    "colour": "color",
    "centre": "center",
    **{word: str(number) for number, word in enumerate(_NUMBERS)},
}
# A word for a kind of thing: entity domains, and for some only certain device classes.
GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "light": (("light",), ()),
    "switch": (("switch", "input_boolean"), ()),
    "plug": (("switch",), ()),
    "socket": (("switch",), ()),
    "fan": (("fan",), ()),
    "cover": (("cover",), ()),
    "blind": (("cover",), ("blind", "shade", "shutter", "awning")),
    "shade": (("cover",), ("blind", "shade")),
    "shutter": (("cover",), ("shutter", "blind")),
    "curtain": (("cover",), ("curtain",)),
    "heating": (("climate",), ()),
    "heater": (("climate",), ()),
    "thermostat": (("climate",), ()),
    "radiator": (("climate",), ()),
    "lock": (("lock",), ()),
    "vacuum": (("vacuum",), ()),
    "door": (("binary_sensor", "cover", "lock"), ("door", "garage_door", "garage", "opening")),
    "window": (("binary_sensor", "cover"), ("window",)),
    "motion": (("binary_sensor",), ("motion", "occupancy", "presence")),
    "speaker": (("media_player",), ("speaker", "receiver")),
    "television": (("media_player",), ("tv",)),
    "scene": (("scene",), ()),
}
_ALIKE = 0.5  # names that are less alike are not even suggested
_NEARLY, _AHEAD = 0.84, 0.06  # how alike a misspelt name must be, and by how much more than the next


@dataclass(frozen=True, slots=True)
class Found:
    """These are meant. ``group``: by a word such as "lights", not by their names."""

    things: tuple[Thing, ...]
    group: bool = False


@dataclass(frozen=True, slots=True)
class Unclear:
    """Any of these may be meant."""

    things: tuple[Thing, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing fits. ``close``: names that are a little alike, best first."""

    close: tuple[str, ...] = ()


Result = Found | Unclear | Missing


@lru_cache(maxsize=8192)
def words(text: str) -> Words:
    """A phrase as it is compared: small letters, no accents, articles or plurals; "lamp" and "light" are one."""
    plain = spoken(text).split()
    kept = [word for word in plain if word not in _ARTICLES] or plain[-1:]
    return tuple(_SYNONYMS.get(single, single) for single in map(_singular, kept))


def spoken(text: str) -> str:
    """The words of a name, with nothing that nobody says: "Anna's (old) Lamp" -> "annas old lamp"."""
    small = unicodedata.normalize("NFKD", text).casefold().replace("'", "").replace("’", "")
    letters = unicodedata.normalize("NFKD", small)
    return " ".join("".join(c if c.isalnum() else " " for c in letters if not unicodedata.combining(c)).split())


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def find_area(areas: Iterable[Area], text: str) -> Area | None:
    """The area of that name or alias."""
    asked = words(text)
    return next((area for area in areas if asked in _area_names(area)), None)


def in_group(thing: Thing, group: str) -> bool:
    """Whether a thing is one of those that a word of GROUPS means."""
    kinds, classes = GROUPS[group]
    if thing.kind not in kinds:
        return False
    return not classes or thing.device_class in classes or (group == "door" and thing.kind == "lock")


def find(
    things: Sequence[Thing],
    areas: Sequence[Area],
    query: str,
    *,
    area: Area | None = None,
    near: Area | None = None,
    guess: bool = True,
) -> Result:
    """What is meant by ``query``.

    things: those that can be meant, such as only those that can be dimmed. area: where, if it was said apart.
    near: where the speaker stands. guess: whether the name may be misspelt.
    """
    asked = words(query)
    if not asked:
        return Missing()
    if exact := [thing for thing in things if asked in _names(thing)]:
        return _chosen(exact, area, near)
    rest, place = _without_area(asked, areas, near) if area is None else (asked, area)
    rest = tuple(word for word in rest if word not in _LINKS)
    if place is not area and (exact := [thing for thing in things if rest in _names(thing)]):
        result = _chosen(exact, place, near)
        if not isinstance(result, Missing):
            return result
    if (group := _group(things, query, rest, place, near)) is not None:
        return group
    if rest and (partly := [thing for thing in things if set(rest) <= _vocabulary(thing)]):
        return _chosen(partly, place, near)
    if not guess:
        return Missing()
    around = [thing for thing in things if place is None or thing.area in (None, place)]
    return _nearly(around, {asked, rest} - {()})


def _group(things: Sequence[Thing], query: str, rest: Words, place: Area | None, near: Area | None) -> Result | None:
    """ "all lights", "bedroom blinds", "the lights", "everything in the kitchen"; None if it is no such thing."""
    everything = bool(set(rest) & _ALL)
    kind = tuple(word for word in rest if word not in _ALL)
    if len(kind) > 1 or (kind and kind[0] not in GROUPS) or (not kind and not (everything and place)):
        return None
    members = tuple(thing for thing in things if not kind or in_group(thing, kind[0]))
    if not members:
        return None
    if place is not None:
        there = tuple(thing for thing in members if thing.area == place)
        return Found(there, group=True) if there else Missing()
    if everything or len(members) == 1:
        return Found(members, group=True)
    if near is not None and (here := tuple(thing for thing in members if thing.area == near)):
        return Found(here, group=True)
    plural = not set(spoken(query).split()) & {*kind, *(said for said, word in _SYNONYMS.items() if word in kind)}
    return Found(members, group=True) if plural else Unclear(members)


def _chosen(candidates: Sequence[Thing], place: Area | None, near: Area | None) -> Result:
    if place is not None:
        candidates = [thing for thing in candidates if thing.area == place] or [
            thing for thing in candidates if thing.area is None
        ]
        if not candidates:
            return Missing()
    elif len(candidates) > 1 and near is not None:
        candidates = [thing for thing in candidates if thing.area == near] or candidates
    return Found(tuple(candidates)) if len(candidates) == 1 else Unclear(tuple(candidates))


def _nearly(things: Sequence[Thing], asked: Iterable[Words]) -> Result:
    """The thing whose name is spelt nearly as one of the phrases; compared with the names as they are written only."""
    matchers = [SequenceMatcher(None, "", " ".join(phrase), autojunk=False) for phrase in asked]
    ranked: list[tuple[float, Thing]] = []
    for thing in things:
        best = _ALIKE
        for name in {words(name) for name in (thing.name, *thing.aliases)}:
            for matcher in matchers:
                matcher.set_seq1(" ".join(name))
                if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best:
                    best = max(best, matcher.ratio())
        ranked.append((best, thing))
    ranked.sort(key=lambda pair: (-pair[0], pair[1].entity_id))
    if ranked and ranked[0][0] >= _NEARLY and (len(ranked) == 1 or ranked[0][0] - ranked[1][0] >= _AHEAD):
        return Found((ranked[0][1],))
    return Missing(tuple(dict.fromkeys(label(thing) for ratio, thing in ranked[:3] if ratio > _ALIKE)))


def label(thing: Thing) -> str:
    """Its name for people, with the area where the name does not hold it: "ceiling in the kitchen"."""
    if thing.area is None or set(words(thing.area.name)) <= set(words(thing.name)):
        return thing.name
    return f"{thing.name} in the {thing.area.name}"


def _area_names(area: Area) -> list[Words]:
    return [words(name) for name in (area.name, *area.aliases)]


def _without_area(asked: Words, areas: Sequence[Area], near: Area | None) -> tuple[Words, Area | None]:
    """The words without the longest area name in them, and that area."""
    found = [(name, area) for area in areas for name in _area_names(area)]
    found += [(here, near) for here in _HERE if near is not None]
    for name, area in sorted(found, key=lambda pair: -len(pair[0])):
        for start in range(len(asked) - len(name) + 1):
            if name and asked[start : start + len(name)] == name:
                return asked[:start] + asked[start + len(name) :], area
    return asked, None


@lru_cache(maxsize=8192)
def _names(thing: Thing) -> frozenset[Words]:
    """Everything that it may be called."""
    names = {words(name) for name in (thing.name, *thing.aliases)} - {()}
    own = "light" if thing.kind == "light" else thing.kind if thing.kind in ("fan", "scene") else None
    if own is not None:
        names |= {(*name, own) for name in names if own not in name}
        names |= {name[:-1] for name in names if len(name) > 1 and name[-1] == own}
    for area in _area_names(thing.area) if thing.area else ():
        bare = {name[len(area) :] for name in names if name[: len(area)] == area} - {()}
        names |= {(*area, *name) for name in names | bare if name[: len(area)] != area}
        names |= {(*name, "in", *area) for name in names | bare if name[: len(area)] != area}
        names |= bare
    return frozenset(names)


@lru_cache(maxsize=8192)
def _vocabulary(thing: Thing) -> frozenset[str]:
    """All words that may be used for it."""
    return frozenset(word for name in _names(thing) for word in name) | {thing.kind}
