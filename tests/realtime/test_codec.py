"""The codec against the types of the ``openai`` package, over the whole union on both sides."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import ConfigDict, TypeAdapter

from assistant.core.completeness import Completeness
from assistant.errors import ProtocolError
from assistant.realtime import codec
from assistant.realtime import events as rt
from assistant.realtime.settings import Persona, SemanticVad, ServerVad, SessionSettings, Transcription
from assistant.types import CallId, ItemId, Milliseconds, ResponseId

TOOL = {
    "type": "function",
    "name": "clock_time",
    "description": "The time.",
    "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    "x-offline": {"sentences": ["what time is it"]},
}
FULL = SessionSettings(
    instructions="Be brief.",
    voice="marin",
    speed=1.1,
    max_output_tokens=500,
    turn_detection=ServerVad(),
    transcription=Transcription("gpt-4o-transcribe", "de", "Hearth, Ada"),
    noise_reduction="far_field",
    tools=[TOOL],
    temperature=0.8,  # GA has none: it must not be sent
    reasoning_effort="low",
    parallel_tool_calls=False,
    truncation=0.8,
    tracing=True,
    echo_cancellation=True,  # GA has none
)
CLIENT_EVENTS: list[rt.ClientEvent] = [
    rt.UpdateSession(FULL),
    rt.UpdateSession(SessionSettings()),
    rt.UpdateSession(SessionSettings(turn_detection=SemanticVad("low"), truncation="disabled")),
    rt.ChangePersona(Persona("Be long.", [TOOL])),
    rt.ChangePersona(Persona()),
    rt.AppendAudio(b"\0\1" * 480),
    rt.CommitAudio(),
    rt.ClearAudio(),
    rt.CreateUserMessage("wie spät ist es?"),
    rt.CreateAssistantMessage("Es ist zwölf."),
    rt.CreateToolOutput(CallId("call_1"), '{"say": "zwölf"}'),
    rt.CreateResponse("create_1"),
    rt.CreateResponse("create_2", tools=False),
    rt.CreateResponse("create_3", announce="Die Waschmaschine ist fertig."),
    rt.CancelResponse(ResponseId("resp_1")),
    rt.TruncateItem(ItemId("item_1"), Milliseconds(420)),
]
NOT_OF_THE_API = {rt.AskCompleteness}
"""Said to our own server only."""

SERVER_TYPES = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(RealtimeServerEvent)[0])
}


def test_the_examples_hold_every_client_event() -> None:
    assert {type(event) for event in CLIENT_EVENTS} == set(rt.CLIENT_EVENT_TYPES) - NOT_OF_THE_API


@pytest.mark.parametrize("event", CLIENT_EVENTS, ids=lambda event: type(event).__name__)
def test_what_we_send_is_what_the_api_takes(event: rt.ClientEvent) -> None:
    data = json.loads(codec.encode(event))
    parsed = TypeAdapter(RealtimeClientEvent, config=ConfigDict(extra="forbid")).validate_python(data)
    # The package's models allow unknown keys; a round trip that loses or adds nothing shows that every key is known.
    assert parsed.to_dict(mode="json", exclude_unset=True) == data
    assert not _unknown_keys(parsed)


def _unknown_keys(model: Any) -> list[str]:
    """Keys of a pydantic model, at any depth, that are none of its fields."""
    found = list(model.model_extra or {})
    for name in type(model).model_fields:
        value = getattr(model, name)
        for part in value if isinstance(value, list) else [value]:
            if hasattr(type(part), "model_fields"):
                found += _unknown_keys(part)
    return found


def test_offline_sentences_go_to_our_own_server_only() -> None:
    assert "x-offline" not in codec.encode(rt.UpdateSession(FULL))
    assert "what time is it" in codec.encode(rt.UpdateSession(FULL), offline_tools=True)


def test_text_is_not_escaped() -> None:
    assert "spät" in codec.encode(rt.CreateUserMessage("wie spät ist es"))


def test_local_turn_detection_switches_the_server_s_off() -> None:
    session = codec.to_json(rt.UpdateSession(SessionSettings()))["session"]
    assert session["audio"]["input"]["turn_detection"] is None, "left out, the server would use its own"
    assert "temperature" not in session


def test_every_server_event_of_the_package_is_known() -> None:
    known = (codec.DECODED_TYPES | codec.IGNORED_TYPES) - {"hearth.completeness"}
    assert set(SERVER_TYPES) - known == set(), "a newer package has events that nobody has looked at"
    assert known - set(SERVER_TYPES) == set(), "we know events that the API does not have"
    assert not codec.DECODED_TYPES & codec.IGNORED_TYPES


IDS = {"event_id": "event_1", "response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
SERVER_EVENTS: list[tuple[dict[str, Any], rt.ServerEvent]] = [
    (
        {
            "type": "session.created",
            "session": {"type": "realtime", "model": "gpt-realtime", "expires_at": 1_800_000_000},
        },
        rt.SessionCreated("gpt-realtime", 1_800_000_000.0),
    ),
    ({"type": "session.updated", "session": {"type": "realtime"}}, rt.SessionUpdated(None)),
    (
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 400, "item_id": "item_1"},
        rt.ServerSpeechStarted(ItemId("item_1"), 400),
    ),
    (
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": "item_1"},
        rt.ServerSpeechStopped(ItemId("item_1"), 900),
    ),
    ({"type": "input_audio_buffer.committed", "item_id": "item_1"}, rt.InputCommitted(ItemId("item_1"))),
    (
        {"type": "hearth.completeness", "asked_by": "ask_1", "completeness": "unfinished"},
        rt.CompletenessFound("ask_1", Completeness.UNFINISHED),
    ),
    (
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_1",
            "content_index": 0,
            "transcript": "what time is it",
            "usage": {"type": "duration", "seconds": 1.5},
        },
        rt.InputTranscribed(ItemId("item_1"), "what time is it"),
    ),
    ({"type": "response.created", "response": {"id": "resp_1"}}, rt.ResponseCreated(ResponseId("resp_1"))),
    (
        {**IDS, "type": "response.output_audio.delta", "delta": base64.b64encode(b"\1\2").decode()},
        rt.AudioDelta(ResponseId("resp_1"), ItemId("item_1"), b"\1\2"),
    ),
    ({**IDS, "type": "response.output_audio.done"}, rt.AudioDone(ResponseId("resp_1"), ItemId("item_1"))),
    (
        {**IDS, "type": "response.output_audio_transcript.delta", "delta": "Twelve"},
        rt.AnswerTextDelta(ResponseId("resp_1"), ItemId("item_1"), "Twelve"),
    ),
    (
        {**IDS, "type": "response.output_text.delta", "delta": "Twelve"},
        rt.AnswerTextDelta(ResponseId("resp_1"), ItemId("item_1"), "Twelve"),
    ),
    (
        {
            **IDS,
            "type": "response.output_item.done",
            "item": {
                "type": "function_call",
                "status": "completed",
                "call_id": "call_1",
                "name": "clock_time",
                "arguments": "{}",
            },
        },
        rt.FunctionCall(ResponseId("resp_1"), CallId("call_1"), "clock_time", "{}"),
    ),
    (
        {"type": "response.done", "response": {"id": "resp_1", "status": "completed", "usage": {"total_tokens": 9}}},
        rt.ResponseFinished(ResponseId("resp_1"), "completed", None, {"total_tokens": 9}),
    ),
    (
        {
            "type": "response.done",
            "response": {
                "id": "resp_1",
                "status": "failed",
                "status_details": {"type": "failed", "error": {"code": "rate_limit_exceeded"}},
            },
        },
        rt.ResponseFinished(ResponseId("resp_1"), "failed", "rate_limit_exceeded", None),
    ),
    (
        {
            "type": "response.done",
            "response": {"id": "r", "status": "cancelled", "status_details": {"reason": "client_cancelled"}},
        },
        rt.ResponseFinished(ResponseId("r"), "cancelled", "client_cancelled", None),
    ),
    (
        {"type": "error", "error": {"type": "invalid_request_error", "code": "c", "message": "m", "event_id": "e"}},
        rt.ServerError("c", "invalid_request_error", "m", None, "e"),
    ),
    ({"type": "rate_limits.updated", "rate_limits": []}, rt.Ignored("rate_limits.updated")),
    ({"type": "response.telepathy.delta", "delta": "?"}, rt.Unknown("response.telepathy.delta")),
]


@pytest.mark.parametrize(
    ("data", "event"), SERVER_EVENTS, ids=lambda part: part["type"] if isinstance(part, dict) else ""
)
def test_what_the_api_sends_is_what_we_understand(data: dict[str, Any], event: rt.ServerEvent) -> None:
    assert codec.decode(json.dumps({"event_id": "event_1", **data, "obfuscation": "xxx"})) == event


def test_the_examples_hold_every_server_event_that_we_decode() -> None:
    assert {type(event) for _, event in SERVER_EVENTS} == set(rt.SERVER_EVENT_TYPES)
    assert {data["type"] for data, _ in SERVER_EVENTS} >= codec.DECODED_TYPES


def test_a_chopped_function_call_is_known_as_one_without_its_arguments() -> None:
    item = {"type": "function_call", "status": "incomplete", "call_id": "c", "name": "n", "arguments": '{"a'}
    message = {"type": "response.output_item.done", "response_id": "r", "item": item}
    chopped = rt.FunctionCall(ResponseId("r"), CallId("c"), "n", "", complete=False)
    assert codec.decode(json.dumps(message)) == chopped


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (b"\0\1", "binary"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "without an event type"),
        ('{"type": 5}', "without an event type"),
        ('{"type": "response.created"}', "'response'"),
        ('{"type": "response.created", "response": {"id": 5}}', "'id'"),
        ('{"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": "?"}', "base64"),
        ('{"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": "AA=="}', "16-bit"),
        ('{"type": "response.done", "response": {"id": "r", "status": "in_progress"}}', "'status'"),
        ('{"type": "input_audio_buffer.speech_started", "item_id": "i", "audio_start_ms": 1e999}', "a number"),
        ('{"type": "hearth.completeness", "completeness": "perhaps"}', "'completeness'"),
    ],
)
def test_what_is_malformed_is_named_without_its_content(message: str | bytes, wanted: str) -> None:
    with pytest.raises(ProtocolError, match=wanted):
        codec.decode(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from([data for data, _ in SERVER_EVENTS]),
    st.lists(st.tuples(st.integers(0, 20), JSON), max_size=3),
)
def test_a_mutated_event_is_an_event_or_a_protocol_error(
    data: dict[str, Any], changes: list[tuple[int, object]]
) -> None:
    mutated = json.loads(json.dumps(data))
    places = list(_places(mutated))
    for index, value in changes:
        container, key = places[index % len(places)]
        if key in container or isinstance(key, int):
            container[key] = value
    try:
        event = codec.decode(json.dumps(mutated))
    except ProtocolError as error:
        assert len(str(error)) < 200
    else:
        assert isinstance(event, rt.SERVER_EVENT_TYPES)


def _places(value: Any) -> Any:
    """Every (container, key) of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


@given(st.text() | st.binary())
def test_any_message_is_an_event_or_a_protocol_error(message: str | bytes) -> None:
    with contextlib.suppress(ProtocolError):
        codec.decode(message)
