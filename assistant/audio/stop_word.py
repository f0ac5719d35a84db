"""A spoken "stop" while something is played: the microphone and the reference, heard by the same model.

Both detectors only keep what they hear while nothing is played, which costs next to nothing, and make up for it when
playback begins. So the word counts from the first moment on, and nobody is listened to for it at other times.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from assistant.audio.gated_wake_words import SkippingDetector
from assistant.core.linear_canceller import Downsampler
from assistant.core.stop_word import StopGate
from assistant.types import FRAME_BYTES, FRAME_MS, SPEAKER_RATE

STOP: Final = "stop"
"""The name of the word, and of its model."""

LINGER_FRAMES: Final = 1000 // FRAME_MS
"""After playback, for whoever began to say it before the end; and answers have pauses."""

_SILENCE: Final = bytes(SPEAKER_RATE * FRAME_MS // 1000 * 2)
_AUDIBLE: Final = 30
"""The largest sample of a frame that is still silence: -60 dBFS, in steps of int16."""


class StopWord:
    """Says frame by frame whether somebody said "stop". One thread at a time."""

    def __init__(self, microphone: SkippingDetector, own_voice: SkippingDetector, gate: StopGate) -> None:
        """microphone, own_voice: two detectors of STOP."""
        self._microphone = microphone
        self._own_voice = own_voice
        self._gate = gate
        self._to_mic_rate = Downsampler()
        self._silent_for = LINGER_FRAMES
        self._talker = False  # in this step so far

    def hear(self, heard: bytes, played: bytes, *, talker: bool) -> bool:
        """Take the next 20 ms of the microphone (16 kHz), and what was played meanwhile (24 kHz).

        talker: whether they are evidence that somebody speaks.
        """
        own = self._own(played)
        active = self._silent_for < LINGER_FRAMES
        own_scores = self._own_voice.process(own) if active else self._own_voice.skip(own)
        if own_scores is not None:
            self._gate.play(own_scores[STOP])
        scores = self._microphone.process(heard) if active else self._microphone.skip(heard)
        self._talker |= talker
        if scores is None:
            return False
        talker, self._talker = self._talker, False
        return active and self._gate.hear(scores[STOP], talker=talker)

    def _own(self, played: bytes) -> bytes:
        """What was played at the microphone's rate."""
        if played == _SILENCE:
            self._silent_for += 1
            return bytes(FRAME_BYTES)
        own = self._to_mic_rate.feed(np.frombuffer(played, "<i2").astype(np.float32))
        self._silent_for = 0 if np.any(np.abs(own) > _AUDIBLE) else self._silent_for + 1
        return np.clip(np.rint(own), -32768, 32767).astype("<i2").tobytes()
