"""The browser's microphone and speaker, without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from assistant.console.browser_devices import BLOCK, LEAD_S, BrowserMicrophone, BrowserSpeaker
from assistant.testing import virtual_time
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, SPEAKER_RATE, AudioFrame


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("chunk", [1, 882, 5000])
def test_what_a_page_hears_becomes_frames_without_a_gap(rate: int, chunk: int) -> None:
    frames: list[AudioFrame] = []
    microphone = BrowserMicrophone(rate, lambda: 1.5)
    microphone.start(frames.append, lambda error: None)
    tone = (np.sin(np.arange(rate) * 2 * np.pi * 440 / rate) * 8000).astype("<i2").tobytes()
    for start in range(0, len(tone), chunk):
        microphone.hear(tone[start : start + chunk])
    assert [frame.start for frame in frames] == [index * FRAME_SAMPLES for index in range(len(frames))]
    assert len(frames) >= 46 and all(len(frame.pcm) == FRAME_BYTES for frame in frames)
    heard = np.frombuffer(b"".join(frame.pcm for frame in frames), "<i2")[1600:12800]
    assert abs(int(np.abs(np.fft.rfft(heard)).argmax()) * 16_000 / len(heard) - 440) < 2
    microphone.stop()
    microphone.hear(tone)
    assert frames[-1].end <= 16_000


class Page:
    """Plays what it is sent, in (virtual) time, and reports it; ``stalled``: it plays nothing."""

    def __init__(self, samples: int) -> None:
        self.left = samples
        self.got = 0
        self.speaker = BrowserSpeaker(self.take, asyncio.get_running_loop())
        self.speaker.available = lambda: self.left
        self.speaker.start(self.pull, lambda error: None)

    def pull(self, samples: int) -> bytes:
        self.left -= samples
        return bytes(samples * 2)

    def take(self, pcm: bytes) -> None:
        self.got += len(pcm) // 2


def run(scene: Callable[[], Awaitable[None]]) -> None:
    virtual_time.run(scene())


def test_a_page_is_sent_no_more_than_the_lead_and_all_in_the_end() -> None:
    async def scene() -> None:
        page = Page(SPEAKER_RATE)  # one second
        played = 0
        for _ in range(60):
            await asyncio.sleep(0.02)
            lead = page.got - played
            assert lead <= LEAD_S * SPEAKER_RATE + 5 * BLOCK
            played = min(page.got, played + BLOCK)
            page.speaker.played(played, 0.01)
        assert page.got == SPEAKER_RATE
        await asyncio.sleep(0.1)
        page.speaker.played(SPEAKER_RATE, 0.01)
        assert page.speaker.latency == 0.01
        page.speaker.stop()

    run(scene)


def test_a_page_that_stands_still_is_not_sent_more_and_its_latency_says_so() -> None:
    async def scene() -> None:
        page = Page(10 * SPEAKER_RATE)
        await asyncio.sleep(5)
        assert page.got <= (LEAD_S + 0.1) * SPEAKER_RATE
        page.speaker.played(10**9, 99.0)  # a page may say what it likes
        assert page.speaker.latency == 1.0
        page.speaker.stop()

    run(scene)
