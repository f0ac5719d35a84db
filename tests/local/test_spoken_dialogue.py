"""Dialogues over the socket, spoken: the recogniser listens for the answer to the question that was asked."""

from __future__ import annotations

import json
from typing import Any

from assistant.local.chat import ChatSettings
from tests.local.chat_server import Script, call, chat_server, text
from tests.local.client import Client, client, household, run, server, spoken
from tests.local.household import CLOCK, LIGHTS, tool

TIMERS = tool(
    "timer_set",
    {
        "n": {"type": "integer", "minimum": 1, "maximum": 99},
        "unit": {"type": "string", "enum": ["seconds", "minutes", "hours"]},
    },
    ["set a timer for {n} {unit}", "set a timer"],
    lists={"unit": {"seconds": "second[s]", "minutes": "minute[s]", "hours": "hour[s]"}},
    asks={"n": "For how long?"},
)


async def turn(session: Client, words: str) -> Any:
    """Say something; gives the one item of the response."""
    await session.speak(spoken(words))
    await session.send("input_audio_buffer.commit")
    (item,) = (await session.respond()).output
    return item


def said(item: Any) -> str:
    assert item.type == "message", item
    return str(item.content[0].transcript)


def test_an_answer_is_heard_only_after_its_question() -> None:
    async def main() -> None:
        async with household() as session:
            await session.manual(tools=[TIMERS, LIGHTS, CLOCK])
            assert "not understand" in said(await turn(session, "ten minutes"))
            assert said(await turn(session, "set a timer")) == "For how long?"
            item = await turn(session, "ten minutes")
            assert (item.name, json.loads(item.arguments)) == ("timer_set", {"n": 10, "unit": "minutes"})
            await session.answer(item.call_id, '{"say": "Timer set."}')
            assert said((await session.respond()).output[0]) == "Timer set."
            assert said(await turn(session, "say that again")) == "Timer set."
            assert "not understand" in said(await turn(session, "ten minutes")), "the question is answered"

    run(main)


def test_a_language_model_speaks_sentence_by_sentence_and_calls_several_tools() -> None:
    async def main() -> None:
        pieces = [
            {"content": "Let me have a look at the clock. I will also"},
            {"content": " switch on the light."},
            *call("time_get"),
            *call("light_set", '{"state": "on", "area": "kitchen"}', index=1),
        ]
        async with (
            chat_server(Script(pieces), text("It is noon, and the light is on.")) as model,
            server(chat=ChatSettings(model.url, "small")) as port,
            client(port) as session,
        ):
            await session.manual(instructions="Be kind.", tools=[LIGHTS, CLOCK])
            await session.type("what time is it, and light please")
            message, first, second = (await session.respond()).output
            words = [e.delta for e in session.events if e.type == "response.output_audio_transcript.delta"]
            assert words == ["Let me have a look at the clock.", " I will also switch on the light."]
            assert (message.type, first.name, second.name) == ("message", "time_get", "light_set")
            for item in (first, second):
                await session.answer(item.call_id, "ok")
            assert said((await session.respond()).output[0]) == "It is noon, and the light is on."
        assert model.requests[0]["messages"][0] == {"role": "system", "content": "Be kind."}
        assert [one["role"] for one in model.requests[1]["messages"]][-3:] == ["assistant", "tool", "tool"]

    run(main)
