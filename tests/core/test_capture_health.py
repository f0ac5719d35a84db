"""Faults of the microphone: each is found, one is not taken for another, and a good microphone has none for hours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from assistant.core.capture_health import RATE_WINDOWS, WINDOW_FRAMES, CaptureFault, CaptureHealth
from assistant.types import FRAME_SAMPLES, MIC_RATE, AudioFrame

MINUTE = RATE_WINDOWS * WINDOW_FRAMES
ROOM = [np.random.default_rng(n).normal(0, 30, FRAME_SAMPLES).astype("<i2").tobytes() for n in range(7)]


class Microphone:
    """``shape`` changes the samples of a frame; ``rate`` is what the clock sees of it."""

    def __init__(self, shape: Callable[[int, bytes], bytes] = lambda _, pcm: pcm, rate: float = MIC_RATE) -> None:
        self.health = CaptureHealth()
        self.shape, self.rate = shape, rate
        self.frame = 0
        self.changes: list[tuple[CaptureFault, bool]] = []

    def run(self, frames: int, lose_every: int = 0) -> None:
        for _ in range(frames):
            start = self.frame * FRAME_SAMPLES
            self.frame += 1
            if lose_every and self.frame % lose_every == 0:
                continue
            jitter = 0.005 * (self.frame % 3)
            pcm = self.shape(self.frame, ROOM[self.frame % 7])
            heard = self.health.hear(AudioFrame(start, pcm, 100 + (start + FRAME_SAMPLES) / self.rate + jitter))
            self.changes += heard.items()


def clipped(frame: int, pcm: bytes) -> bytes:
    return np.resize([32767, -32768], FRAME_SAMPLES).astype("<i2").tobytes() if frame % 4 == 0 else pcm


def silent(frame: int, pcm: bytes) -> bytes:
    return bytes(len(pcm))


def offset(frame: int, pcm: bytes) -> bytes:
    return (np.frombuffer(pcm, "<i2") + 3000).astype("<i2").tobytes()


def stuttering(frame: int, pcm: bytes) -> bytes:
    return ROOM[0] if frame % 20 < 3 else pcm


@pytest.mark.parametrize(
    ("shape", "rate", "lose_every", "fault"),
    [
        (clipped, MIC_RATE, 0, CaptureFault.CLIPPED),
        (silent, MIC_RATE, 0, CaptureFault.SILENT),
        (offset, MIC_RATE, 0, CaptureFault.OFFSET),
        (stuttering, MIC_RATE, 0, CaptureFault.REPEATED),
        (lambda _, pcm: pcm, 0.98 * MIC_RATE, 0, CaptureFault.RATE),
        (lambda _, pcm: pcm, 1.5 * MIC_RATE, 0, CaptureFault.RATE),
        (lambda _, pcm: pcm, MIC_RATE, 30, CaptureFault.LOST),
    ],
    ids=["clipped", "silent", "offset", "stuttering", "slow", "fast", "lossy"],
)
def test_each_fault_is_found_and_nothing_else(
    shape: Callable[[int, bytes], bytes], rate: float, lose_every: int, fault: CaptureFault
) -> None:
    microphone = Microphone(shape, rate)
    microphone.run(MINUTE + 200, lose_every)
    assert microphone.health.faults == {fault}
    assert microphone.changes == [(fault, True)], "it is told once"
    assert microphone.health.report() == [fault.value]


def test_a_fault_that_is_over_is_told_once_and_forgotten() -> None:
    microphone = Microphone(silent)
    microphone.run(WINDOW_FRAMES)
    microphone.shape = lambda _, pcm: pcm
    microphone.run(3 * WINDOW_FRAMES)
    assert microphone.changes == [(CaptureFault.SILENT, True), (CaptureFault.SILENT, False)]
    assert microphone.health.report() == []


def test_hours_of_a_good_microphone_whose_clock_is_a_little_off() -> None:
    microphone = Microphone(rate=MIC_RATE * 1.0003)
    microphone.run(3 * 3600 * 50)
    assert microphone.changes == []


def test_a_stream_that_was_opened_again_is_no_fault_of_the_rate() -> None:
    """Its samples go on where they stopped, while the clock has moved by the time that it took."""
    moved = CaptureHealth()
    for number in range(2 * MINUTE):
        start = number * FRAME_SAMPLES
        late = 20.0 if number > MINUTE // 2 else 0.0
        assert not moved.hear(AudioFrame(start, ROOM[number % 7], start / MIC_RATE + late))


def test_a_single_bang_is_no_fault() -> None:
    microphone = Microphone(lambda frame, pcm: clipped(0, pcm) if 40 < frame < 46 else pcm)
    microphone.run(2 * WINDOW_FRAMES)
    assert microphone.changes == []
