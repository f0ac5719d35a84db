"""What does not move any more is noticed, said, and mended by the smallest step."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from assistant import supervision
from assistant.adapters.wav_device import WavSpeaker
from assistant.audio.player import Player
from assistant.audio.ports import EndSink, PcmSource
from assistant.core.policy import State
from assistant.ears import Ears
from assistant.engine import Engine
from assistant.errors import EXIT_RESTART, DeviceError
from assistant.health import Health
from assistant.journal import Entry, Journal
from assistant.local.process import LocalServerProcess
from assistant.mouth import Mouth, StandsStill
from assistant.sentinel import LoopSentinel
from assistant.supervision import Hopeless, Supervisor
from assistant.testing import virtual_time
from assistant.tools.registry import ToolRegistry
from tests.house import House, room


class SetClock:
    """A clock on the wall that the test sets."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(1_700_000_000 + self.monotonic() + self.ahead, timezone.utc)  # noqa: UP017

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class FakeEars:
    delivers: bool = True


@dataclass
class FakeConversation:
    deadline: float | None = None
    state: State = State.IDLE


class FakeEngine:
    def __init__(self) -> None:
        self.conversation = FakeConversation()
        self.ended = 0

    def end_turn(self) -> None:
        self.ended += 1
        self.conversation.deadline = None


@dataclass
class FakeTools:
    troubles: dict[str, str | None]


@dataclass
class FakeServer:
    grown_mb: float = 0.0
    replaced: list[str] = field(default_factory=list)

    def replace(self, why: str) -> None:
        self.replaced.append(why)
        self.grown_mb = 0.0


class World:
    def __init__(self, folder: Path) -> None:
        self.entries: list[Entry] = []
        journal = Journal()
        journal.subscribe(self.entries.append)
        self.health = Health(lambda: 0.0)
        self.clock, self.ears, self.engine, self.tools = SetClock(), FakeEars(), FakeEngine(), FakeTools({})
        self.server = FakeServer()
        self.analysed = 0
        self.supervisor = Supervisor(
            self.health,
            journal,
            self.clock,
            cast(Ears, self.ears),
            cast(Engine, self.engine),
            cast(ToolRegistry, self.tools),
            cast(LocalServerProcess, self.server),
            state_folder=folder / "state",
            memory_limit_mb=100_000,
            analysed=lambda: self.analysed,
        )

    @property
    def troubles(self) -> dict[str, str]:
        return {trouble.part: trouble.text for trouble in self.health.troubles}

    def entry(self, name: str) -> Entry:
        return [entry for entry in self.entries if entry["name"] == name][-1]


def scene(tmp_path: Path, play: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        world = World(tmp_path)
        looking = asyncio.ensure_future(world.supervisor.run())
        moving = asyncio.ensure_future(analyse(world))
        try:
            await asyncio.sleep(1)
            await play(world)
            if looking.done():
                await looking
        finally:
            moving.cancel()
            looking.cancel()
            await asyncio.gather(looking, moving, return_exceptions=True)

    virtual_time.run(run())


async def analyse(world: World) -> None:
    while True:
        await asyncio.sleep(1)
        world.analysed += 16_000


def test_a_clock_that_is_set_is_told_and_a_slow_one_is_not(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        await asyncio.sleep(100)
        world.clock.ahead += 1.0
        await asyncio.sleep(2)
        assert not [entry for entry in world.entries if entry["name"] == "clock"]
        world.clock.ahead -= 3600
        await asyncio.sleep(2)
        assert world.entry("clock")["jump_s"] == -3600

    scene(tmp_path, play)


def test_a_state_past_its_deadline_is_ended(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.engine.conversation.deadline = world.clock.monotonic() + 10
        await asyncio.sleep(14)
        assert world.engine.ended == 0
        await asyncio.sleep(4)
        assert world.engine.ended == 1
        assert world.entry("overdue")["state"] == "idle"

    scene(tmp_path, play)


def test_a_plugin_in_trouble_is_on_the_board_until_it_is_well(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.tools.troubles = {"weather": "tripped: 3 failures in a row", "clock": None, "gone": "crashed"}
        await asyncio.sleep(2)
        assert world.troubles == {"plugin weather": "tripped: 3 failures in a row", "plugin gone": "crashed"}
        world.tools.troubles = {"weather": None, "clock": None}
        await asyncio.sleep(2)
        assert world.troubles == {}

    scene(tmp_path, play)


def test_analysis_that_hangs_ends_the_process_and_a_closed_microphone_does_not(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.ears.delivers = False
        world.analysed = -(10**9)
        stuck = world.analysed
        for _ in range(60):
            await asyncio.sleep(1)
            world.analysed = stuck
        world.ears.delivers = True
        for _ in range(15):
            await asyncio.sleep(1)
            world.analysed = stuck

    with pytest.raises(Hopeless, match="not been analysed") as raised:
        scene(tmp_path, play)
    assert raised.value.exit_status == EXIT_RESTART


def test_a_disk_that_cannot_be_used_is_on_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(world: World) -> None:
        (tmp_path / "state").rmdir()
        (tmp_path / "state").write_text("a file where the folder should be")
        await asyncio.sleep(61)
        assert "cannot be used" in world.troubles["disk"]
        (tmp_path / "state").unlink()
        await asyncio.sleep(61)
        assert world.troubles == {}
        monkeypatch.setattr(supervision, "LOW_DISK_BYTES", 10**18)
        await asyncio.sleep(61)
        assert "make room" in world.troubles["disk"]

    scene(tmp_path, play)


def test_memory_that_grows_ends_the_process_between_two_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(world: World) -> None:
        world.engine.conversation.state = State.SPEAKING
        monkeypatch.setattr(supervision, "resident_mb", lambda: 200_000.0)
        await asyncio.sleep(61)
        assert "memory" in world.troubles, "not in the middle of an answer"
        world.engine.conversation.state = State.IDLE
        await asyncio.sleep(61)

    with pytest.raises(Hopeless, match="200000 MB"):
        scene(tmp_path, play)


def test_a_server_that_grows_is_replaced_between_two_turns(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.server.grown_mb = 100_001.0
        world.engine.conversation.state = State.LISTENING
        await asyncio.sleep(61)
        assert world.server.replaced == [], "not in the middle of a request"
        world.engine.conversation.state = State.IDLE
        await asyncio.sleep(121)
        [why] = world.server.replaced
        assert "grown by 100001 MB" in why

    scene(tmp_path, play)


# --- the speaker -----------------------------------------------------------------------------------------------------


class FickleSpeaker:
    """Pulls by itself while it is told to; may refuse to open."""

    description = "a fickle speaker"
    latency = 0.0

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.pulling = True
        self.starts = 0
        self.refusals: list[DeviceError] = []
        self._running = 0

    def start(self, source: PcmSource, on_end: EndSink) -> None:
        self.starts += 1
        if self.refusals:
            raise self.refusals.pop(0)
        self._running += 1
        self._loop.call_soon_threadsafe(self._pull, self._running, source)

    def _pull(self, run: int, source: PcmSource) -> None:
        if run == self._running:
            if self.pulling:
                source(480)
            self._loop.call_later(0.5, self._pull, run, source)

    def stop(self) -> None:
        self._running += 1


def speak(play: Callable[[FickleSpeaker, Health, asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        speaker, health, lost = FickleSpeaker(), Health(lambda: 0.0), asyncio.Event()
        player = Player(speaker, lambda event: None, asyncio.get_running_loop())
        player.start()
        keeping = asyncio.ensure_future(Mouth(player, lost, health).keep())
        try:
            await play(speaker, health, lost)
            if keeping.done():
                await keeping
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            player.stop()

    virtual_time.run(run())


def test_a_speaker_that_takes_nothing_is_opened_again() -> None:
    async def play(speaker: FickleSpeaker, health: Health, lost: asyncio.Event) -> None:
        await asyncio.sleep(100)
        assert speaker.starts == 1
        speaker.pulling = False
        await asyncio.sleep(4.2)
        assert [trouble.text for trouble in health.troubles] == ["took no sound for 3 s"] or speaker.starts == 2
        speaker.pulling = True
        await asyncio.sleep(2)
        assert health.troubles == () and speaker.starts == 2

    speak(play)


def test_a_lost_speaker_is_tried_until_it_is_there() -> None:
    async def play(speaker: FickleSpeaker, health: Health, lost: asyncio.Event) -> None:
        speaker.refusals = [DeviceError("it is not there")] * 4
        lost.set()
        await asyncio.sleep(5)
        assert [trouble.text for trouble in health.troubles] == ["cannot be opened: it is not there"]
        await asyncio.sleep(60)
        assert health.troubles == () and speaker.starts == 6

    speak(play)


def test_a_speaker_that_never_takes_anything_is_left_to_a_new_process() -> None:
    async def play(speaker: FickleSpeaker, health: Health, lost: asyncio.Event) -> None:
        speaker.pulling = False
        await asyncio.sleep(60)

    with pytest.raises(StandsStill):
        speak(play)


def test_a_recording_as_the_speaker_never_stands_still() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        player = Player(WavSpeaker(None, loop=loop), lambda event: None, loop)
        assert player.waits_since() is None
        player.start()
        await asyncio.sleep(50)
        since = player.waits_since()
        assert since is not None and loop.time() - since < 0.1
        player.stop()

    virtual_time.run(run())


# --- the event loop --------------------------------------------------------------------------------------------------


def test_a_loop_that_stands_still_is_named_with_its_place(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant.sentinel.NOTICE_S", 0.2)
    stalls: list[tuple[float, str]] = []

    async def run() -> None:
        told = asyncio.Event()

        def on_stall(seconds: float, where: str) -> None:
            stalls.append((seconds, where))
            told.set()

        sentinel = LoopSentinel(asyncio.get_running_loop(), on_stall)
        sentinel.start()
        block_until_seen(caplog)
        await asyncio.wait_for(told.wait(), 20)
        sentinel.stop()

    asyncio.run(run())
    assert "block_until_seen" in stalls[0][1] and "test_supervision.py" in stalls[0][1]
    assert "the event loop stands still at" in caplog.text


def block_until_seen(caplog: pytest.LogCaptureFixture) -> None:
    deadline = time.monotonic() + 20
    while "stands still" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_loop_that_does_not_come_back_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.sentinel.NOTICE_S", 0.1)
    monkeypatch.setattr("assistant.sentinel.GIVE_UP_S", 0.1)
    left = threading.Event()
    statuses: list[int] = []

    def leave(status: int) -> None:
        statuses.append(status)
        left.set()

    async def run() -> None:
        sentinel = LoopSentinel(asyncio.get_running_loop(), lambda seconds, where: None, leave=leave)
        sentinel.start()
        assert left.wait(20), "the loop is blocked here"
        sentinel.stop()

    asyncio.run(run())
    assert statuses == [EXIT_RESTART]


@pytest.mark.daemon
def test_a_plugin_that_blocks_the_loop_is_named_and_the_daemon_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "blocker.py").write_text(
        "import time\n"
        "from assistant.plugin import Plugin\n\n\n"
        "class Blocker(Plugin):\n"
        "    async def start(self) -> None:\n"
        "        self.context.spawn(self.block(), 'block')\n\n"
        "    async def block(self) -> None:\n"
        "        await self.context.sleep(2.0)\n"
        "        time.sleep(3.5)\n"
    )
    with House(tmp_path, more="tools: {folders: [plugins]}") as house:
        house.start(room(12.0))
        stalled = house.wait_for("stalled", within=40)
        assert "blocker.py" in stalled["where"]
        assert house.end() == 0, house.log
        assert "the event loop stands still at blocker.py" in house.log
