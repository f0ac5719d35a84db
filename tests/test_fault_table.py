"""The table of ``python -m bench.faults`` is measured: two of its scenes, on virtual time."""

from __future__ import annotations

import pytest

from bench.faults import FAULTS, Fault, Scene, play, row


def scene(name: str) -> tuple[Fault, Scene]:
    [fault] = [fault for fault in FAULTS if fault.name.startswith(name)]
    return fault, play(fault)


def test_a_microphone_that_comes_back_is_heard_within_two_seconds_and_the_answer_goes_on() -> None:
    fault, seen = scene("the microphone is unplugged")
    [(_, unheard)] = seen.gaps
    assert fault.lasts_s <= unheard <= fault.lasts_s + 2.1
    assert seen.noticed == pytest.approx(0.0, abs=0.1)
    assert seen.turn == "answered"
    assert seen.next_answered and len(seen.rang) == 1


def test_what_only_a_new_process_mends_costs_the_turn_and_no_timer() -> None:
    fault, seen = scene("analysis of the sound hangs")
    assert seen.noticed is not None and 10 <= seen.noticed <= 12
    assert seen.turn == "stopped"
    assert seen.next_answered
    assert abs(seen.rang[0] - seen.timer_due) < 2
    assert "on time" in row(fault, seen)


def test_a_microphone_that_turns_to_digital_silence_is_opened_again() -> None:
    _, seen = scene("the microphone gives digital silence")
    [(_, unheard)] = seen.gaps
    assert 10 <= unheard <= 11
    assert seen.noticed == pytest.approx(10.0, abs=0.5)
    assert seen.turn == "answered" and seen.next_answered
