"""Barge-in evidence: people are suspected, echo is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.core.barge_in import EXPECTED, ONSET_FRAMES, BargeInDetector, Evidence, Suspicion
from assistant.core.talker_bands import CONVERGING_FRAMES, LEARNING_FRAMES, MOST

PLAYBACK_DB, SILENCE_DB = -20.0, -100.0
CLEAN_DB = -68.0  # what echo cancellation leaves in a good room


def feed(
    detector: BargeInDetector,
    frames: int,
    *,
    voiced: bool = False,
    residual: float = CLEAN_DB,
    far: float = -20.0,
    stands_out: float | None = None,
) -> list[Evidence]:
    """The VAD hears speech behind the linear canceller where anything stands out there."""
    return [
        detector.feed(
            voiced=voiced,
            residual_db=residual,
            reference_db=far,
            words_voiced=bool(stands_out),
            stands_out=stands_out,
        )
        for _ in range(frames)
    ]


def speaking() -> BargeInDetector:
    """A detector that has heard enough playback to know the room."""
    detector = BargeInDetector()
    feed(detector, LEARNING_FRAMES)
    return detector


def test_without_playback_speech_is_what_the_vad_says() -> None:
    detector = BargeInDetector()
    quiet, speech = (feed(detector, 20, voiced=voiced, residual=-70.0, far=SILENCE_DB)[-1] for voiced in (False, True))
    assert (quiet.speech, speech.speech) == (False, True)
    assert speech.suspicion is Suspicion.NONE


def test_a_talker_is_suspected_after_60_ms() -> None:
    heard = feed(speaking(), 5, voiced=True, residual=-35.0)
    assert [evidence.suspicion for evidence in heard] == [0, 0, 1, 1, 1]
    assert all(evidence.speech == bool(evidence.suspicion) for evidence in heard)


@pytest.mark.parametrize(
    ("voiced", "residual"),
    [(False, -35.0), (True, CLEAN_DB + 5)],
    ids=["a bang", "hardly above the floor"],
)
def test_what_is_no_evidence(voiced: bool, residual: float) -> None:
    assert not any(evidence.speech for evidence in feed(speaking(), 20, voiced=voiced, residual=residual))


def test_a_talker_whom_aec3_removes_is_found_behind_the_linear_canceller() -> None:
    heard = feed(speaking(), 4, stands_out=1.2)
    assert [evidence.suspicion for evidence in heard] == [0, 0, 1, 1]
    assert [evidence.speech for evidence in heard] == [False, False, True, True]


def test_the_clearer_a_talker_is_the_sooner() -> None:
    assert feed(speaking(), 1, stands_out=MOST)[0].speech
    assert not any(evidence.speech for evidence in feed(speaking(), 7, stands_out=0.8))
    assert feed(speaking(), 9, stands_out=0.8)[-1].speech


def test_what_echo_can_explain_never_adds_up() -> None:
    detector = speaking()
    assert not any(evidence.suspicion for evidence in feed(detector, 500, stands_out=EXPECTED))
    for _ in range(100):
        heard = feed(detector, 1, stands_out=1.5) + feed(detector, 2, stands_out=0.0)
        assert not any(evidence.suspicion for evidence in heard)


def test_a_talker_who_stops_is_none_soon() -> None:
    detector = speaking()
    assert feed(detector, 50, stands_out=MOST)[-1].speech
    heard = feed(detector, 4, stands_out=0.1)
    assert not heard[-1].speech
    assert heard[-1].suspicion is Suspicion.SUSPECTED, "for a while"


def test_a_bang_is_suspected_but_no_speech() -> None:
    """Nothing says that a person makes it, but ducking costs little."""
    detector = speaking()
    for _ in range(5):
        evidence = detector.feed(
            voiced=False, residual_db=-35.0, reference_db=-20.0, words_voiced=False, stands_out=MOST
        )
    assert evidence == Evidence(False, Suspicion.SUSPECTED)


def test_what_aec3_leaves_is_no_evidence_once_the_linear_canceller_knows_the_room() -> None:
    assert not any(evidence.speech for evidence in feed(speaking(), 20, voiced=True, residual=-35.0, stands_out=0.5))


def test_a_known_leak_makes_the_beginning_shorter() -> None:
    detector = BargeInDetector(leak_db=-30.0)
    feed(detector, CONVERGING_FRAMES - 10)
    assert not any(evidence.speech for evidence in feed(detector, 10, voiced=True, residual=-35.0))
    assert feed(detector, 3, voiced=True, residual=-35.0)[-1].speech
    feed(detector, 10)
    assert not feed(detector, 5, voiced=True, residual=-47.0)[-1].speech, "the leak explains it"
    assert not feed(detector, 5, stands_out=MOST)[-1].speech, "what the linear canceller leaves is not known yet"


def test_nothing_counts_before_the_room_is_known() -> None:
    detector = BargeInDetector()
    feed(detector, LEARNING_FRAMES - 20)
    assert not any(evidence.speech for evidence in feed(detector, 20, voiced=True, residual=-40.0))
    feed(detector, 20)
    assert feed(detector, 3, voiced=True, residual=-20.0)[-1].speech


def test_echo_that_gets_through_in_the_beginning_is_no_evidence_later() -> None:
    detector = BargeInDetector()
    for _ in range(LEARNING_FRAMES // 10):
        feed(detector, 9)
        feed(detector, 1, voiced=True, residual=PLAYBACK_DB - 10)
    assert detector.leak_db == pytest.approx(-13.0, abs=3.0)
    assert not any(evidence.speech for evidence in feed(detector, 5, voiced=True, residual=PLAYBACK_DB - 9))
    assert all(evidence.speech for evidence in feed(detector, 5, voiced=True, residual=PLAYBACK_DB - 1)[2:])


def test_a_suspicion_that_comes_to_nothing_is_dropped_and_remembered() -> None:
    detector = speaking()
    feed(detector, 3, voiced=True, residual=-35.0)
    before = detector.leak_db
    heard = feed(detector, 40)
    beyond_the_line = sum(evidence.speech for evidence in heard)
    assert [evidence.suspicion for evidence in heard] == [1] * (beyond_the_line + 29) + [0] * (11 - beyond_the_line)
    assert beyond_the_line <= 5
    assert detector.leak_db > before


def test_the_end_of_playback_ends_a_suspicion() -> None:
    detector = speaking()
    feed(detector, 3, voiced=True, residual=-35.0)
    heard = feed(detector, 60, voiced=True, residual=-35.0, far=SILENCE_DB)
    assert heard[0].suspicion is Suspicion.SUSPECTED  # the room still rings
    assert heard[-1] == Evidence(True, Suspicion.NONE)


def test_echo_dies_away_slowly_in_the_reckoning() -> None:
    """Just after a loud syllable, what is left of it is still explained by it."""
    detector = BargeInDetector()
    feed(detector, LEARNING_FRAMES - 40)
    feed(detector, 40, voiced=True, residual=-50.0)  # this room leaves -30 dB of it
    feed(detector, 5, far=-10.0)
    assert not feed(detector, 3, voiced=True, residual=-40.0, far=-50.0)[-1].speech
    feed(detector, 24, far=-50.0)
    assert feed(detector, 3, voiced=True, residual=-40.0, far=-50.0)[-1].speech


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(-100, 0), st.sampled_from([SILENCE_DB, -50.0, -20.0, -5.0])), max_size=300
    )
)
def test_there_is_no_suspicion_without_speech_and_none_without_playback(
    frames: list[tuple[bool, float, float]],
) -> None:
    detector = BargeInDetector()
    recent: list[bool] = []
    for voiced, residual, far in frames:
        evidence = detector.feed(
            voiced=voiced, residual_db=residual, reference_db=far, words_voiced=False, stands_out=None
        )
        recent = [*recent, voiced][-40:]
        assert voiced or not evidence.speech
        assert not evidence.suspicion or sum(recent) >= 2
        assert detector.leak_db >= -60.0
    for evidence in feed(detector, 120, far=SILENCE_DB)[-1:]:
        assert evidence.suspicion is Suspicion.NONE


def test_echo_is_alone_after_two_seconds_in_which_nothing_stood_out() -> None:
    detector = speaking()
    heard = feed(detector, 100, stands_out=EXPECTED)
    assert [evidence.echo_alone for evidence in heard] == [False] * 99 + [True]
    assert not feed(detector, 1, stands_out=EXPECTED + 0.6)[-1].echo_alone, "a sign, if not enough to be suspected"
    assert not feed(detector, 99, stands_out=0.0)[-1].echo_alone
    assert feed(detector, 10, stands_out=0.0)[-1].echo_alone
    assert not feed(detector, 100, far=SILENCE_DB)[-1].echo_alone, "there is none"


def test_of_a_microphone_that_clips_nobody_says_that_echo_is_alone() -> None:
    detector = speaking()
    heard = [
        detector.feed(
            voiced=True,
            residual_db=-20.0,
            reference_db=PLAYBACK_DB,
            words_voiced=True,
            stands_out=0.0,
            clipped=frame % 50 == 0,
        )
        for frame in range(500)
    ]
    assert not any(evidence.echo_alone for evidence in heard)


@pytest.mark.parametrize("stands_out", [None, 0.0])
def test_nobody_says_that_echo_is_alone_before_the_room_is_known_or_without_the_linear_canceller(
    stands_out: float | None,
) -> None:
    detector = BargeInDetector()
    assert not any(evidence.echo_alone for evidence in feed(detector, LEARNING_FRAMES, stands_out=stands_out))
    assert any(evidence.echo_alone for evidence in feed(detector, 200, stands_out=stands_out)) == (stands_out == 0.0)


def test_in_the_beginning_of_an_answer_nothing_stands_out() -> None:
    """There the linear canceller leaves most, and who is interrupted in the beginning learns nothing from it."""
    detector = speaking()
    feed(detector, 100, far=SILENCE_DB)  # until the echo has died away
    beginning = feed(detector, ONSET_FRAMES, stands_out=MOST)
    assert not any(evidence.speech or evidence.suspicion or evidence.echo_alone for evidence in beginning)
    assert feed(detector, 3, stands_out=MOST)[-1].speech
