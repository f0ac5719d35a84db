"""Barge-in evidence: people are suspected, echo is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.core.barge_in import TALKER_BANDS, BargeInDetector, BargeInSettings, Evidence, Suspicion
from assistant.core.talker_bands import BANDS, CONVERGING_FRAMES, LEARNING_FRAMES

PLAYBACK_DB, SILENCE_DB = -20.0, -100.0
CLEAN_DB = -68.0  # what echo cancellation leaves in a good room


def feed(
    detector: BargeInDetector,
    frames: int,
    *,
    voiced: bool = False,
    residual: float = CLEAN_DB,
    far: float = -20.0,
    bands: int = 1,
) -> list[Evidence]:
    """bands: how many stand out behind the linear canceller; the VAD hears speech there if there are any."""
    return [
        detector.feed(voiced=voiced, residual_db=residual, reference_db=far, words_voiced=bands > 0, bands=bands)
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
    assert all(evidence.speech for evidence in heard)


@pytest.mark.parametrize(
    ("voiced", "residual"),
    [(False, -35.0), (True, CLEAN_DB + 5)],
    ids=["a bang", "hardly above the floor"],
)
def test_what_is_no_evidence(voiced: bool, residual: float) -> None:
    assert not any(evidence.speech for evidence in feed(speaking(), 20, voiced=voiced, residual=residual))


def test_a_talker_whom_aec3_removes_is_found_in_the_bands_behind_the_linear_canceller() -> None:
    assert not any(evidence.speech for evidence in feed(speaking(), 10, bands=TALKER_BANDS - 1))
    heard = feed(speaking(), 5, bands=TALKER_BANDS)
    assert [evidence.suspicion for evidence in heard] == [0, 0, 1, 1, 1]
    assert all(evidence.speech for evidence in heard)


def test_what_aec3_leaves_is_no_evidence_while_echo_explains_all_bands() -> None:
    assert not any(evidence.speech for evidence in feed(speaking(), 20, voiced=True, residual=-35.0, bands=0))


def test_a_known_leak_makes_the_beginning_shorter() -> None:
    detector = BargeInDetector(leak_db=-30.0)
    feed(detector, CONVERGING_FRAMES - 10)
    assert not any(evidence.speech for evidence in feed(detector, 10, voiced=True, residual=-35.0))
    assert feed(detector, 1, voiced=True, residual=-35.0)[0].speech
    assert not feed(detector, 1, voiced=True, residual=-47.0)[0].speech, "the leak explains it"
    assert not feed(detector, 1, bands=BANDS)[0].speech, "what the linear canceller leaves is not known yet"


def test_nothing_counts_before_the_room_is_known() -> None:
    detector = BargeInDetector()
    feed(detector, LEARNING_FRAMES - 20)
    assert not any(evidence.speech for evidence in feed(detector, 20, voiced=True, residual=-40.0))
    feed(detector, 10)
    assert feed(detector, 1, voiced=True, residual=-20.0)[0].speech


def test_echo_that_gets_through_in_the_beginning_is_no_evidence_later() -> None:
    detector = BargeInDetector()
    for _ in range(LEARNING_FRAMES // 10):
        feed(detector, 9)
        feed(detector, 1, voiced=True, residual=PLAYBACK_DB - 10)
    assert detector.leak_db == pytest.approx(-13.0, abs=3.0)
    assert not any(evidence.speech for evidence in feed(detector, 5, voiced=True, residual=PLAYBACK_DB - 9))
    assert all(evidence.speech for evidence in feed(detector, 5, voiced=True, residual=PLAYBACK_DB - 1))


def test_a_suspicion_that_comes_to_nothing_is_dropped_and_remembered() -> None:
    detector = speaking()
    feed(detector, 3, voiced=True, residual=-35.0)
    before = detector.leak_db
    heard = feed(detector, 30)
    assert [evidence.suspicion for evidence in heard] == [1] * 29 + [0]
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
    assert not feed(detector, 1, voiced=True, residual=-40.0, far=-50.0)[0].speech
    feed(detector, 24, far=-50.0)
    assert feed(detector, 1, voiced=True, residual=-40.0, far=-50.0)[0].speech


def test_the_needed_evidence_is_a_setting() -> None:
    detector = BargeInDetector(BargeInSettings(suspect_ms=200, suspect_window_ms=200))
    feed(detector, LEARNING_FRAMES)
    assert [evidence.suspicion for evidence in feed(detector, 11, voiced=True, residual=-35.0)] == [0] * 9 + [1, 1]


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
        evidence = detector.feed(voiced=voiced, residual_db=residual, reference_db=far, words_voiced=True, bands=1)
        recent = [*recent, evidence.speech][-35:]
        assert voiced or not evidence.speech
        assert not evidence.suspicion or sum(recent) >= 1
        assert detector.leak_db >= -60.0
    for evidence in feed(detector, 120, far=SILENCE_DB)[-1:]:
        assert evidence.suspicion is Suspicion.NONE
