"""The input audio buffer of one session, and what listens to it: turn detection and the recogniser.

The recogniser hears audio while it arrives, so that words are known milliseconds after the end of a turn. It hears the
same samples that the buffer holds, at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from assistant.core.completeness import Completeness
from assistant.local.checks import EventError
from assistant.local.protocol import BYTES_PER_MS, MIN_COMMIT_MS
from assistant.local.recognizer import Recognizer, Transcript, Utterance
from assistant.local.sound_format import SoundDecoder, SoundFormat
from assistant.local.turn_detection import DetectionSettings, Paused, Started, Stopped, TurnDetector
from assistant.types import FRAME_BYTES, MIC_RATE, SPEAKER_RATE

MAX_BUFFER_BYTES: Final = 15 * 1024 * 1024
"""Uncommitted audio of one session: over five minutes. More is refused."""

_IDLE_KEEP_MS: Final = 6_000  # kept before speech is detected; more than any prefix padding plus the detection window
_MIC_BYTES_PER_MS: Final = MIC_RATE * 2 // 1000


@dataclass(frozen=True, slots=True)
class Segment:
    """The audio of one turn, and what the recogniser makes of it (await it once)."""

    pcm: bytes
    transcript: Awaitable[Transcript]


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """Turn detection would like to know what was said before it: see :meth:`AudioInput.judge`."""

    since_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    audio_end_ms: int
    segment: Segment


SpeechEvent = SpeechStarted | SpeechPaused | SpeechStopped


class AudioInput:
    """Owns the buffer. Times are in milliseconds of audio appended since the session began."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._buffer = bytearray()  # 24 kHz
        self._start_ms = 0  # audio time of the first byte of the buffer
        self._decoder = SoundDecoder(SoundFormat())
        self._utterance: Utterance | None = None
        self._settings: DetectionSettings | None = None
        self._reset_listening()

    @property
    def buffered_ms(self) -> int:
        return len(self._buffer) // BYTES_PER_MS

    @property
    def position_ms(self) -> int:
        """Audio time of the end of the buffer."""
        return self._start_ms + self.buffered_ms

    @property
    def speaking(self) -> bool:
        """Whether turn detection hears somebody."""
        return self._detector is not None and self._detector.speaking

    @property
    def settings(self) -> DetectionSettings | None:
        """Turn detection, or None while the client commits by itself."""
        return self._settings

    def configure(self, settings: DetectionSettings | None, sound: SoundFormat | None = None) -> None:
        """Change turn detection and format. What is in the buffer stays there and belongs to the next commit."""
        if sound is not None and sound != self._decoder.sound:
            self._decoder = SoundDecoder(sound)
        if settings != self._settings:
            self._settings = settings
            self._restart()

    def append(self, chunk: bytes) -> list[SpeechEvent]:
        """More audio, in the client's format. Raises EventError when the buffer is full; then nothing is taken."""
        return self._take(self._decoder.decode(chunk))

    def _take(self, pcm: bytes) -> list[SpeechEvent]:
        if len(self._buffer) + len(pcm) > MAX_BUFFER_BYTES:
            raise EventError(
                "input_audio_buffer_full",
                f"The input audio buffer holds at most {MAX_BUFFER_BYTES} bytes; commit or clear it first.",
            )
        self._buffer += pcm
        heard = self._resample(pcm)
        if self._settings is not None:
            return self._detect(heard)
        if self._utterance is None:
            self._utterance = self._recognizer.begin()
        self._utterance.feed(heard)
        return []

    async def so_far(self) -> str:
        """What was heard of the turn until now, as far as it is the beginning of a sentence; empty otherwise."""
        return await self._utterance.so_far() if self._utterance is not None else ""

    def judge(self, since_ms: int, found: Completeness) -> None:
        """Say what was said before a pause."""
        if self._detector is not None:
            self._detector.judge(since_ms, found)

    def commit(self) -> Segment:
        """End the turn by hand. Raises EventError below 100 ms."""
        if (tail := self._decoder.flush()) and self._settings is None:
            self._take(tail)
        if len(self._buffer) < MIN_COMMIT_MS * BYTES_PER_MS:
            held = len(self._buffer) / BYTES_PER_MS
            raise EventError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS}ms of audio, but buffer only has {held:.2f}ms of audio.",
            )
        segment = self._segment(bytes(self._buffer))
        self._restart(clear=True)
        return segment

    def clear(self) -> None:
        """Forget what was not committed. Time goes on."""
        self._restart(clear=True)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _segment(self, pcm: bytes) -> Segment:
        utterance = self._utterance
        if utterance is None:  # nobody listened to it yet, or not from its beginning
            utterance = self._recognizer.begin()
            utterance.feed(_whole_to_mic(pcm))
        else:
            utterance.feed(bytes(self._frames) + self._resample(b"", last=True))
        self._utterance = None
        return Segment(pcm, utterance.finish())

    def _restart(self, *, clear: bool = False) -> None:
        if self._utterance is not None:
            self._utterance.abandon()
            self._utterance = None
        if clear:
            self._start_ms += self.buffered_ms
            self._buffer.clear()
            self._decoder = SoundDecoder(self._decoder.sound)
        elif self._buffer and self._settings is None:
            self._utterance = self._recognizer.begin()
            self._utterance.feed(_whole_to_mic(bytes(self._buffer)))
        self._reset_listening()

    def _reset_listening(self) -> None:
        import soxr

        self._stream: Any = soxr.ResampleStream(SPEAKER_RATE, MIC_RATE, 1, dtype="int16")
        self._frames = bytearray()  # 16 kHz, not yet a whole frame
        self._recent = bytearray()  # 16 kHz, before speech is detected
        self._detector: TurnDetector | None = None
        if self._settings is not None:
            import webrtcvad

            self._vad = webrtcvad.Vad(self._settings.mode)
            self._detector = TurnDetector(self._settings, self._start_ms + self.buffered_ms)

    def _resample(self, pcm: bytes, *, last: bool = False) -> bytes:
        samples = np.frombuffer(pcm, dtype="<i2")
        return bytes(self._stream.resample_chunk(samples, last=last).tobytes())

    def _detect(self, heard: bytes) -> list[SpeechEvent]:
        assert self._detector is not None
        detector = self._detector
        events: list[SpeechEvent] = []
        self._frames += heard
        while len(self._frames) >= FRAME_BYTES:
            frame = bytes(self._frames[:FRAME_BYTES])
            del self._frames[:FRAME_BYTES]
            if self._utterance is not None:
                self._utterance.feed(frame)
            else:
                self._recent += frame
                del self._recent[: -_IDLE_KEEP_MS * _MIC_BYTES_PER_MS]
            match detector.hear(self._vad.is_speech(frame, MIC_RATE)):
                case Started(at_ms):
                    events.append(self._speech_started(at_ms))
                case Paused(since_ms):
                    events.append(SpeechPaused(since_ms))
                case Stopped(at_ms):
                    events.append(self._speech_stopped(at_ms))
                case None:
                    pass
        if self._utterance is None:
            self._drop_until(self._start_ms + self.buffered_ms - _IDLE_KEEP_MS)
        return events

    def _speech_started(self, at_ms: int) -> SpeechStarted:
        self._drop_until(at_ms)
        self._utterance = self._recognizer.begin()
        # The frames not yet looked at are the end of the buffer; the turn is what lies between.
        waiting = len(self._frames) // _MIC_BYTES_PER_MS
        wanted = max(0, self.buffered_ms - waiting) * _MIC_BYTES_PER_MS
        self._utterance.feed(bytes(self._recent[-wanted:] if wanted else b""))
        self._recent.clear()
        return SpeechStarted(self._start_ms)

    def _speech_stopped(self, at_ms: int) -> SpeechStopped:
        size = min(max(0, at_ms - self._start_ms) * BYTES_PER_MS, len(self._buffer))
        pcm = bytes(self._buffer[:size])
        utterance = self._utterance
        assert utterance is not None
        self._utterance = None
        self._drop_until(at_ms)
        return SpeechStopped(at_ms, Segment(pcm, utterance.finish()))

    def _drop_until(self, at_ms: int) -> None:
        """Forget what lies before an audio time."""
        excess = min(max(0, at_ms - self._start_ms), self.buffered_ms)
        del self._buffer[: excess * BYTES_PER_MS]
        self._start_ms += excess


def _whole_to_mic(pcm: bytes) -> bytes:
    import soxr

    return bytes(soxr.resample(np.frombuffer(pcm, dtype="<i2"), SPEAKER_RATE, MIC_RATE).tobytes())
