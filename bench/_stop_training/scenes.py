"""What a microphone hears of a word: rooms, noise, music, and the rest of an answer that echo cancellation leaves."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.adapters.livekit_aec import WebRtcEchoCanceller
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.echo import EchoPath
from assistant.audio.reference import ReferenceBuffer
from assistant.core.barge_in import Suspicion
from assistant.core.playout import Playout
from assistant.testing.room import FAR_FRAME, RoomSettings, SimulatedRoom, impulse_response
from assistant.types import FRAME_MS, FRAME_SAMPLES, AudioFrame, ItemId

RATE: Final = 16_000
STEP: Final = 1280
Wave = npt.NDArray[np.float64]

_BEFORE_S, _AFTER_S = 1.7, 0.64
DUCK_DB: Final = 15.0


def db(value: float) -> float:
    return float(10 ** (value / 20))


def level(wave: npt.NDArray[np.floating]) -> float:
    """RMS of the loud 20 ms frames: those within 20 dB of the loudest."""
    frames = wave[: max(1, len(wave) // 320) * 320].reshape(-1, min(320, len(wave))).astype(np.float64)
    powers = (frames**2).mean(1)
    return float(np.sqrt(powers[powers >= powers.max() / 100].mean())) + 1e-9


def int16(wave: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def word_scene(
    word: npt.NDArray[np.floating], backgrounds: list[npt.NDArray[np.float32]], random: np.random.Generator
) -> tuple[npt.NDArray[np.int16], int]:
    """A word somewhere in a room, with whatever else is to be heard; and where it ends."""
    loudness = db(random.uniform(-48, -16))
    said = word.astype(np.float64) / level(word) * loudness
    if random.random() < 0.8:
        said = _in_a_room(said, random)
    begin = int((_BEFORE_S + random.uniform(0, 0.08)) * RATE)
    end = begin + len(word)
    scene = background(-(-(end + int(_AFTER_S * RATE)) // STEP) * STEP, loudness, backgrounds, random)
    heard = said[: len(scene) - begin]
    scene[begin : begin + len(heard)] += heard
    return int16(scene), end


def reading_scene(
    parts: list[npt.NDArray[np.float32]],
    backgrounds: list[npt.NDArray[np.float32]],
    random: np.random.Generator,
) -> npt.NDArray[np.int16]:
    """Somebody reads, one thing after another."""
    pauses = [np.zeros(int(random.uniform(0.05, 0.6) * RATE)) for _ in parts]
    read = np.concatenate([piece for pair in zip(parts, pauses, strict=True) for piece in pair])
    loudness = db(random.uniform(-48, -16))
    heard = _in_a_room(read / level(read) * loudness, random)[: len(read)]
    return int16(heard + background(len(heard), loudness, backgrounds, random))


def noise_scene(seconds: float, random: np.random.Generator) -> npt.NDArray[np.int16]:
    """Music or clatter, and nobody."""
    count, loudness = int(seconds * RATE), db(random.uniform(-45, -10))
    sound = _music(count, random) if random.random() < 0.6 else _clatter(count, random) * 3
    return int16(sound * loudness + background(count, loudness, [], random))


def background(count: int, loudness: float, speech: list[npt.NDArray[np.float32]], random: np.random.Generator) -> Wave:
    """Noise, and mostly some speech, music or clatter, against a word of this loudness."""
    scene = np.zeros(count)
    kind = random.random()
    if kind < 0.65 and speech:
        other = speech[random.integers(len(speech))].astype(np.float64)
        if len(other) < count:
            other = np.tile(np.concatenate((other, np.zeros(3000))), count // len(other) + 1)
        begin = random.integers(0, len(other) - count + 1)
        other = _in_a_room(other[begin : begin + count], random)[:count]
        scene += other / level(other) * loudness * db(-random.uniform(-6, 26))
    elif kind < 0.75:
        scene += _music(count, random) * loudness * db(-random.uniform(-3, 26))
    elif kind < 0.8:
        scene += _clatter(count, random) * loudness * db(-random.uniform(-10, 15))
    noise = _pink(count, random) if random.random() < 0.6 else random.normal(size=count)
    return scene + noise * loudness * db(-random.uniform(6, 45))


def _in_a_room(wave: Wave, random: np.random.Generator) -> Wave:
    room = RoomSettings("any", rt60_s=random.uniform(0.1, 0.8), drr_db=random.uniform(-6, 10))
    response = impulse_response(room, random)
    count = len(wave) + len(response) - 1
    size = 1 << (count - 1).bit_length()
    heard: Wave = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(response, size), size)[:count]
    return heard


def _pink(count: int, random: np.random.Generator) -> Wave:
    spectrum = np.fft.rfft(random.normal(size=count))
    wave = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), count)
    pink: Wave = wave / np.sqrt((wave**2).mean())
    return pink


def _music(count: int, random: np.random.Generator) -> Wave:
    """Chords and a drum."""
    time, wave = np.arange(count) / RATE, np.zeros(count)
    beat = int(random.uniform(0.2, 0.6) * RATE)
    for begin in range(0, count, beat):
        root = 110 * 2 ** (random.integers(0, 24) / 12)
        size = min(count - begin, int(beat * random.uniform(1, 3)))
        decay = np.exp(-np.arange(size) / (RATE * random.uniform(0.1, 0.8)))
        for interval in random.choice([1, 1.25, 1.5, 2, 3], random.integers(1, 4), replace=False):
            for overtone in range(1, random.integers(2, 9)):
                wave[begin : begin + size] += (
                    np.sin(2 * np.pi * root * interval * overtone * time[:size]) * decay / overtone
                )
        if random.random() < 0.7:
            size = min(count - begin, RATE // 10)
            hit = random.normal(size=size) * np.exp(-np.arange(size) / (RATE * 0.02))
            wave[begin : begin + size] += hit * random.uniform(0.5, 4)
    return wave / (np.sqrt((wave**2).mean()) + 1e-9)


def _clatter(count: int, random: np.random.Generator) -> Wave:
    wave = np.zeros(count)
    for _ in range(random.integers(1, 8)):
        begin = random.integers(0, count - 200)
        size = min(count - begin, int(random.uniform(0.01, 0.4) * RATE))
        wave[begin : begin + size] += (
            random.normal(size=size) * np.exp(-np.arange(size) / (size / 4)) * random.uniform(0.2, 1)
        )
    return wave / (np.abs(wave).max() + 1e-9)


class AnsweringRoom:
    """The assistant reads an answer for ever in a simulated room, with the daemon's own echo path, ducking included."""

    def __init__(self, room: RoomSettings, answer: npt.NDArray[np.int16], seed: int = 1) -> None:
        """answer: 24 kHz."""
        self._room = SimulatedRoom(room, seed)
        self._reference = ReferenceBuffer()
        self._echo = EchoPath(WebRtcEchoCanceller(), self._reference, (WebRtcVad(2), WebRtcVad(2)))
        self._playout = Playout()
        self._answer, self._at = answer, 0
        self._suspected = False
        self.heard: list[bytes] = []
        """Frames behind the linear canceller, as the daemon hears them, at 16 kHz."""
        self.played: list[bytes] = []
        """The reference to each, at 24 kHz."""
        self.talkers: list[bool] = []
        """Whether each is evidence that somebody speaks."""

    @property
    def samples(self) -> int:
        """Heard so far."""
        return len(self.heard) * FRAME_SAMPLES

    def say(self, speech: npt.NDArray[np.int16]) -> None:
        self._room.say(speech)

    def listen(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000 / FRAME_MS)):
            self._step()

    def _step(self) -> None:
        if self._playout.available < FAR_FRAME:
            if self._at + FAR_FRAME > len(self._answer):
                self._at = 0
            self._playout.append(ItemId("answer"), self._answer[self._at : self._at + FAR_FRAME].tobytes())
            self._at += FAR_FRAME
        far, now = self._playout.pull(FAR_FRAME), self.samples / RATE
        self._reference.played(far, now, 0.0)
        frame = AudioFrame(self.samples, self._room.hear(far), now + FRAME_MS / 1000)
        cleaned = self._echo.clean(frame)
        self.heard.append(cleaned.words)
        self.played.append(cleaned.played)
        self.talkers.append(cleaned.evidence.speech)
        suspected = cleaned.evidence.suspicion is Suspicion.SUSPECTED
        if suspected != self._suspected:
            self._suspected = suspected
            self._playout.duck(DUCK_DB if suspected else 0.0)
