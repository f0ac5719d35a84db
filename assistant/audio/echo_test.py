"""The echo test: does the assistant hear itself on these devices, and would it interrupt itself?

It plays a chirp and then its own speech through a player, and does with the microphone what the daemon does: echo
cancellation, evidence, ducking, endpointing. It takes real time, and runs on the event loop: a frame costs 0.2 ms.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.audio.device_echo import DeviceEchoPath, sound_db
from assistant.audio.echo import EchoPath, level_db
from assistant.audio.echo_report import EchoReport
from assistant.audio.player import Player, PlayerEvent
from assistant.audio.ports import Microphone, Speaker
from assistant.audio.reference import ReferenceBuffer
from assistant.audio.resample import StreamResampler
from assistant.core.barge_in import Suspicion
from assistant.core.endpointing import Endpointer, EndpointingSettings, Expect, SpeechStart
from assistant.errors import DeviceError
from assistant.types import MIC_RATE, SPEAKER_RATE, AudioFrame, ItemId

SETTLE_S: Final = 1.0  # devices start with clicks and gaps
CHIRP_S: Final = 0.5
CHIRP_WINDOW_S: Final = 2.0
SPEECH_S: Final = 30.0
CONVERGE_S: Final = 3.0  # of speech that is not measured: the canceller learns
ROOM_S: Final = 0.5

_DEAD_DB: Final = -95.0  # no room and no converter is that quiet
_PLAYING_DB: Final = -45.0
_MIN_CORRELATION: Final = 0.2
_WAIT_MARGIN_S: Final = 5.0
_Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Take:
    """What came of the frames of one phase."""

    raw: list[bytes] = field(default_factory=list)
    reference: list[bytes] = field(default_factory=list)
    echo: float = 0.0  # energies, of the frames in which something plays
    left: float = 0.0
    frames: int = 0
    suspicions: int = 0
    interruptions: int = 0
    stumbles: int = 0


class EchoTest:
    """One test on two devices, which it opens and closes. ``run`` it once."""

    def __init__(
        self,
        microphone: Microphone,
        speaker: Speaker,
        path: Callable[[ReferenceBuffer], EchoPath | DeviceEchoPath],
        *,
        volume: int,
        duck_db: float,
        endpointing: EndpointingSettings,
    ) -> None:
        """path: makes what the daemon would send the frames through.

        volume: percent. duck_db: how much softer playback gets at a suspicion.
        """
        self._loop = asyncio.get_running_loop()
        self._microphone = microphone
        self._reference = _Tee()
        self._player = Player(speaker, self._playback, self._loop, self._reference)
        self._player.set_volume(volume / 100)
        self._path = path(self._reference)
        self._volume = volume
        self._duck_db = duck_db
        self._endpointer = Endpointer(endpointing)
        self._suspected = False
        self._take = _Take()
        self._position = 0  # samples captured
        self._until = 0  # the position that a phase waits for
        self._reached: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] = self._loop.create_future()

    async def run(self, speech: bytes, names: tuple[str | None, str | None], tell: Callable[[str], None]) -> EchoReport:
        """Play and listen; about 35 s.

        speech: the assistant's own voice, 24 kHz; repeated as often as need be. names: microphone and speaker as the
        config names them. Raises DeviceError if a device cannot be opened or is lost. Cancelling closes both.
        """
        try:
            await asyncio.to_thread(self._player.start)
            await asyncio.to_thread(self._microphone.start, self._on_frame, self._on_end)
            await self._wait(SETTLE_S)
            quiet = await self._phase(ROOM_S)
            tell("playing a chirp")
            heard = await self._play("chirp", chirp(), CHIRP_WINDOW_S)
            if level_db(b"".join(quiet.raw + heard.raw)) < _DEAD_DB:
                raise DeviceError(
                    "the microphone delivers silence: is it muted, or the wrong one? see assistant devices"
                )
            delay = find_delay(heard.raw, heard.reference)
            tell(f"playing {SPEECH_S:.0f} s of speech: please be quiet")
            repeated = speech * (1 + round(SPEECH_S * SPEAKER_RATE * 2) // max(1, len(speech)))
            self._player.play(ItemId("speech"), repeated[: round((CONVERGE_S + SPEECH_S) * SPEAKER_RATE) * 2])
            await self._phase(CONVERGE_S)
            jumps = self._reference.stats.jumps
            talk = await self._phase(SPEECH_S)
            talk.stumbles += self._reference.stats.jumps - jumps
            if not talk.frames:
                raise DeviceError("the speaker takes no sound: see assistant devices")
        finally:
            self._microphone.stop()
            self._player.stop()
        return self._report(delay, quiet, talk, names)

    def _report(
        self, delay: float | None, quiet: _Take, talk: _Take, names: tuple[str | None, str | None]
    ) -> EchoReport:
        echo, left = (10 * math.log10(max(energy / talk.frames, 1e-10)) for energy in (talk.echo, talk.left))
        cancels = isinstance(self._path, EchoPath)
        report = EchoReport(
            microphone=names[0],
            speaker=names[1],
            volume=self._volume,
            delay_ms=delay,
            echo_dbfs=round(echo, 1),
            removed_db=round(echo - left, 1) if cancels else None,
            suspicions=talk.suspicions,
            interruptions=talk.interruptions,
            speech_s=SPEECH_S,
            passed=False,
            leak_db=round(self._path.leak_db, 1),
            canceller="webrtc" if cancels else "device",
            room_dbfs=round(statistics.median(map(sound_db, quiet.raw)), 1),
            stumbles=talk.stumbles,
        )
        return replace(report, passed=not report.shortfalls)

    # --- phases -----------------------------------------------------------------------------------------------------

    async def _play(self, item: str, pcm: bytes, seconds: float) -> _Take:
        self._player.play(ItemId(item), pcm)
        self._player.finish(ItemId(item))
        return await self._phase(seconds)

    async def _phase(self, seconds: float) -> _Take:
        """What is heard in the next seconds of audio."""
        self._take = take = _Take()
        self._endpointer.expect(Expect.BARGE_IN, self._position)
        await self._wait(seconds)
        return take

    async def _wait(self, seconds: float) -> None:
        """Until so much audio has been captured. Raises DeviceError if a device is lost, or none comes."""
        self._until = self._position + round(seconds * MIC_RATE)
        self._reached = self._loop.create_future()
        timeout = seconds + _WAIT_MARGIN_S
        await asyncio.wait({self._reached, self._lost}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._lost.done():
            self._lost.result()
        if not self._reached.done():
            raise DeviceError("the microphone delivers no audio: see assistant devices")

    # --- frames -----------------------------------------------------------------------------------------------------

    def _on_frame(self, frame: AudioFrame) -> None:
        self._loop.call_soon_threadsafe(self._hear, frame)

    def _on_end(self, error: DeviceError | None) -> None:
        lost = error or DeviceError("the microphone ended its stream")
        self._loop.call_soon_threadsafe(self._lose, lost)

    def _playback(self, event: PlayerEvent) -> None:
        if error := getattr(event, "error", None):
            self._lose(error)

    def _lose(self, error: DeviceError) -> None:
        if not self._lost.done():
            self._lost.set_exception(error)

    def _hear(self, frame: AudioFrame) -> None:
        """What the daemon does with a frame, and the books."""
        take = self._take
        take.stumbles += frame.start != self._position
        self._position = frame.end
        cleaned = self._path.clean(frame)
        take.raw.append(frame.pcm)
        take.reference.append(self._reference.latest)
        if cleaned.reference_db > _PLAYING_DB:
            take.frames += 1
            take.echo += 10 ** (sound_db(frame.pcm) / 10)
            take.left += 10 ** (cleaned.residual_db / 10)
        suspected = cleaned.evidence.suspicion is Suspicion.SUSPECTED
        if suspected != self._suspected:
            take.suspicions += suspected
            self._suspected = suspected
            self._player.duck(self._duck_db if suspected else 0.0)
        if isinstance(self._endpointer.hear(frame.start, cleaned.evidence.speech), SpeechStart):
            take.interruptions += 1
            self._endpointer.expect(Expect.BARGE_IN, frame.end + MIC_RATE)  # the next one, a second later
        if self._reached is not None and not self._reached.done() and self._position >= self._until:
            self._reached.set_result(None)


class _Tee(ReferenceBuffer):
    """Remembers the frame of reference that was taken last."""

    latest = b""

    def take(self, captured_at: float) -> bytes:
        self.latest = super().take(captured_at)
        return self.latest


def chirp() -> bytes:
    """A sweep from 300 to 3500 Hz at 24 kHz: loud enough, and unlike anything else in a room."""
    t = np.arange(round(CHIRP_S * SPEAKER_RATE)) / SPEAKER_RATE
    phase = 2 * np.pi * (300 * t + (3500 - 300) / (2 * CHIRP_S) * t**2)
    ramp = np.minimum(1.0, np.minimum(t, CHIRP_S - t) / 0.01)
    pcm: bytes = np.rint(8000 * ramp * np.sin(phase)).astype("<i2").tobytes()
    return pcm


def find_delay(heard: list[bytes], reference: list[bytes]) -> float | None:
    """How many ms after the reference (24 kHz) its echo is heard (16 kHz); None if it is not heard."""
    resampler = StreamResampler(SPEAKER_RATE, MIC_RATE)
    far = _floats(resampler.feed(b"".join(reference)) + resampler.flush())
    near = _floats(b"".join(heard))
    size = 1 << (far.size + near.size).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(near, size) * np.conj(np.fft.rfft(far, size)))[: near.size]
    scale = np.sqrt(np.sum(near**2) * np.sum(far**2))
    lag = int(np.argmax(np.abs(correlation)))
    if scale == 0 or abs(correlation[lag]) < _MIN_CORRELATION * scale:
        return None
    return round(lag / MIC_RATE * 1000, 1)


def _floats(pcm: bytes) -> _Floats:
    return np.frombuffer(pcm, "<i2").astype(np.float64)
