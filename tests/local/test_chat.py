"""A language model behind a chat endpoint: over real HTTP, with a scripted server."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.local.brain import CallTool, Decision, Say
from assistant.local.chat import Chat, ChatRequest, ChatSettings
from assistant.local.chat_stream import Answer, ChatError, EventReader
from assistant.local.conversation import Item, Part
from assistant.local.grammar import Grammar
from assistant.local.language import english
from assistant.local.mind import Mind
from assistant.local.recognizer import Utterance
from tests.local.chat_server import ChatServer, Script, call, chat_server, delta, text
from tests.local.household import CLOCK, TOOLS


class Deaf:
    """A recogniser that nobody speaks to."""

    async def set_grammar(self, grammar: Grammar) -> None:
        pass

    def begin(self) -> Utterance:
        raise AssertionError("nobody speaks")

    async def close(self) -> None:
        pass


def said(words: str, *, role: str = "user", rejected: bool = False) -> Item:
    kind = "input_text" if role != "assistant" else "output_text"
    return Item(f"item_{words[:8]}", "message", role=role, parts=[Part(kind, words)], rejected=rejected)


def mind(server: ChatServer | str, **settings: Any) -> Mind:
    url = server if isinstance(server, str) else server.url
    made = Mind(Deaf(), english(), (), 1e-10, Chat(ChatSettings(url, "small", **settings)))
    made.set_tools(TOOLS)
    return made


async def ask(asked: Mind, *context: Item, **request: Any) -> list[Decision]:
    return [one async for one in asked.decide(ChatRequest("Be brief.", list(context), TOOLS, **request))]


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())


def test_sentences_are_spoken_as_they_are_complete() -> None:
    async def main() -> None:
        async with chat_server(text("The **sun** is", " a star. It is", " very big.\n", "- And hot")) as server:
            decisions = await ask(mind(server, key="k"), said("what is the sun"))
            assert decisions == [Say("The sun is a star."), Say("It is very big."), Say("And hot")]
            (asked,) = server.requests
            assert server.keys == ["Bearer k"]
        assert asked["model"] == "small"
        assert asked["stream"] is True
        assert asked["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "what is the sun"},
        ]
        assert asked["tools"][0]["function"]["name"] == TOOLS[0]["name"]
        assert "x-offline" not in json.dumps(asked), "what only the sentences need is nobody else's business"

    run(main)


def test_tool_calls_arrive_in_pieces_and_their_outputs_go_back() -> None:
    async def main() -> None:
        pieces = [
            {"content": "I will look."},
            *call("time_get"),
            *call("fan_set", '{"o', 'n": ', "true}", index=1),
        ]
        async with chat_server(Script(pieces), text("It is noon.")) as server:
            decisions = await ask(mind(server), said("what time is it, and turn the fan on"))
            assert decisions == [Say("I will look."), CallTool("time_get", {}), CallTool("fan_set", {"on": True})]
            context = [
                said("what time is it"),
                Item("i1", "function_call", name="time_get", call_id="a", arguments="{}"),
                Item("i2", "function_call", name="fan_set", call_id="b", arguments='{"on": true}'),
                Item("i3", "function_call_output", call_id="a", output="noon"),
                Item("i4", "function_call_output", call_id="b", output="done"),
                Item("i5", "function_call", name="time_get", call_id="lost", arguments="{}"),
            ]
            assert await ask(mind(server), *context) == [Say("It is noon.")]
            messages = server.requests[1]["messages"][2:]
        assert [one["role"] for one in messages] == ["assistant", "tool", "tool"]
        assert [one["id"] for one in messages[0]["tool_calls"]] == ["a", "b"], "and none without its output"

    run(main)


@pytest.mark.parametrize(
    "broken",
    [
        Script(status=500),
        Script(status=401),
        Script(["data: {oops\n\n"]),
        Script(['data: {"error": {"message": "out of memory"}}\n\n']),
        Script(stall=True),
        Script(drop=True),
        Script(call("fan_set", '{"on": tr')),
    ],
    ids=["500", "401", "no json", "error", "stall", "drop", "bad arguments"],
)
def test_without_a_model_the_sentences_answer(broken: Script, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        again = Script(broken.pieces, broken.status, broken.stall, broken.drop)
        async with chat_server(broken, again, text("Yes, sir.")) as server:
            asked = mind(server, patience_s=0.2)
            assert await ask(asked, said("turn on the kitchen light")) == [
                CallTool("light_set", {"state": "on", "area": "kitchen"})
            ]
            assert await ask(asked, said("what is the sun")) == [Say("Sorry, my language model does not answer.")]
            assert len([line for line in caplog.records if line.levelno >= logging.WARNING]) == 1, caplog.text
            assert await ask(asked, said("are you there")) == [Say("Yes, sir.")]
            assert "answers again" in caplog.text
            assert "the sun" not in caplog.text

    caplog.set_level(logging.INFO)
    run(main)


def test_nobody_at_the_address() -> None:
    async def main() -> None:
        assert await ask(mind("http://127.0.0.1:9/v1"), said("what time is it")) == [CallTool("time_get", {})]
        output = Item("o", "function_call_output", call_id="a", output='{"say": "It is noon"}')
        spoken = await ask(
            mind("http://127.0.0.1:9/v1"),
            said("what time is it"),
            Item("c", "function_call", name="time_get", call_id="a", arguments="{}"),
            output,
        )
        assert spoken == [Say("It is noon.")], "what a tool found out is said all the same"

    run(main)


@pytest.mark.parametrize("end", [{"stall": True}, {"drop": True}])
def test_an_answer_that_breaks_off_is_not_begun_again(end: dict[str, bool]) -> None:
    async def main() -> None:
        broken = Script([{"content": "The light is on now. And"}], **end)
        async with chat_server(broken) as server:
            decisions = await ask(mind(server, patience_s=0.2), said("turn on the kitchen light"))
        assert decisions == [Say("The light is on now."), Say("Sorry, my language model does not answer.")]

    run(main)


def test_who_stops_listening_ends_the_request() -> None:
    async def main() -> None:
        endless = Script([{"content": "One sentence is here. "}], stall=True)
        async with chat_server(endless) as server:
            decisions = mind(server).decide(ChatRequest("", [said("talk")], TOOLS))
            assert await anext(decisions) == Say("One sentence is here.")
            await decisions.aclose()
            await server.gone.wait()

    run(main)


def test_what_was_not_heard_is_for_the_sentences() -> None:
    async def main() -> None:
        async with chat_server() as server:
            item = said("", rejected=True)
            assert await ask(mind(server), item) == [Say("Sorry, I did not understand that.")]
            assert await ask(mind(server), said("")) == []
            assert server.requests == []

    run(main)


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "time_get"}, {"type": "function", "function": {"name": "time_get"}}),
    ],
)
def test_the_choice_of_tools(choice: Any, sent: Any) -> None:
    body = ChatRequest("", [said("hi")], [CLOCK], choice).to_json("m")
    assert body["tool_choice"] == sent
    assert "tools" not in ChatRequest("", [said("hi")], [CLOCK], "none").to_json("m")


WORDS = st.lists(
    st.sampled_from(["It is", " 3.5 degrees", ".", " Dr. Who", " came", "! ", "\n", " (really) ", "Why? "])
)


@given(WORDS, st.integers(1, 40))
def test_no_cut_loses_a_word(words: list[str], step: int) -> None:
    raw = "".join(f"data: {json.dumps(delta({'content': word}))}\r\n\r\n" for word in words).encode()
    reader, answer = EventReader(), Answer()
    said_: list[str] = []
    for start in range(0, len(raw), step):
        for data in reader.feed(raw[start : start + step]):
            said_ += answer.feed(data)
    rest, calls = answer.end()
    assert " ".join([*said_, *rest]).split() == "".join(words).split()
    assert calls == []


def test_an_answer_is_bounded() -> None:
    with pytest.raises(ChatError):
        list(EventReader().feed(b"x" * 2_000_000))
    with pytest.raises(ChatError):
        Answer().feed(json.dumps(delta({"content": "a" * 40_000})))
    answer = Answer()
    with pytest.raises(ChatError):
        for index in range(100):
            answer.feed(json.dumps(delta(call("t", index=index)[0])))
