"""Traces out of journal entries: of turns as they happen, and of entries in any order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from assistant.core.pricing import Tokens
from assistant.core.traces import EDGES, MAX_ENDED, SPANS, Reconnect, TraceBuilder, TurnTrace

Entry = dict[str, Any]


def event(at: float, name: str, **fields: Any) -> Entry:
    return {"at": at, "kind": "event", "name": name, **fields}


def command(at: float, name: str, **fields: Any) -> Entry:
    return {"at": at, "kind": "command", "name": name, **fields}


def note(at: float, name: str, **fields: Any) -> Entry:
    return {"at": at, "kind": "note", "name": name, **fields}


def state(at: float, name: str) -> Entry:
    return {"at": at, "kind": "state", "name": name}


def traces_of(entries: Sequence[Entry]) -> list[TurnTrace]:
    builder = TraceBuilder()
    return [trace for entry in entries for trace in builder.feed(entry)]


USAGE = {
    "input_token_details": {"text_tokens": 5, "audio_tokens": 7},
    "output_token_details": {"text_tokens": 1, "audio_tokens": 2},
}


def question(turn: int = 1, start: float = 100.0, sent: int = 96_000) -> list[Entry]:
    """A voice turn on a new session, with a tool. Times after the wake word: see the test."""

    def t(ms: float) -> float:
        return start + ms / 1000

    first, second, item, call = f"r{turn}a", f"r{turn}b", f"i{turn}", f"c{turn}"
    return [
        event(t(0), "woken", word="hey_jarvis", score=0.9, sample=16_000),
        command(t(1), "begin_turn", turn=turn),
        state(t(1), "listening"),
        event(t(400), "speech_started", sample=20_000),
        command(t(401), "open_session", session=turn, delay_s=0.0),
        command(t(401), "open_uplink", turn=turn, from_sample=17_000),
        event(t(900), "session_ready", session=turn, connected_at=t(600), created_at=t(700)),
        event(t(2000), "speech_stopped", sample=48_000, last_voiced=40_000, reason="silence"),
        command(t(2001), "close_uplink", turn=turn),
        command(t(2001), "commit_input"),
        command(t(2001), "create_response", tools=True),
        event(t(2100), "response_created", session=turn, response=first),
        event(t(2300), "tool_called", response=first, call=call, tool="weather", arguments='{"secret": 1}'),
        command(t(2300), "run_tool", turn=turn, call=call, tool="weather", arguments='{"secret": 1}'),
        note(t(2310), "usage", turn=turn, usage=USAGE),
        event(t(2310), "response_done", response=first, status="completed", reason=None),
        note(t(2500), "tool_result", call=call, tool="weather", status="ok", duration_ms=199.5),
        event(t(2500), "tool_finished", call=call, output="secret rain"),
        command(t(2500), "create_response", tools=True),
        event(t(2600), "response_created", session=turn, response=second),
        event(t(2650), "answer_text", response=second, item=item, delta="secret words"),
        event(t(2700), "answer_audio", response=second, item=item, bytes=4800),
        command(t(2700), "play", item=item, bytes=4800),
        note(t(2720), "first_sample", item=item, received_at=t(2700)),
        event(t(2721), "playback_started", item=item),
        note(t(2800), "usage", turn=turn, usage=USAGE),
        event(t(2800), "response_done", response=second, status="completed", reason=None),
        event(t(3900), "playback_stopped", item=item, played_ms=1180, interrupted=False),
        command(t(3900), "end_turn", turn=turn, outcome="answered", detail=""),
        note(t(3900), "uplink", turn=turn, sent_bytes=sent),
        state(t(3900), "idle"),
    ]


def test_a_question_with_a_tool() -> None:
    [trace] = traces_of(question())
    assert (trace.turn, trace.trigger, trace.word, trace.outcome, trace.warm) == (
        1, "wake", "hey_jarvis", "answered", False,
    )  # fmt: skip
    assert trace.edges == {
        "wake": 0,
        "session_open": 401,
        "socket_open": 600,
        "session_created": 700,
        "session_ready": 900,
        "speech_started": 400,
        "uplink_open": 401,
        "last_voiced": 1500,  # half a second of audio before the decision
        "endpoint": 2000,
        "commit": 2001,
        "response_created": 2100,
        "first_transcript": 2650,
        "first_audio": 2700,
        "first_sample": 2720,
        "response_done": 2800,
        "playback_end": 3900,
        "barge_in": None,
        "end": 3900,
    }
    assert {name: trace.span(name) for name in SPANS} == {
        "last voiced -> commit": 501,
        "commit -> first audio": 699,
        "first audio -> first sample": 20,
        "last voiced -> first sample": 1220,
        "wake -> session ready": 900,
        "barge-in -> silence": None,
    }
    [tool] = trace.tools
    assert (tool.name, tool.at, tool.ms, tool.status) == ("weather", 2300, 199.5, "ok")
    assert trace.responses == 2
    assert trace.tokens == Tokens(text_in=10, audio_in=14, text_out=2, audio_out=4)
    assert trace.sent_ms == 2000


def test_nothing_that_was_said_is_in_a_trace() -> None:
    [trace] = traces_of(question())
    assert "secret" not in json.dumps(asdict(trace))


def test_the_second_turn_finds_the_session_open_and_counts_its_own_audio() -> None:
    later = [
        entry for entry in question(2, 110, sent=144_000) if entry["name"] not in ("open_session", "session_ready")
    ]
    for entry in later:
        if "session" in entry:
            entry["session"] = 1
    first, second = traces_of(question() + later)
    assert (first.warm, second.warm) == (False, True)
    assert second.edges["session_ready"] is None
    assert second.sent_ms == 1000


def test_an_interrupted_turn_waits_for_its_response_and_its_playback() -> None:
    """What the interrupted response cost belongs to the turn that asked for it."""
    entries = question()[:25]  # up to the first sample
    end = 103.0
    barge_in = [
        state(end - 0.2, "speaking"),
        event(end, "speech_started", sample=90_000),
        command(end, "cancel_response", response="r1b"),
        command(end, "stop_playback"),
        command(end, "end_turn", turn=1, outcome="interrupted", detail=""),
        note(end, "uplink", turn=1, sent_bytes=96_000),
        command(end, "begin_turn", turn=2),
        state(end, "listening"),
    ]
    assert traces_of(entries + barge_in) == []
    stopped = event(end + 0.05, "playback_stopped", item="i1", played_ms=300, interrupted=True)
    done = [
        note(end + 0.1, "usage", turn=2, usage=USAGE),
        event(end + 0.1, "response_done", response="r1b", status="cancelled", reason=None),
    ]
    [trace] = traces_of([*entries, *barge_in, stopped, *done])
    assert (trace.turn, trace.outcome) == (1, "interrupted")
    assert trace.edges["barge_in"] == 3000
    assert trace.span("barge-in -> silence") == 50
    assert trace.edges["response_done"] == 3100
    assert trace.tokens is not None and trace.tokens.audio_out == 4, "of both responses"
    builder = TraceBuilder()
    for entry in [*entries, *barge_in, stopped, *done]:
        builder.feed(entry)
    [left] = builder.flush()
    assert (left.turn, left.trigger, left.outcome) == (2, "barge_in", "unfinished")
    assert left.edges["speech_started"] == 0


def test_an_answer_that_is_held_ends_when_it_fell_silent() -> None:
    """The interruption is only confirmed later; nobody has to wait for that to have it quiet."""
    entries = question()[:25]  # up to the first sample
    held, sure = 103.0, 103.1
    barge_in = [
        state(held - 0.2, "speaking"),
        event(held, "speech_started", sample=90_000),
        command(held, "hold_playback"),
        event(held + 0.05, "answer_text", response="r1b"),
        event(sure, "barge_in_confirmed"),
        command(sure, "cancel_response", response="r1b"),
        command(sure, "stop_playback"),
        command(sure, "end_turn", turn=1, outcome="interrupted", detail=""),
        note(sure, "uplink", turn=1, sent_bytes=96_000),
        command(sure, "begin_turn", turn=2),
        state(sure, "listening"),
        event(sure + 0.01, "playback_stopped", item="i1", played_ms=300, interrupted=True),
        event(sure + 0.1, "response_done", response="r1b", status="cancelled", reason=None),
    ]
    builder = TraceBuilder()
    [trace] = [trace for entry in [*entries, *barge_in] for trace in builder.feed(entry)]
    assert trace.edges["barge_in"] == trace.edges["playback_end"] == 3000
    [left] = builder.flush()
    assert left.trigger == "barge_in" and left.began_at == held and left.edges["speech_started"] == 0


def test_an_interruption_that_was_none_leaves_no_mark_on_the_next_turn() -> None:
    entries = question()[:25]
    more = [
        state(102.8, "speaking"),
        event(103.0, "speech_started", sample=90_000),
        command(103.0, "hold_playback"),
        event(103.6, "speech_stopped", sample=99_600, last_voiced=91_600, reason="silence"),
        command(103.6, "resume_playback"),
        event(104.0, "playback_stopped", item="i1", played_ms=1300, interrupted=False),
        event(104.0, "response_done", response="r1b", status="completed", reason=None),
        command(104.0, "end_turn", turn=1, outcome="answered", detail=""),
        event(110.0, "woken", word="hey_jarvis", score=0.9, sample=200_000),
        command(110.0, "begin_turn", turn=2),
    ]
    builder = TraceBuilder()
    [trace] = [trace for entry in [*entries, *more] for trace in builder.feed(entry)]
    assert trace.edges["barge_in"] is None and trace.edges["playback_end"] == 4000
    [left] = builder.flush()
    assert left.trigger == "wake"


def test_a_turn_whose_create_was_abandoned_waits_for_the_response_that_comes_late() -> None:
    entries = [
        event(1.0, "text_submitted", text="secret"),
        command(1.0, "begin_turn", turn=1),
        command(1.0, "open_session", session=1, delay_s=0.0),
        command(1.0, "create_response", tools=True),
        event(1.1, "session_ready", session=1),
        event(1.2, "stop_requested"),
        command(1.2, "end_turn", turn=1, outcome="stopped", detail=""),
        note(1.2, "uplink", turn=1, sent_bytes=0),
    ]
    assert traces_of(entries) == []
    late = [
        event(1.3, "response_created", session=1, response="r1"),
        note(1.4, "usage", turn=0, usage=USAGE),
        event(1.4, "response_done", response="r1", status="cancelled", reason=None),
    ]
    [trace] = traces_of(entries + late)
    assert trace.trigger == "text"
    assert trace.tokens == Tokens(text_in=5, audio_in=7, text_out=1, audio_out=2)
    [lost] = traces_of([*entries, event(1.3, "session_lost", session=1, failure="connect", retry_after=None)])
    assert lost.tokens is None


def test_a_reconnect_is_told_with_its_cause() -> None:
    entries = question()
    index = next(n for n, entry in enumerate(entries) if entry["name"] == "session_ready")
    lost = event(100.6, "session_lost", session=1, failure="rate_limited", retry_after=1.0)
    again = command(100.6, "open_session", session=2, delay_s=1.0)
    for entry in entries[index:]:
        if "session" in entry:
            entry["session"] = 2
    [trace] = traces_of([*entries[:index], lost, again, *entries[index:]])
    assert trace.reconnects == (Reconnect(600.0, "rate_limited"),)
    assert trace.edges["session_ready"] == 900


def test_a_follow_up_begins_with_its_speech() -> None:
    entries = [
        state(1.0, "follow_up"),
        event(2.0, "speech_started", sample=1),
        command(2.0, "begin_turn", turn=3),
        state(2.0, "listening"),
        event(8.0, "tick"),
        command(8.0, "end_turn", turn=3, outcome="failed", detail="no answer in time"),
        state(8.0, "idle"),
    ]
    [trace] = traces_of(entries)
    assert (trace.trigger, trace.detail, trace.edges["end"]) == ("follow_up", "no answer in time", 6000)


def test_an_announcement_is_a_turn_that_nobody_began() -> None:
    entries = [
        event(1.0, "playback_stopped", item="of the turn before", played_ms=1, interrupted=False),
        command(1.0, "begin_turn", turn=1),
        command(5.0, "end_turn", turn=1, outcome="answered", detail=""),
        state(5.0, "idle"),
    ]
    [trace] = traces_of(entries)
    assert trace.trigger == "announcement"


def test_a_session_opened_on_a_hint_is_older_than_the_turn() -> None:
    entries = [
        command(9.5, "open_session", session=1, delay_s=0.0),
        event(10.0, "woken", word="alexa", score=0.8, sample=1),
        command(10.0, "begin_turn", turn=1),
        event(10.2, "session_ready", session=1),
        command(16.0, "end_turn", turn=1, outcome="no_speech", detail=""),
        state(16.0, "idle"),
    ]
    [trace] = traces_of(entries)
    assert trace.edges["session_open"] == -500
    assert trace.span("wake -> session ready") == 200


# --- in any order ----------------------------------------------------------------------------------------------------

anything = st.lists(
    st.sampled_from([*question(1), *question(2, 200.0), *question(3, 300.0)])
    | st.builds(
        event, st.floats(0, 1000), st.just("session_lost"), session=st.integers(0, 3), failure=st.just("connect")
    )
    | st.builds(command, st.floats(0, 1000), st.just("close_session"), session=st.integers(0, 3)),
    max_size=120,
)


@given(anything)
def test_entries_in_any_order_give_each_ended_turn_once(entries: list[Entry]) -> None:
    builder = TraceBuilder()
    got: list[TurnTrace] = []
    begun = ended = 0
    running = False
    for entry in entries:
        before = len(builder._ended)
        got += builder.feed(entry)
        assert len(builder._ended) <= max(before, MAX_ENDED)
        if entry["name"] == "begin_turn":
            begun, running = begun + 1, True
        elif entry["name"] == "end_turn" and running:
            ended, running = ended + 1, False
    rest = builder.flush()
    assert len(got) + len(rest) == ended + (1 if running else 0)
    for trace in [*got, *rest]:
        assert tuple(trace.edges) == EDGES
        assert "secret" not in json.dumps(asdict(trace))
        assert builder.flush() == []


@given(st.permutations(range(len(question()))))
def test_one_turn_in_any_order_never_breaks_the_next(order: list[int]) -> None:
    shuffled = [question()[index] for index in order]
    builder = TraceBuilder()
    for entry in shuffled:
        builder.feed(entry)
    builder.flush()
    good = [trace for entry in question(7, 500.0, sent=192_000) for trace in builder.feed(entry)]
    assert [trace.turn for trace in good] == [7]
    # A session that was opened earlier and is not ready yet is this turn's, too.
    expected = traces_of(question(7, 500.0))[0].edges
    assert {**good[0].edges, "session_open": 401} == expected
