"""What the daemon lives in: clock, sound and threads, all on one virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from assistant.audio.analysis import Heard
from assistant.audio.ports import EndSink, FrameSink, PcmSource
from assistant.audio.reference import ReferenceBuffer
from assistant.config import Config
from assistant.core.capture_health import CaptureHealth
from assistant.errors import DeviceError
from assistant.scribe import Scribe
from assistant.surroundings import Analysis, Surroundings
from assistant.testing.virtual_time import VirtualTimeLoop
from assistant.tools.threads import DaemonThreads
from assistant.types import FRAME_MS, FRAME_SAMPLES, SPEAKER_RATE, AudioFrame

T = TypeVar("T")

WAKE: Final = 32_000
"""The label of the wake word. Labels from 1000 on are speech, and say what is wanted; 0 is silence."""

SPEECH: Final = 1_000
WORD: Final = "hey_jarvis"

TICK: Final = FRAME_MS / 1000
REST: Final = 2.0
"""While nothing can happen the microphone gives a frame each two seconds, and the speaker asks for one: a week holds
thirty million frames, and nearly all of them are alike."""

_BLOCK: Final = SPEAKER_RATE * FRAME_MS // 1000


class SimulatedClock:
    """The clock on the wall of a house in Berlin, which people set wrong, and summer time changes."""

    def __init__(self, begin: datetime | None = None) -> None:
        self._zone = ZoneInfo("Europe/Berlin")
        self._begin = (begin or datetime(2025, 10, 24, tzinfo=self._zone)).timestamp()
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time()
        self.wrong_s = 0.0

    def now(self) -> datetime:
        at = self._begin + self._loop.time() - self._zero + self.wrong_s
        return datetime.fromtimestamp(at, self._zone)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def set_back(self, seconds: float) -> None:
        self.wrong_s -= seconds


class Sound:
    """Who speaks in the room, and whether anybody needs to listen closely."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._spoken: list[tuple[float, float, int]] = []  # begin, end, label
        self._close_until = 0.0
        self.busy: Callable[[], bool] = lambda: False
        """Whether the assistant is doing anything; set by whoever knows."""
        self.sleepers: list[Callable[[], None]] = []
        """Told when it is no longer quiet."""

    def say(self, label: int, seconds: float, after: float = 0.0) -> float:
        """Somebody speaks from ``after`` seconds on; gives the time at which it is said."""
        begin = self._loop.time() + after
        self._spoken.append((begin, begin + seconds, label))
        self.attend(after + seconds + 2.0)
        return begin + seconds

    def attend(self, seconds: float) -> None:
        """Something is going on, for so long at least."""
        self._close_until = max(self._close_until, self._loop.time() + seconds)
        for wake in tuple(self.sleepers):
            wake()

    @property
    def quiet(self) -> bool:
        return self._loop.time() > self._close_until and not self.busy()

    def label(self, at: float) -> int:
        """What is heard at that moment: the wake word above all, or else whoever began last."""
        heard = [label for begin, end, label in self._spoken if begin <= at < end]
        self._spoken = [spoken for spoken in self._spoken if spoken[1] > at - 1]
        return WAKE if WAKE in heard else heard[-1] if heard else 0


class _Stepper:
    """Calls ``step`` each 20 ms of the loop's clock while there is something to do, and seldom while there is not."""

    def __init__(self, sound: Sound, step: Callable[[float], None], rest: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._sound = sound
        self._step = step
        self._rest = rest
        self._timer: asyncio.TimerHandle | None = None
        self._resting = False
        self._begin = self._loop.time()
        sound.sleepers.append(self._wake)
        self._arm(TICK)

    def stop(self) -> None:
        if self._wake in self._sound.sleepers:
            self._sound.sleepers.remove(self._wake)
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, after: float) -> None:
        self._resting = after != TICK
        ticks = round((self._loop.time() - self._begin) / TICK) + round(after / TICK)
        self._timer = self._loop.call_at(self._begin + ticks * TICK, self._tick)

    def _tick(self) -> None:
        # Arm first: a step may stop this stepper.
        self._arm(self._rest if self._sound.quiet else TICK)
        self._step(self._loop.time() - self._begin)

    def _wake(self) -> None:
        if self._resting:
            if self._timer is not None:
                self._timer.cancel()
            self._arm(TICK)


def _on_loop(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    """Do it on the loop's thread; when this returns it is done. Devices are opened and closed on any thread."""
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        action()
        return
    done: Future[None] = Future()

    def act() -> None:
        action()
        done.set_result(None)

    loop.call_soon_threadsafe(act)
    done.result(10)


class _Device:
    """What microphone and speaker have in common: opened and closed on any thread, unplugged, and standing still."""

    name = ""

    def __init__(self, sound: Sound) -> None:
        self._sound = sound
        self._loop = asyncio.get_running_loop()
        self._stepper: _Stepper | None = None
        self._on_end: EndSink | None = None
        self._broken_until = 0.0
        self._still = 0

    @property
    def description(self) -> str:
        return f"the {self.name} of the simulated house"

    def stop(self) -> None:
        _on_loop(self._loop, self._close)

    def break_for(self, seconds: float) -> None:
        """Unplug it: a stream that is open is lost, and it cannot be opened for so long."""
        self._broken_until = self._loop.time() + seconds
        if self._on_end is not None:
            on_end = self._on_end
            self._close()
            on_end(DeviceError(f"the {self.name} was unplugged"))

    def stand_still(self, openings: int) -> None:
        """Give and take nothing any more, until it has been opened so many times."""
        self._still = openings

    def _begin(self, step: Callable[[float], None], on_end: EndSink) -> None:
        if self._loop.time() < self._broken_until:
            raise DeviceError(f"the {self.name} is not there")

        def on_the_loop() -> None:
            self._close()
            self._still = max(0, self._still - 1)
            self._on_end = on_end
            self._stepper = _Stepper(self._sound, lambda since: None if self._still else step(since), REST)

        _on_loop(self._loop, on_the_loop)

    def _close(self) -> None:
        self._on_end = None
        if self._stepper is not None:
            self._stepper.stop()
            self._stepper = None


class SimulatedMicrophone(_Device):
    """Hears labels."""

    name = "microphone"
    steady = True
    fault = None

    def start(self, on_frame: FrameSink, on_end: EndSink) -> None:
        def step(since: float) -> None:
            start = (round(since / TICK) - 1) * FRAME_SAMPLES
            label = self._sound.label(self._loop.time() - TICK / 2)
            pcm = label.to_bytes(2, "little", signed=True) * FRAME_SAMPLES
            on_frame(AudioFrame(start, pcm, self._loop.time()))

        self._begin(step, on_end)


class SimulatedSpeaker(_Device):
    """Pulls while there is something to hear, and tells ``heard`` whether it was silence."""

    name = "speaker"
    latency = 0.02

    def __init__(self, sound: Sound, heard: Callable[[bool], None]) -> None:
        super().__init__(sound)
        self._heard = heard

    def start(self, source: PcmSource, on_end: EndSink) -> None:
        self._begin(lambda since: self._heard(any(source(_BLOCK))), on_end)


class LabelReader:
    """Stands for the models: reads from each frame what is in it, on the event loop."""

    dropped_frames = 0

    def __init__(self, on_heard: Callable[[Heard], None], on_death: Callable[[BaseException], None]) -> None:
        self._on_heard = on_heard
        self.die = on_death
        self.capture: CaptureHealth | None = None
        """Looks for faults of the microphone, if it is there: to it, a quiet house is digital silence."""
        self._frames = 0
        self._word_frames = 0

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def put(self, frame: AudioFrame) -> None:
        label = int.from_bytes(frame.pcm[:2], "little", signed=True)
        self._frames += 1
        self._word_frames += label == WAKE
        scores = None
        if self._frames % 4 == 0:  # a step of the models
            scores = {WORD: 0.95 if self._word_frames >= 3 else 0.0}
            self._word_frames = 0
        faults = tuple(self.capture.report()) if self.capture is not None and self.capture.hear(frame) else None
        self._on_heard(Heard(frame, label >= SPEECH, scores, faults=faults))


async def _load(
    config: Config,
    reference: ReferenceBuffer,
    on_heard: Callable[[Heard], None],
    on_death: Callable[[BaseException], None],
) -> Analysis:
    return LabelReader(on_heard, on_death)


class HeldThreads(DaemonThreads):
    """Time stands still while a blocking function works, so that it takes none."""

    def submit(self, function: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        hold = loop.hold()
        hold.__enter__()
        try:
            future = super().submit(function)
        except BaseException:
            hold.__exit__(None, None, None)
            raise
        future.add_done_callback(lambda _: hold.__exit__(None, None, None))
        return future


class Disk:
    """Whether files can be written."""

    def __init__(self) -> None:
        self.full = False


class InlineScribe(Scribe):
    """Writes at once; while the disk is full, nothing is written, but what is there can be read."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def put(self, job: Callable[[], object]) -> None:
        if not self._disk.full:
            job()

    def call(self, job: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(job())
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self, timeout: float = 2.0) -> bool:
        return True


def surroundings(clock: SimulatedClock, disk: Disk) -> Surroundings:
    return Surroundings(clock, lambda: InlineScribe(disk), HeldThreads, _load)
