"""One channel out of two: a dead side is left out, a live one never is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.core.channels import WINDOW_S, ChannelChoice, ChannelPicker

RATE = 16_000
BLOCK = RATE // 50
WINDOW = round(WINDOW_S * RATE)


def sound(dbfs: float, samples: int = WINDOW, seed: int = 1, offset: float = 0.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 32768 * 10 ** (dbfs / 20), samples)
    return np.rint(noise + offset).clip(-32768, 32767).astype("<i2")


def silence(samples: int = WINDOW) -> np.ndarray:
    return np.zeros(samples, "<i2")


def picked(picker: ChannelPicker, left: np.ndarray, right: np.ndarray, block: int = BLOCK) -> np.ndarray:
    stereo = np.stack((left, right), axis=1)
    return np.concatenate([picker.pick(stereo[at : at + block]) for at in range(0, len(stereo), block)])


def test_two_live_sides_are_mixed_by_their_mean_without_overflow() -> None:
    block = np.array([[32767, 32767], [-32768, -32768], [100, 300], [-5, 5]], "<i2")
    assert ChannelPicker(RATE).pick(block).tolist() == [32767, -32768, 200, 0]


def test_one_channel_that_was_doubled_comes_out_bit_by_bit() -> None:
    mono = sound(-20)
    assert (picked(ChannelPicker(RATE), mono, mono) == mono).all()
    assert (ChannelPicker(RATE).pick(mono[:, None]) == mono).all()


@pytest.mark.parametrize(
    ("left", "right", "dead"),
    [
        (silence(), sound(-40), "left"),
        (sound(-40), silence(), "right"),
        (sound(-40), silence() + 700, "right"),  # nothing but an offset
        (sound(-80), silence(), "right"),  # a quiet room: digital silence is never alive
        (sound(-25), sound(-56, seed=2), "right"),  # hum
        (sound(-25), sound(-56, seed=2, offset=3000), "right"),
        (sound(-25), sound(-53, seed=2), None),
        (sound(-30), sound(-30, seed=2), None),
        (sound(-62), sound(-96, seed=2), None),  # a quiet room says nothing about a side that is not quite silent
        (silence(), silence(), None),
    ],
)
def test_a_side_without_sound_is_left_out(left: np.ndarray, right: np.ndarray, dead: str | None) -> None:
    picker = ChannelPicker(RATE)
    first = picked(picker, left, right)
    assert np.abs(first - (left.astype(int) + right) / 2).max() <= 0.5 or dead
    assert picker.dead == dead
    if dead:
        live = right if dead == "left" else left
        assert (picked(picker, left, right) == live).all(), "at its full level"


def test_a_side_that_is_heard_again_counts_again() -> None:
    picker = ChannelPicker(RATE)
    picked(picker, sound(-30), silence())
    picked(picker, sound(-75), sound(-80, seed=2))
    assert picker.dead == "right", "not for the noise of its converter"
    picked(picker, sound(-30), sound(-55, seed=2))
    assert picker.dead == "right", "not quite"
    picked(picker, sound(-30), sound(-40, seed=2))
    assert picker.dead is None


def test_the_other_side_may_die_too() -> None:
    picker = ChannelPicker(RATE)
    picked(picker, sound(-30), silence())
    picked(picker, silence(), sound(-30))
    assert picker.dead == "left"


def test_a_word_from_one_side_is_no_fault() -> None:
    picker = ChannelPicker(RATE)
    word = np.concatenate([silence(WINDOW // 2), sound(-40, WINDOW // 2)])
    picked(picker, word, (word * 0.2).astype("<i2"))
    assert picker.dead is None


@pytest.mark.parametrize(("choice", "index"), [("left", 0), ("right", 1)])
def test_a_side_that_is_asked_for_is_taken_whatever_it_holds(choice: ChannelChoice, index: int) -> None:
    picker = ChannelPicker(RATE, choice)
    sides = (silence(), sound(-20))
    for left, right in (sides, sides[::-1]):
        assert (picked(picker, left, right) == (left, right)[index]).all()
    assert picker.dead is None


def test_of_more_than_two_the_first_two_count() -> None:
    block = np.array([[10, 20, 30_000, -30_000]], "<i2")
    assert ChannelPicker(RATE).pick(block).tolist() == [15]


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Windows of (left, right) levels in dBFS, -200 being digital silence, and the size of their blocks."""
    levels = st.sampled_from([-200, -85, -61, -59, -45, -29, -15])
    return draw(st.lists(st.tuples(levels, levels, st.sampled_from([64, 320, 777])), min_size=1, max_size=6))


@settings(max_examples=60, deadline=None)
@given(streams())
def test_no_sample_is_lost_and_the_louder_side_is_never_the_dead_one(windows: list[tuple[int, int, int]]) -> None:
    picker = ChannelPicker(1000)  # small windows: fast
    for left, right, block in windows:
        size = round(WINDOW_S * 1000)
        sides = [sound(left, size, 1), sound(right, size, 2)]
        out = picked(picker, *sides, block)
        assert len(out) == size and out.dtype == np.int16
        for _ in range(2):  # a whole window of this sound, whatever was left over of the one before
            picked(picker, *sides)
        if picker.dead is not None and abs(left - right) > 1 and max(left, right) > -60:
            assert picker.dead == ("left" if left < right else "right")
