"""What each fault costs: noticed after, hearing again after, what was lost: ``python -m bench.faults``.

A simulated house on virtual time: the whole daemon, started again as systemd would. In each scene a timer of a minute
is set, a long answer is being spoken, and then it happens. The sound server is a real one, in real time
(``tests/test_sound_server.py``). ``python -m bench.recovery`` has the faults of the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from unittest import mock

from assistant import supervision
from assistant.audio.ports import EndSink, FrameSink
from assistant.core.capture_health import CaptureHealth
from assistant.engine import Engine
from assistant.testing import virtual_time
from assistant.types import FRAME_SAMPLES, AudioFrame
from tests.simulation.plan import Item
from tests.simulation.play import RESTART_S, House, furnished
from tests.simulation.world import LabelReader, SimulatedMicrophone

TIMER_S: Final = 60.0
ANSWER_S: Final = 20.0
SCENE_S: Final = 200.0
GAP_S: Final = 0.1
"""The microphone gives a frame each 20 ms: a longer time without one is sound that nobody heard."""

CLIPPED_S: Final = 30.0

READ: Final = LabelReader.put
_NOISE: Final = b"\x01\x00\xff\xff" * (FRAME_SAMPLES // 2)
_CLIPPED: Final = b"\x00\x80\xff\x7f" * (FRAME_SAMPLES // 2)


@dataclass
class Scene:
    """What was seen of one fault. Times are seconds after it began."""

    house: House
    analyse: Callable[[LabelReader, AudioFrame], None] = READ
    """What the analysis does with a frame."""
    deaf: bool = False
    """Whether nothing that is said gets through."""
    began: float = 0.0
    noticed: float | None = None
    heard: list[float] = field(default_factory=list)
    turn: str | None = None
    """What became of the turn in which it happened."""
    rang: list[float] = field(default_factory=list)
    timer_due: float = 0.0
    next_answered: bool = False
    restarted: bool = False

    def entry(self, entry: Mapping[str, Any]) -> None:
        match entry:
            case {"name": "end_turn", "outcome": str(outcome)} if self.began and self.turn is None:
                self.turn = outcome
            case {"name": "start_alert"}:
                self.rang.append(entry["at"])
            case {"name": "health", "part": part, "trouble": str()} if not part.startswith("plugin"):
                self.notice()
            case {"name": "clock" | "overdue"}:
                self.notice()
            case {"name": "tool_result", "status": status} if status != "ok":
                self.notice()

    def end_of_daemon(self) -> None:
        """Whatever only a new process mends is mended, and a turn that was going on is lost."""
        self.restarted = True
        self.analyse, self.deaf = READ, False
        self.turn = self.turn or "lost"
        self.notice()

    def notice(self) -> None:
        if self.began and self.noticed is None:
            self.noticed = asyncio.get_running_loop().time() - self.began

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """Times without sound since the fault: when each began, and how long it was."""
        pairs = zip(self.heard, self.heard[1:], strict=False)
        return [(a, b - a) for a, b in pairs if b - a > GAP_S and b > self.began]


@dataclass(frozen=True)
class Fault:
    """name: for the table. happen: begins it. lasts_s: how long its cause lasts, which nothing can shorten."""

    name: str
    happen: Callable[[Scene], contextlib.AbstractContextManager[object]]
    lasts_s: float = 0.0
    request: str = "chat"
    """What the user has asked for when it happens."""


def suffers(kind: str, amount: float) -> Callable[[Scene], contextlib.AbstractContextManager[object]]:
    """A trouble of the simulation's own."""

    @contextlib.contextmanager
    def happen(scene: Scene) -> Iterator[None]:
        task = asyncio.ensure_future(scene.house.suffer(Item(0.0, kind, amount)))
        try:
            yield
        finally:
            task.cancel()

    return happen


@contextlib.contextmanager
def analysis_hangs(scene: Scene) -> Iterator[None]:
    scene.analyse, scene.deaf = lambda reader, frame: None, True
    yield


@contextlib.contextmanager
def analysis_dies(scene: Scene) -> Iterator[None]:
    scene.analyse, scene.deaf = lambda reader, frame: reader.die(RuntimeError("a model has failed")), True
    yield


@contextlib.contextmanager
def memory_grows(scene: Scene) -> Iterator[None]:
    with mock.patch.object(supervision, "resident_mb", lambda: 100.0 if scene.restarted else 200_000.0):
        yield


def hears(made: Callable[[bytes], bytes]) -> Callable[[LabelReader, AudioFrame], None]:
    """Analysis of what is made of each frame, that looks for faults of the microphone, too."""
    capture = CaptureHealth()

    def analyse(reader: LabelReader, frame: AudioFrame) -> None:
        reader.capture = capture
        READ(reader, replace(frame, pcm=made(frame.pcm if any(frame.pcm) else _NOISE)))

    return analyse


@contextlib.contextmanager
def clipped(scene: Scene) -> Iterator[None]:
    """Somebody has turned the microphone up, and turns it down after a while."""
    loop = asyncio.get_running_loop()
    until = loop.time() + CLIPPED_S
    # What is said can still be read from the first sample.
    scene.analyse = hears(lambda pcm: pcm[:2] + _CLIPPED[2:] if loop.time() < until else pcm)
    yield


@contextlib.contextmanager
def digital_silence(scene: Scene) -> Iterator[None]:
    """Something below us gives zeros, until the device is opened again."""
    start = SimulatedMicrophone.start

    def opened(microphone: SimulatedMicrophone, on_frame: FrameSink, on_end: EndSink) -> None:
        scene.deaf = False
        start(microphone, on_frame, on_end)

    scene.analyse, scene.deaf = hears(lambda pcm: bytes(len(pcm)) if scene.deaf else pcm), True
    with mock.patch.object(SimulatedMicrophone, "start", opened):
        yield


@contextlib.contextmanager
def deadline_passes(scene: Scene) -> Iterator[None]:
    """The server falls silent after the tool, and the timer that should end the turn never comes."""
    scene.house.cloud.trouble("stalled", 60.0)
    tick = Engine._tick
    with mock.patch.object(Engine, "_tick", lambda engine: tick(engine) if scene.turn else None):
        yield


@contextlib.contextmanager
def disk_fails(scene: Scene, reason: contextlib.AbstractContextManager[object]) -> Iterator[None]:
    with reason:
        scene.house.disk.full = True
        try:
            yield
        finally:
            scene.house.disk.full = False


def disk_is_full(scene: Scene) -> contextlib.AbstractContextManager[object]:
    return disk_fails(scene, mock.patch.object(supervision, "LOW_DISK_BYTES", 10**18))


def disk_is_read_only(scene: Scene) -> contextlib.AbstractContextManager[object]:
    return disk_fails(scene, mock.patch.object(os, "access", lambda path, mode: False))


def nothing(scene: Scene) -> contextlib.AbstractContextManager[object]:
    return contextlib.nullcontext()


FAULTS: Final = (
    Fault("the microphone is unplugged for 10 s", suffers("microphone", 10.0), lasts_s=10.0),
    Fault("the microphone gives nothing", suffers("microphone stands still", 1)),
    Fault("the same, and opening it does not help", suffers("microphone stands still", 1_000)),
    Fault("the microphone gives digital silence", digital_silence),
    Fault(f"the microphone clips for {CLIPPED_S:.0f} s", clipped),
    Fault("the speaker is unplugged for 10 s", suffers("speaker", 10.0), lasts_s=10.0),
    Fault("the speaker takes nothing", suffers("speaker stands still", 1)),
    Fault("analysis of the sound dies", analysis_dies),
    Fault("analysis of the sound hangs", analysis_hangs),
    Fault("a state is past its deadline", deadline_passes, request="slow"),
    Fault("a tool hangs", nothing, request="hang"),
    Fault("the disk is full", disk_is_full),
    Fault("the disk is read-only", disk_is_read_only),
    Fault("the clock is set forward by an hour", suffers("clock", 3600.0)),
    Fault("the clock is set back by an hour", suffers("clock", -3600.0)),
    Fault("memory in use beyond the limit", memory_grows),
    Fault("killed (SIGKILL), power is back after 10 s", suffers("killed", 10.0), lasts_s=10.0),
)


def play(fault: Fault) -> Scene:
    """One scene from beginning to end, in a house of its own."""
    with tempfile.TemporaryDirectory(prefix="hearth-") as folder:
        return virtual_time.run(_play(fault, Path(folder)), limit_s=SCENE_S * 4)


async def _play(fault: Fault, folder: Path) -> Scene:
    loop = asyncio.get_running_loop()
    async with furnished(folder) as house:
        scene = Scene(house)
        house.on_entry, house.on_end = scene.entry, scene.end_of_daemon

        def hear(reader: LabelReader, frame: AudioFrame) -> None:
            if not scene.deaf:
                scene.heard.append(loop.time())
            scene.analyse(reader, frame)

        with mock.patch.object(LabelReader, "put", hear):
            living = asyncio.ensure_future(house.live())
            await _until(lambda: house.watch.up)
            house.sound.attend(SCENE_S * 2)  # every frame counts
            await house.people.visit(Item(0.0, "timer", TIMER_S / 60))
            scene.timer_due = loop.time() + TIMER_S
            house.cloud.seconds = ANSWER_S
            asking = asyncio.ensure_future(house.people.visit(Item(0.0, fault.request, ANSWER_S)))
            await _until(lambda: house.watch.state == ("speaking" if fault.request == "chat" else "thinking"))
            await asyncio.sleep(2.0 if fault.request == "chat" else 0.0)
            scene.began = loop.time()
            with fault.happen(scene):
                await _pass(scene)
                await asking
                await _ask_again(scene)
            await house.stop()
            living.cancel()
            await asyncio.wait({living})
        return scene


async def _pass(scene: Scene) -> None:
    """Until it is over, and the timer has rung."""
    await asyncio.sleep(SCENE_S / 2)
    await _until(lambda: scene.house.watch.up and not scene.house.watch.busy)


async def _ask_again(scene: Scene) -> None:
    await scene.house.people.visit(Item(0.0, "time", 0.0))
    scene.next_answered = scene.house.watch.outcome == "answered"


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - on virtual time
        await asyncio.sleep(0.02)


def row(fault: Fault, scene: Scene) -> str:
    """One line of the table."""
    noticed = "-" if scene.noticed is None else f"{scene.noticed:.1f} s"
    gaps = scene.gaps
    again = "at once" if not gaps else f"{max(a + d for a, d in gaps) - scene.began:.1f} s"
    deaf = sum(duration for _, duration in gaps)
    late = scene.rang[0] - scene.timer_due if scene.rang else None
    timer = "LOST" if late is None else "on time" if late < 2 else f"{late:.0f} s late"
    return f"{fault.name:<46}{noticed:>9}{again:>12}{deaf:>9.1f} s   {scene.turn or '-':<12}{timer}"


def main() -> int:
    logging.disable(logging.CRITICAL)
    print(f"{'fault':<46}{'noticed':>9}{'hears again':>12}{'unheard':>11}   {'the turn':<12}timer")
    status = 0
    for fault in FAULTS:
        scene = play(fault)
        print(row(fault, scene), flush=True)
        if not scene.next_answered or not scene.rang:
            print("  ... and the next request was not answered", flush=True)
            status = 1
    print(
        f"\nA restart includes the {RESTART_S:.0f} s that systemd waits, and not the second that models take to load."
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
