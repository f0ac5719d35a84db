from __future__ import annotations

import numpy as np
import pytest

from assistant.audio.earcons import EARCONS, earcon
from assistant.types import SPEAKER_RATE


def samples(name: str) -> np.ndarray:
    return np.frombuffer(earcon(name), "<i2").astype(float)


@pytest.mark.parametrize("name", EARCONS)
def test_an_earcon_is_gentle_and_does_not_click(name: str) -> None:
    sound = samples(name)
    assert 0.05 < np.abs(sound).max() / 32768 <= 0.1  # audible, at most -20 dBFS
    # From and to silence (also around the loop) no step is steeper than the tone itself ever is.
    steps = np.abs(np.diff(np.concatenate(([0.0], sound, [0.0]))))
    assert steps[0] <= 3
    assert steps[-1] <= 3
    assert steps.max() < 0.1 * 32768 * 2 * np.pi * 1300 / SPEAKER_RATE


@pytest.mark.parametrize("name", [name for name in EARCONS if name != "alert"])
def test_an_earcon_is_over_before_it_is_in_the_way(name: str) -> None:
    assert 0.08 <= samples(name).size / SPEAKER_RATE < 0.15


def test_an_alert_is_a_loop_of_two_seconds_that_leaves_room_to_speak() -> None:
    sound = samples("alert")
    assert sound.size == 2 * SPEAKER_RATE
    assert not sound[int(1.1 * SPEAKER_RATE) :].any()
    chimes = np.abs(sound[: int(0.7 * SPEAKER_RATE)]).reshape(-1, SPEAKER_RATE // 50).max(axis=1)
    onsets = np.flatnonzero(np.diff(chimes) > 0.03 * 32768) + 1
    assert len(onsets) + (chimes[0] > 0.03 * 32768) == 3


def test_wake_rises_and_done_falls() -> None:
    def pitch(part: np.ndarray) -> float:
        return float(np.argmax(np.abs(np.fft.rfft(part, 1 << 14))))

    wake, done = samples("wake"), samples("done")
    assert pitch(wake[:1000]) < pitch(wake[-1000:])
    assert pitch(done[:1000]) > pitch(done[-1000:])


def test_every_earcon_that_a_conversation_can_ask_for_exists() -> None:
    from assistant.core.commands import EarconKind

    assert {kind.value for kind in EarconKind} <= set(EARCONS)


def test_an_unknown_earcon_is_an_error() -> None:
    with pytest.raises(KeyError):
        earcon("fanfare")
