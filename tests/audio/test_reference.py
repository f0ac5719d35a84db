"""The reference stays with the microphone, whatever the two clocks do."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.audio.reference import FRAME, KEPT_S, MAX_LEAD_S, SAFETY_S, ReferenceBuffer
from assistant.types import SPEAKER_RATE

BLOCK = 480
LATENCY = 0.08


def position_pcm(start: int, count: int) -> bytes:
    """Samples that tell their own position (modulo 30 000, never 0)."""
    return ((np.arange(start, start + count) % 30_000) + 1).astype("<i2").tobytes()


def positions(pcm: bytes) -> npt.NDArray[np.int16]:
    return np.frombuffer(pcm, "<i2")


class Clocks:
    """A speaker that pulls and a microphone that captures, each on a clock of its own."""

    def __init__(self, *, drift_ppm: float = 0.0, jitter_s: float = 0.0, latency: float = LATENCY) -> None:
        self.buffer = ReferenceBuffer()
        self.rate = SPEAKER_RATE * (1 + drift_ppm * 1e-6)
        self.jitter = jitter_s
        self.latency = latency
        self.random = np.random.default_rng(5)
        self.began = 1000.0
        self.stood_still = 0.0  # of the speaker
        self.pulled = 0
        self.frames = 0

    def run(self, seconds: float) -> list[tuple[float, npt.NDArray[np.int16]]]:
        """Let time pass; gives each frame's capture time and reference."""
        out = []
        for _ in range(round(seconds * 50)):
            self.frames += 1
            captured_at = self.began + self.frames * 0.02
            while (due := self.began + self.stood_still + self.pulled / self.rate) <= captured_at:
                pulled_at = due + self.random.uniform(0, self.jitter)
                self.buffer.played(position_pcm(self.pulled, BLOCK), pulled_at, self.latency)
                self.pulled += BLOCK
            out.append((captured_at, positions(self.buffer.take(captured_at))))
        return out

    def lead_ms(self, captured_at: float, reference: npt.NDArray[np.int16]) -> float:
        """How long before it is heard the reference comes."""
        heard = (
            captured_at - self.began - self.stood_still - self.latency
        ) * self.rate  # position heard at the end of the frame
        last = float(reference[-1]) - 1
        difference = (last + 1 - heard) % 30_000
        return (difference - 30_000 if difference > 15_000 else difference) / SPEAKER_RATE * 1000


def test_silence_before_anything_was_played() -> None:
    assert ReferenceBuffer().take(1000.0) == bytes(FRAME * 2)


@pytest.mark.parametrize("latency", [0.0, 0.02, 0.08, 0.4])
def test_it_runs_ahead_of_what_is_heard_by_as_much_as_the_latency_allows(latency: float) -> None:
    clocks = Clocks(latency=latency)
    frames = clocks.run(3)[50:]
    wanted = min(max(latency - SAFETY_S, 0.0), MAX_LEAD_S) * 1000
    assert [clocks.lead_ms(*frame) for frame in frames] == pytest.approx([wanted] * 100, abs=1.1)
    assert clocks.buffer.stats.missing == 0


def test_every_sample_comes_once_and_in_order() -> None:
    stream = np.concatenate([reference for _, reference in Clocks().run(2)])
    stream = stream[stream > 0].astype(int)
    assert np.all((np.diff(stream) % 30_000) == 1)


def test_pulls_that_jitter_do_not_move_it() -> None:
    clocks = Clocks(jitter_s=0.03)
    clocks.run(3)
    leads = [clocks.lead_ms(*frame) for frame in clocks.run(10)]
    assert max(leads) - min(leads) < 5
    assert clocks.buffer.stats.jumps == 1
    assert clocks.buffer.stats.missing == 0


@pytest.mark.parametrize("drift_ppm", [-300.0, 100.0, 300.0])
def test_a_drifting_clock_is_followed_a_sample_at_a_time(drift_ppm: float) -> None:
    clocks = Clocks(drift_ppm=drift_ppm)
    clocks.run(5)
    leads = [clocks.lead_ms(*frame) for frame in clocks.run(120)]
    assert max(abs(lead - (LATENCY - SAFETY_S) * 1000) for lead in leads) < 4
    stats = clocks.buffer.stats
    assert stats.jumps == 1
    assert stats.slips == pytest.approx(abs(drift_ppm) * 1e-6 * 125 * SPEAKER_RATE, rel=0.2)


@pytest.mark.parametrize("drift_ppm", [-300.0, 100.0])
def test_it_says_by_how_much_it_was_moved(drift_ppm: float) -> None:
    clocks = Clocks(drift_ppm=drift_ppm, jitter_s=0.004)
    clocks.run(1)
    before, moved = clocks.run(0.02)[0][1], 0
    for _ in range(1500):
        frame = clocks.run(0.02)[0][1]
        assert (int(frame[0]) - int(before[-1])) % 30_000 == (1 + clocks.buffer.moved) % 30_000
        before, moved = frame, moved + clocks.buffer.moved
    assert moved == pytest.approx(drift_ppm * 1e-6 * 30 * SPEAKER_RATE, abs=60)


def test_a_jump_is_no_move() -> None:
    clocks = Clocks()
    clocks.run(2)
    clocks.frames += 50  # lost by the microphone
    clocks.run(0.02)
    assert clocks.buffer.stats.jumps == 2
    assert clocks.buffer.moved == 0


def test_a_speaker_that_was_opened_anew_is_found_at_once() -> None:
    clocks = Clocks()
    clocks.run(2)
    clocks.stood_still = 3.0
    silent = clocks.run(2.9)[20:]
    assert not any(reference.any() for _, reference in silent)
    clocks.run(0.3)
    leads = [clocks.lead_ms(*frame) for frame in clocks.run(1)]
    assert leads == pytest.approx([(LATENCY - SAFETY_S) * 1000] * 50, abs=2)


def test_a_speaker_that_pulls_too_late_gives_silence_and_is_counted() -> None:
    buffer = ReferenceBuffer()
    buffer.played(position_pcm(0, BLOCK), 1000.0, 0.0)
    assert positions(buffer.take(1000.02))[0] == 1
    assert not positions(buffer.take(1000.04)).any()
    assert buffer.stats.missing == FRAME


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("played"), st.integers(0, 3000), st.floats(0, 2)),
            st.tuples(st.just("take"), st.just(0), st.floats(-1, 20)),
        ),
        max_size=40,
    )
)
def test_whatever_happens_a_frame_is_a_frame_of_what_was_played(steps: list[tuple[str, int, float]]) -> None:
    buffer, now, written = ReferenceBuffer(), 1000.0, 0
    for step, samples, seconds in steps:
        if step == "played":
            buffer.played(position_pcm(written, samples), now, seconds)
            written += samples
        else:
            now += seconds
            reference = positions(buffer.take(now)).astype(int)
            assert reference.size == FRAME
            sounding = np.flatnonzero(reference)
            if sounding.size:
                assert np.all(np.diff(reference[sounding]) % 30_000 == 1)
                assert written - KEPT_S * SPEAKER_RATE <= written


def test_both_threads_may_use_it() -> None:
    buffer = ReferenceBuffer()
    done = threading.Event()

    def pull() -> None:
        for index in range(300):
            buffer.played(position_pcm(index * BLOCK, BLOCK), 1000 + index * 0.02, LATENCY)
        done.set()

    thread = threading.Thread(target=pull)
    thread.start()
    taken = 0
    while not done.is_set() or taken < 100:
        assert len(buffer.take(1000 + taken * 0.02)) == FRAME * 2
        taken += 1
    thread.join()


def test_while_nothing_plays_a_difference_is_made_up_for_at_once() -> None:
    """The first pulls fill the device's buffer in one go, so that the first guess is wrong by 30 ms."""
    buffer = ReferenceBuffer()
    for index in range(3):
        buffer.played(bytes(BLOCK * 2), 1000.0 + index * 0.001, LATENCY)
    for index in range(3, 150):
        buffer.played(bytes(BLOCK * 2), 1000.0 + (index - 1.5) * 0.02, LATENCY)
        buffer.take(1000.0 + index * 0.02)
    assert buffer.stats.slips < 20
    buffer.played(position_pcm(0, BLOCK), 1000.0 + 148.5 * 0.02, LATENCY)
    # It is heard at 1003.05, and the next frame (up to 1003.00) takes what is heard from 1003.02 on.
    expected = round(0.03 * SPEAKER_RATE)
    heard = np.concatenate([positions(buffer.take(1000.0 + index * 0.02)) for index in range(150, 155)])
    assert int(np.flatnonzero(heard)[0]) == pytest.approx(expected, abs=40)


def test_no_sample_is_left_out_because_it_was_pulled_late() -> None:
    """The device's thread was held up for 60 ms: the pulls come in one go, and all of them are played."""
    buffer = ReferenceBuffer()
    stream: list[npt.NDArray[np.int_]] = []
    moved = 0
    for index in range(300):
        due = 1000.0 + index * 0.02
        if not 150 <= index < 154:
            for late in range(150, 154) if index == 154 else ():
                buffer.played(position_pcm(late * BLOCK, BLOCK), due, LATENCY)
            buffer.played(position_pcm(index * BLOCK, BLOCK), due, LATENCY)
        stream.append(positions(buffer.take(due + 0.02)).astype(int))
        moved += buffer.moved
    assert buffer.stats.jumps == 1
    assert buffer.stats.missing > 0
    heard = np.concatenate(stream)
    heard = heard[heard > 0]
    assert moved == buffer.stats.slips - buffer.stats.missing
    # A slip, by which the reader catches up, leaves out one sample at a time.
    assert np.all(np.isin(np.diff(heard) % 30_000, [1, 2]))
    assert np.count_nonzero(np.diff(heard) % 30_000 == 2) <= buffer.stats.slips
