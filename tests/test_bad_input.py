"""A microphone with every fault in turn, for more than half an hour of virtual time: a whole daemon notices each and
forgets it again, and at the end its samples are still those of the microphone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from assistant.adapters.wake_engines import load_detector
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.analysis import Analyzer, Heard
from assistant.audio.ports import EndSink, FrameSink, PcmSource
from assistant.audio.reference import ReferenceBuffer
from assistant.config import Config, parse
from assistant.core.capture_health import CaptureFault, CaptureHealth
from assistant.daemon import Daemon
from assistant.errors import DeviceError
from assistant.journal import Entry, Journal
from assistant.surroundings import Surroundings
from assistant.testing import virtual_time
from assistant.types import FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE, AudioFrame
from tests import speech
from tests.simulation.world import Disk, HeldThreads, InlineScribe, SimulatedClock

CONFIG: Final = """\
provider: custom
custom: {url: "ws://127.0.0.1:9", model: nobody}
audio: {earcons: false, output: {device: none}}
echo: {canceller: "off"}
health: {memory_limit_mb: 100000}
state_dir: state
"""

WAKE: Final = np.full(FRAME_SAMPLES, 1111, "<i2").tobytes()
ROOM: Final = [np.random.default_rng(n).normal(0, 30, FRAME_SAMPLES).astype(int) for n in range(7)]
MINUTE: Final = 60.0
NOTICED: Final = 130.0
"""What takes a whole minute to see may begin in the middle of one."""

Shape = Callable[[int, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fault:
    """shape: of the samples. rate: of its clock, relative to what it says. lose_every: of its frames."""

    part: str
    words: str
    shape: Shape = lambda _, samples: samples
    rate: float = 1.0
    lose_every: int = 0
    fault: str | None = None

    @cached_property
    def frames(self) -> list[bytes]:
        """What is heard over and over."""
        shaped = (self.shape(n, ROOM[n % len(ROOM)]) for n in range(20 * len(ROOM)))
        return [np.clip(samples, -32768, 32767).astype("<i2").tobytes() for samples in shaped]


GOOD: Final = Fault("", "")
LEFT: Final = "its left channel is silent"
FAULTS: Final = (
    Fault("microphone sound", CaptureFault.CLIPPED.value, lambda n, samples: samples * 2000),
    Fault("microphone sound", CaptureFault.SILENT.value, lambda n, samples: samples * 0),
    Fault("microphone sound", CaptureFault.OFFSET.value, lambda n, samples: samples + 3000),
    Fault("microphone sound", CaptureFault.REPEATED.value, lambda n, samples: ROOM[0] if n % 20 < 3 else samples),
    Fault("microphone sound", CaptureFault.RATE.value, rate=0.97),
    Fault("microphone sound", CaptureFault.RATE.value, rate=1.5),
    Fault("microphone sound", CaptureFault.LOST.value, lose_every=30),
    Fault("microphone channel", LEFT, fault=LEFT),
)


class Microphone:
    """Gives what has come together once in a second."""

    description = "a bad microphone"
    steady = True

    def __init__(self) -> None:
        self.now = GOOD
        self.say: list[bytes] = []
        self.captured = 0
        self._loop = asyncio.get_running_loop()
        self._on_frame: FrameSink | None = None
        self._on_end: EndSink | None = None
        self._numbers = 0

    @property
    def fault(self) -> str | None:
        return self.now.fault

    def start(self, on_frame: FrameSink, on_end: EndSink) -> None:
        self._on_frame, self._on_end = on_frame, on_end
        self._position = 0
        self._at = self._loop.time()
        self._loop.call_soon_threadsafe(self._tick)

    def stop(self) -> None:
        self._on_frame = None

    def unplug(self) -> None:
        assert self._on_end is not None
        self._on_end(DeviceError("unplugged"))

    def _tick(self) -> None:
        if self._on_frame is None:
            return
        while self._at + FRAME_SAMPLES / (MIC_RATE * self.now.rate) <= self._loop.time():
            self._at += FRAME_SAMPLES / (MIC_RATE * self.now.rate)
            self._numbers += 1
            start, self._position = self._position, self._position + FRAME_SAMPLES
            self.captured += FRAME_SAMPLES
            if self.now.lose_every and self._numbers % self.now.lose_every == 0:
                continue
            pcm = self.say.pop(0) if self.say else self.now.frames[self._numbers % len(self.now.frames)]
            self._on_frame(AudioFrame(start, pcm, self._at))
        self._loop.call_later(1.0, self._tick)


class Speaker:
    """Takes a second of sound once in a second."""

    description = "a speaker"
    latency = 0.02

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._source: PcmSource | None = None

    def start(self, source: PcmSource, on_end: EndSink) -> None:
        self._source = source
        self._loop.call_soon_threadsafe(self._tick)

    def stop(self) -> None:
        self._source = None

    def _tick(self) -> None:
        if self._source is not None:
            self._source(SPEAKER_RATE)
            self._loop.call_later(1.0, self._tick)


class Words:
    """Hears its word in frames that are WAKE."""

    names = ("hey_jarvis",)
    verified: Mapping[str, float] = {}

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        return {"hey_jarvis": 1.0 if pcm == WAKE else 0.0}

    def reset(self) -> None: ...


class Speech:
    def is_speech(self, pcm: bytes) -> bool:
        return pcm == WAKE


class Analysis:
    """The daemon's own, on its loop."""

    dropped_frames = 0

    def __init__(self, on_heard: Callable[[Heard], None]) -> None:
        self._analyzer = Analyzer(Words(), Speech(), None, CaptureHealth())
        self._on_heard = on_heard

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def put(self, frame: AudioFrame) -> None:
        self._on_heard(self._analyzer.analyze(frame))


async def load(
    config: Config,
    reference: ReferenceBuffer,
    on_heard: Callable[[Heard], None],
    on_death: Callable[[BaseException], None],
) -> Analysis:
    return Analysis(on_heard)


class Board:
    """What the daemon says is wrong, by part, from its journal."""

    def __init__(self) -> None:
        self.troubles: dict[str, str] = {}
        self.woken: list[int] = []

    def hear(self, entry: Entry) -> None:
        if entry["name"] == "health":
            self.troubles[entry["part"]] = entry["trouble"]
            self.troubles = {part: trouble for part, trouble in self.troubles.items() if trouble}
        elif entry["name"] == "woken":
            self.woken.append(entry["sample"])


def test_every_fault_is_noticed_and_no_sample_is_miscounted(tmp_path: Path) -> None:
    async def live() -> None:
        loop = asyncio.get_running_loop()
        microphone, board, journal = Microphone(), Board(), Journal()
        journal.subscribe(board.hear)
        around = Surroundings(SimulatedClock(), lambda: InlineScribe(Disk()), HeldThreads, load)
        config = parse(CONFIG, tmp_path / "config.yaml")
        daemon = Daemon(config, journal, microphone, Speaker(), around)
        began = loop.time()
        running = asyncio.ensure_future(daemon.run())
        await asyncio.sleep(MINUTE)
        for fault in FAULTS:
            microphone.now = fault
            await asyncio.sleep(NOTICED)
            assert board.troubles == {fault.part: fault.words}
            microphone.now = GOOD
            await asyncio.sleep(NOTICED)
            assert board.troubles == {}, f"{fault.words}: it is over"
        microphone.unplug()
        await asyncio.sleep(MINUTE)
        assert loop.time() - began > 35 * MINUTE
        begins = microphone.captured
        microphone.say = [WAKE]
        await asyncio.sleep(2.0)
        assert board.woken == [begins + FRAME_SAMPLES]
        daemon.stop()
        await running

    virtual_time.run(live())


@pytest.mark.parametrize("offset", [0.02, 0.2])
def test_an_offset_is_no_matter_to_the_models(offset: float) -> None:
    """So it is said, and not filtered."""
    said = speech.in_room(speech.say("hey jarvis", level_dbfs=-30.0), before=2.0, after=1.0)
    shifted = (said + round(offset * 32768)).astype("<i2")
    vads = WebRtcVad(2), WebRtcVad(2)
    detector = load_detector([("openwakeword", "hey_jarvis")], idle_gate=True)
    peak, differs, frames = 0.0, 0, 0
    for (_, as_it_is), (_, pcm) in zip(speech.frames(said), speech.frames(shifted), strict=True):
        differs += vads[0].is_speech(as_it_is) != vads[1].is_speech(pcm)
        frames += 1
        peak = max(peak, *(detector.process(pcm) or {"": 0.0}).values())
    assert differs <= 0.03 * frames
    assert peak > 0.9
