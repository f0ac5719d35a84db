"""The thread between microphone and event loop: order, bounds and death."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import pytest

from assistant.audio.analysis import MAX_UNDELIVERED, QUEUE_SECONDS, AnalysisThread, Analyzer, Heard
from assistant.core.capture_health import CaptureFault, CaptureHealth
from assistant.core.wake_gate import NOT_ASKED
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, AudioFrame


class Models:
    """Wake words and VAD that answer from the frame's first byte, and can be held up or broken."""

    names = ("test",)
    verified = NOT_ASKED

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.started = threading.Event()
        self.broken = False

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        self.started.set()
        assert self.go.wait(10)
        if self.broken:
            raise RuntimeError("the model is broken")
        return {"test": pcm[0] / 255} if pcm[0] else None

    def reset(self) -> None: ...

    def is_speech(self, pcm: bytes) -> bool:
        return pcm[1] == 1


def frame(index: int, first: int = 0, second: int = 0) -> AudioFrame:
    return AudioFrame(index * FRAME_SAMPLES, bytes([first, second]) + bytes(FRAME_BYTES - 2), 0.0)


class Bench:
    def __init__(self) -> None:
        self.models = Models()
        self.heard: list[Heard] = []
        self.deaths: list[BaseException] = []
        self.news = asyncio.Event()
        self.thread = AnalysisThread(
            Analyzer(self.models, self.models), self._hear, self._die, asyncio.get_running_loop()
        )

    def _hear(self, heard: Heard) -> None:
        self.heard.append(heard)
        self.news.set()

    def _die(self, error: BaseException) -> None:
        self.deaths.append(error)
        self.news.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                self.news.clear()
                await self.news.wait()


def test_frames_come_out_in_order_with_what_was_found() -> None:
    async def main() -> None:
        bench = Bench()
        bench.thread.start()
        for index in range(50):
            bench.thread.put(frame(index, first=index, second=index % 2))
        await bench.until(50)
        assert [heard.frame.start for heard in bench.heard] == [index * FRAME_SAMPLES for index in range(50)]
        assert [heard.speech for heard in bench.heard] == [index % 2 == 1 for index in range(50)]
        assert bench.heard[0].scores is None
        assert bench.heard[49].scores == {"test": pytest.approx(49 / 255)}
        bench.thread.stop()

    asyncio.run(main())


def test_a_model_that_is_late_costs_the_oldest_frames_and_they_are_counted() -> None:
    async def main() -> None:
        bench = Bench()
        bench.models.go.clear()
        bench.thread.start()
        bench.thread.put(frame(0))
        assert bench.models.started.wait(10)  # the model holds frame 0; the queue is empty
        size = int(QUEUE_SECONDS * 50)
        for index in range(1, size + 11):
            bench.thread.put(frame(index))
        assert bench.thread.dropped_frames == 10
        bench.models.go.set()
        await bench.until(size + 1)
        starts = [heard.frame.start // FRAME_SAMPLES for heard in bench.heard]
        assert starts == [0, *range(11, size + 11)], "the newest audio matters most"
        bench.thread.stop()

    asyncio.run(main())


def test_a_stalled_loop_bounds_what_waits_for_it() -> None:
    async def main() -> None:
        bench = Bench()
        bench.thread.start()
        for index in range(MAX_UNDELIVERED + 200):  # and the loop never gets a turn meanwhile
            while bench.thread._frames.full():
                pass
            bench.thread.put(frame(index))
        bench.thread.stop(timeout=10)
        await asyncio.sleep(0)
        await bench.until(1)
        assert len(bench.heard) <= MAX_UNDELIVERED
        assert bench.thread.dropped_frames >= 150

    asyncio.run(main())


def test_a_broken_model_is_told_on_the_loop() -> None:
    async def main() -> None:
        bench = Bench()
        bench.models.broken = True
        bench.thread.start()
        bench.thread.put(frame(0))
        async with asyncio.timeout(10):
            await bench.news.wait()
        assert [str(error) for error in bench.deaths] == ["the model is broken"]
        bench.thread.put(frame(1))  # whoever still delivers is not disturbed
        bench.thread.stop()

    asyncio.run(main())


def test_stop_before_start_and_twice() -> None:
    async def main() -> None:
        bench = Bench()
        bench.thread.stop()
        bench.thread.start()
        bench.thread.stop()
        bench.thread.stop()

    asyncio.run(main())


def test_faults_of_the_microphone_are_told_when_they_change() -> None:
    models = Models()
    analyzer = Analyzer(models, models, capture=CaptureHealth())
    told = [analyzer.analyze(AudioFrame(n * FRAME_SAMPLES, bytes(FRAME_BYTES), n * 0.02)).faults for n in range(1000)]
    assert [faults for faults in told if faults is not None] == [(CaptureFault.SILENT.value,)]
