"""Is the microphone heard, how loud is the room, and does the microphone hear the speaker?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from assistant.audio.echo_report import EchoReport
from assistant.audio.echo_test import chirp, find_delay
from assistant.audio.player import Player, PlayerEvent, SpeakerLost
from assistant.audio.ports import Microphone, Speaker
from assistant.audio.reference import ReferenceBuffer
from assistant.config import Config
from assistant.doctor.findings import Finding, advice, ok, problem
from assistant.errors import DeviceError
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, MIC_RATE, AudioFrame, ItemId

LISTEN_S: Final = 2.0
SETTLE_S: Final = 0.7  # devices begin with clicks and gaps
CHIRP_S: Final = 2.0
_MARGIN_S: Final = 4.0

CLIPPED_SHARE: Final = 0.001
LOST_SHARE: Final = 0.01
REPEATED_SHARE: Final = 0.01
LOUD_ROOM_DBFS: Final = -35.0
FAINT_DBFS: Final = -75.0
MAX_OFFSET: Final = 0.02
_FULL: Final = 32768.0


@dataclass(frozen=True, slots=True)
class Levels:
    """What a stretch of microphone audio looks like.

    peak_dbfs: the loudest sample. floor_dbfs: the quiet tenth of its frames (RMS). clipped: share of samples at full
    scale. offset: mean, in shares of full scale. rate: samples that were captured, in shares of those that should have
    been. lost, repeated: frames that never came, and those that came again, in shares of all.
    """

    peak_dbfs: float
    floor_dbfs: float
    clipped: float
    offset: float
    rate: float
    lost: float
    repeated: float


def levels(frames: Sequence[AudioFrame], seconds: float) -> Levels:
    """``frames``: what came within ``seconds``; at least one."""
    samples = np.frombuffer(b"".join(frame.pcm for frame in frames), "<i2").astype(np.float64) / _FULL
    by_frame = samples.reshape(-1, FRAME_BYTES // 2)
    offset = float(samples.mean())
    rms = np.sqrt(np.mean((by_frame - by_frame.mean(axis=1, keepdims=True)) ** 2, axis=1))
    return Levels(
        peak_dbfs=_db(float(np.abs(samples).max())),
        floor_dbfs=_db(float(np.percentile(rms, 10))),
        clipped=float(np.mean(np.abs(samples) >= 32766 / _FULL)),
        offset=offset,
        rate=(frames[-1].end - frames[0].start) / MIC_RATE / seconds,
        lost=1 - len(frames) * FRAME_SAMPLES / (frames[-1].end - frames[0].start),
        repeated=sum(a.pcm == b.pcm and any(a.pcm) for a, b in pairwise(frames)) / len(frames),
    )


def judge(heard: Levels) -> list[Finding]:
    """What the levels say."""
    told = f"peak {heard.peak_dbfs:.0f} dBFS, room {heard.floor_dbfs:.0f} dBFS"
    if heard.peak_dbfs <= -96:
        return [problem("nothing but zeros", "is it muted (`alsamixer`, `wpctl`, its own switch), or the wrong one?")]
    findings = []
    if heard.clipped > CLIPPED_SHARE:
        findings.append(advice(f"clipped: {heard.clipped:.1%} of the samples are at full scale", "lower its gain"))
    if abs(heard.offset) > MAX_OFFSET:
        findings.append(
            advice(f"a constant offset of {heard.offset:+.1%}", "the sound card is faulty or badly powered")
        )
    if heard.lost > LOST_SHARE:
        findings.append(advice(f"{heard.lost:.0%} of the audio is lost", "the machine or the USB bus is overloaded"))
    if heard.repeated > REPEATED_SHARE:
        stutter = "its driver or the sound server stutters"
        findings.append(advice(f"{heard.repeated:.0%} of the frames are the one before once more", stutter))
    if not 0.95 < heard.rate < 1.05:
        rate = "its sampling rate is not what it says, or the machine is overloaded"
        findings.append(advice(f"in a second comes {heard.rate:.2f} s of audio", rate))
    if heard.floor_dbfs > LOUD_ROOM_DBFS:
        findings.append(advice(f"a loud room ({told})", "move it away from what hums, or lower its gain"))
    elif heard.peak_dbfs < FAINT_DBFS:
        findings.append(advice(f"very faint ({told})", "raise its gain: speech should reach -30 to -6 dBFS"))
    return findings or [ok(told)]


class SoundCheck:
    """Opens both devices, listens, plays a chirp, and closes them. ``listen`` first, then ``play``."""

    def __init__(self, microphone: Microphone, speaker: Speaker, volume: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._microphone = microphone
        self._reference = ReferenceBuffer()
        self._player = Player(speaker, self._playback, self._loop, self._reference)
        self._player.set_volume(volume / 100)
        self._frames: list[AudioFrame] = []
        self._played: list[bytes] = []
        self._lost: DeviceError | None = None
        self._open = False
        self._told: str | None = None  # the fault that was told

    async def listen(self) -> list[Finding]:
        """Open the microphone, and say how loud the room is. Raises DeviceError."""
        await asyncio.to_thread(self._microphone.start, self._on_frame, self._on_end)
        self._open = True
        await self._record(SETTLE_S)
        began = self._loop.time()
        frames = await self._record(LISTEN_S)
        return judge(levels(frames, self._loop.time() - began)) + self._fault()

    async def play(self) -> list[Finding]:
        """Play a chirp, and say whether the microphone hears it. Raises DeviceError."""
        await asyncio.to_thread(self._player.start)
        if not self._open:
            return [ok("opened; nothing could be heard, as there is no microphone")]
        self._played.clear()
        self._player.play(ItemId("chirp"), chirp())
        self._player.finish(ItemId("chirp"))
        frames = await self._record(CHIRP_S)
        delay = find_delay([frame.pcm for frame in frames], self._played)
        if delay is None:
            otherwise = "fine with headphones, or where the microphone cancels echo itself; else: is the speaker on?"
            return [advice("the chirp was played, and the microphone did not hear it", otherwise), *self._fault()]
        peak = levels(frames, CHIRP_S).peak_dbfs
        return [ok(f"the microphone hears it after {delay:.0f} ms, at {peak:.0f} dBFS"), *self._fault()]

    async def close(self) -> None:
        await asyncio.to_thread(self._microphone.stop)
        self._player.stop()

    def _fault(self) -> list[Finding]:
        """What the microphone says of itself, once. In a quiet room it may take a chirp to find out."""
        told, self._told = self._told, self._microphone.fault
        return [advice(f"the microphone: {self._told}", "")] if self._told and self._told != told else []

    async def _record(self, seconds: float) -> list[AudioFrame]:
        """The frames of so many seconds of audio. Raises DeviceError if they do not come."""
        self._frames.clear()
        wanted = round(seconds * MIC_RATE * 2 / FRAME_BYTES)
        deadline = self._loop.time() + seconds + _MARGIN_S
        while len(self._frames) < wanted:
            if self._lost is not None:
                raise self._lost
            if self._loop.time() > deadline:
                if not self._frames:
                    raise DeviceError("it can be opened, and gives no sound: unplug it, or restart the sound server")
                break
            await asyncio.sleep(0.02)
        return self._frames[:wanted]

    def _on_frame(self, frame: AudioFrame) -> None:
        self._loop.call_soon_threadsafe(self._hear, frame)

    def _hear(self, frame: AudioFrame) -> None:
        self._frames.append(frame)
        self._played.append(self._reference.take(frame.captured_at))

    def _on_end(self, error: DeviceError | None) -> None:
        self._loop.call_soon_threadsafe(self._lose, error or DeviceError("the recording is over"))

    def _lose(self, error: DeviceError) -> None:
        self._lost = self._lost or error

    def _playback(self, event: PlayerEvent) -> None:
        if isinstance(event, SpeakerLost):
            self._lose(event.error)


def judge_echo(report: EchoReport | None, covered: bool, config: Config, canceller: str) -> Finding:
    """Whether the longer echo test was passed here. covered: whether it holds for the devices and settings of now."""
    if config.barge_in.mode != "auto":
        return ok(f"barge_in.mode is {config.barge_in.mode}")
    if canceller == "off":
        return ok("only the wake word interrupts an answer, as echo is not cancelled")
    if report is None:
        return advice("only the wake word interrupts an answer", "run `assistant doctor --echo` to allow speech to")
    if not covered:
        what = "with other devices, or another canceller"
        return advice(f"the echo test was made {what}: only the wake word interrupts", "run `assistant doctor --echo`")
    if not report.passed:
        return advice("the echo test was not passed: only the wake word interrupts an answer", "see docs/echo.md")
    if (volume := config.audio.output.volume) > report.volume:
        louder = f"the echo test was passed at volume {report.volume}: at {volume}, only the wake word interrupts"
        return advice(louder, "lower audio.output.volume, or run `assistant doctor --echo`")
    return ok(f"speech may interrupt an answer, up to volume {report.volume} (the echo test was passed)")


def _db(value: float) -> float:
    return float(20 * np.log10(max(value, 1e-5)))
