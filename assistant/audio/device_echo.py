"""A microphone that comes without echo: a sound server, or a microphone of its own, cancels it.

Nothing is taken out here. What the canceller over there leaves is weighed as what AEC3 leaves is
(:mod:`assistant.core.barge_in`), so that an answer is ducked at a suspicion, and its remains interrupt nobody.
"""

from __future__ import annotations

import numpy as np

from assistant.audio.echo import Cleaned, level_db
from assistant.audio.ports import VoiceActivityDetector
from assistant.audio.reference import ReferenceBuffer
from assistant.core.barge_in import BargeInDetector
from assistant.types import AudioFrame


class DeviceEchoPath:
    """Takes the place of an :class:`~assistant.audio.echo.EchoPath`. One thread at a time.

    leak_db: what the echo test has learned about what is left, if anything.
    """

    def __init__(self, reference: ReferenceBuffer, vad: VoiceActivityDetector, leak_db: float | None = None) -> None:
        self._reference = reference
        self._vad = vad
        self._barge_in = BargeInDetector(leak_db=leak_db)

    @property
    def leak_db(self) -> float:
        """What is usually left of playback, relative to it."""
        return self._barge_in.leak_db

    def clean(self, frame: AudioFrame) -> Cleaned:
        """Take the next frame of the microphone; it comes back as it is."""
        residual_db = sound_db(frame.pcm)
        played = self._reference.take(frame.captured_at)
        reference_db = level_db(played)
        speech = self._vad.is_speech(frame.pcm)
        evidence = self._barge_in.feed(
            voiced=speech,
            residual_db=residual_db,
            reference_db=reference_db,
            words_voiced=False,
            stands_out=None,
        )
        return Cleaned(frame, frame.pcm, played, speech, evidence, residual_db, reference_db)


def sound_db(pcm: bytes) -> float:
    """Level in dBFS without a constant offset, which is no sound. Where AEC3 works, its high-pass takes it out."""
    samples = np.frombuffer(pcm, "<i2")
    return level_db((samples - samples.mean()).astype("<i2").tobytes())
