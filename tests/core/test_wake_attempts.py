from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assistant.core.wake_attempts import (
    HIGHEST_PROPOSAL,
    LOWEST_PROPOSAL,
    NEAR_MISS,
    AttemptFinder,
    TryCounter,
    WakeAttempt,
    WhatIf,
    propose_threshold,
    what_if,
)

STEP = 1280


def find(scores: list[float], hits: tuple[int, ...] = ()) -> list[WakeAttempt]:
    finder = AttemptFinder()
    found = []
    for step, score in enumerate(scores):
        found += finder.feed((step + 1) * STEP, {"alexa": score}, "alexa" if step in hits else None)
    return found + finder.flush()


def test_a_run_of_scores_is_one_attempt_with_its_peak() -> None:
    assert find([0, 0.05, 0.2, 0.4, 0.3, 0, 0, 0.15] + [0.0] * 20) == [WakeAttempt("alexa", 0.4, 4 * STEP, False)]


def test_a_second_of_nothing_ends_an_attempt_and_what_goes_on_ends_with_the_stream() -> None:
    assert find([0.3] + [0.0] * 13 + [0.6]) == [
        WakeAttempt("alexa", 0.3, STEP, False),
        WakeAttempt("alexa", 0.6, 15 * STEP, False),
    ]
    assert len(find([0.3] + [0.0] * 12 + [0.6])) == 1


def test_a_hit_stays_a_hit_when_a_higher_score_follows() -> None:
    assert find([0.5, 0.9, 0.7], hits=(0,)) == [WakeAttempt("alexa", 0.9, 2 * STEP, True)]


def test_words_are_followed_by_themselves() -> None:
    finder = AttemptFinder()
    finder.feed(STEP, {"alexa": 0.6, "timer": 0.2}, "alexa")
    assert finder.feed(2 * STEP, {"alexa": 0.0, "timer": 0.0}) == []
    assert {(a.word, a.hit) for a in finder.flush()} == {("alexa", True), ("timer", False)}


@given(st.lists(st.floats(0, 1), max_size=200))
def test_each_score_that_counts_is_in_an_attempt_and_no_peak_is_made_up(scores: list[float]) -> None:
    found = find(scores)
    assert {attempt.peak for attempt in found} <= set(scores)
    counting = [score for score in scores if score >= NEAR_MISS]
    assert max((attempt.peak for attempt in found), default=None) == max(counting, default=None)
    assert len(found) <= len(counting)


# --- proposals --------------------------------------------------------------------------------------------------------


def test_a_proposal_hears_the_weakest_try_with_room_to_spare() -> None:
    proposal = propose_threshold([0.98, 0.9, 0.6, 0.99])
    assert proposal is not None
    assert (proposal.threshold, proposal.heard, proposal.tries) == (0.45, 4, 4)


def test_a_try_that_was_not_understood_does_not_pull_it_down() -> None:
    proposal = propose_threshold([0.02, 0.9])
    assert proposal is not None and (proposal.threshold, proposal.heard, proposal.tries) == (0.7, 1, 2)
    assert propose_threshold([0.02, 0.05]) is None
    assert propose_threshold([]) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_proposal_is_in_bounds(peaks: list[float]) -> None:
    proposal = propose_threshold(peaks)
    if proposal is None:
        assert max(peaks) < NEAR_MISS
    else:
        assert LOWEST_PROPOSAL <= proposal.threshold <= HIGHEST_PROPOSAL
        assert proposal.heard == sum(peak >= proposal.threshold for peak in peaks)


def test_what_another_threshold_would_have_done() -> None:
    attempts = [(0.9, True), (0.55, True), (0.45, False), (0.2, False)]
    assert what_if(attempts, 0.6) == WhatIf(kept=1, added=0, lost=1)
    assert what_if(attempts, 0.4) == WhatIf(kept=2, added=1, lost=0)


# --- tries ------------------------------------------------------------------------------------------------------------


def tries(frames: list[tuple[bool, float | None]]) -> list[float]:
    counter = TryCounter()
    found = [counter.feed(n * 320, (n + 1) * 320, speech, score) for n, (speech, score) in enumerate(frames)]
    return [peak for peak in [*found, counter.flush()] if peak is not None]


def test_a_try_is_speech_and_the_score_that_follows_it() -> None:
    word = [(True, None)] * 30 + [(False, None)] * 10 + [(False, 0.8)] + [(False, 0.0)] * 30
    assert tries([(False, 0.3)] * 10 + word + word) == [0.8, 0.8]
    assert tries(word[:40]) == [0.0], "the stream ended before the score"


def test_a_cough_that_scores_nothing_is_no_try() -> None:
    assert tries([(True, 0.0)] * 5 + [(False, 0.0)] * 100) == []
    assert tries([(True, 0.4)] * 5 + [(False, 0.0)] * 100) == [0.4]


def test_an_attempt_knows_how_sure_the_verifier_was_at_most() -> None:
    finder = AttemptFinder()
    steps = [({"alexa": 0.3, "timer": 0.2}, {"alexa": 0.7}), ({"alexa": 0.9, "timer": 0.0}, {"alexa": 0.2})]
    for number, (scores, verified) in enumerate(steps, 1):
        assert finder.feed(number * STEP, scores, None, verified) == []
    alexa, timer = finder.flush()
    assert alexa == WakeAttempt("alexa", 0.9, 2 * STEP, False, 0.7)
    assert timer == WakeAttempt("timer", 0.2, STEP, False, None)
