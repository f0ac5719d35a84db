"""The server, driven by a realtime client that nobody here wrote; every event is validated against its types."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from typing import Any

import pytest

from tests.local.client import Client, client, household, run, server, spoken
from tests.local.household import CLOCK, LIGHTS

SPOKEN_ANSWER = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]
CALL = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def transcript(response: Any) -> str:
    return " ".join(part.transcript for item in response.output for part in item.content)


def test_a_session_begins_with_all_its_settings() -> None:
    async def main() -> None:
        async with server(session_limit_s=600) as port, client(port) as session:
            created = session.events[0].session.model_dump()
            assert created["model"] == "kitchen"
            assert abs(created["expires_at"] - time.time() - 600) < 5
            assert created["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500
            updated = (await session.update(instructions="Be brief.", tools=[CLOCK])).session.model_dump()
            assert updated["instructions"] == "Be brief."
            assert updated["tools"][0]["name"] == "time_get"
            assert updated["audio"] == created["audio"]
            erased = (await session.update(instructions="", tools=[])).session.model_dump()
            assert (erased["instructions"], erased["tools"]) == ("", [])

    run(main)


def test_typed_question_to_spoken_answer_by_way_of_a_tool() -> None:
    async def main() -> None:
        async with household() as session:
            await session.type("What time is it?")
            await session.until("conversation.item.done")
            start = len(session.events)
            called = await session.respond()
            assert session.types(since=start) == CALL
            assert called.status == "completed"
            (call,) = called.output
            assert (call.type, call.name, call.arguments, call.status) == (
                "function_call",
                "time_get",
                "{}",
                "completed",
            )
            await session.answer(call.call_id, json.dumps({"say": "It is noon. Time to eat!"}))
            await session.until("conversation.item.done")
            start = len(session.events)
            answered = await session.respond()
            assert [
                name for name in session.types(since=start) if "delta" not in name and name != "rate_limits.updated"
            ] == [name for name in SPOKEN_ANSWER if "delta" not in name]
            assert transcript(answered) == "It is noon. Time to eat!"
            usage = answered.usage
            audio_ms = len(session.audio(answered.id)) / 48
            assert 1_000 < audio_ms < 5_000
            assert abs(usage.output_token_details.audio_tokens - audio_ms / 50) < 2
            assert usage.total_tokens == usage.input_tokens + usage.output_tokens
            assert usage.input_token_details.text_tokens > 0

    run(main)


def test_a_spoken_command_ended_by_the_client() -> None:
    async def main() -> None:
        async with household() as session:
            await session.speak(spoken("hey jarvis turn on the kitchen light"))
            await session.send("input_audio_buffer.commit")
            response = await session.respond()
            assert json.loads(response.output[0].arguments) == {"state": "on", "area": "kitchen"}
            names = session.types()
            assert names.index("input_audio_buffer.committed") < names.index("conversation.item.added")
            heard = next(event for event in session.events if event.type.endswith("transcription.completed"))
            assert heard.transcript.startswith("hey jarvis turn on the kitchen light")
            assert heard.usage.type == "duration"
            delta = next(event for event in session.events if event.type.endswith("transcription.delta"))
            assert (delta.item_id, delta.delta) == (heard.item_id, heard.transcript)
            await session.answer(response.output[0].call_id, "{}")
            assert transcript(await session.respond()) == "The kitchen light is on."

    run(main)


def test_foreign_speech_gets_an_apology_and_silence_nothing() -> None:
    async def main() -> None:
        async with household() as session:
            await session.speak(spoken("the children are playing in the garden"))
            await session.send("input_audio_buffer.commit")
            assert transcript(await session.respond()) == "Sorry, I did not understand that."
            heard = next(event for event in session.events if event.type.endswith("transcription.completed"))
            assert heard.transcript == ""
            await session.speak(bytes(48_000))
            await session.send("input_audio_buffer.commit")
            silent = await session.respond()
            assert (silent.status, silent.output) == ("completed", [])

    run(main)


def test_server_vad_takes_the_turn_by_itself() -> None:
    async def main() -> None:
        async with household() as session:
            await session.update(audio={"input": {"turn_detection": {"type": "server_vad"}}})
            start = len(session.events)
            await session.speak(bytes(48_000) + spoken("turn the living room lights off") + bytes(24_000))
            response = (await session.until("response.done")).response
            assert json.loads(response.output[0].arguments) == {"state": "off", "area": "living_room"}
            names = session.types(since=start)
            expected = ["speech_started", "speech_stopped", "committed"]
            assert names[:3] == [f"input_audio_buffer.{name}" for name in expected]
            started, stopped, committed = session.events[start : start + 3]
            assert started.item_id == stopped.item_id == committed.item_id
            assert 800 < started.audio_start_ms < 1500 < stopped.audio_end_ms
            # With both switched off, the server only tells.
            quiet = {"type": "server_vad", "create_response": False, "interrupt_response": False}
            await session.update(audio={"input": {"turn_detection": quiet}})
            start = len(session.events)
            await session.speak(spoken("what time is it") + bytes(48_000))
            await session.until("conversation.item.input_audio_transcription.completed")
            assert "response.created" not in session.types(since=start)

    run(main)


async def judged(session: Client, wanted: str) -> None:
    """Ask until what was said so far is judged like this: the recogniser may still be loading its sentences."""
    found = ""
    while found != wanted:
        await session.send("hearth.completeness.get", event_id="mine")
        answer = await session.until("hearth.completeness")
        assert answer.asked_by == "mine"
        found = answer.completeness


def test_whoever_pauses_in_the_middle_of_a_sentence_is_waited_for_and_a_whole_one_is_answered_sooner() -> None:
    async def main() -> None:
        async with household() as session:
            await session.manual()
            await session.speak(spoken("what time is it"))  # the microphone's first utterance
            await session.send("input_audio_buffer.commit")
            await session.until("conversation.item.input_audio_transcription.completed")
            # Low eagerness: 0.6 s after a whole request, 1.2 s as a rule, 3 s after the beginning of one.
            meaning = {"type": "semantic_vad", "eagerness": "low", "create_response": False}
            await session.update(audio={"input": {"turn_detection": meaning}})
            quiet = bytes(4_800)  # 100 ms
            await session.speak(quiet * 5 + spoken("set a timer for"))
            await judged(session, "unfinished")
            await session.speak(quiet * 15 + spoken("five minutes") + quiet * 10)
            heard = await session.until("conversation.item.input_audio_transcription.completed")
            assert heard.transcript == "set a timer for five minutes"
            start = len(session.events)
            await session.speak(quiet * 5 + spoken("turn on the kitchen light"))
            await judged(session, "complete")
            await session.speak(quiet * 4)
            await session.until("input_audio_buffer.speech_stopped")
            heard = await session.until("conversation.item.input_audio_transcription.completed")
            assert heard.transcript == "turn on the kitchen light"
            assert session.types(since=start).count("input_audio_buffer.committed") == 1

    run(main)


def test_silence_after_an_answer_may_count_as_a_turn() -> None:
    async def main() -> None:
        async with household() as session:
            vad = {"type": "server_vad", "idle_timeout_ms": 5_000}
            await session.update(audio={"input": {"turn_detection": vad}})
            await session.speak(bytes(48_000 * 8))  # before the first answer, silence is nothing
            await session.type("hello")
            spoken_ms = len(session.audio((await session.respond()).id)) // 48
            start = len(session.events)
            await session.speak(bytes(48_000 * 8))
            waited = await session.until("input_audio_buffer.timeout_triggered")
            assert abs(waited.audio_start_ms - 8_000 - spoken_ms) < 50
            assert waited.audio_end_ms - waited.audio_start_ms >= 5_000
            assert (await session.until("input_audio_buffer.committed")).item_id == waited.item_id
            assert (await session.until("response.done")).response.output == []
            assert session.types(since=start).count("input_audio_buffer.timeout_triggered") == 1

    run(main)


def test_every_answer_tells_what_is_left_of_the_limits() -> None:
    async def main() -> None:
        async with household() as session:
            await session.type("hello")
            total = (await session.respond()).usage.total_tokens
            requests, tokens = (await session.until("rate_limits.updated")).rate_limits
            assert (requests.name, requests.limit - requests.remaining in (0, 1)) == ("requests", True)
            assert (tokens.name, 0 <= tokens.limit - tokens.remaining <= total) == ("tokens", True)

    run(main)


def test_speech_interrupts_an_answer() -> None:
    async def main() -> None:
        async with household(pacing="realtime") as session:
            vad = {"type": "server_vad", "create_response": False}
            await session.update(audio={"input": {"turn_detection": vad}})
            await session.type("what can you do")
            await session.send("response.create")
            await session.until("response.output_audio.delta")
            await session.speak(spoken("stop") + bytes(48_000))
            done = (await session.until("response.done")).response
            assert (done.status, done.status_details.reason) == ("cancelled", "turn_detected")

    run(main)


@pytest.mark.parametrize("pacing", ["burst", "realtime"])
def test_cancel_in_the_middle_of_an_answer(pacing: str) -> None:
    async def main() -> None:
        async with household(pacing=pacing) as session:
            await session.type("what can you do")
            await session.send("response.create")
            response_id = (await session.until("response.output_audio.delta")).response_id
            # An answer of half a minute that nobody reads waits in the server, which must hear us all the same.
            await session.send("response.cancel", response_id=response_id)
            done = (await session.until("response.done")).response
            assert (done.status, done.status_details.reason) == ("cancelled", "client_cancelled")
            assert done.output[0].status == "incomplete"
            heard_ms = len(session.audio(response_id)) // 48
            assert done.usage.output_token_details.audio_tokens * 50 >= heard_ms
            await session.send(
                "conversation.item.truncate", item_id=done.output[0].id, content_index=0, audio_end_ms=100
            )
            cut = await session.until("conversation.item.truncated")
            assert cut.audio_end_ms == 100
            await session.send("conversation.item.retrieve", item_id=done.output[0].id)
            item = (await session.until("conversation.item.retrieved")).item
            assert len(base64.b64decode(item.content[0].audio)) == 4800
            assert item.content[0].transcript == ""
            await session.type("hello")
            assert transcript(await session.respond()) == "Hello."

    run(main)


def test_the_help_is_long_enough_to_be_interrupted() -> None:
    async def main() -> None:
        async with household() as session:
            await session.type("What can you do?")
            response = await session.respond()
            assert len(session.audio(response.id)) / 48_000 > 8.0

    run(main)


def test_text_only_and_limits_of_tokens() -> None:
    async def main() -> None:
        async with household() as session:
            await session.type("hello")
            start = len(session.events)
            response = await session.respond(output_modalities=["text"])
            assert response.output[0].content[0].text == "Hello."
            assert "response.output_text.delta" in session.types(since=start)
            assert session.audio(response.id) == b""
            await session.type("what can you do")
            short = await session.respond(max_output_tokens=20)
            assert (short.status, short.status_details.reason) == ("incomplete", "max_output_tokens")
            assert len(session.audio(short.id)) == 48 * 20 * 50
            assert short.usage.output_token_details.audio_tokens == 20

    run(main)


def test_out_of_band_responses() -> None:
    async def main() -> None:
        async with household() as session:
            question = {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "what time is it"}],
            }
            start = len(session.events)
            response = await session.respond(conversation="none", metadata={"topic": "a"}, input=[question])
            assert response.conversation_id is None
            assert response.metadata == {"topic": "a"}
            assert response.output[0].name == "time_get"
            assert "conversation.item.added" not in session.types(since=start)
            blank = await session.respond(conversation="none", input=[])
            assert blank.output == []
            await session.type("hello")
            item = (await session.until("conversation.item.done")).item
            reference = [{"type": "item_reference", "id": item.id}]
            assert transcript(await session.respond(conversation="none", input=reference)) == "Hello."
            # The conversation itself knows nothing of these: its last word is still the user's.
            assert transcript(await session.respond(tool_choice="none")) == "Hello."

    run(main)


def test_tools_and_their_choice_can_be_overridden() -> None:
    async def main() -> None:
        async with household() as session:
            await session.update(tools=[CLOCK])
            await session.type("turn on the kitchen light")
            assert "not understand" in transcript(await session.respond())
            await session.type("turn on the kitchen light")
            assert (await session.respond(tools=[LIGHTS])).output[0].name == "light_set"
            await session.type("what time is it")
            assert "not understand" in transcript(await session.respond(tool_choice="none"))

    run(main)


def test_items_can_be_placed_retrieved_and_deleted() -> None:
    async def main() -> None:
        async with household() as session:
            await session.type("one")
            first = (await session.until("conversation.item.added")).item
            item = {"id": "mine", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "two"}]}
            await session.send("conversation.item.create", item=item, previous_item_id="root")
            added = await session.until("conversation.item.added")
            while added.item.id != "mine":
                added = await session.until("conversation.item.added")
            assert added.previous_item_id is None
            await session.send("conversation.item.delete", item_id="mine")
            assert (await session.until("conversation.item.deleted")).item_id == "mine"
            assert (
                await session.error("conversation.item.delete", item_id="mine")
            ).code == "item_delete_invalid_item_id"
            gone = await session.error("conversation.item.retrieve", item_id="mine")
            assert gone.message == "Item with id 'mine' does not exist."
            await session.send("conversation.item.retrieve", item_id=first.id)
            assert (await session.until("conversation.item.retrieved")).item.content[0].text == "one"

    run(main)


def test_one_answer_at_a_time() -> None:
    async def main() -> None:
        async with household(pacing="realtime") as session:
            await session.type("what can you do")
            await session.send("response.create")
            active = (await session.until("response.created")).response.id
            error = await session.error("response.create")
            assert error.code == "conversation_already_has_active_response"
            assert active in error.message
            await session.send("response.cancel")
            await session.until("response.done")
            late = await session.error("response.cancel")
            assert late.code == "response_cancel_not_active"
            assert late.message == "Cancellation failed: no active response found"

    run(main)


async def wrong(session: Client) -> None:
    for fields, code, param in (
        ({"temperature": 0.8}, "unknown_parameter", "session.temperature"),
        ({"voice": "alloy"}, "unknown_parameter", "session.voice"),
        ({"output_modalities": ["text", "audio"]}, "invalid_value", "session.output_modalities"),
        ({"tools": [{"type": "mcp"}]}, "invalid_value", "session.tools[0]"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
        ({"max_output_tokens": 0}, "invalid_value", "session.max_output_tokens"),
        (
            {"audio": {"input": {"turn_detection": {"type": "x"}}}},
            "invalid_value",
            "session.audio.input.turn_detection.type",
        ),
        ({"audio": {"input": {"format": {"type": "opus"}}}}, "invalid_value", "session.audio.input.format.type"),
        (
            {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16000}}}},
            "invalid_value",
            "session.audio.output.format.rate",
        ),
        ({"audio": {"output": {"speed": 9}}}, "invalid_value", "session.audio.output.speed"),
        ({"model": "other"}, "invalid_value", "session.model"),
        ({"tool_choice": ["auto"]}, "invalid_value", "session.tool_choice"),
    ):
        error = await session.error("session.update", session={"type": "realtime", **fields})
        assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert (await session.error("session.update", session={})).code == "missing_required_parameter"
    assert (await session.error("session.update", session=[])).code == "invalid_value"
    empty = await session.error("input_audio_buffer.commit")
    assert empty.code == "input_audio_buffer_commit_empty"
    assert "buffer only has 0.00ms of audio" in empty.message
    assert (await session.error("input_audio_buffer.append", audio="not base64!")).code == "invalid_value"
    assert (await session.error("input_audio_buffer.append")).code == "missing_required_parameter"
    unknown = await session.error("conversation.item.truncate", item_id="x", content_index=0, audio_end_ms=0)
    assert unknown.code == "item_truncate_invalid_item_id"
    output = {"type": "function_call_output", "call_id": "x", "output": "{}"}
    assert (await session.error("conversation.item.create", item=output)).code == "invalid_tool_call_id"
    assert (
        await session.error("conversation.item.create", item={"type": "message"})
    ).code == "missing_required_parameter"
    assert (await session.error("response.create", response={"conversation": "x"})).code == "invalid_value"
    assert (await session.error("no.such.event")).code == "invalid_value"


def test_mistakes_are_named_and_the_session_goes_on() -> None:
    async def main() -> None:
        async with household() as session:
            before = session.events[-1].session.model_dump()
            await wrong(session)
            assert (await session.update()).session.model_dump() == before
            await session.type("hello")
            response = await session.respond()
            assert transcript(response) == "Hello."
            item_id = response.output[0].id
            error = await session.error(
                "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=60_000
            )
            assert error.code == "invalid_value"
            assert error.message.endswith("ms is already shorter than 60000ms")
            voice = {"type": "realtime", "tools": [], "audio": {"output": {"voice": "en-gb-x-rp"}}}
            assert (await session.error("session.update", session=voice)).code == "cannot_update_voice"
            assert (await session.update()).session.model_dump()["tools"] == before["tools"]

    run(main)


def test_a_session_ends_when_its_time_is_over() -> None:
    async def main() -> None:
        async with server(session_limit_s=0.2) as port, client(port) as session:
            assert (await session.until("error")).error.code == "session_expired"
            with pytest.raises(Exception, match="1001") as closed:
                await session.next()
            assert "maximum duration" in str(closed.value)

    run(main)


def test_two_sessions_at_once_do_not_mix() -> None:
    async def main() -> None:
        async with server() as port, client(port) as first, client(port) as second:
            await first.manual()
            await second.manual(tools=[CLOCK])
            sentences = ("turn on the kitchen light", "what time is it")
            pcms = [spoken(text) for text in sentences]
            for start in range(0, max(map(len, pcms)), 9600):
                for session, pcm in zip((first, second), pcms, strict=True):
                    if pcm[start : start + 9600]:
                        await session.speak(pcm[start : start + 9600])
            for session in (first, second):
                await session.send("input_audio_buffer.commit")
            answers = await asyncio.gather(first.respond(), second.respond())
            assert [answer.output[0].name for answer in answers] == ["light_set", "time_get"]

    run(main)


def test_stopping_the_server_closes_the_sessions() -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with server(pacing="realtime") as port:
                session = await stack.enter_async_context(client(port))
                await session.manual()
                await session.type("what can you do")
                await session.send("response.create")
                await session.until("response.output_audio.delta")
                reading = asyncio.create_task(_drain(session))
            assert "1001" in await reading

    run(main)


async def _drain(session: Client) -> str:
    try:
        while True:
            await session.next()
    except Exception as error:
        return str(error)
