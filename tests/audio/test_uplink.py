"""The gate: what leaves, what does not, and what is sent again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assistant.audio.resample import StreamResampler
from assistant.audio.uplink import Uplink
from assistant.types import FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE, AudioFrame, TurnId

TURN = TurnId(1)


class Gate:
    """An uplink that is fed with a recording of random samples."""

    def __init__(self, ring_seconds: float = 2.0, seconds: float = 4.0) -> None:
        rng = np.random.default_rng(3)
        self.samples = rng.integers(-3000, 3000, int(seconds * MIC_RATE), dtype=np.int16)
        self.sent: list[bytes] = []
        self.uplink = Uplink(ring_seconds, self.sent.append)
        self.position = 0

    def hear(self, frames: int) -> None:
        for _ in range(frames):
            pcm = self.samples[self.position : self.position + FRAME_SAMPLES].tobytes()
            self.uplink.hear(AudioFrame(self.position, pcm, 0.0))
            self.position += FRAME_SAMPLES

    def wanted(self, start: int, end: int) -> np.ndarray:
        resampler = StreamResampler(MIC_RATE, SPEAKER_RATE)
        return np.frombuffer(resampler.feed(self.samples[start:end].tobytes()) + resampler.flush(), "<i2")

    @property
    def got(self) -> np.ndarray:
        return np.frombuffer(b"".join(self.sent), "<i2")


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal but for the resampler's dither."""
    return one.size == other.size and bool(np.max(np.abs(one.astype(int) - other.astype(int)), initial=0) < 8)


def test_a_closed_gate_lets_nothing_through() -> None:
    gate = Gate()
    gate.hear(100)
    gate.uplink.close(TURN)
    gate.uplink.replay(TURN)
    gate.uplink.drop(TURN)
    assert gate.sent == []
    assert gate.uplink.sent_bytes == 0


def test_the_ring_goes_first_and_live_audio_follows_without_a_seam() -> None:
    gate = Gate()
    gate.hear(50)
    gate.uplink.open(TURN, 10 * FRAME_SAMPLES + 7)
    gate.hear(25)
    gate.uplink.close(TURN)
    gate.hear(25)
    assert same(gate.got, gate.wanted(10 * FRAME_SAMPLES + 7, 75 * FRAME_SAMPLES))
    assert gate.uplink.sent_bytes == gate.got.nbytes


def test_what_the_ring_has_lost_cannot_be_sent() -> None:
    gate = Gate(ring_seconds=1.0)
    gate.hear(100)
    gate.uplink.open(TURN, 0)
    gate.uplink.close(TURN)
    assert same(gate.got, gate.wanted(50 * FRAME_SAMPLES, 100 * FRAME_SAMPLES))


def test_a_start_in_the_future_waits_for_it() -> None:
    gate = Gate()
    gate.hear(10)
    gate.uplink.open(TURN, 20 * FRAME_SAMPLES)
    gate.hear(5)
    assert gate.sent == []
    gate.hear(20)
    gate.uplink.close(TURN)
    assert same(gate.got, gate.wanted(20 * FRAME_SAMPLES, 35 * FRAME_SAMPLES))


def test_a_replay_sends_the_same_again_and_live_audio_goes_on() -> None:
    gate = Gate()
    gate.hear(20)
    gate.uplink.open(TURN, 0)
    gate.hear(20)
    first = b"".join(gate.sent)
    gate.sent.clear()
    gate.uplink.replay(TURN)
    assert b"".join(gate.sent) == first
    gate.hear(20)
    gate.uplink.close(TURN)
    assert same(gate.got, gate.wanted(0, 60 * FRAME_SAMPLES))


def test_the_end_of_another_turn_changes_nothing() -> None:
    gate = Gate()
    gate.uplink.open(TURN, 0)
    gate.uplink.close(TurnId(9))
    gate.uplink.drop(TurnId(9))
    gate.hear(10)
    assert gate.uplink.is_open
    assert gate.sent


def test_after_a_drop_nothing_is_kept() -> None:
    gate = Gate()
    gate.uplink.open(TURN, 0)
    gate.hear(10)
    gate.uplink.drop(TURN)
    gate.sent.clear()
    gate.uplink.replay(TURN)
    gate.hear(10)
    assert gate.sent == []


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100), st.integers(0, 60 * FRAME_SAMPLES))
def test_exactly_the_samples_of_the_utterance_leave(before: int, during: int, after: int, start: int) -> None:
    gate = Gate(ring_seconds=10, seconds=7)
    gate.hear(before)
    gate.uplink.open(TURN, start)
    gate.hear(during)
    gate.uplink.close(TURN)
    gate.hear(after)
    end = (before + during) * FRAME_SAMPLES
    assert same(gate.got, gate.wanted(min(start, end), end))
