"""The pure parts of the home_assistant plugin: names, wishes, states."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hassil.parse_expression import parse_sentence
from hypothesis import given
from hypothesis import strategies as st

from plugins.home_assistant.actions import CannotDo, Wanted, Wish, can, plan
from plugins.home_assistant.model import Area, House, State, Thing, read_registry
from plugins.home_assistant.names import Found, Missing, Unclear, find, find_area, label, spoken, words
from plugins.home_assistant.spoken import describe, number
from plugins.home_assistant.vocabulary import MAX_FORMS, lists

KITCHEN, BEDROOM, LIVING = (
    Area("k", "Kitchen", ("galley",)),
    Area("b", "Bedroom"),
    Area("l", "Living Room", ("lounge",)),
)
AREAS = (KITCHEN, BEDROOM, LIVING)
THINGS = (
    Thing("light.k1", "Kitchen Ceiling", (), KITCHEN),
    Thing("light.k2", "Worktop", ("counter",), KITCHEN),
    Thing("light.b", "Ceiling Light", (), BEDROOM),
    Thing("light.l", "Ceiling Light", (), LIVING),
    Thing("light.floor", "Big Floor Lamp", (), LIVING),
    Thing("light.one", "Spot 1", (), None),
    Thing("cover.b", "Left Blind", (), BEDROOM, "blind"),
    Thing("cover.b2", "Right Blind", (), BEDROOM, "blind"),
    Thing("switch.tv", "TV", (), LIVING),
    Thing("climate.b", "Radiator", (), BEDROOM),
    Thing("lock.f", "Front Door", (), None),
)


def found(query: str, **where: Any) -> list[str] | None:
    result = find(THINGS, AREAS, query, **where)
    return [thing.entity_id for thing in result.things] if isinstance(result, Found) else None


@pytest.mark.parametrize(
    ("query", "where", "wanted"),
    [
        ("kitchen ceiling", {}, ["light.k1"]),
        ("the kitchen ceiling light", {}, ["light.k1"]),
        ("ceiling light in the kitchen", {}, ["light.k1"]),
        ("counter", {}, ["light.k2"]),
        ("the lamp on the counter", {}, ["light.k2"]),
        ("bedroom ceiling", {}, ["light.b"]),
        ("ceiling light", {"near": LIVING}, ["light.l"]),
        ("ceiling light", {"area": BEDROOM}, ["light.b"]),
        ("ceiling lamp in the lounge", {}, ["light.l"]),
        ("ceiling light", {}, None),
        ("floor lamp", {}, ["light.floor"]),
        ("big flor lamp", {}, ["light.floor"]),
        ("big flor lamp", {"area": KITCHEN}, None),
        ("wroktop in the kitchen", {}, ["light.k2"]),
        ("spot one", {}, ["light.one"]),
        ("telly", {}, ["switch.tv"]),
        ("kitchen lights", {}, ["light.k1", "light.k2"]),
        ("the lights in the galley", {}, ["light.k1", "light.k2"]),
        ("kitchen light", {}, ["light.k1", "light.k2"]),
        ("lights here", {"near": KITCHEN}, ["light.k1", "light.k2"]),
        ("the lights in this room", {"near": BEDROOM}, ["light.b"]),
        ("the light", {"near": BEDROOM}, ["light.b"]),
        ("light", {}, None),
        ("lights", {}, [thing.entity_id for thing in THINGS if thing.kind == "light"]),
        ("all the lamps", {"near": KITCHEN}, [thing.entity_id for thing in THINGS if thing.kind == "light"]),
        ("both blinds", {}, ["cover.b", "cover.b2"]),
        ("blinds", {"near": KITCHEN}, ["cover.b", "cover.b2"]),
        ("heating", {}, ["climate.b"]),
        ("everything in the living room", {}, ["light.l", "light.floor", "switch.tv"]),
        ("everything", {}, None),
        ("worktop", {"area": BEDROOM}, None),
        ("spot 1", {"area": BEDROOM}, ["light.one"]),
        ("dishwasher", {}, None),
        ("", {}, None),
    ],
)
def test_names_as_people_say_them(query: str, where: dict[str, Area], wanted: list[str] | None) -> None:
    assert found(query, **where) == wanted


def test_what_may_be_meant_is_told() -> None:
    assert find(THINGS, AREAS, "ceiling light") == Unclear((THINGS[0], THINGS[2], THINGS[3]))
    assert [label(thing) for thing in THINGS[2:4]] == [
        "Ceiling Light in the Bedroom",
        "Ceiling Light in the Living Room",
    ]
    missing = find(THINGS, AREAS, "works")
    assert isinstance(missing, Missing)
    assert missing.close[0] == "Worktop in the Kitchen"


name = st.text(alphabet=string.ascii_letters + string.digits + " '-(){}[]|<>äéßЖ字🙂", max_size=20)
area = st.builds(Area, st.sampled_from("xyz"), name, st.lists(name, max_size=2).map(tuple))
thing = st.builds(
    Thing,
    st.tuples(st.sampled_from(["light", "cover", "sensor", "lock"]), st.sampled_from("abcdef")).map(".".join),
    name,
    st.lists(name, max_size=2).map(tuple),
    st.none() | area,
    st.sampled_from([None, "blind", "door"]),
)
house = st.lists(thing, max_size=8, unique_by=lambda one: one.entity_id)


@given(house, st.lists(area, max_size=3), name | st.text(), st.none() | area, st.none() | area)
def test_any_words_find_something_known_or_nothing(
    things: list[Thing], areas: list[Area], query: str, where: Area | None, near: Area | None
) -> None:
    match find(things, areas, query, area=where, near=near):
        case Found(things=meant):
            assert meant and set(meant) <= set(things)
        case Unclear(things=meant):
            assert len(meant) > 1 and set(meant) <= set(things)
        case Missing(close=close):
            assert len(close) <= 3


@given(house, st.lists(area, max_size=3), st.integers(0, 7))
def test_its_own_name_always_means_it(things: list[Thing], areas: list[Area], index: int) -> None:
    if index >= len(things) or not words(things[index].name):
        return
    for said in (things[index].name, things[index].name.upper(), f"the {things[index].name}!"):
        result = find(things, areas, said)
        assert not isinstance(result, Missing)
        assert things[index] in result.things


@given(st.text())
def test_words_are_settled_after_once(text: str) -> None:
    assert spoken(spoken(text)) == spoken(text)
    assert words(text.upper().lower()) == words(text.lower())


@given(house, st.lists(area, max_size=3))
def test_every_form_for_the_offline_brain_finds_its_thing(things: list[Thing], areas: list[Area]) -> None:
    for forms in lists(things, areas).values():
        assert len(forms) <= MAX_FORMS
        for form in forms.values():
            for template in [form] if isinstance(form, str) else form:
                assert parse_sentence(template).expression.items
    for value in lists(things, areas)["switchable"]:
        assert not isinstance(find(things, areas, value), Missing)


def test_a_large_house_stays_bounded() -> None:
    many = [Thing(f"light.l{number}", f"Spot {number}", (), KITCHEN) for number in range(1000)]
    assert len(lists(many, AREAS)["switchable"]) == MAX_FORMS
    assert len(lists(many, [Area(str(n), f"Room {n}") for n in range(90)])["areas"]) == 0
    assert find_area(AREAS, "the Lounge") == LIVING


def test_the_offline_brain_can_say_where() -> None:
    switchable = lists(THINGS, AREAS)["switchable"]
    assert {"ceiling light", "bedroom ceiling light", "living room ceiling light", "ceiling", "counter"} <= set(
        switchable
    )
    assert switchable["kitchen ceiling"] == "kitchen ceiling [light]"


WHITE = {"supported_color_modes": ["color_temp"]}

# --- wishes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entity", "state", "wish", "service", "data", "proof", "not_yet"),
    [
        ("light.a", State("off"), Wish("toggle"), "turn_on", {}, State("on"), State("off")),
        ("light.a", State("on"), Wish(level=0), "turn_off", {}, State("off"), State("on")),
        (
            "light.a",
            State("off", {"supported_color_modes": ["hs"]}),
            Wish(colour="red"),
            "turn_on",
            {"hs_color": [0, 100]},
            State("on", {"hs_color": (359.0, 99)}),
            State("on", {"hs_color": (240, 100)}),
        ),
        (
            "light.a",
            State("on", {**WHITE, "min_color_temp_kelvin": 3000, "max_color_temp_kelvin": 6000}),
            Wish(kelvin=2000),
            "turn_on",
            {"color_temp_kelvin": 3000},
            State("on", {"color_temp_kelvin": 3003}),
            State("on", {"color_temp_kelvin": 6000}),
        ),
        ("switch.a", State("on"), Wish("off"), "turn_off", {}, State("off"), State("on")),
        ("cover.a", State("open"), Wish("toggle"), "close_cover", {}, State("closing"), State("open")),
        ("cover.a", State("opening"), Wish("stop"), "stop_cover", {}, State("open"), State("opening")),
        (
            "cover.a",
            State("open"),
            Wish(level=30),
            "set_cover_position",
            {"position": 30},
            State("open", {"current_position": 31}),
            State("open", {"current_position": 90}),
        ),
        (
            "fan.a",
            State("off"),
            Wish(level=50),
            "set_percentage",
            {"percentage": 50},
            State("on", {"percentage": 66}),
            State("off"),
        ),
        ("media_player.a", State("off"), Wish("on"), "turn_on", {}, State("idle"), State("off")),
        ("media_player.a", State("playing"), Wish("pause"), "media_pause", {}, State("paused"), State("playing")),
        (
            "media_player.a",
            State("playing"),
            Wish("mute"),
            "volume_mute",
            {"is_volume_muted": True},
            State("playing", {"is_volume_muted": True}),
            State("playing"),
        ),
        ("media_player.a", State("playing"), Wish("next"), "media_next_track", {}, State("playing"), None),
        (
            "climate.a",
            State("off", {"hvac_modes": ["off", "cool", "heat"]}),
            Wish("on"),
            "set_hvac_mode",
            {"hvac_mode": "heat"},
            State("heat"),
            State("off"),
        ),
        (
            "climate.a",
            State("off", {"hvac_modes": ["off", "heat"]}),
            Wish(temperature=21, mode="heat"),
            "set_temperature",
            {"temperature": 21, "hvac_mode": "heat"},
            State("heat", {"temperature": 21.0}),
            State("off", {"temperature": 21.0}),
        ),
        ("vacuum.a", State("docked"), Wish("run"), "start", {}, State("cleaning"), State("docked")),
        ("vacuum.a", State("cleaning"), Wish("off"), "return_to_base", {}, State("returning"), State("cleaning")),
        ("button.a", State("unknown"), Wish("run"), "press", {}, State("unknown"), None),
        ("script.a", State("off"), Wish("run"), "turn_on", {}, State("off"), None),
    ],
)
def test_a_wish_becomes_a_call_and_a_proof(
    entity: str, state: State, wish: Wish, service: str, data: dict[str, Any], proof: State, not_yet: State | None
) -> None:
    thing = Thing(entity, "It")
    assert can(thing, wish)
    call = plan(thing, state, wish)
    assert (call.domain, call.service, call.data) == (thing.kind, service, data)
    assert call.wanted.holds(proof)
    assert not_yet is None or not call.wanted.holds(not_yet)


wishes = st.builds(
    Wish,
    st.none()
    | st.sampled_from(["on", "off", "toggle", "open", "close", "stop", "play", "pause", "next", "mute", "run"]),
    st.none() | st.integers(0, 100),
    st.none() | st.sampled_from(["red", "warm white"]),
    st.none() | st.integers(1500, 10000),
    st.none() | st.floats(5, 95),
    st.none() | st.sampled_from(["heat", "off"]),
)
values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
)
attributes = st.dictionaries(
    st.sampled_from(["brightness", "hs_color", "current_position", "temperature", "volume_level", "percentage"]), values
)


@given(
    st.sampled_from(
        ["light", "switch", "cover", "climate", "fan", "media_player", "lock", "scene", "vacuum", "sensor"]
    ),
    st.sampled_from([None, "garage"]),
    st.builds(State, st.sampled_from(["on", "off", "open", "unavailable", "playing", "heat", "3.5"]), attributes),
    wishes,
)
def test_any_wish_and_any_state_make_a_call_or_a_reason(
    kind: str, device_class: str | None, state: State, wish: Wish
) -> None:
    thing = Thing(f"{kind}.a", "It", (), None, device_class)
    try:
        call = plan(thing, state, wish)
    except CannotDo as reason:
        assert str(reason)
    else:
        assert call.domain == kind != "lock"
        assert call.service not in ("open_cover", "unlock") or device_class != "garage"
        call.wanted.holds(state)
    assert describe(thing, state)


def test_a_proof_needs_all_its_parts() -> None:
    wanted = Wanted(frozenset(("on",)), attributes={"brightness": (128.0, 4)})
    assert wanted.holds(State("on", {"brightness": 126}))
    assert not wanted.holds(State("on", {"brightness": 100}))
    assert not wanted.holds(State("off", {"brightness": 128}))
    assert not wanted.holds(State("on"))


@pytest.mark.parametrize(
    ("value", "said"), [("19.53", "19.5"), ("20.0", "20"), (-0.04, "-0"), ("abc", "abc"), ("1e9", "1000000000")]
)
def test_numbers(value: object, said: str) -> None:
    assert number(value).replace("-0", "0") == said.replace("-0", "0")


# --- what Home Assistant tells ----------------------------------------------------------------------------------------


def test_states_come_change_and_go() -> None:
    house = House()
    assert house.apply({"a": {"light.a": {"s": "off", "a": {"friendly_name": "A", "brightness": 3}}}})
    assert not house.apply({"c": {"light.a": {"+": {"s": "on", "lc": 1.5}, "-": {"a": ["brightness"]}}}})
    assert house.state("light.a") == State("on", {"friendly_name": "A"})
    assert house.apply({"c": {"light.a": {"+": {"a": {"friendly_name": "B"}}}}})
    assert [one.name for one in house.things] == ["B"]
    assert not house.apply({"c": {"light.unknown": {"+": {"s": "on"}}}, "r": ["light.unknown"]})
    assert house.apply({"r": ["light.a"]})
    assert house.things == ()


def test_who_is_exposed() -> None:
    house = House()
    kinds = ["light.plain", "light.hidden", "light.diagnostic", "light.no", "sensor.warm", "sensor.count"]
    house.apply(
        {"a": {entity: {"s": "on", "a": {}} for entity in [*kinds, "input_boolean.yes", "light.off", "sun.sun"]}}
    )
    house.apply({"c": {"sensor.warm": {"+": {"a": {"device_class": "temperature"}}}}})
    entries = [
        {"entity_id": "light.hidden", "hidden_by": "user"},
        {"entity_id": "light.diagnostic", "entity_category": "diagnostic"},
        {"entity_id": "light.off", "disabled_by": "user"},
        {"entity_id": "light.plain", "device_id": "d", "aliases": ["one"]},
    ]
    exposed = {"light.no": {"conversation": False}, "input_boolean.yes": {"conversation": True}, "light.plain": {}}
    areas, devices = [{"area_id": "k", "name": "Kitchen", "aliases": ["galley"]}], [{"id": "d", "area_id": "k"}]
    house.set_registry(read_registry(areas, devices, entries, exposed))
    assert [one.entity_id for one in house.things] == ["input_boolean.yes", "light.plain", "sensor.warm"]
    assert house.things[1].area == Area("k", "Kitchen", ("galley",))
    assert house.things[1].aliases == ("one",)
    house.set_registry(read_registry(areas, devices, entries, exposed, expose_new=False))
    assert [one.entity_id for one in house.things] == ["input_boolean.yes"]
