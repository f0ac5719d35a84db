from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.audio.resample import StreamResampler, mix_to_mono, spread_from_mono

RATES = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def tone(hz: float, rate: int, seconds: float) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype("<i2")


@settings(max_examples=60, deadline=None)
@given(
    from_rate=st.sampled_from(RATES),
    to_rate=st.sampled_from(RATES),
    chunks=st.lists(st.integers(0, 3000), max_size=30),  # in bytes: odd lengths split samples
)
def test_no_sample_is_lost_or_invented(from_rate: int, to_rate: int, chunks: list[int]) -> None:
    resampler = StreamResampler(from_rate, to_rate)
    out = b"".join(resampler.feed(bytes(size)) for size in chunks) + resampler.flush()
    expected = (sum(chunks) // 2) * to_rate / from_rate
    assert abs(len(out) // 2 - expected) <= 1
    assert len(out) % 2 == 0


@pytest.mark.parametrize(("from_rate", "to_rate"), [(48_000, 16_000), (44_100, 16_000), (24_000, 44_100)])
def test_a_tone_stays_the_same_tone_at_the_same_level(from_rate: int, to_rate: int) -> None:
    resampler = StreamResampler(from_rate, to_rate)
    source = tone(440, from_rate, 1).tobytes()
    out = b"".join(resampler.feed(source[i : i + 1000]) for i in range(0, len(source), 1000)) + resampler.flush()
    middle = slice(to_rate // 10, to_rate * 9 // 10)  # away from the edges, where the filter rings
    error = np.frombuffer(out, "<i2")[middle].astype(float) - tone(440, to_rate, 1)[middle]
    assert np.abs(error).max() < 80  # 40 dB below the tone; a delay of one sample alone would exceed it


def test_equal_rates_pass_every_bit_through() -> None:
    resampler = StreamResampler(16_000, 16_000)
    noise = np.random.default_rng(1).integers(-32768, 32767, 5001, dtype="<i2").tobytes()
    assert resampler.feed(noise[:3]) + resampler.feed(noise[3:]) + resampler.flush() == noise


def test_a_flushed_resampler_begins_a_new_stream() -> None:
    resampler = StreamResampler(24_000, 16_000)
    sound = tone(300, 24_000, 0.5).tobytes()
    first = resampler.feed(sound) + resampler.flush()
    assert resampler.feed(sound) + resampler.flush() == first


def test_channels_are_mixed_by_their_mean_without_overflow() -> None:
    stereo = np.array([[32767, 32767], [-32768, -32768], [100, 300], [-5, 5]], dtype="<i2")
    assert np.frombuffer(mix_to_mono(stereo.tobytes(), 2), "<i2").tolist() == [32767, -32768, 200, 0]


def test_spreading_and_mixing_give_the_mono_sound_back() -> None:
    mono = tone(440, 16_000, 0.1).tobytes()
    assert len(spread_from_mono(mono, 3)) == 3 * len(mono)
    assert mix_to_mono(spread_from_mono(mono, 3), 3) == mono
