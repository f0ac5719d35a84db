"""The browser's microphone and speaker, as a conversation knows them. They live on the event loop.

The page sends what its microphone hears, at its own rate, and says how many samples of the answer it has played. It is
never more than LEAD_S ahead, so an answer that is interrupted is silent soon, and the model is told what was heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from assistant.audio.ports import EndSink, FrameSink, PcmSource
from assistant.audio.resample import StreamResampler
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE, AudioFrame

LEAD_S: Final = 0.15
"""How much of the answer may be on its way, or wait in the page."""

BLOCK: Final = SPEAKER_RATE // 50
TICK_S: Final = 0.01


class BrowserMicrophone:
    """A :class:`~assistant.audio.ports.Microphone` that a page speaks into."""

    description = "a browser"
    steady = False  # a page in the background may pause
    fault = None

    def __init__(self, rate: int, now: Callable[[], float]) -> None:
        """rate: of what the page sends. now: the loop's clock."""
        self._resampler = StreamResampler(rate, MIC_RATE)
        self._now = now
        self._on_frame: FrameSink | None = None
        self._rest = b""
        self._position = 0

    def start(self, on_frame: FrameSink, on_end: EndSink) -> None:
        self._on_frame = on_frame

    def stop(self) -> None:
        self._on_frame = None

    def hear(self, pcm: bytes) -> None:
        """Take int16 mono from the page, any amount."""
        self._rest += self._resampler.feed(pcm)
        while len(self._rest) >= FRAME_BYTES:
            frame = AudioFrame(self._position, self._rest[:FRAME_BYTES], self._now())
            self._rest = self._rest[FRAME_BYTES:]
            self._position += FRAME_SAMPLES
            if self._on_frame is not None:
                self._on_frame(frame)


class BrowserSpeaker:
    """A :class:`~assistant.audio.ports.Speaker` that a page plays. It is sent sound only while there is some."""

    description = "a browser"

    def __init__(self, send: Callable[[bytes], None], loop: asyncio.AbstractEventLoop) -> None:
        """send: takes 24 kHz int16 mono for the page; returns at once."""
        self._send = send
        self._loop = loop
        self.available: Callable[[], int] = lambda: 0
        """How many samples there are to play: ``Player.available``."""
        self._source: PcmSource | None = None
        self._sent = 0
        self._played = 0
        self._played_at = 0.0
        self._output_latency = 0.0

    @property
    def latency(self) -> float:
        return (self._sent - self._heard()) / SPEAKER_RATE + self._output_latency

    def start(self, source: PcmSource, on_end: EndSink) -> None:
        self._source = source
        self._loop.call_soon_threadsafe(self._pull)

    def stop(self) -> None:
        self._source = None

    def played(self, samples: int, output_latency: float) -> None:
        """The page has played so many samples since the beginning; it takes so long until one is heard."""
        self._played = min(max(samples, self._played), self._sent)
        self._played_at = self._loop.time()
        self._output_latency = min(max(output_latency, 0.0), 1.0)

    def _heard(self) -> int:
        """What the page has played by now, between two of its reports."""
        since = round((self._loop.time() - self._played_at) * SPEAKER_RATE)
        return min(self._sent, self._played + min(since, BLOCK * 4))

    def _pull(self) -> None:
        if self._source is None:
            return
        while (ready := min(BLOCK, self.available())) > 0 and self._sent - self._heard() < LEAD_S * SPEAKER_RATE:
            pcm = self._source(ready)
            if self._sent == self._played:
                self._played_at = self._loop.time()  # the page begins to play when this arrives
            self._sent += ready
            self._send(pcm)
        self._loop.call_later(TICK_S, self._pull)
