from __future__ import annotations

from typing import Any

import pytest

from assistant.local.skills import example, read_tools
from assistant.local.slots import AnyText, Numbers, SpokenValue, Words
from tests.local.household import LIGHTS, TIMERS, TOOLS, tool


def problems_of(*specs: dict[str, Any]) -> str:
    return "\n".join(read_tools(specs).problems)


def test_slots_come_from_the_schema() -> None:
    skills = read_tools(TOOLS)
    assert skills.problems == ()
    lights, timers, notes, fan = (skills.get(name) for name in ("light_set", "timer_set", "note_add", "fan_set"))
    assert lights and timers and notes and fan
    assert lights.slots["area"] == Words(
        (
            SpokenValue("kitchen", "kitchen"),
            SpokenValue("living room", "living_room"),
            SpokenValue("bedroom", "bedroom"),
        )
    )
    assert timers.slots["n"] == Numbers(1, 99)
    assert timers.slots["n__words"] == Words((SpokenValue("(a|an)", 1),))
    assert timers.slots["unit"] == Words(
        (
            SpokenValue("second[s]", "seconds"),
            SpokenValue("minute[s]", "minutes"),
            SpokenValue("hour[s]", "hours"),
        )
    )
    assert notes.slots["text"] == AnyText()
    assert fan.slots["on"] == Words((SpokenValue("on", True), SpokenValue("off", False)))


@pytest.mark.parametrize(
    ("schema", "slot"),
    [
        ({"type": "integer"}, Numbers(0, 100)),
        ({"type": "integer", "minimum": 200}, Numbers(200, 300)),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 11}, Numbers(1, 10)),
        ({"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 10}, Numbers(0, 100, 10)),
        (
            {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            Words((SpokenValue("on", True), SpokenValue("off", False))),
        ),
        ({"type": ["string", "null"], "enum": ["a_b", None]}, Words((SpokenValue("a b", "a_b"),))),
        ({"const": "x"}, Words((SpokenValue("x", "x"),))),
    ],
)
def test_kinds_of_schema(schema: dict[str, Any], slot: object) -> None:
    skills = read_tools([tool("t", {"p": schema}, ["do {p}"])])
    assert skills.problems == ()
    assert skills.skills[0].slots["p"] == slot


def test_a_reference_is_followed() -> None:
    spec = tool("t", {"p": {"$ref": "#/$defs/Room"}}, ["go to {p}"])
    spec["parameters"]["$defs"] = {"Room": {"type": "string", "enum": ["hall"]}}
    assert read_tools([spec]).skills[0].slots["p"] == Words((SpokenValue("hall", "hall"),))


def test_list_values_take_the_type_of_the_parameter() -> None:
    spec = tool("t", {"p": {"type": "integer"}}, ["play {channel:p}"], lists={"channel": {"7": ["news", "the news"]}})
    assert read_tools([spec]).skills[0].slots["channel"] == Words((SpokenValue("news", 7), SpokenValue("the news", 7)))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (tool("t", {}, ["do {nothing}"]), "{nothing} is not a parameter"),
        (tool("t", {}, ["do (this"]), "not a valid template"),
        (tool("t", {}, ["do <this>"]), "write the words out"),
        (tool("t", {}, ["x" * 600]), "longer than 500"),
        (tool("t", {"p": {"type": "string"}}, ["do it"]), "never gives p"),
        (tool("t", {"p": {"type": "array"}}, ["do {p}"]), "cannot be spoken"),
        (tool("t", {"p": {"type": "string"}}, ["do {p}"], lists={"p": {}}), "is empty"),
        (tool("t", {"p": {"type": "string"}}, ["do {p}"], lists={"p": {"a": "{p}"}}), "another slot"),
        (tool("t", {"p": {"type": "integer"}}, ["do {l:p}"], lists={"l": {"x": "ex"}}), "'x'"),
        (tool("t", {"p": {"type": "integer", "minimum": 5, "maximum": 1}}, ["do {p}"]), "minimum above"),
    ],
)
def test_what_cannot_work_is_said_and_left_out(spec: dict[str, Any], words: str) -> None:
    skills = read_tools([spec, LIGHTS])
    assert [skill.name for skill in skills.skills] == ["light_set"]
    assert words in problems_of(spec)
    assert problems_of(spec).startswith("tool t: ")
    assert "\n" not in problems_of(spec)


def test_one_bad_sentence_leaves_the_others() -> None:
    skills = read_tools([tool("t", {}, ["good one", "bad ("])])
    assert [template.text for template in skills.skills[0].templates] == ["good one"]
    assert len(skills.problems) == 1


def test_tools_without_sentences_are_passed_over() -> None:
    assert read_tools([{"type": "function", "name": "x"}, {"type": "mcp"}]).skills == ()
    assert read_tools([{**LIGHTS, "x-offline": {"sentences": []}}]).skills == ()


def test_an_example_is_a_sentence_that_people_say() -> None:
    skills = read_tools([TIMERS, LIGHTS])
    timers, lights = skills.skills
    assert example(timers, timers.templates[0]) == "set a timer for five seconds"
    assert example(lights, lights.templates[0]) == "turn on kitchen lights"
