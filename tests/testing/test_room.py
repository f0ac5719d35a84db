"""The simulated room does what its settings say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from assistant.testing.room import DESK, FAR_FRAME, ROOMS, RoomSettings, SimulatedRoom
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, MIC_RATE

QUIET = replace(DESK, noise_dbfs=-120.0)


def far_noise(seconds: float, dbfs: float = -20.0, seed: int = 3) -> list[bytes]:
    samples = np.random.default_rng(seed).normal(0, 32768 * 10 ** (dbfs / 20), round(seconds * 50) * FAR_FRAME)
    pcm = np.clip(samples, -32768, 32767).astype("<i2").tobytes()
    return [pcm[at : at + FAR_FRAME * 2] for at in range(0, len(pcm), FAR_FRAME * 2)]


def click_at(frame: int, frames: int) -> list[bytes]:
    far = np.zeros(frames * FAR_FRAME, "<i2")
    far[frame * FAR_FRAME] = 30_000
    pcm = far.tobytes()
    return [pcm[at : at + FAR_FRAME * 2] for at in range(0, len(pcm), FAR_FRAME * 2)]


def hear(room: SimulatedRoom, frames: list[bytes]) -> npt.NDArray[np.float64]:
    return np.frombuffer(b"".join(map(room.hear, frames)), "<i2").astype(np.float64)


def level(samples: npt.NDArray[np.float64]) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(samples**2)) / 32768))


@pytest.mark.parametrize("settings", ROOMS, ids=lambda settings: settings.name)
def test_the_same_seed_is_the_same_room(settings: RoomSettings) -> None:
    frames = far_noise(1)
    once, again, other = (hear(SimulatedRoom(settings, seed), frames) for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


@pytest.mark.parametrize("echo_dbfs", [-40.0, -20.0])
def test_the_echo_is_as_loud_as_asked_for(echo_dbfs: float) -> None:
    heard = hear(SimulatedRoom(replace(QUIET, echo_dbfs=echo_dbfs)), far_noise(2))
    # White noise loses a third of its energy on the way from 24 to 16 kHz.
    assert level(heard[MIC_RATE:]) == pytest.approx(echo_dbfs + 10 * np.log10(2 / 3), abs=1.0)


def test_the_echo_comes_after_the_delay_and_dies_away() -> None:
    heard = np.abs(hear(SimulatedRoom(replace(QUIET, delay_ms=60.0, echo_dbfs=-20.0)), click_at(5, 60)))
    direct = int(np.argmax(heard))
    assert direct == pytest.approx(5 * FRAME_SAMPLES + 960, abs=1)
    early, late = heard[direct + 320 : direct + 960], heard[direct + 3200 : direct + 3840]  # 20..60 and 200..240 ms
    assert early.max() > 20 * (late.max() + 0.1)


def test_a_jump_and_a_slow_clock_move_the_echo() -> None:
    room = SimulatedRoom(replace(QUIET, delay_ms=60.0, echo_dbfs=-20.0))
    room.shift(25)
    assert int(np.argmax(np.abs(hear(room, click_at(5, 20))))) == pytest.approx(5 * 320 + 960 + 400, abs=1)
    slow = SimulatedRoom(replace(QUIET, delay_ms=60.0, echo_dbfs=-20.0, drift_ppm=1000.0))
    hear(slow, [bytes(FAR_FRAME * 2)] * 500)  # 10 s: 10 ms late by now
    assert int(np.argmax(np.abs(hear(slow, click_at(5, 20))))) == pytest.approx(5 * 320 + 960 + 160, abs=3)


def test_a_delay_that_nothing_can_have_is_refused() -> None:
    room = SimulatedRoom(replace(QUIET, delay_ms=60.0))
    with pytest.raises(ValueError, match="cannot change"):
        room.shift(-60)


def test_a_person_is_heard_as_they_are_over_the_echo_and_over_others() -> None:
    voice = (1000 * np.sin(np.arange(700))).astype(np.int16)
    room = SimulatedRoom(QUIET)
    room.hear(bytes(FAR_FRAME * 2))
    room.say(voice)
    room.say(voice[:100])
    heard = hear(room, [bytes(FAR_FRAME * 2)] * 4)
    expected = np.zeros(4 * FRAME_SAMPLES)
    expected[:700] = voice
    expected[:100] += voice[:100]
    assert np.abs(heard - expected).max() <= 1


def test_a_saturating_loudspeaker_makes_what_no_filter_can_predict() -> None:
    """Loud and soft playback of the same noise differ by more than a factor."""
    soft, loud = far_noise(1, -40), far_noise(1, -10)

    def misfit(drive: float) -> float:
        one, two = (hear(SimulatedRoom(replace(QUIET, drive=drive, echo_dbfs=-25.0)), far) for far in (soft, loud))
        factor = one @ two / (one @ one)
        return level(two - factor * one) - level(two)

    assert misfit(0.0) < -25 < -15 < misfit(4.0)


def test_a_skewed_loudspeaker_makes_more_of_a_push_than_of_a_pull() -> None:
    push, pull = click_at(5, 30), [(-np.frombuffer(far, "<i2")).tobytes() for far in click_at(5, 30)]

    def difference(skew: float) -> float:
        one, two = (hear(SimulatedRoom(replace(QUIET, skew=skew)), far) for far in (push, pull))
        return level(one) - level(two)

    assert difference(0.0) == pytest.approx(0.0, abs=0.1)
    assert difference(0.3) > 4.0


def test_a_frame_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="960 bytes"):
        SimulatedRoom(DESK).hear(bytes(FRAME_BYTES))
