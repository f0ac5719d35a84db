from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.core.completeness import ASK_AFTER_MS, Completeness, Patience
from assistant.local.protocol import new_session
from assistant.local.turn_detection import (
    MAX_TURN_MS,
    DetectionSettings,
    Paused,
    Started,
    Stopped,
    TurnDetector,
    detection_settings,
)

SERVER_VAD = new_session("s", None, "v", 0).turn_detection
assert SERVER_VAD is not None
SETTINGS = detection_settings(SERVER_VAD)
BY_MEANING = replace(SETTINGS, patience=Patience(300, 500, 1500))


def run(
    pattern: str, settings: DetectionSettings = SETTINGS, start_ms: int = 0, found: Sequence[Completeness] = ()
) -> list[Started | Stopped]:
    """One character a frame of 20 ms: x is speech. ``found``: how the pauses are judged, one after the other."""
    detector = TurnDetector(settings, start_ms)
    judgements = iter(found)
    events: list[Started | Stopped] = []
    for flag in pattern:
        match detector.hear(flag == "x"):
            case Paused(since_ms):
                detector.judge(since_ms, next(judgements, Completeness.OPEN))
            case None:
                pass
            case event:
                events.append(event)
    return events


def test_speech_and_silence() -> None:
    assert run("." * 50 + "x" * 50 + "." * 30) == [Started(700), Stopped(2500)]


def test_padding_does_not_reach_before_the_beginning() -> None:
    assert run("x" * 20)[0] == Started(0)
    assert run("x" * 20, start_ms=5_000)[0] == Started(5_000)


def test_padding_does_not_reach_into_the_turn_before() -> None:
    events = run("x" * 20 + "." * 25 + "x" * 20)
    assert events == [Started(0), Stopped(900), Started(900)]


@pytest.mark.parametrize("pattern", ["x" * 8 + "." * 100, "x." * 100, "." * 200])
def test_noise_is_no_speech(pattern: str) -> None:
    assert run(pattern) == []


def test_a_stray_frame_does_not_hold_the_turn_open() -> None:
    assert run("x" * 20 + "." * 12 + "x" + "." * 12) == [Started(0), Stopped(900)]


def test_a_short_pause_does_not_end_the_turn() -> None:
    assert run("x" * 20 + "." * 20 + "x" * 20) == [Started(0)]


def test_a_television_is_cut_off_after_a_minute() -> None:
    events = run("x" * (MAX_TURN_MS // 20 + 20))
    assert events[0] == Started(0)
    assert isinstance(events[1], Stopped)
    assert events[1].at_ms <= MAX_TURN_MS + 240


@pytest.mark.parametrize(
    ("found", "ends_after"), [(Completeness.COMPLETE, 300), (Completeness.OPEN, 500), (Completeness.UNFINISHED, 1500)]
)
def test_what_was_said_decides_how_long_the_silence_is(found: Completeness, ends_after: int) -> None:
    assert run("x" * 20 + "." * 100, BY_MEANING, found=[found]) == [Started(0), Stopped(400 + ends_after)]


def test_more_speech_makes_a_pause_of_its_own() -> None:
    pattern = "x" * 20 + "." * 60 + "x" * 20 + "." * 60
    assert run(pattern, BY_MEANING, found=[Completeness.UNFINISHED]) == [Started(0), Stopped(2_500)]


def test_a_judgement_of_a_pause_that_is_over_is_not_heeded() -> None:
    detector = TurnDetector(BY_MEANING)
    events = [detector.hear(flag == "x") for flag in "x" * 20 + "." * 15 + "x" * 5]
    (pause,) = (event for event in events if isinstance(event, Paused))
    assert pause.since_ms == 400
    detector.judge(pause.since_ms, Completeness.UNFINISHED)
    silence = [detector.hear(False) for _ in range(25)]
    assert silence[-1] == Stopped(1_300)
    detector.judge(800, Completeness.UNFINISHED)  # the turn is over
    assert not detector.speaking


def test_who_does_not_listen_to_the_words_is_not_asked() -> None:
    detector = TurnDetector(SETTINGS)
    assert not any(isinstance(detector.hear(flag == "x"), Paused) for flag in "x" * 20 + "." * 30)


@given(st.text(alphabet="x.", max_size=400), st.lists(st.sampled_from(Completeness), max_size=30))
def test_no_judgement_ends_a_turn_in_speech_or_holds_it_open_for_ever(pattern: str, found: list[Completeness]) -> None:
    flags = pattern + "." * 75
    events = run(flags, BY_MEANING, found=found)
    assert len(events) % 2 == 0, "the last silence is as long as anybody waits"
    for stopped in events[1::2]:
        quiet = flags[: stopped.at_ms // 20]
        since_speech = len(quiet) - quiet.rfind("xx") - 2
        assert (ASK_AFTER_MS + 100) // 20 <= since_speech <= 1500 // 20


@given(st.text(alphabet="x.", max_size=400), st.integers(0, 10**7))
def test_turns_alternate_do_not_overlap_and_do_not_depend_on_the_hour(pattern: str, start_ms: int) -> None:
    events = run(pattern, start_ms=start_ms)
    assert [type(event) for event in events] == [Started, Stopped] * (len(events) // 2) + [Started] * (len(events) % 2)
    times = [event.at_ms for event in events]
    assert times == sorted(times)
    if start_ms > 1000:
        later = run(pattern, start_ms=start_ms + 40_000)
        assert [event.at_ms + 40_000 for event in events] == [event.at_ms for event in later]


def test_the_settings_of_clients() -> None:
    assert DetectionSettings(3, 0.75, 300, Patience(500, 500, 500), True, True) == SETTINGS
    lax = detection_settings(dict(SERVER_VAD) | {"threshold": 0.1})
    strict = detection_settings(dict(SERVER_VAD) | {"threshold": 0.9})
    assert (lax.mode, lax.start_share) < (SETTINGS.mode, SETTINGS.start_share) < (strict.mode, strict.start_share)
    flags = {"create_response": False, "interrupt_response": False}
    patience = [
        detection_settings({"type": "semantic_vad", "eagerness": eagerness} | flags).patience
        for eagerness in ("high", "auto", "medium", "low")
    ]
    for found in Completeness:
        silences = [each.after(found) for each in patience]
        assert silences == sorted(silences)
        assert silences[1] == silences[2] < silences[3]
