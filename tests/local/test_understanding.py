from __future__ import annotations

from typing import Any

import pytest

from assistant.local.language import Request, english
from assistant.local.skills import read_tools
from assistant.local.understanding import (
    Meaning,
    NothingSaid,
    NotUnderstood,
    RequestWanted,
    ToolWanted,
    Understanding,
)
from tests.local.household import CLOCK, LIGHTS, TOOLS, tool

UNDERSTANDING = Understanding(read_tools(TOOLS), ("hey jarvis",))


def understand(text: str, *specs: dict[str, Any]) -> Meaning:
    return Understanding(read_tools(specs)).understand(text) if specs else UNDERSTANDING.understand(text)


@pytest.mark.parametrize(
    ("text", "tool_name", "arguments"),
    [
        ("What time is it?", "time_get", {}),
        ("what's the time", "time_get", {}),
        ("What’s the time?!", "time_get", {}),
        ("Hey Jarvis, turn on the kitchen light.", "light_set", {"state": "on", "area": "kitchen"}),
        ("jarvis turn the living room lights off", "light_set", {"state": "off", "area": "living_room"}),
        ("Could you please TURN OFF the bedroom light, please?", "light_set", {"state": "off", "area": "bedroom"}),
        ("Set a timer for 25 minutes.", "timer_set", {"n": 25, "unit": "minutes"}),
        ("set a timer for twenty-five minutes", "timer_set", {"n": 25, "unit": "minutes"}),
        ("set a timer for an hour", "timer_set", {"n": 1, "unit": "hours"}),
        ("set a 10 second timer", "timer_set", {"n": 10, "unit": "seconds"}),
        ("turn the fan on", "fan_set", {"on": True}),
        ("Turn the fan off", "fan_set", {"on": False}),
        ("note down buy milk and 2 eggs", "note_add", {"text": "buy milk and 2 eggs"}),
        ("Note: call the plumber!", "note_add", {"text": "call the plumber"}),
    ],
)
def test_sentences_of_tools(text: str, tool_name: str, arguments: dict[str, Any]) -> None:
    meaning = understand(text)
    assert meaning == ToolWanted(tool_name, arguments)
    assert isinstance(meaning, ToolWanted)
    assert {name: type(value) for name, value in meaning.arguments.items()} == {
        name: type(value) for name, value in arguments.items()
    }


def test_the_words_of_each_slot_are_kept_for_the_reply() -> None:
    meaning = understand("set a timer for one minute")
    assert isinstance(meaning, ToolWanted)
    assert meaning.spoken == {"n": "one", "unit": "minute"}


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("set volume to a hundred and five", {"level": 105}),
        ("set volume to 40 %", {"level": 40}),
        ("set volume to 40%", {"level": 40}),
        ("set volume to minus five", {"level": -5}),
    ],
)
def test_numbers_in_any_form(text: str, arguments: dict[str, Any]) -> None:
    level = {"type": "integer", "minimum": -10, "maximum": 200}
    spec = tool("volume_set", {"level": level}, ["set volume to {level} [percent]"])
    assert understand(text, spec) == ToolWanted("volume_set", arguments)


@pytest.mark.parametrize(
    "text", ["set a timer for 100 minutes", "turn on the garage light", "sing a song", "note", "x" * 2000]
)
def test_what_no_tool_knows(text: str) -> None:
    assert understand(text) == NotUnderstood()


@pytest.mark.parametrize("text", ["", "  ", "?", "Hey Jarvis!", "hey, jarvis", "jarvis"])
def test_silence_and_the_wake_phrase_alone(text: str) -> None:
    assert understand(text) == NothingSaid()


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("Stop!", Request.STOP),
        ("never mind", Request.STOP),
        ("hey jarvis cancel", Request.STOP),
        ("What can you do?", Request.HELP),
        ("hello", Request.HELLO),
        ("thank you very much", Request.THANKS),
    ],
)
def test_requests_that_need_no_tool(text: str, request_: Request) -> None:
    assert understand(text) == RequestWanted(request_)
    assert set(english().requests) == set(Request)


def test_a_tool_comes_before_a_built_in_request() -> None:
    assert understand("stop", tool("stop_ringing", {}, ["stop"])) == ToolWanted("stop_ringing", {})


@pytest.mark.parametrize("text", ["Wake me at 7:30.", "wake me at half past 7", "wake me at seven thirty"])
def test_what_has_words_in_a_list_may_be_typed_in_digits(text: str) -> None:
    spec = tool("alarm", {"at": {"type": "string"}}, ["wake me at {at}"])
    spec["x-offline"]["lists"] = {"at": {"7:30": "(seven thirty|half past seven)"}}
    assert understand(text, spec) == ToolWanted("alarm", {"at": "7:30"})


def test_words_come_before_free_text() -> None:
    free = tool("search", {"what": {"type": "string"}}, ["what {what}"])
    assert understand("what time is it", free, CLOCK) == ToolWanted("time_get", {})
    assert understand("what is love", free, CLOCK) == ToolWanted("search", {"what": "is love"})


def test_a_slot_that_was_not_said_is_reported() -> None:
    spec = tool("t", LIGHTS["parameters"]["properties"], ["light[s] [{state}] [in {area}]"])
    meaning = understand("lights on", spec)
    assert isinstance(meaning, ToolWanted)
    assert meaning.missing == ("area",)


def test_a_hyphen_is_not_heard() -> None:
    spec = tool("t", {"lamp": {"type": "string"}}, ["switch-on the {lamp}"], lists={"lamp": {"led": "LED-Strip"}})
    for text in ("switch on the led strip", "switch-on the LED-Strip"):
        assert understand(text, spec) == ToolWanted("t", {"lamp": "led"})
