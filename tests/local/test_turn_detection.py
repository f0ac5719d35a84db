from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.local.protocol import new_session
from assistant.local.turn_detection import (
    MAX_TURN_MS,
    DetectionSettings,
    Started,
    Stopped,
    TurnDetector,
    detection_settings,
)

SERVER_VAD = new_session("s", None, "v", 0).turn_detection
assert SERVER_VAD is not None
SETTINGS = detection_settings(SERVER_VAD)


def run(pattern: str, settings: DetectionSettings = SETTINGS, start_ms: int = 0) -> list[Started | Stopped]:
    """One character a frame of 20 ms: x is speech."""
    detector = TurnDetector(settings, start_ms)
    return [event for flag in pattern if (event := detector.hear(flag == "x")) is not None]


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
    assert DetectionSettings(3, 0.75, 300, 500, True, True) == SETTINGS
    lax = detection_settings(dict(SERVER_VAD) | {"threshold": 0.1})
    strict = detection_settings(dict(SERVER_VAD) | {"threshold": 0.9})
    assert (lax.mode, lax.start_share) < (SETTINGS.mode, SETTINGS.start_share) < (strict.mode, strict.start_share)
    flags = {"create_response": False, "interrupt_response": False}
    silences = [
        detection_settings({"type": "semantic_vad", "eagerness": eagerness} | flags).silence_ms
        for eagerness in ("high", "auto", "medium", "low")
    ]
    assert silences == sorted(silences)
    assert silences[1] == silences[2]
