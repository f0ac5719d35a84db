"""Finds what is meant, acts on it, and tells what became of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from assistant.plugin import ToolError

from .actions import Call, CannotDo, Wish, can, is_entrance, plan, plan_lock
from .model import Area, House, Offline, Refused, Thing
from .names import GROUPS, Found, Missing, Unclear, find, find_area, in_group, label
from .spoken import describe, listed, number, plain_state, the

if TYPE_CHECKING:
    from .connection import Connection

CONNECT_LIMIT_S = 2.0
SHOWN = 25
"""Things in one result: more than anybody wants to hear, and a bounded cost."""

NAMED = 6
"""Names in one question or error."""

_ALSO_ON = ("playing", "paused", "idle", "heat", "cool", "auto", "cleaning")


class Control:
    """What the tools do. Every method raises ToolError in words for the user."""

    def __init__(
        self, house: House, connection: Connection, read_back_s: float, near: Callable[[], Area | None]
    ) -> None:
        self._house = house
        self._connection = connection
        self._read_back_s = read_back_s
        self._near = near

    async def set(self, name: str | None, area: str | None, wish: Wish) -> dict[str, object]:
        """Fulfil a wish, wait for the new state, and tell it."""
        await self._ready()
        if wish == Wish():
            raise ToolError("Say what to do: an action, a level, a colour or a temperature.")
        if not name:
            name = "thermostat" if wish.temperature is not None or wish.mode is not None else "lights"
        found = self._find(name, area, lambda thing: can(thing, wish))
        calls: dict[Thing, Call] = {}
        for thing in found.things:
            try:
                calls[thing] = plan(thing, self._house.state(thing.entity_id), wish)
            except CannotDo as error:
                if len(found.things) == 1:
                    raise ToolError(f"{the(thing.name)} {error}.") from None
        if not calls:
            raise ToolError(f"None of the {len(found.things)} can do that.")
        return await self._carry_out(calls)

    async def secure(self, name: str | None, area: str | None, *, secure: bool) -> dict[str, object]:
        """Lock or unlock."""
        await self._ready()
        found = self._find(name or "door", area, lambda thing: thing.kind == "lock" or is_entrance(thing))
        try:
            return await self._carry_out({thing: plan_lock(thing, secure=secure) for thing in found.things})
        except CannotDo as error:
            raise ToolError(f"{the(found.things[0].name)} {error}.") from None

    async def status(
        self, name: str | None, area: str | None, kind: str | None, measure: str | None, expected: str | None
    ) -> dict[str, object]:
        """Tell states."""
        await self._ready()
        if measure is not None:
            return self._measured(measure, name, area)
        if kind is not None and not name:
            place = self._area(area)
            things = [thing for thing in self._house.things if in_group(thing, kind) and place in (None, thing.area)]
            return self._told_group(kind, things, place, expected)
        if not name:
            if (place := self._area(area) or self._near()) is None:
                raise ToolError("Say which thing, which kind of things, or which area.")
            return self._told([thing for thing in self._house.things if thing.area == place])
        wide = kind is None or kind not in GROUPS
        found = self._find(name, area, lambda thing: wide or in_group(thing, kind or ""))
        if expected is not None and len(found.things) == 1:
            thing = found.things[0]
            state = self._house.state(thing.entity_id)
            answer = "" if state.gone else "Yes, " if _is(expected, plain_state(thing, state)) else "No, "
            said = f"{answer}{the(thing.name)} is {describe(thing, state)}."
            return {"say": said[0].upper() + said[1:].replace(", The ", ", the ", 1), "things": [self._fact(thing)]}
        return self._told(found.things)

    # --- finding ------------------------------------------------------------------------------------------------------

    async def _ready(self) -> None:
        try:
            await self._connection.ready(CONNECT_LIMIT_S)
        except Offline as error:
            raise ToolError(f"Home Assistant cannot be used now: {error}.") from None

    def _area(self, text: str | None) -> Area | None:
        if not text:
            return None
        if (area := find_area(self._house.areas, text)) is None:
            known = [area.name for area in self._house.areas][:SHOWN]
            raise ToolError(f"There is no area {text}. There are: {', '.join(known) or 'none'}.")
        return area

    def _find(self, name: str, area: str | None, usable: Callable[[Thing], bool]) -> Found:
        """What is meant: among what is usable; else one thing among all, so that the answer can say why not; and a
        misspelt name only when neither has the name as it was said."""
        place, things = self._area(area), self._house.things
        fitting = [thing for thing in things if usable(thing)]
        where = partial(find, areas=self._house.areas, query=name, area=place, near=self._near())
        result = where(fitting, guess=False)
        if isinstance(result, Missing):
            result = where(things, guess=False)
            if not (isinstance(result, Found) and len(result.things) == 1):
                result = where(fitting)
        match result:
            case Found():
                return result
            case Unclear(things=several):
                names = [label(thing) for thing in several[:NAMED]]
                more = f" (and {len(several) - NAMED} more)" if len(several) > NAMED else ""
                raise ToolError(f"Which one: {', '.join(names)}{more}?")
            case Missing(close=close):
                there = f" in the {place.name}" if place else ""
                hint = f" Perhaps {' or '.join(close)}?" if close else ""
                raise ToolError(f"Home Assistant has nothing called {name}{there} for this.{hint}")

    # --- acting -------------------------------------------------------------------------------------------------------

    async def _carry_out(self, calls: Mapping[Thing, Call]) -> dict[str, object]:
        dead = [thing for thing in calls if self._house.state(thing.entity_id).value == "unavailable"]
        calls = {thing: call for thing, call in calls.items() if thing not in dead}
        if not calls:
            raise ToolError(f"{the(listed([thing.name for thing in dead[:NAMED]]))} {_is_are(dead)} not answering.")
        batches: dict[str, list[Thing]] = {}
        for thing, call in calls.items():
            batches.setdefault(json.dumps([call.domain, call.service, call.data]), []).append(thing)
        try:
            for things in batches.values():
                call = calls[things[0]]
                await self._connection.command(
                    "call_service",
                    domain=call.domain,
                    service=call.service,
                    service_data=dict(call.data),
                    target={"entity_id": [thing.entity_id for thing in things]},
                )
        except Refused as error:
            raise ToolError(f"Home Assistant refuses: {error}.") from None
        except Offline as error:
            raise ToolError(f"It is not known whether that was done: {error}.") from None
        await self._connection.until(lambda: all(map(self._done, calls, calls.values())), self._read_back_s)
        done = [thing for thing, call in calls.items() if self._done(thing, call)]
        failed = [thing for thing in calls if thing not in done] + dead
        if not done:
            raise ToolError(f"That was sent, but {self._still(failed)}.")
        result: dict[str, object] = {"say": self._said(done, calls), "things": [self._fact(t) for t in done[:SHOWN]]}
        if failed:
            result["say"] = f"{result['say']} But {self._still(failed)}."
            result["failed"] = [self._fact(thing) for thing in failed[:SHOWN]]
        return result

    def _done(self, thing: Thing, call: Call) -> bool:
        return call.wanted.holds(self._house.state(thing.entity_id))

    def _said(self, done: Sequence[Thing], calls: Mapping[Thing, Call]) -> str:
        if len(done) == 1:
            (thing,) = done
            if thing.kind in ("scene", "script", "button", "input_button"):
                return f"{thing.name} is done."
            return f"{the(thing.name)} is {describe(thing, self._house.state(thing.entity_id))}."
        kinds = {thing.kind for thing in done}
        what = kinds.pop().replace("_", " ") if len(kinds) == 1 else "thing"
        states = {plain_state(thing, self._house.state(thing.entity_id)) for thing in done}
        how = f"are {states.pop()}" if len(states) == 1 else "are set"
        return f"{len(done)} {_plural(what)} {how}."

    def _still(self, failed: Sequence[Thing]) -> str:
        states = {thing: self._house.state(thing.entity_id) for thing in failed[:NAMED]}
        parts = [f"the {t.name} is {'' if s.gone else 'still '}{describe(t, s)}" for t, s in states.items()]
        return listed([*parts, f"{len(failed) - NAMED} more"] if len(failed) > NAMED else parts)

    # --- telling ------------------------------------------------------------------------------------------------------

    def _told(self, things: Sequence[Thing]) -> dict[str, object]:
        if not things:
            raise ToolError("There is nothing of that.")
        parts = [f"{the(thing.name)} is {self._describe(thing)}." for thing in things[:NAMED]]
        if len(things) > NAMED:
            parts.append(f"And {len(things) - NAMED} more.")
        return {"say": " ".join(parts), **self._facts(things)}

    def _told_group(
        self, kind: str, things: Sequence[Thing], place: Area | None, expected: str | None
    ) -> dict[str, object]:
        where = f" in the {place.name}" if place else ""
        if not things:
            raise ToolError(f"There are no {_plural(kind)}{where}.")
        if expected is None:
            return self._told(things)
        fitting = [t for t in things if _is(expected, plain_state(t, self._house.state(t.entity_id)))]
        if not fitting:
            say = f"No {kind}{where} is {expected}."
        elif len(fitting) == len(things) > 1:
            say = f"All {len(things)} {_plural(kind)}{where} are {expected}."
        else:
            names = [label(thing) for thing in fitting[:NAMED]]
            names += [f"{len(fitting) - NAMED} more"] if len(fitting) > NAMED else []
            count = f"{len(fitting)} of {len(things)} {_plural(kind)}"
            say = f"{count}{where} {_is_are(fitting)} {expected}: {listed(names)}."
        if silent := [thing for thing in things if self._house.state(thing.entity_id).gone]:
            say += f" {the(listed([label(thing) for thing in silent[:NAMED]]))} {_is_are(silent)} not answering."
        return {"say": say, "asked": len(things), "count": len(fitting), **self._facts([*fitting, *silent])}

    def _measured(self, measure: str, name: str | None, area: str | None) -> dict[str, object]:
        place = self._area(area)
        sensors = [thing for thing in self._house.things if thing.device_class == measure and thing.kind == "sensor"]
        if name:
            meant = find(sensors, self._house.areas, name, area=place, near=self._near())
            if isinstance(meant, Missing) and (said := find_area(self._house.areas, name)):
                return self._measured(measure, None, said.name)
            sensors = list(meant.things) if not isinstance(meant, Missing) else []
            place = None
        else:
            here = place or self._near()
            if place or any(thing.area == here for thing in sensors):
                place = here
                sensors = [thing for thing in sensors if thing.area == place]
        values = {thing: self._describe(thing) for thing in sensors}
        if not values and measure == "temperature" and not name:
            values = self._thermostats(place)
        what, where = measure.replace("_", " "), f" in the {place.name}" if place else ""
        if not values:
            raise ToolError(f"Nothing measures the {what}{where or (f' of {name}' if name else '')}.")
        if len(values) == 1:
            ((thing, value),) = values.items()
            say = f"The {what}{where} is {value}." if place else f"{label(thing)}: {value}."
        else:
            say = "; ".join(f"{label(thing)}: {value}" for thing, value in list(values.items())[:NAMED]) + "."
        return {"say": say, **self._facts(list(values))}

    def _thermostats(self, place: Area | None) -> dict[Thing, str]:
        """What thermostats measure, where nothing else does."""
        return {
            thing: f"{number(now)} degrees"
            for thing in self._house.things
            if thing.kind == "climate" and place in (None, thing.area)
            if (now := self._house.state(thing.entity_id).attributes.get("current_temperature")) is not None
        }

    def _describe(self, thing: Thing) -> str:
        return describe(thing, self._house.state(thing.entity_id))

    def _fact(self, thing: Thing) -> dict[str, Any]:
        fact = {"name": thing.name, "state": self._describe(thing)}
        return {**fact, "area": thing.area.name} if thing.area else fact

    def _facts(self, things: Sequence[Thing]) -> dict[str, object]:
        facts: dict[str, object] = {"things": [self._fact(thing) for thing in things[:SHOWN]]}
        return {**facts, "more": len(things) - SHOWN} if len(things) > SHOWN else facts


def _is(expected: str, plain: str) -> bool:
    return plain == expected or (expected == "on" and plain in _ALSO_ON)


def _is_are(things: Sequence[Thing]) -> str:
    return "is" if len(things) == 1 else "are"


def _plural(word: str) -> str:
    return f"{word}es" if word.endswith(("ch", "sh")) else f"{word}s"
