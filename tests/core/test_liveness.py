"""The watchdog is fed while frames advance, and only then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.core.liveness import Liveness
from assistant.types import FRAME_SAMPLES

FRAME_S = 0.02


def fed(liveness: Liveness, seconds: float, *, at: float = 0.0, sample: int = 0) -> tuple[float, int]:
    """Deliver frames for this long; gives the time and the sample after the last one."""
    for _ in range(round(seconds / FRAME_S)):
        at += FRAME_S
        liveness.frame(sample, at)
        sample += FRAME_SAMPLES
    return at, sample


def test_alive_while_frames_advance_and_not_longer() -> None:
    liveness = Liveness(stall_after_s=5, at=0.0)
    at, _ = fed(liveness, 60)
    assert liveness.alive(at + 4.9)
    assert not liveness.alive(at + 5)


def test_a_device_may_take_its_time_to_open() -> None:
    liveness = Liveness(stall_after_s=5, at=100.0)
    assert liveness.alive(104.9)
    assert not liveness.alive(105.0)


def test_one_frame_again_and_again_is_no_progress() -> None:
    liveness = Liveness(stall_after_s=5, at=0.0)
    at, sample = fed(liveness, 1)
    for step in range(300):
        liveness.frame(sample - FRAME_SAMPLES, at + step * FRAME_S)
    assert not liveness.alive(at + 6)


def test_a_stream_opened_anew_counts_from_zero() -> None:
    liveness = Liveness(stall_after_s=5, at=0.0)
    fed(liveness, 60)
    at, _ = fed(liveness, 10, at=64.0, sample=0)
    assert liveness.alive(at + 4)


def test_one_first_frame_of_each_new_stream_is_no_progress() -> None:
    liveness = Liveness(stall_after_s=5, at=0.0)
    at, _ = fed(liveness, 10)
    for reopened in range(10):
        liveness.frame(0, at + reopened)
    assert not liveness.alive(at + 10)


def test_recovers() -> None:
    liveness = Liveness(stall_after_s=5, at=0.0)
    at, sample = fed(liveness, 10)
    assert not liveness.alive(at + 10)
    at, _ = fed(liveness, 0.1, at=at + 10, sample=sample)
    assert liveness.alive(at)


def test_muted_is_alive_and_opening_again_takes_its_time() -> None:
    liveness = Liveness(stall_after_s=5, at=0.0)
    at, _ = fed(liveness, 10)
    liveness.muted(at, True)
    assert liveness.alive(at + 3600)
    liveness.muted(at + 3600, False)
    assert liveness.alive(at + 3604.9)
    assert not liveness.alive(at + 3605)


def test_lifting_a_mute_that_was_not_there_is_no_progress() -> None:
    liveness = Liveness(stall_after_s=5, at=0.0)
    for second in range(10):
        liveness.muted(second, False)
    assert not liveness.alive(10)


def test_a_stall_must_have_a_length() -> None:
    with pytest.raises(ValueError, match="stall_after_s"):
        Liveness(stall_after_s=0, at=0.0)


@given(st.lists(st.tuples(st.floats(0.001, 20), st.integers(0, 50) | st.booleans()), max_size=60))
def test_never_alive_long_after_the_last_sign(steps: list[tuple[float, int]]) -> None:
    """Whatever happens: unmuted and with nothing new for the whole limit, it is not alive."""
    liveness = Liveness(stall_after_s=5, at=0.0)
    at, muted = 0.0, False
    for pause, what in steps:
        at += pause
        if isinstance(what, bool):
            liveness.muted(at, what)
            muted = what
        else:
            liveness.frame(what * FRAME_SAMPLES, at)
        assert liveness.alive(at) or not muted
    assert liveness.alive(at + 5.001) is muted  # a little more: adding to a float rounds
