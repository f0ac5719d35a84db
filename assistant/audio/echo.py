"""The assistant's own voice, taken out of the microphone: for VAD and uplink, and in another way for the wake words.

::

    microphone ──┬── linear canceller ──> wake words, evidence
                 └── AEC3 ─────────────> VAD, evidence, uplink

Wake words are found where some echo and all of the talker are left. A person who listens to the uplink, or a model that
writes down what was said, wants the echo gone (docs/echo.md has the numbers).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from assistant.audio.ports import EchoCanceller, VoiceActivityDetector
from assistant.audio.reference import FRAME, ReferenceBuffer
from assistant.core.barge_in import SILENT_DB, BargeInDetector, Evidence
from assistant.core.linear_canceller import LinearCanceller
from assistant.core.talker_bands import TalkerBands
from assistant.types import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE, AudioFrame

IDLE_AFTER_FRAMES: Final = 2000 // FRAME_MS
"""After so long without playback there is no echo left, and the cancellers rest: they see neither of their two streams,
so that these stay in step, and keep what they have learned."""

MAX_GAP_FRAMES: Final = 500 // FRAME_MS
"""Microphone frames that were lost are made up for with silence, up to here; after a longer gap the streams are simply
continued, which AEC3 survives as a jump of its delay."""

DRIFT_KNOWN_FRAMES: Final = 120_000 // FRAME_MS
"""How long after playback the drift that was learned says where the echo is: 2 ppm beside the truth are 0.2 ms then.
After longer, the reference knows better, which keeps in step with the clocks within a millisecond."""

NO_SOUND_DB: Final = -100.0

_SILENT_REFERENCE: Final = bytes(FRAME * 2)
_SILENT_FRAME: Final = bytes(FRAME_BYTES)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A frame without echo.

    words: the same 20 ms for the wake words. played: what the speaker played meanwhile, at 24 kHz.
    speech: the VAD's word. evidence: whether somebody speaks into an answer.
    residual_db, reference_db: levels in dBFS; ``reference_db`` is NO_SOUND_DB where nothing was played.
    """

    frame: AudioFrame
    words: bytes
    played: bytes
    speech: bool
    evidence: Evidence
    residual_db: float
    reference_db: float


class EchoPath:
    """Feeds the cancellers with the two streams, frame by frame, and weighs what they leave. One thread at a time.

    canceller: for VAD and uplink. vads: one for what it leaves, and one for what the linear canceller leaves.
    leak_db: what the echo test has learned about this room, if anything.
    """

    def __init__(
        self,
        canceller: EchoCanceller,
        reference: ReferenceBuffer,
        vads: tuple[VoiceActivityDetector, VoiceActivityDetector],
        leak_db: float | None = None,
    ) -> None:
        self._canceller = canceller
        self._linear = LinearCanceller()
        self._reference = reference
        self._vad, self._words_vad = vads
        self._bands = TalkerBands()
        self._barge_in = BargeInDetector(leak_db=leak_db)
        self._silent_for = IDLE_AFTER_FRAMES
        self._end: int | None = None  # sample after the last frame

    @property
    def resting(self) -> bool:
        """Nothing has been played for a while, and frames pass as they are."""
        return self._silent_for >= IDLE_AFTER_FRAMES

    @property
    def leak_db(self) -> float:
        """What is usually left of playback, relative to it."""
        return self._barge_in.leak_db

    def clean(self, frame: AudioFrame) -> Cleaned:
        """Take the next frame of the microphone."""
        self._make_up_for_lost_frames(frame)
        self._end = frame.end
        reference = self._take(frame.captured_at)
        pcm, words = self._cancel(frame.pcm, reference)
        residual_db, reference_db = level_db(pcm), level_db(reference)
        speech = self._vad.is_speech(pcm)
        playing = reference_db >= SILENT_DB
        talker = self._barge_in.talker
        evidence = self._barge_in.feed(
            voiced=speech,
            residual_db=residual_db,
            reference_db=reference_db,
            words_voiced=not self.resting and self._words_vad.is_speech(words),
            stands_out=0.0 if self.resting else self._bands.feed(frame.pcm, words, playing=playing, talker=talker),
            clipped=self._bands.clipped,
        )
        return Cleaned(replace(frame, pcm=pcm), words, reference, speech, evidence, residual_db, reference_db)

    def _cancel(self, pcm: bytes, reference: bytes) -> tuple[bytes, bytes]:
        self._silent_for = self._silent_for + 1 if reference == _SILENT_REFERENCE else 0
        if self.resting:
            if self._silent_for < DRIFT_KNOWN_FRAMES:
                self._linear.rest()
            return pcm, pcm
        return self._canceller.process(pcm, reference), self._linear.process(pcm, reference)

    def _take(self, captured_at: float) -> bytes:
        reference = self._reference.take(captured_at)
        if self._silent_for < DRIFT_KNOWN_FRAMES:
            self._linear.move(self._reference.moved * MIC_RATE / SPEAKER_RATE)
        return reference

    def _make_up_for_lost_frames(self, frame: AudioFrame) -> None:
        lost = 0 if self._end is None else (frame.start - self._end) // FRAME_SAMPLES
        if 0 < lost <= MAX_GAP_FRAMES:
            for ago in range(lost, 0, -1):
                self._cancel(_SILENT_FRAME, self._take(frame.captured_at - ago * FRAME_SAMPLES / MIC_RATE))


def level_db(pcm: bytes) -> float:
    """RMS of int16 samples in dBFS; NO_SOUND_DB for digital silence."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    power = float(samples @ samples) / max(1, samples.size)
    return 10 * math.log10(power) - 20 * math.log10(32768) if power > 0 else NO_SOUND_DB
