"""The owner of the microphone: lost and found, muted and not, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from assistant.audio.ports import EndSink, FrameSink
from assistant.ears import Ears, MuteFile, StandsStill
from assistant.errors import EXIT_RESTART, DeviceError
from assistant.health import Health
from assistant.testing import virtual_time
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, AudioFrame


class FickleMicrophone:
    """Opens unless it is told not to, and is lost when it is told to."""

    description = "a fickle microphone"
    steady = True
    fault: str | None = None

    def __init__(self) -> None:
        self.refusals: list[DeviceError] = []
        self.starts = 0
        self.stops = 0
        self.open = False
        self._on_frame: FrameSink | None = None
        self._on_end: EndSink | None = None

    def start(self, on_frame: FrameSink, on_end: EndSink) -> None:
        self.starts += 1
        if self.refusals:
            raise self.refusals.pop(0)
        self._on_frame, self._on_end = on_frame, on_end
        self.open = True

    def stop(self) -> None:
        self.stops += 1
        self.open = False

    def frames(self, count: int) -> None:
        assert self._on_frame is not None and self.open
        for index in range(count):
            self._on_frame(AudioFrame(index * FRAME_SAMPLES, bytes(FRAME_BYTES), 0.0))

    def end(self, error: DeviceError | None) -> None:
        assert self._on_end is not None
        self._on_end(error)


class World:
    def __init__(self, folder: Path) -> None:
        self.microphone = FickleMicrophone()
        self.file = MuteFile(folder / "state" / "muted")
        self.health = Health(lambda: 0.0)
        self.mutes: list[bool] = []
        self.starts: list[int] = []
        self.ears = self.again()

    def again(self) -> Ears:
        return Ears(self.microphone, self.file, self.health, self.mutes.append)

    def take(self, frame: AudioFrame) -> None:
        self.starts.append(frame.start)

    @property
    def troubles(self) -> list[str]:
        return [trouble.text for trouble in self.health.troubles]


def scene(tmp_path: Path, play: Callable[[World], Coroutine[Any, Any, None]]) -> World:
    """Start the ears, keep them, and play."""

    async def run() -> World:
        world = World(tmp_path)
        await world.ears.start(world.take)
        keeper = asyncio.ensure_future(world.ears.keep())
        await settle()
        try:
            await play(world)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            world.ears.stop()
        return world

    return virtual_time.run(run())


async def settle() -> None:
    """Let threads and callbacks do what is due now."""
    for _ in range(20):
        await asyncio.to_thread(int)


def test_a_microphone_can_be_opened_again_on_demand_but_not_a_recording(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.microphone.frames(3)
        world.ears.reopen("it gives digital silence")
        world.ears.reopen("it gives digital silence")
        await settle()
        assert world.troubles == ["lost: it gives digital silence"]
        await asyncio.sleep(1.0)
        assert world.ears.open and world.troubles == [] and world.microphone.starts == 2
        world.microphone.steady = False
        world.ears.reopen("it gives digital silence")
        await asyncio.sleep(1.0)
        assert world.ears.open and world.microphone.starts == 2

    scene(tmp_path, play)


def test_a_lost_microphone_is_opened_again_and_its_samples_go_on(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.microphone.frames(3)
        world.microphone.refusals = [DeviceError("it is not there"), DeviceError("it is not there")]
        world.microphone.end(DeviceError("unplugged"))
        await settle()
        assert world.troubles == ["lost: unplugged"]
        assert not world.ears.open
        while not world.ears.open:  # noqa: ASYNC110 - on virtual time
            await asyncio.sleep(0.5)
        assert world.troubles == []
        world.microphone.frames(2)
        assert world.starts == [0, 320, 640, 960, 1280], "a stream that begins anew goes on counting"
        assert world.ears.captured == 5 * FRAME_SAMPLES

    world = scene(tmp_path, play)
    assert world.microphone.starts == 4


def test_what_a_microphone_says_of_itself_is_on_the_board_until_it_is_over(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.microphone.frames(1)
        world.microphone.fault = "its left channel is silent"
        await asyncio.sleep(1.1)
        (trouble,) = world.health.troubles
        assert (trouble.part, trouble.text) == ("microphone channel", "its left channel is silent")
        world.microphone.fault = None
        await asyncio.sleep(1.1)
        assert world.troubles == []

    scene(tmp_path, play)


def test_a_microphone_that_opens_and_gives_nothing_is_tried_ever_more_slowly(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        for _ in range(5):
            world.microphone.end(DeviceError("nobody writes to it"))
            while world.ears.open:  # noqa: ASYNC110 - on virtual time
                await asyncio.sleep(0.01)
            while not world.ears.open:  # noqa: ASYNC110 - on virtual time
                await asyncio.sleep(0.1)
        assert asyncio.get_running_loop().time() > 4.0
        assert world.troubles == ["lost: nobody writes to it"], "to be opened is not enough"
        world.microphone.frames(1)
        await asyncio.sleep(2.0)
        assert world.troubles == []

    scene(tmp_path, play)


def test_the_reason_of_a_microphone_that_does_not_come_back_is_on_the_board(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.microphone.refusals = [DeviceError("it is not there")] * 100
        world.microphone.end(DeviceError("unplugged"))
        await asyncio.sleep(60)
        assert world.troubles == ["cannot be opened: it is not there"]
        assert 3 < world.microphone.starts < 100, "it is tried again and again, ever more slowly"

    scene(tmp_path, play)


def test_the_end_of_an_earlier_stream_is_not_taken_for_this_one(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        old_end = world.microphone._on_end
        assert old_end is not None
        world.microphone.end(DeviceError("unplugged"))
        await asyncio.sleep(2)
        old_end(DeviceError("once more"))
        old_end(None)
        await settle()
        assert world.troubles == [] and world.ears.open

    scene(tmp_path, play)


def test_a_microphone_that_gives_nothing_is_opened_again(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.microphone.frames(3)
        await asyncio.sleep(2.5)
        assert world.troubles == [] and world.ears.delivers
        await asyncio.sleep(2)
        assert world.troubles == ["lost: no sound for 3 s"] or world.microphone.starts == 2
        await asyncio.sleep(1)
        assert world.microphone.starts == 2 and world.troubles == []
        world.microphone.frames(1)
        assert world.starts[-1] == 3 * FRAME_SAMPLES

    scene(tmp_path, play)


def test_a_microphone_that_gives_nothing_over_and_over_is_left_to_a_new_process(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        await world.ears.start(world.take)
        with pytest.raises(StandsStill) as raised:
            await world.ears.keep()
        assert raised.value.exit_status == EXIT_RESTART
        assert 3 * 3 <= asyncio.get_running_loop().time() - virtual_time.START < 15

    virtual_time.run(run())


def test_a_pipe_may_pause(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.microphone.steady = False
        await asyncio.sleep(3000)
        assert world.troubles == [] and world.microphone.starts == 1

    scene(tmp_path, play)


def test_a_muted_microphone_may_be_silent_for_ever(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        await world.ears.mute(True)
        await asyncio.sleep(3000)
        assert world.troubles == [] and world.microphone.starts == 1

    scene(tmp_path, play)


def test_mute_closes_the_device_and_survives_a_restart(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        await world.ears.mute(True)
        assert not world.microphone.open and not world.ears.open
        assert world.mutes == [True]
        after_restart = world.again()
        assert after_restart.muted
        await after_restart.start(world.take)
        assert world.microphone.starts == 1, "a muted assistant does not touch the microphone"
        await world.ears.mute(False)
        assert world.microphone.open
        assert world.mutes == [True, True, False]
        assert not world.again().muted

    scene(tmp_path, play)


def test_a_microphone_that_is_muted_while_it_is_lost_is_not_opened(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.microphone.refusals = [DeviceError("it is not there")] * 3
        world.microphone.end(DeviceError("unplugged"))
        await asyncio.sleep(2)
        starts = world.microphone.starts
        await world.ears.mute(True)
        await asyncio.sleep(600)
        assert world.microphone.starts == starts
        world.microphone.refusals = []
        await world.ears.mute(False)
        assert world.microphone.open

    scene(tmp_path, play)


def test_muting_over_and_over_ends_as_the_last_one_wanted(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        await asyncio.gather(*(world.ears.mute(muted) for muted in (True, False, True, True, False, True)))
        await settle()
        assert world.ears.muted and not world.microphone.open
        assert world.file.read()

    scene(tmp_path, play)


def test_mute_holds_although_it_cannot_be_written_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def play(world: World) -> None:
        (tmp_path / "state").write_text("a file where the folder should be")
        await world.ears.mute(True)
        assert not world.microphone.open

    scene(tmp_path, play)
    assert "a restart will not know of it" in caplog.text


def test_a_recording_that_ends_ends_the_keeping(tmp_path: Path) -> None:
    async def run() -> None:
        world = World(tmp_path)
        await world.ears.start(world.take)
        keeper = asyncio.ensure_future(world.ears.keep())
        await settle()
        world.microphone.end(None)
        await keeper

    virtual_time.run(run())


def test_a_sound_system_that_hangs_is_left_to_a_new_process(tmp_path: Path) -> None:
    class Frozen(DeviceError):
        exit_status = EXIT_RESTART

    async def run() -> None:
        world = World(tmp_path)
        await world.ears.start(world.take)
        keeper = asyncio.ensure_future(world.ears.keep())
        await settle()
        world.microphone.refusals = [Frozen("it hangs")]
        world.microphone.end(DeviceError("unplugged"))
        with pytest.raises(Frozen):
            await keeper

    virtual_time.run(run())
