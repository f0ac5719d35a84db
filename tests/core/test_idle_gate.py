from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.core.idle_gate import IdleGate, IdleGateSettings
from tests.speech import RATE, Samples, concat, frames, mix, noise, say, silence


def flags(samples: Samples, gate: IdleGate | None = None) -> npt.NDArray[np.bool_]:
    gate = gate or IdleGate()
    return np.array([gate.hear(pcm) for _, pcm in frames(samples)])


def seconds(frame_flags: npt.NDArray[np.bool_]) -> float:
    return float(frame_flags.sum()) / 50


def tone(length_s: float, hertz: float, dbfs: float) -> Samples:
    wave = np.sin(2 * np.pi * hertz * np.arange(round(length_s * RATE)) / RATE)
    return np.round(wave * 32767 * 10 ** (dbfs / 20)).astype(np.int16)


@pytest.mark.parametrize("dbfs", [-30, -50, -70, -85, -100])
def test_steady_noise_closes_it_at_any_level(dbfs: float) -> None:
    heard = flags(noise(60, dbfs, seed=1))
    assert heard[:150].all(), "at first it must listen"
    assert not heard[150:].any()


def test_hum_and_an_offset_are_no_reason_to_open() -> None:
    hum = mix(tone(20, 50, -30), noise(20, -70, seed=2))
    assert not flags(hum)[150:].any()
    assert not flags((hum.astype(int) + 1500).astype(np.int16))[150:].any()


@pytest.mark.parametrize("gain", [0, -20, -40])
@pytest.mark.parametrize("snr", [30, 10, 3])
def test_speech_opens_it_at_any_level_and_the_hangover_closes_it(gain: float, snr: float) -> None:
    speech = say("hey jarvis", level_dbfs=-20 + gain)
    scene = mix(concat(silence(5), speech, silence(6)), noise(11 + len(speech) / RATE, -20 + gain - snr, seed=3))
    heard = flags(scene)
    begin, end = 250, 250 + len(speech) // 320
    assert not heard[150:begin].any()
    assert heard[begin + 15 : end + 40].all(), "the word, but for its soft beginning, and where its score comes"
    assert not heard[end + 90 :].any()


def test_a_room_that_becomes_louder_for_good_is_a_new_quiet() -> None:
    heard = flags(concat(noise(10, -70, seed=4), noise(10, -50, seed=5)))
    assert not heard[150:500].any()
    assert heard[503:600].all()
    assert 3.0 < seconds(heard[500:]) < 5.0


def test_a_single_loud_frame_is_no_word_and_two_are_a_reason_to_look() -> None:
    room = noise(10, -60, seed=6)
    for count, opened in ((1, 0.0), (2, 1.5)):
        clicked = room.copy()
        clicked[400 * 320 : (400 + count) * 320] = noise(0.02 * count, -20, seed=7)
        assert seconds(flags(clicked)[150:]) == pytest.approx(opened, abs=0.05)


def test_digital_silence_with_stray_bits_stays_closed() -> None:
    samples = silence(20)
    samples[::97] = 1
    samples[160_000:] = 0
    assert not flags(samples)[150:].any()


def test_reset_forgets_the_room() -> None:
    gate = IdleGate()
    first = flags(noise(5, -60, seed=8), gate)
    gate.reset()
    assert (flags(noise(5, -60, seed=8), gate) == first).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from((-100, -80, -60, -40, -20)), min_size=2, max_size=12), st.integers(0, 1000))
def test_it_is_never_closed_shortly_after_something_stood_out(levels: list[int], seed: int) -> None:
    """Whatever the room did before: a rise by 20 dB is seen at once and kept for the hangover."""
    heard = flags(concat(*(noise(0.6, level, seed + n) for n, level in enumerate(levels))))
    for number in range(1, len(levels)):
        if levels[number] >= max(levels[:number]) + 20:
            begin = number * 30 + 2
            assert heard[begin : begin + 70].all()


@pytest.mark.parametrize("wrong", [{"margin_db": 0.0}, {"hangover_ms": 0}, {"floor_window_ms": 100}, {"settle_ms": -1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        IdleGateSettings(**wrong)  # type: ignore[arg-type]


def test_other_lengths_than_one_frame_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frames of 20 ms \(640 bytes\), not of 320 bytes"):
        IdleGate().hear(bytes(320))
