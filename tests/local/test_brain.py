from __future__ import annotations

import json
from typing import Any

import pytest

from assistant.local.brain import Brain, CallTool, Decision, Said, Say, SayNothing, ToolAnswered
from assistant.local.skills import Skills, read_tools
from tests.local.household import LIGHTS, TOOLS, tool

BRAIN = Brain(read_tools(TOOLS), ("hey jarvis",))


def spoken(output: Any, tool_name: str = "time_get", **arguments: Any) -> str:
    raw = output if isinstance(output, str) else json.dumps(output)
    return BRAIN.spoken_answer(ToolAnswered(tool_name, arguments, raw))


def said(text: str, **state: bool) -> Decision:
    return BRAIN.decide(Said(text, **state))


def test_a_sentence_of_a_tool_calls_it() -> None:
    assert said("turn on the kitchen light") == CallTool("light_set", {"state": "on", "area": "kitchen"})


def test_a_tool_is_not_called_when_it_must_not_be() -> None:
    decision = BRAIN.decide(Said("what time is it"), may_call=False)
    assert isinstance(decision, Say)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"say": "it is noon"}, "It is noon."),
        ({"say": "Done!", "x": 1}, "Done!"),
        ('"You rolled 4."', "You rolled 4."),
        ("plain text", "Plain text."),
        ({"error": "There is no timer named pasta."}, "There is no timer named pasta."),
        ({"error": {"message": "no lamp"}}, "No lamp."),
        ({"say": " "}, "Done."),
        ({}, "Done."),
        ("null", "Done."),
        ("true", "Done."),
        ("", "Done."),
        (42, "42."),
        ([1, 2], "Done."),
    ],
)
def test_what_a_tool_answers_as_a_sentence(output: Any, words: str) -> None:
    assert spoken(output) == words


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({}, "The living room light is off."),
        ({"state": "dim"}, "The living room light is dim."),
        ({"say": "As you wish"}, "As you wish."),
        ({"error": "the lamp is broken"}, "The lamp is broken."),
        ("ok", "The living room light is off."),
    ],
)
def test_the_reply_template(output: Any, words: str) -> None:
    assert spoken(output, "light_set", state="off", area="living_room") == words


def test_the_reply_uses_the_words_that_were_said() -> None:
    answer = ToolAnswered("timer_set", {"n": 1, "unit": "minutes"}, "{}", {"n": "one", "unit": "minute"})
    assert BRAIN.spoken_answer(answer) == "Timer set for one minute."


def test_a_reply_can_hold_the_result() -> None:
    brain = Brain(read_tools([tool("roll", {}, ["roll"], reply="you rolled {result}")]))
    assert brain.spoken_answer(ToolAnswered("roll", {}, "4")) == "You rolled 4."


def test_several_answers_are_spoken_in_order() -> None:
    answers = [ToolAnswered("a", {}, '{"say": "One"}'), ToolAnswered("b", {}, '{"error": "two"}')]
    assert BRAIN.decide(Said("anything"), answers) == Say("One. Two.")


def test_silence_gets_no_answer_and_foreign_speech_a_short_one() -> None:
    assert BRAIN.decide(None) == said("") == said("hey jarvis") == SayNothing()
    rejected = said("the weather is nice", rejected=True)
    assert isinstance(rejected, Say)
    assert len(rejected.text) < 40
    assert isinstance(said("", failed=True), Say)


def test_what_is_not_understood_is_admitted_with_an_example() -> None:
    decision = said("sing me a song")
    assert isinstance(decision, Say)
    assert "not understand" in decision.text
    assert "turn on kitchen lights" in decision.text
    assert "sing" not in decision.text


def test_help_gives_examples_as_people_say_them() -> None:
    decision = said("what can you do")
    assert isinstance(decision, Say)
    assert "Set a timer for five seconds. " in decision.text
    assert "What time is it" in decision.text
    assert '"' not in decision.text, "it is spoken"


def test_help_is_short_enough_to_listen_to() -> None:
    spec = TOOLS[0]
    many = read_tools([{**spec, "name": f"tool_{number}"} for number in range(40)])
    decision = Brain(many).decide(Said("what can you do"))
    assert isinstance(decision, Say)
    assert len(decision.text.split()) < 100


def test_without_tools_the_help_says_so() -> None:
    brain = Brain(Skills())
    assert brain.decide(Said("what can you do")) == brain.decide(Said("sing"))
    assert brain.decide(Said("hello")) == Say("Hello.")


def test_a_missing_slot_is_asked_for() -> None:
    spec = tool("t", LIGHTS["parameters"]["properties"], ["light[s] [{state}] [in {area}]"])
    decision = Brain(read_tools([spec])).decide(Said("lights on"))
    assert isinstance(decision, Say)
    assert decision.text == "Kitchen, living room or bedroom?"
