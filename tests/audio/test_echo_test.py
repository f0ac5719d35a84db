"""The echo test, in simulated rooms behind fake devices, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from assistant.adapters.livekit_aec import WebRtcEchoCanceller
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio import echo_test
from assistant.audio.device_echo import DeviceEchoPath
from assistant.audio.echo import EchoPath
from assistant.audio.echo_report import EchoReport, Shortfall
from assistant.audio.echo_test import EchoTest, chirp, find_delay
from assistant.audio.ports import EchoCanceller, EndSink, FrameSink, PcmSource
from assistant.audio.reference import ReferenceBuffer
from assistant.core.endpointing import EndpointingSettings
from assistant.errors import DeviceError
from assistant.testing.room import DESK, FAR_FRAME, HALL, RoomSettings, SimulatedRoom
from assistant.testing.virtual_time import run
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, AudioFrame
from tests import speech

LATENCY = 0.06
TEXT = "The recipe needs two eggs, a cup of flour and a pinch of salt. Bake it for half an hour at medium heat."


class NoCanceller:
    def process(self, mic_frame: bytes, reference: bytes) -> bytes:
        return mic_frame

    def reset(self) -> None: ...


class Devices:
    """A microphone and a speaker in one simulated room. The speaker is heard as late as the room's delay says.

    cancels: what the microphone has built in. stumbles_at: the frame in which playback stands still for 0.2 s.
    """

    description = "simulated"
    latency = LATENCY

    def __init__(
        self,
        room: SimulatedRoom | None,
        dies_after: int | None = None,
        cancels: EchoCanceller | None = None,
        stumbles_at: int = 0,
    ) -> None:
        self.stumbles_at = stumbles_at
        self.room = room
        self.dies_after = dies_after
        self.cancels = cancels
        self.loop = asyncio.get_running_loop()
        self.source: PcmSource | None = None
        self.on_frame: FrameSink | None = None
        self.on_end: EndSink | None = None
        self.frames = 0
        self.timer: asyncio.TimerHandle | None = None

    @property
    def speaker(self) -> _Speaker:
        return _Speaker(self)

    def start(self, on_frame: FrameSink, on_end: EndSink) -> None:
        self.on_frame, self.on_end = on_frame, on_end
        self.loop.call_soon_threadsafe(self.tick, self.loop.time())

    def stop(self) -> None:
        self.on_frame = None
        if self.timer is not None:
            self.timer.cancel()

    def tick(self, due: float) -> None:
        stumbles = self.stumbles_at and 0 <= self.frames - self.stumbles_at < 10
        far = self.source(FAR_FRAME) if self.source and not stumbles else bytes(FAR_FRAME * 2)
        mic = self.room.hear(far) if self.room else bytes(FRAME_BYTES)
        if self.cancels:
            mic = self.cancels.process(mic, far)
        if self.on_frame is None:
            return
        if self.frames == self.dies_after:
            assert self.on_end is not None
            self.on_end(DeviceError("unplugged"))
            return
        self.loop.call_at(due + 0.02, self.on_frame, AudioFrame(self.frames * FRAME_SAMPLES, mic, due + 0.02))
        self.frames += 1
        self.timer = self.loop.call_at(due + 0.02, self.tick, due + 0.02)


class _Speaker:
    description = "simulated"
    latency = LATENCY

    def __init__(self, devices: Devices) -> None:
        self.devices = devices

    def start(self, source: PcmSource, on_end: EndSink) -> None:
        self.devices.source = source

    def stop(self) -> None:
        self.devices.source = None


def webrtc(reference: ReferenceBuffer) -> EchoPath:
    return EchoPath(WebRtcEchoCanceller(), reference, (WebRtcVad(2), WebRtcVad(2)))


def nothing(reference: ReferenceBuffer) -> EchoPath:
    return EchoPath(NoCanceller(), reference, (WebRtcVad(2), WebRtcVad(2)))


def device(reference: ReferenceBuffer) -> DeviceEchoPath:
    return DeviceEchoPath(reference, WebRtcVad(2))


def measured(
    settings: RoomSettings | None,
    path: Callable[[ReferenceBuffer], EchoPath | DeviceEchoPath] = webrtc,
    *,
    dies_after: int | None = None,
    volume: int = 100,
    cancels: bool = False,
    stumbles_at: int = 0,
) -> EchoReport:
    async def main() -> EchoReport:
        room = SimulatedRoom(settings, 1) if settings else None
        devices = Devices(room, dies_after, WebRtcEchoCanceller() if cancels else None, stumbles_at)
        test = EchoTest(
            devices,
            devices.speaker,
            path,
            volume=volume,
            duck_db=15.0,
            endpointing=EndpointingSettings(),
        )
        said: list[str] = []
        voice = speech.say(TEXT, voice="en-us", speed=165, rate=24_000).tobytes()
        try:
            return await test.run(voice, ("mic", None), said.append)
        finally:
            assert devices.on_frame is None and devices.source is None, "both devices are closed"

    return run(main())


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo_test, "SPEECH_S", 8.0)


def test_a_good_room_passes() -> None:
    report = measured(replace(DESK, delay_ms=100.0, echo_dbfs=-26.0), volume=70)
    assert report.passed
    assert (report.interruptions, report.suspicions, report.stumbles) == (0, 0, 0)
    assert report.removed_db is not None and report.removed_db > 25
    assert (report.canceller, report.room_dbfs) == ("webrtc", pytest.approx(-66, abs=1))
    assert report.leak_db is not None and -60.0 <= report.leak_db < -20.0
    assert (report.microphone, report.speaker, report.volume) == ("mic", None, 70)
    assert report.delay_ms == pytest.approx(100 - LATENCY * 1000 + 20, abs=3)  # the reference leads by 20 ms
    louder = measured(replace(DESK, delay_ms=100.0, echo_dbfs=-26.0), volume=100)
    assert louder.echo_dbfs - report.echo_dbfs == pytest.approx(3.1, abs=0.5)


def test_a_canceller_that_removes_nothing_does_not_pass() -> None:
    report = measured(replace(DESK, delay_ms=100.0, echo_dbfs=-26.0), nothing)
    assert not report.passed
    assert Shortfall.LEFT in report.shortfalls
    assert report.delay_ms == pytest.approx(60, abs=3)
    assert report.removed_db is not None and abs(report.removed_db) < 1


def test_a_wireless_speaker_in_a_cruel_room_does_not_pass() -> None:
    report = measured(replace(HALL, echo_dbfs=-14.0, delay_ms=600.0))
    assert not report.passed
    assert report.removed_db is not None and report.removed_db < 10
    assert set(report.shortfalls) >= {Shortfall.LEFT}


@pytest.mark.usefixtures("short")
def test_headphones_pass_in_a_loud_room() -> None:
    """Its noise is not removed, and is no echo."""
    report = measured(replace(DESK, echo_dbfs=-100.0, noise_dbfs=-50.0))
    assert report.removed_db is not None and report.removed_db < 10
    assert report.delay_ms is None
    assert report.passed


@pytest.mark.usefixtures("short")
def test_a_microphone_that_cancels_by_itself_passes() -> None:
    report = measured(replace(DESK, delay_ms=100.0, echo_dbfs=-26.0), device, cancels=True)
    assert report.passed, report
    assert (report.canceller, report.removed_db) == ("device", None)
    assert report.left_dbfs < -55
    assert report.leak_db is not None


@pytest.mark.usefixtures("short")
def test_a_microphone_that_only_says_that_it_cancels_does_not_pass() -> None:
    report = measured(DESK, device)
    assert Shortfall.LEFT in report.shortfalls
    assert not report.passed
    assert report.left_dbfs > -45


@pytest.mark.usefixtures("short")
def test_playback_that_stumbles_is_counted() -> None:
    settle = echo_test.SETTLE_S + echo_test.ROOM_S + echo_test.CHIRP_WINDOW_S + echo_test.CONVERGE_S
    assert measured(DESK, device, stumbles_at=round((settle + 1) * 50)).stumbles == 1


def test_a_dead_microphone_is_said() -> None:
    with pytest.raises(DeviceError, match="delivers silence"):
        measured(None)


def test_a_microphone_that_is_unplugged_is_said_and_everything_is_closed() -> None:
    with pytest.raises(DeviceError, match="unplugged"):
        measured(DESK, dies_after=300)


@pytest.mark.parametrize("delay", [0, 37, 410])
def test_the_delay_of_a_chirp_is_found_in_noise(delay: int) -> None:
    far = np.concatenate([np.zeros(2400, "<i2"), np.frombuffer(chirp(), "<i2"), np.zeros(24_000, "<i2")])
    at_16k = far[: far.size // 3 * 3].astype(float).reshape(-1, 3)
    near = np.stack([at_16k[:, 0], (at_16k[:, 1] + at_16k[:, 2]) / 2], axis=1).ravel() * 0.1
    near = np.concatenate([np.zeros(delay * 16), near]) + np.random.default_rng(1).normal(
        0, 100, delay * 16 + near.size
    )
    assert find_delay([near.astype("<i2").tobytes()], [far.tobytes()]) == pytest.approx(delay, abs=1)


def test_noise_has_no_delay() -> None:
    noise = np.random.default_rng(1).normal(0, 100, 32_000).astype("<i2").tobytes()
    assert find_delay([noise], [chirp()]) is None
    assert find_delay([bytes(32_000)], [chirp()]) is None
