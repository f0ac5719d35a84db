"""When a session is opened ahead of a request."""

from __future__ import annotations

import pytest

from assistant.core.connecting import REPEAT_AFTER, Connect, ConnectHints

FRAME = 320
WORDS = {"hey_jarvis": 0.6, "alexa": 0.5}


def hints(connect: Connect, frames: list[tuple[bool, dict[str, float] | None]]) -> list[int]:
    """The numbers of the frames at which there was a hint."""
    finder = ConnectHints(connect, WORDS)
    return [
        number
        for number, (speech, scores) in enumerate(frames)
        if finder.hear((number + 1) * FRAME, speech=speech, scores=scores)
    ]


@pytest.mark.parametrize(("score", "hinted"), [(0.29, []), (0.3, [3]), (0.9, [3])])
def test_a_rising_score_is_a_hint(score: float, hinted: list[int]) -> None:
    frames = [(True, None)] * 3 + [(True, {"alexa": 0.1, "hey_jarvis": score})]
    assert hints(Connect.WAKE, frames) == hinted


def test_speech_is_a_hint_only_where_that_was_chosen() -> None:
    talking = [(False, None)] * 10 + [(True, None)] * 10
    assert hints(Connect.SPEECH, talking) == [14]
    assert hints(Connect.WAKE, talking) == []
    assert hints(Connect.AFTER_SPEECH, [(True, {"alexa": 0.9})] * 10) == []


def test_hints_do_not_follow_one_another() -> None:
    frames = [(True, {"alexa": 0.9, "hey_jarvis": 0.0})] * (2 * REPEAT_AFTER // FRAME + 1)
    assert hints(Connect.WAKE, frames) == [0, REPEAT_AFTER // FRAME, 2 * REPEAT_AFTER // FRAME]
