"""The small vocabulary that every layer shares: ids, units and the audio frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NewType

TurnId = NewType("TurnId", int)
"""One utterance plus its reply. Counts up from 1 while the daemon runs; 0 means "no turn"."""

ItemId = NewType("ItemId", str)
"""A conversation item of the realtime session, such as one spoken answer."""

ResponseId = NewType("ResponseId", str)
"""One response of the realtime session; it may hold several items."""

CallId = NewType("CallId", str)
"""One tool call within a response."""

AlertId = NewType("AlertId", str)
"""One ringing alert, such as a timer that has run out."""

Milliseconds = NewType("Milliseconds", int)

MIC_RATE: Final = 16_000
"""Samples per second from the microphone: what wake-word models and VAD want."""

SPEAKER_RATE: Final = 24_000
"""Samples per second of realtime audio in both directions, and of playback."""

FRAME_MS: Final = 20
FRAME_SAMPLES: Final = MIC_RATE * FRAME_MS // 1000
FRAME_BYTES: Final = FRAME_SAMPLES * 2


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """20 ms of microphone audio.

    start: index of the first sample since the stream was opened. It counts lost samples too, so that it is
        a clock: ``start / MIC_RATE`` is the audio time in seconds.
    pcm: 320 samples, signed 16-bit little endian, mono, 16 kHz.
    captured_at: seconds on the event loop's (monotonic) clock when the last sample was captured.
    """

    start: int
    pcm: bytes
    captured_at: float

    @property
    def end(self) -> int:
        """Index one past the last sample."""
        return self.start + len(self.pcm) // 2


def samples_to_ms(samples: int, rate: int) -> Milliseconds:
    """Whole milliseconds that fit in ``samples``; rounds down, since no more than that was heard."""
    return Milliseconds(samples * 1000 // rate)


def ms_to_samples(ms: float, rate: int) -> int:
    return round(ms * rate / 1000)
