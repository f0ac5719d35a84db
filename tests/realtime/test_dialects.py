"""The preview dialects against our own table of them, over the whole table on both sides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assistant.errors import ProtocolError
from assistant.realtime import codec
from assistant.realtime import events as rt
from assistant.realtime.dialects import GA_NAMES, Dialect, is_azure_voice
from assistant.realtime.settings import (
    AzureSemanticVad,
    Persona,
    SemanticVad,
    ServerVad,
    SessionSettings,
    TurnDetection,
)
from assistant.types import ItemId, ResponseId
from tests.realtime import preview_dialect as table
from tests.realtime.test_codec import CLIENT_EVENTS, FULL, TOOL

FLAT = (Dialect.PREVIEW, Dialect.VOICE_LIVE)


def decoded(dialect: Dialect, event_type: str, fields: dict[str, Any]) -> rt.ServerEvent:
    return codec.decode(json.dumps({"type": event_type, "event_id": "event_1", **fields}), dialect)


def session_of(settings: SessionSettings, dialect: Dialect) -> dict[str, Any]:
    session: dict[str, Any] = codec.to_json(rt.UpdateSession(settings), dialect)["session"]
    return session


# --- what the server says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", FLAT)
def test_every_event_of_the_table_is_known(dialect: Dialect) -> None:
    unknown = {"transcription_session.updated"}  # of sessions that only transcribe, which are never opened
    for event_type, fields in table.SERVER_EVENTS.items():
        event = decoded(dialect, event_type, fields)
        assert isinstance(event, rt.Unknown) == (event_type in unknown), event_type


@pytest.mark.parametrize(("event_type", "fields"), table.VOICE_LIVE_EVENTS.items())
def test_voice_live_says_more(event_type: str, fields: dict[str, Any]) -> None:
    assert decoded(Dialect.VOICE_LIVE, event_type, fields) == rt.Ignored(event_type)
    assert decoded(Dialect.PREVIEW, event_type, fields) == rt.Unknown(event_type)


@pytest.mark.parametrize("dialect", FLAT)
@pytest.mark.parametrize(
    ("event_type", "wanted"),
    [
        ("response.audio.delta", rt.AudioDelta(ResponseId("resp_1"), ItemId("item_1"), b"\0\0\1\0")),
        ("response.audio.done", rt.AudioDone(ResponseId("resp_1"), ItemId("item_1"))),
        ("response.audio_transcript.delta", rt.AnswerTextDelta(ResponseId("resp_1"), ItemId("item_1"), "It is")),
        ("response.text.delta", rt.AnswerTextDelta(ResponseId("resp_1"), ItemId("item_1"), "It is")),
        ("session.created", rt.SessionCreated("gpt-4o-realtime-preview", None)),
        ("response.created", rt.ResponseCreated(ResponseId("resp_1"))),
        ("response.done", rt.ResponseFinished(ResponseId("resp_1"), "completed", None, None)),
        ("error", rt.ServerError("c", "invalid_request_error", "m", None, None)),
    ],
)
def test_what_the_conversation_lives_on(dialect: Dialect, event_type: str, wanted: rt.ServerEvent) -> None:
    assert decoded(dialect, event_type, table.SERVER_EVENTS[event_type]) == wanted


def test_names_of_the_other_dialect_are_unknown() -> None:
    for preview, ga in GA_NAMES.items():
        assert preview in table.SERVER_EVENTS and ga not in table.SERVER_EVENTS
        assert decoded(Dialect.GA, preview, table.SERVER_EVENTS[preview]) == rt.Unknown(preview)


def test_a_malformed_event_is_named_as_the_server_named_it() -> None:
    with pytest.raises(ProtocolError, match=r"server event response\.audio\.delta: 'delta' is not a string"):
        decoded(Dialect.PREVIEW, "response.audio.delta", table.IDS)


# --- what we say -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", FLAT)
@pytest.mark.parametrize("event", CLIENT_EVENTS, ids=lambda event: type(event).__name__)
def test_what_we_send_is_in_the_table(dialect: Dialect, event: rt.ClientEvent) -> None:
    data = json.loads(codec.encode(event, dialect))
    event_type = data.pop("type")
    data.pop("event_id", None)
    optional = table.OPTIONAL.get(event_type, set())
    if dialect is Dialect.VOICE_LIVE and event_type == "response.cancel":
        optional = {"response_id"}
    assert table.CLIENT_EVENTS[event_type] <= set(data) <= table.CLIENT_EVENTS[event_type] | optional
    if event_type == "session.update":
        keys = table.SESSION_KEYS if dialect is Dialect.PREVIEW else table.VOICE_LIVE_SESSION_KEYS
        assert set(data["session"]) <= keys
    if event_type == "conversation.item.create" and data["item"]["type"] == "message":
        wanted = {"user": "input_text", "assistant": "text"}[data["item"]["role"]]
        assert [part["type"] for part in data["item"]["content"]] == [wanted]


def test_every_client_event_of_the_table_is_sent_by_something() -> None:
    assert {codec.to_json(event, Dialect.PREVIEW)["type"] for event in CLIENT_EVENTS} == set(table.CLIENT_EVENTS)


def test_the_flat_session_in_full() -> None:
    assert session_of(FULL, Dialect.PREVIEW) == {
        "modalities": ["text", "audio"],
        "instructions": "Be brief.",
        "voice": "marin",
        "speed": 1.1,
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "input_audio_transcription": {"model": "gpt-4o-transcribe", "language": "de", "prompt": "Hearth, Ada"},
        "input_audio_noise_reduction": {"type": "far_field"},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "create_response": True,
            "interrupt_response": False,
        },
        "tools": [{key: value for key, value in TOOL.items() if key != "x-offline"}],
        "tool_choice": "auto",
        "temperature": 0.8,
        "max_response_output_tokens": 500,
    }


@pytest.mark.parametrize("dialect", Dialect)
def test_local_turn_detection_switches_the_server_s_off(dialect: Dialect) -> None:
    session = session_of(SessionSettings(), dialect)
    place = session["audio"]["input"] if dialect is Dialect.GA else session
    assert "turn_detection" in place and place["turn_detection"] is None


@pytest.mark.parametrize(
    ("detection", "wanted"),
    [
        (ServerVad(), "server_vad"),
        (SemanticVad("high"), "semantic_vad"),
        (AzureSemanticVad(), "azure_semantic_vad"),
        (AzureSemanticVad("multilingual", languages=("en", "de")), "azure_semantic_vad_multilingual"),
    ],
)
def test_the_server_begins_the_response_and_never_interrupts(detection: TurnDetection, wanted: str) -> None:
    sent = session_of(SessionSettings(turn_detection=detection), Dialect.VOICE_LIVE)["turn_detection"]
    assert (sent["type"], sent["create_response"], sent["interrupt_response"]) == (wanted, True, False)
    assert sent.get("languages", ["en", "de"]) == ["en", "de"]


def test_voices_of_azure_are_objects() -> None:
    azure = SessionSettings(voice="en-US-Ava:DragonHDLatestNeural", speed=1.2, echo_cancellation=True)
    session = session_of(azure, Dialect.VOICE_LIVE)
    assert session["voice"] == {"type": "azure-standard", "name": "en-US-Ava:DragonHDLatestNeural", "rate": "1.2"}
    assert session["input_audio_echo_cancellation"] == {"type": "server_echo_cancellation"}
    assert session_of(SessionSettings(voice="alloy"), Dialect.VOICE_LIVE)["voice"] == "alloy"
    assert is_azure_voice("de-DE-KatjaNeural") and not is_azure_voice("marin")


@pytest.mark.parametrize("dialect", Dialect)
def test_a_later_update_erases_what_it_does_not_have_and_leaves_the_voice_alone(dialect: Dialect) -> None:
    session = codec.to_json(rt.ChangePersona(Persona()), dialect)["session"]
    assert {key: value for key, value in session.items() if key != "type"} == {"instructions": "", "tools": []}
    assert ("type" in session) == (dialect is Dialect.GA)
