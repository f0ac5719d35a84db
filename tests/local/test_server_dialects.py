"""The preview dialects: driven by the ``openai`` package's beta client, and by Hearth's own client in all three."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soxr
from azure.ai.voicelive import aio as voicelive
from azure.ai.voicelive import models
from azure.core.credentials import AzureKeyCredential
from openai import AsyncAzureOpenAI, AsyncOpenAI
from openai.types.beta.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.client import ClientConnection, connect

from assistant.core import events as ev
from assistant.local.sound_format import SoundEncoder, SoundFormat
from assistant.realtime import providers
from assistant.realtime.dialects import Dialect
from assistant.realtime.session import Endpoint, RealtimeSession
from assistant.realtime.settings import AzureSemanticVad, ServerVad, SessionSettings, TurnDetection
from tests.local.client import run, server, spoken
from tests.local.household import TOOLS

_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
SPOKEN_ANSWER = [
    "response.created",
    "response.output_item.added",
    "conversation.item.created",
    "response.content_part.added",
    "response.audio_transcript.delta",
    "response.audio.delta",
    "response.audio.done",
    "response.audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
]


class BetaClient:
    """A session of the beta client; every event that arrives is checked against its types and kept."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def until(self, event_type: str) -> Any:
        while True:
            raw = json.loads(await self.connection.recv_bytes())
            event = _EVENT.validate_python(raw)
            assert event.type == raw["type"], f"{raw['type']} is no event of the preview"
            self.events.append(event)
            if event.type == event_type:
                return event

    async def send(self, event_type: str, **fields: Any) -> None:
        await self.connection.send({"type": event_type, **fields})

    async def update(self, **session: Any) -> Any:
        await self.send("session.update", session=session)
        return (await self.until("session.updated")).session

    async def respond(self, **response: Any) -> Any:
        await self.send("response.create", **({"response": response} if response else {}))
        return (await self.until("response.done")).response

    async def type(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        await self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    async def speak(self, data: bytes) -> None:
        for start in range(0, len(data), 9600):
            await self.send("input_audio_buffer.append", audio=base64.b64encode(data[start : start + 9600]).decode())

    async def error(self, event_type: str, **fields: Any) -> Any:
        await self.send(event_type, event_id="mine", **fields)
        error = (await self.until("error")).error
        assert error.event_id == "mine"
        return error

    def types(self, *, since: int = 0) -> list[str]:
        kept: list[str] = []
        for event in self.events[since:]:
            if kept[-1:] != [event.type]:
                kept.append(event.type)
        return kept

    def audio(self, response_id: str) -> bytes:
        deltas = [e for e in self.events if e.type == "response.audio.delta" and e.response_id == response_id]
        return b"".join(base64.b64decode(event.delta) for event in deltas)


@contextlib.asynccontextmanager
async def beta(**settings: Any) -> AsyncIterator[BetaClient]:
    """A server, and a session of OpenAI's beta, which the client asks for by its header."""
    async with server(**settings) as port:
        url = f"127.0.0.1:{port}/v1"
        api = AsyncOpenAI(api_key="k", base_url=f"http://{url}", websocket_base_url=f"ws://{url}")
        async with api, api.beta.realtime.connect(model="gpt-4o-realtime-preview") as connection:
            session = BetaClient(connection)
            await session.until("session.created")
            await session.until("conversation.created")
            yield session


def test_a_preview_session_has_flat_settings_and_keeps_what_is_not_sent() -> None:
    async def main() -> None:
        async with beta() as session:
            created = session.events[0].session.model_dump()
            assert created["modalities"] == ["text", "audio"]
            assert (created["input_audio_format"], created["output_audio_format"]) == ("pcm16", "pcm16")
            assert created["temperature"] == 0.8
            assert created["turn_detection"]["silence_duration_ms"] == 500
            assert "audio" not in created
            assert "type" not in created
            updated = await session.update(
                instructions="Be brief.", turn_detection=None, temperature=0.6, voice="coral"
            )
            assert (updated.instructions, updated.turn_detection, updated.temperature) == ("Be brief.", None, 0.6)
            assert updated.voice == "coral"
            again = await session.update(turn_detection={"type": "none"}, modalities=["text"])  # as Azure has it
            assert (again.turn_detection, again.modalities, again.instructions) == (None, ["text"], "Be brief.")
            vad = (await session.update(turn_detection={"type": "semantic_vad", "eagerness": "low"})).turn_detection
            assert (vad.type, vad.eagerness, vad.create_response) == ("semantic_vad", "low", True)

    run(main)


def test_a_preview_turn_by_way_of_a_tool() -> None:
    async def main() -> None:
        async with beta() as session:
            await session.update(tools=TOOLS, turn_detection=None, input_audio_transcription={"model": "whisper-1"})
            await session.speak(spoken("turn on the kitchen light"))
            await session.send("input_audio_buffer.commit")
            called = await session.respond()
            (call,) = called.output
            assert json.loads(call.arguments) == {"state": "on", "area": "kitchen"}
            assert "conversation.item.input_audio_transcription.completed" in session.types()
            output = {"type": "function_call_output", "call_id": call.call_id, "output": "{}"}
            await session.send("conversation.item.create", item=output)
            await session.until("conversation.item.created")
            start = len(session.events)
            answered = await session.respond(max_response_output_tokens=4096, temperature=1.1, voice="en-us")
            assert [name for name in session.types(since=start) if name != "rate_limits.updated"] == SPOKEN_ANSWER
            part = answered.output[0].content[0]
            assert (part.type, part.transcript) == ("audio", "The kitchen light is on.")
            assert (answered.modalities, answered.output_audio_format) == (["text", "audio"], "pcm16")
            assert (answered.temperature, answered.max_output_tokens) == (1.1, 4096)
            assert answered.usage.output_token_details.audio_tokens > 0
            assert len(session.audio(answered.id)) > 48_000
            await session.send("conversation.item.retrieve", item_id=answered.output[0].id)
            kept = (await session.until("conversation.item.retrieved")).item.content[0]
            assert base64.b64decode(kept.audio) == session.audio(answered.id)
            text = await session.respond(modalities=["text"], conversation="none", input=[], instructions="x")
            assert (text.conversation_id, text.output) == (None, [])

    run(main)


def test_mistakes_are_named_by_the_preview_s_own_places() -> None:
    async def main() -> None:
        async with beta() as session:
            for fields, code, param in (
                ({"type": "realtime"}, "unknown_parameter", "session.type"),
                ({"audio": {}}, "unknown_parameter", "session.audio"),
                ({"output_modalities": ["audio"]}, "unknown_parameter", "session.output_modalities"),
                ({"modalities": ["audio"]}, "invalid_value", "session.modalities"),
                ({"turn_detection": {"type": "x"}}, "invalid_value", "session.turn_detection.type"),
                (
                    {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 9000}},
                    "unknown_parameter",
                    "session.turn_detection.idle_timeout_ms",
                ),
                ({"turn_detection": {"type": "azure_semantic_vad"}}, "invalid_value", "session.turn_detection.type"),
                ({"temperature": 2}, "invalid_value", "session.temperature"),
                ({"max_response_output_tokens": 0}, "invalid_value", "session.max_response_output_tokens"),
                ({"output_audio_format": "pcm16_16000hz"}, "invalid_value", "session.output_audio_format"),
                ({"input_audio_sampling_rate": 16000}, "unknown_parameter", "session.input_audio_sampling_rate"),
                ({"speed": 7}, "invalid_value", "session.speed"),
            ):
                error = await session.error("session.update", session=fields)
                assert (error.code, error.param) == (code, param)
                assert param in error.message or param == "session.modalities"
            wrong = await session.error("response.create", response={"voice": 5})
            assert wrong.param == "response.voice"
            item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}
            assert (await session.error("conversation.item.create", item=item)).code == "invalid_value"
            item["content"] = [{"type": "text", "text": "x"}]
            await session.send("conversation.item.create", item=item)
            assert (await session.until("conversation.item.created")).item.content[0].type == "text"

    run(main)


@pytest.mark.parametrize("sound", ["g711_ulaw", "g711_alaw"])
def test_a_telephone_is_understood_and_answered(sound: str) -> None:
    async def main() -> None:
        async with beta() as session:
            await session.update(tools=TOOLS, turn_detection=None, input_audio_format=sound, output_audio_format=sound)
            encoder = SoundEncoder(SoundFormat({"g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}[sound], 8_000))
            await session.speak(encoder.encode(spoken("turn on the kitchen light")) + encoder.flush())
            await session.send("input_audio_buffer.commit")
            called = await session.respond()
            assert called.output[0].name == "light_set"
            output = {"type": "function_call_output", "call_id": called.output[0].call_id, "output": "It is noon."}
            await session.send("conversation.item.create", item=output)
            answered = await session.respond()
            assert answered.output_audio_format == sound
            seconds = len(session.audio(answered.id)) / 8_000
            assert abs(seconds - answered.usage.output_token_details.audio_tokens / 20) < 0.1

    run(main)


def test_azure_s_own_address_speaks_preview() -> None:
    async def main() -> None:
        async with server(key="k") as port:
            api = AsyncAzureOpenAI(
                api_key="k",
                azure_endpoint=f"http://127.0.0.1:{port}",
                api_version="2024-10-01-preview",
                websocket_base_url=f"ws://127.0.0.1:{port}/openai",
            )
            async with api, api.beta.realtime.connect(model="gpt-4o-realtime-preview") as connection:
                session = BetaClient(connection)
                assert (await session.until("session.created")).session.modalities == ["text", "audio"]
                await session.type("hello")
                assert (await session.respond()).output[0].content[0].transcript == "Hello."

    run(main)


async def first(connection: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(await connection.recv())
    return event


@pytest.mark.parametrize(
    ("path", "options", "is_flat"),
    [
        ("/v1/realtime?model=m", {}, False),
        ("/v1/realtime?model=m", {"subprotocols": ["realtime", "openai-beta.realtime-v1"]}, True),
        ("/v1/realtime?model=m", {"additional_headers": {"OpenAI-Beta": "realtime=v1"}}, True),
        ("/openai/v1/realtime?model=m", {"additional_headers": {"OpenAI-Beta": "realtime=v1"}}, False),
        ("/openai/realtime?api-version=2025-04-01-preview&deployment=m", {}, True),
        ("/voice-live/realtime?api-version=2025-10-01&model=m", {}, True),
    ],
)
def test_the_path_decides_what_is_spoken(path: str, options: dict[str, Any], is_flat: bool) -> None:
    async def main() -> None:
        async with server() as port, connect(f"ws://127.0.0.1:{port}{path}", **options) as connection:
            session = (await first(connection))["session"]
            assert ("modalities" in session) == is_flat
            assert session["model"] == "m"

    run(main)


def test_voice_live_takes_sixteen_kilohertz_and_detectors_of_azure_s() -> None:
    async def main() -> None:
        path = "/voice-live/realtime?api-version=2025-10-01&model=m&Authorization=Bearer%20k"
        async with server(key="k") as port, connect(f"ws://127.0.0.1:{port}{path}") as connection:

            async def send(event_type: str, **fields: Any) -> None:
                await connection.send(json.dumps({"type": event_type, **fields}))

            async def until(event_type: str) -> dict[str, Any]:
                while (event := await first(connection))["type"] != event_type:
                    assert event["type"] != "error", event
                return event

            settings = {
                "tools": TOOLS,
                "input_audio_sampling_rate": 16_000,
                "input_audio_format": "pcm16",
                "output_audio_format": "pcm16_8000hz",
                "turn_detection": {"type": "azure_semantic_vad", "silence_duration_ms": 400, "languages": ["en"]},
                "input_audio_echo_cancellation": {"type": "server_echo_cancellation"},
                "input_audio_noise_reduction": {"type": "azure_deep_noise_suppression"},
                "voice": {"type": "azure-standard", "name": "en-US-AvaNeural", "rate": "1.1"},
            }
            await send("session.update", session=settings)
            session = (await until("session.updated"))["session"]
            kept = {key: value for key, value in settings.items() if key not in ("tools", "turn_detection")}
            assert kept.items() <= session.items()
            assert session["turn_detection"]["silence_duration_ms"] == 400
            samples = np.frombuffer(bytes(24_000) + spoken("what time is it") + bytes(48_000), dtype="<i2")
            audio = soxr.resample(samples, 24_000, 16_000).tobytes()
            for start in range(0, len(audio), 6_401):  # in the middle of a sample, too
                piece = base64.b64encode(audio[start : start + 6_401]).decode()
                await send("input_audio_buffer.append", audio=piece)
            started = await until("input_audio_buffer.speech_started")
            assert 200 < started["audio_start_ms"] < 1_200
            done = (await until("response.done"))["response"]
            assert done["output"][0]["name"] == "time_get"

    run(main)


def test_voice_live_by_microsoft_s_own_client() -> None:
    async def main() -> None:
        async with (
            server(key="k") as port,
            voicelive.connect(
                endpoint=f"http://127.0.0.1:{port}", credential=AzureKeyCredential("k"), model="gpt-realtime"
            ) as connection,
        ):
            seen: list[str] = []

            async def until(event_type: str) -> Any:
                while True:
                    event = await connection.recv()
                    assert type(event) is not models.ServerEvent, f"{event.type} is no event of Voice Live"
                    seen.append(event.type)
                    if event.type == event_type:
                        return event

            tools = [{key: value for key, value in tool.items() if key != "type"} for tool in TOOLS]
            await until("session.created")
            settings = models.RequestSession(
                modalities=[models.Modality.TEXT, models.Modality.AUDIO],
                voice=models.AzureStandardVoice(name="en-US-AvaNeural"),
                turn_detection=models.AzureSemanticVad(silence_duration_ms=400, remove_filler_words=True),
                input_audio_echo_cancellation=models.AudioEchoCancellation(),
                tools=[models.FunctionTool(tool) for tool in tools],
                reasoning_effort="low",
            )
            await connection.session.update(session=settings)
            updated = (await until("session.updated")).session.as_dict()
            assert updated["voice"] == {"type": "azure-standard", "name": "en-US-AvaNeural"}
            assert updated["turn_detection"]["silence_duration_ms"] == 400
            known = {name for cls in models.ResponseSession.__mro__ for name in getattr(cls, "__annotations__", {})}
            assert set(updated) <= {*known, "object"}
            question = models.InputTextContentPart(text="what time is it")
            await connection.conversation.item.create(item=models.UserMessageItem(content=[question]))
            await connection.response.create()
            (call,) = (await until("response.done")).response.output
            assert (call.name, call.arguments) == ("time_get", "{}")
            answer = models.FunctionCallOutputItem(call_id=call.call_id, output="It is noon.")
            await connection.conversation.item.create(item=answer)
            await connection.response.create()
            delta = await until("response.audio.delta")
            assert len(delta.delta) > 1_000
            done = (await until("response.done")).response
            assert done.output[0].content[0].transcript == "It is noon."
            assert done.usage.output_token_details.audio_tokens > 0
            assert "error" not in seen

    run(main)


ENDPOINTS = {
    Dialect.GA: lambda origin: providers.microsoft("azure", origin, "m", None, providers.api_key("k")),
    Dialect.PREVIEW: lambda origin: providers.microsoft("azure_preview", origin, "m", "v", providers.api_key("k")),
    Dialect.VOICE_LIVE: lambda origin: providers.microsoft("voice_live", origin, "m", "v", providers.bearer("k")),
}


@pytest.mark.parametrize("dialect", Dialect)
def test_our_own_client_in_every_dialect(dialect: Dialect) -> None:
    async def main() -> None:
        async with server(key="k") as port:
            events: asyncio.Queue[ev.Event] = asyncio.Queue()

            async def endpoint() -> Endpoint:
                return replace(ENDPOINTS[dialect](f"ws://127.0.0.1:{port}"), offline_tools=True)

            detection: TurnDetection = AzureSemanticVad() if dialect is Dialect.VOICE_LIVE else ServerVad()
            settings = SessionSettings("Be brief.", voice="en-us", turn_detection=detection, tools=TOOLS)
            session = RealtimeSession(1, endpoint, settings, events.put_nowait, ready_timeout=10)

            async def until(kind: type[Any]) -> Any:
                while not isinstance(event := await events.get(), kind):
                    assert not isinstance(event, ev.SessionLost), event
                return event

            async with asyncio.TaskGroup() as group:
                group.create_task(session.run())
                await until(ev.SessionReady)
                session.append(bytes(24_000) + spoken("what time is it") + bytes(48_000))
                called = await until(ev.ToolCalled)
                assert called.tool == "time_get"
                await until(ev.ResponseDone)
                session.answer_call(called.call, json.dumps({"say": "It is noon."}))
                session.create_response()
                assert len((await until(ev.AnswerAudio)).pcm) > 0
                assert (await until(ev.ResponseDone)).reason is None
                session.create_response(announce="The washing is done.")
                assert (await until(ev.AnswerText)).delta == "The washing is done."
                await until(ev.ResponseDone)
                session.close()
            assert (session.counters.malformed, session.counters.unknown) == (0, 0)

    run(main)
