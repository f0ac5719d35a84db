from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from assistant.audio.player import PlaybackStarted, PlaybackStopped, Player, PlayerEvent, SpeakerLost
from assistant.audio.ports import EndSink, PcmSource
from assistant.audio.reference import ReferenceBuffer
from assistant.core.mixing import Channel
from assistant.errors import DeviceError
from assistant.testing.virtual_time import VirtualTimeLoop, run
from assistant.types import AlertId, ItemId

A, B = ItemId("a"), ItemId("b")
LATENCY = 0.1
PERIOD = 0.02


def speech(ms: float, value: int = 1000) -> bytes:
    return np.full(round(ms * 24), value, "<i2").tobytes()


class BufferedSpeaker:
    """Pulls 20 ms every 20 ms, and is heard 100 ms later: the sound card of these tests."""

    description = "buffered"

    def __init__(self) -> None:
        self.latency = 0.0
        self.fails: DeviceError | None = None
        self.pulled = bytearray()
        self.on_end: EndSink | None = None
        self.timer: asyncio.TimerHandle | None = None

    def start(self, source: PcmSource, on_end: EndSink) -> None:
        if self.fails:
            raise self.fails
        self.latency = LATENCY
        self.on_end = on_end
        self.tick(asyncio.get_running_loop().time(), source)

    def tick(self, due: float, source: PcmSource) -> None:
        pcm = source(480)
        assert len(pcm) == 960
        self.pulled += pcm
        self.timer = asyncio.get_running_loop().call_at(due + PERIOD, self.tick, due + PERIOD, source)

    def stop(self) -> None:
        if self.timer:
            self.timer.cancel()

    @property
    def sounds(self) -> bool:
        return any(self.pulled[-960:])


class Room:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.speaker = BufferedSpeaker()
        self.events: list[PlayerEvent] = []
        self.player = Player(self.speaker, self.events.append, self.loop)
        self.began = self.loop.time()

    def stopped(self) -> list[tuple[ItemId, int, bool]]:
        return [(e.item, e.played_ms, e.interrupted) for e in self.events if isinstance(e, PlaybackStopped)]

    def times(self) -> list[tuple[str, ItemId, float]]:
        found = [e for e in self.events if not isinstance(e, SpeakerLost)]
        return [(type(e).__name__, e.item, round(e.at - self.began, 4)) for e in found]


def in_a_room(scene: Callable[[Room], Awaitable[None]], *, start: bool = True) -> Room:
    async def main() -> Room:
        room = Room()
        if start:
            room.player.start()
        try:
            await scene(room)
        finally:
            room.player.stop()
            await asyncio.sleep(0)
        return room

    return run(main(), limit_s=600)


def test_an_item_is_reported_when_it_is_heard_and_not_when_it_is_pulled() -> None:
    async def scene(room: Room) -> None:
        room.player.play(A, speech(60))
        room.player.play(A, speech(37.5))
        room.player.finish(A)
        await asyncio.sleep(1)

    room = in_a_room(scene)
    # The first pull was at once, before play(): the item leaves with the second one, 20 ms later.
    assert room.times() == [("PlaybackStarted", A, 0.12), ("PlaybackStopped", A, 0.2175)]
    assert room.stopped() == [(A, 97, False)]
    started = room.events[0]
    assert isinstance(started, PlaybackStarted)
    assert started.asked_at == room.began
    assert started.first_pull_at == pytest.approx(room.began + 0.02)


def test_items_follow_each_other() -> None:
    async def scene(room: Room) -> None:
        room.player.play(A, speech(100))
        room.player.play(B, speech(50))
        room.player.finish(A)
        room.player.finish(B)
        await asyncio.sleep(1)

    assert in_a_room(scene).times() == [
        ("PlaybackStarted", A, 0.12),
        ("PlaybackStopped", A, 0.22),
        ("PlaybackStarted", B, 0.22),
        ("PlaybackStopped", B, 0.27),
    ]


def test_an_interrupted_item_reports_what_was_heard_of_it() -> None:
    async def scene(room: Room) -> None:
        room.player.play(A, speech(5000))
        room.player.play(B, speech(5000))
        await asyncio.sleep(0.55)
        room.player.interrupt()
        assert len(room.events) == 1  # never from within a call
        await asyncio.sleep(0)
        assert room.stopped() == [(A, 430, True), (B, 0, True)]  # pulled from 20 ms on, heard 100 ms later
        await asyncio.sleep(0.05)
        assert not room.speaker.sounds

    assert len(in_a_room(scene).stopped()) == 2


def test_an_interrupt_between_the_last_pull_and_the_last_sound_is_an_interruption() -> None:
    async def scene(room: Room) -> None:
        room.player.play(A, speech(100))
        room.player.finish(A)
        await asyncio.sleep(0.15)  # all was pulled; a third of it was heard
        room.player.interrupt()
        await asyncio.sleep(1)

    assert in_a_room(scene).stopped() == [(A, 30, True)]


def test_an_interrupt_after_the_end_changes_nothing() -> None:
    async def scene(room: Room) -> None:
        room.player.play(A, speech(100))
        room.player.finish(A)
        await asyncio.sleep(0.5)
        room.player.interrupt()

    assert in_a_room(scene).stopped() == [(A, 100, False)]


def test_an_interrupt_on_a_late_loop_still_reports_what_had_ended_by_itself() -> None:
    async def scene(room: Room) -> None:
        room.player.play(A, speech(20))
        room.player.finish(A)
        room.player.play(B, speech(1000))
        await asyncio.sleep(0.05)
        assert isinstance(room.loop, VirtualTimeLoop)
        room.loop.advance(0.12)  # A was heard to its end, and what was pulled of B
        room.player.interrupt()

    room = in_a_room(scene)
    assert room.stopped() == [(A, 20, False), (B, 20, True)]
    assert [type(event) for event in room.events] == [
        PlaybackStarted,
        PlaybackStopped,
        PlaybackStarted,
        PlaybackStopped,
    ]


def test_late_audio_of_a_stopped_item_is_never_heard() -> None:
    async def scene(room: Room) -> None:
        room.player.play(A, speech(1000))
        await asyncio.sleep(0.2)
        room.player.interrupt()
        await asyncio.sleep(0.1)
        room.player.play(A, speech(1000))
        room.player.finish(A)
        await asyncio.sleep(0.1)
        assert not room.speaker.sounds

    assert len(in_a_room(scene).stopped()) == 1


def test_an_item_that_is_finished_long_after_its_last_sample_still_ends() -> None:
    async def scene(room: Room) -> None:
        room.player.play(A, speech(100))
        await asyncio.sleep(30)
        room.player.finish(A)
        await asyncio.sleep(0.001)

    room = in_a_room(scene)
    assert room.times()[-1] == ("PlaybackStopped", A, 30.0)
    assert room.stopped() == [(A, 100, False)]
    assert room.player.stats.underruns == 1


def test_an_item_without_audio_ends_too() -> None:
    async def scene(room: Room) -> None:
        room.player.play(A, b"")
        room.player.finish(A)
        await asyncio.sleep(0.5)

    assert in_a_room(scene).stopped() == [(A, 0, False)]


def test_a_handler_may_call_the_player() -> None:
    async def scene(room: Room) -> None:
        def handle(event: PlayerEvent) -> None:
            room.events.append(event)
            if isinstance(event, PlaybackStarted):
                room.player.interrupt()
                room.player.play(B, speech(40))
                room.player.finish(B)

        room.player = Player(room.speaker, handle, room.loop)
        room.player.start()
        room.player.play(A, speech(1000))
        await asyncio.sleep(1)

    assert in_a_room(scene, start=False).stopped()[0] == (A, 0, True)


def test_effects_sound_during_and_without_an_answer() -> None:
    async def scene(room: Room) -> None:
        room.player.start_alert(AlertId("timer"), speech(100, 3000))
        room.player.play(A, speech(10_000))
        await asyncio.sleep(0.1)
        assert room.speaker.pulled[-2:] == speech(1, 4000)[:2]
        room.player.interrupt()
        await asyncio.sleep(0.1)
        assert room.speaker.pulled[-2:] == speech(1, 3000)[:2]
        room.player.stop_alert(AlertId("timer"))
        await asyncio.sleep(0.1)
        assert not room.speaker.sounds
        room.player.earcon(speech(50))
        await asyncio.sleep(0.04)
        assert room.speaker.sounds
        await asyncio.sleep(0.1)
        assert not room.speaker.sounds

    in_a_room(scene)


def test_an_alert_has_a_volume_of_its_own() -> None:
    async def scene(room: Room) -> None:
        room.player.set_volume(0.5, Channel.ALERTS)
        room.player.start_alert(AlertId("timer"), speech(100, 3000))
        room.player.play(A, speech(10_000))
        await asyncio.sleep(0.1)
        assert room.speaker.pulled[-2:] == speech(1, 2500)[:2]

    in_a_room(scene)


def test_a_lost_speaker_interrupts_its_items_and_alerts_outlive_it() -> None:
    async def scene(room: Room) -> None:
        room.player.start_alert(AlertId("timer"), speech(100, 3000))
        room.player.play(A, speech(1000))
        await asyncio.sleep(0.35)
        room.speaker.stop()
        assert room.speaker.on_end
        gone = threading.Thread(target=room.speaker.on_end, args=(DeviceError("speaker: unplugged"),))
        gone.start()
        gone.join()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        lost = room.events[-1]
        assert isinstance(lost, SpeakerLost)
        assert str(lost.error) == "speaker: unplugged"
        assert room.stopped() == [(A, 230, True)]

        room.player.play(B, speech(1000))  # while it is away: ends at once, so that nobody waits for it
        room.player.earcon(speech(50))
        await asyncio.sleep(0)
        assert room.stopped()[1:] == [(B, 0, True)]

        room.player.start()
        await asyncio.sleep(0.1)
        assert room.speaker.pulled[-2:] == speech(1, 3000)[:2]

    room = in_a_room(scene)
    assert sum(isinstance(event, SpeakerLost) for event in room.events) == 1


def test_the_end_of_an_earlier_stream_is_not_taken_for_this_ones() -> None:
    async def scene(room: Room) -> None:
        earlier = room.speaker.on_end
        assert earlier
        room.player.stop()
        room.player.start()
        earlier(DeviceError("late"))
        room.player.play(A, speech(100))
        room.player.finish(A)
        await asyncio.sleep(1)

    room = in_a_room(scene)
    assert room.stopped() == [(A, 100, False)]
    assert not any(isinstance(event, SpeakerLost) for event in room.events)


def test_a_speaker_that_cannot_be_opened_leaves_a_player_that_can_be_used() -> None:
    async def scene(room: Room) -> None:
        room.speaker.fails = DeviceError("speaker: none found")
        with pytest.raises(DeviceError, match="none found"):
            room.player.start()
        room.player.play(A, speech(100))
        await asyncio.sleep(0)
        assert room.stopped() == [(A, 0, True)]

    in_a_room(scene, start=False)


def test_the_finish_that_overtakes_the_pull_keeps_the_order_of_events() -> None:
    """The device pulls on its own thread: its news of the start may still be under way when the item is finished."""

    class ManualSpeaker(BufferedSpeaker):
        source: PcmSource

        def start(self, source: PcmSource, on_end: EndSink) -> None:
            self.source = source

    async def scene(room: Room) -> None:
        speaker = ManualSpeaker()
        room.player = Player(speaker, room.events.append, room.loop)
        room.player.start()
        room.player.play(A, speech(10))
        device = threading.Thread(target=speaker.source, args=(480,))
        device.start()
        device.join()
        room.player.finish(A)
        await asyncio.sleep(1)

    room = in_a_room(scene, start=False)
    assert [type(event) for event in room.events] == [PlaybackStarted, PlaybackStopped]


def test_the_reference_is_told_what_the_device_is_handed() -> None:
    async def main() -> None:
        reference = ReferenceBuffer()
        room = Room()
        room.player = Player(room.speaker, room.events.append, room.loop, reference)
        room.player.start()
        try:
            room.player.play(A, speech(1000))
            room.player.duck(20.0)
            await asyncio.sleep(0.5)
            heard = np.frombuffer(reference.take(room.loop.time()), "<i2")
            assert set(heard.tolist()) == {100}
        finally:
            room.player.stop()

    run(main())
