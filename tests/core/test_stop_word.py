from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.core.stop_word import ECHO_STEPS, REFRACTORY_STEPS, STEPS, StopGate

SCORES = st.floats(0, 1)


def hits(gate: StopGate, *scores: float) -> list[int]:
    return [step for step, score in enumerate(scores) if gate.hear(score, talker=True)]


def test_it_takes_a_few_steps_that_are_sure_and_one_word_is_one_hit() -> None:
    assert hits(StopGate(0.9), 0.1, 0.95, 0.95, 0.95, 0.99, 0.95, 0.2) == [3]
    assert hits(StopGate(0.9), 0.1, 0.1, 0.999, 0.1, 0.1) == []
    assert hits(StopGate(0.9), *[0.89] * 10) == []


def test_a_step_that_is_sure_makes_up_for_one_that_is_not() -> None:
    assert hits(StopGate(0.9), 0.5, 0.7, 0.9999, 0.95) == [2]


def test_after_a_second_it_may_be_said_again() -> None:
    said = [0.95] * STEPS
    pause = [0.0] * (REFRACTORY_STEPS - STEPS + 1)
    assert hits(StopGate(0.9), *said, *pause, *said) == [STEPS - 1, REFRACTORY_STEPS + STEPS]
    assert hits(StopGate(0.9), *said, *pause[1:], *said, 0.0) == [STEPS - 1]


def test_what_the_assistant_says_itself_is_no_wish_though_the_echo_may_be_late() -> None:
    for late in range(ECHO_STEPS + 2):
        gate = StopGate(0.9)
        own = [0.99] * STEPS + [0.0] * 20
        found = []
        for step, score in enumerate([0.0] * late + [0.99] * STEPS + [0.0] * 20):
            gate.play(own[step] if step < len(own) else 0.0)
            if gate.hear(score, talker=True):
                found.append(step)
        assert found == [] if late < ECHO_STEPS else found != []


def test_without_other_evidence_of_somebody_it_takes_more() -> None:
    for score, heard in ((0.95, False), (0.99, True)):
        gate = StopGate(0.9)
        assert any(gate.hear(score, talker=False) for _ in range(20)) is heard
    gate = StopGate(0.9)
    assert not gate.hear(0.0, talker=True)
    assert any(gate.hear(0.95, talker=False) for _ in range(STEPS)), "evidence holds for a while"


def test_whatever_else_it_says_is_in_nobodys_way() -> None:
    gate = StopGate(0.9)
    found = []
    for step in range(STEPS):
        gate.play(0.6)
        if gate.hear(0.95, talker=True):
            found.append(step)
    assert found == [STEPS - 1]


@given(st.lists(st.tuples(SCORES, SCORES), max_size=60), st.floats(0.05, 0.99))
def test_a_hit_is_sure_and_never_comes_twice(steps: list[tuple[float, float]], threshold: float) -> None:
    gate = StopGate(threshold)
    found = []
    for step, (own, heard) in enumerate(steps):
        gate.play(own)
        if gate.hear(heard, talker=True):
            found.append(step)
            latest = [score for _, score in steps[max(0, step - STEPS + 1) : step + 1]]
            assert max(latest) >= threshold
            own_latest = [score for score, _ in steps[: step + 1][-STEPS:]]
            assert len(own_latest) < STEPS or min(own_latest) < threshold
    assert all(later - earlier > REFRACTORY_STEPS for earlier, later in itertools.pairwise(found))


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.0])
def test_a_threshold_that_makes_no_sense_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        StopGate(threshold)
