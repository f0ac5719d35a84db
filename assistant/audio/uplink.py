"""The uplink gate: which microphone audio leaves the machine, and nothing else does.

A ring buffer holds the last seconds. When a turn opens the gate, audio goes up from the given sample on: out of the
ring first and then live, as 24 kHz int16 mono. What was sent is kept until the turn ends, so that it can be sent once
more to another session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from assistant.audio.resample import StreamResampler
from assistant.types import FRAME_SAMPLES, MIC_RATE, SPEAKER_RATE, AudioFrame, TurnId

MAX_KEPT_S = 60
"""Seconds of one utterance that are kept for a replay. Endpointing ends an utterance long before."""


class Uplink:
    """One gate for one microphone. Lives on the event loop.

    send: takes 24 kHz PCM, in order, for the session of the moment.
    """

    def __init__(self, ring_seconds: float, send: Callable[[bytes], None]) -> None:
        self._ring: deque[AudioFrame] = deque(maxlen=max(1, round(ring_seconds * MIC_RATE / FRAME_SAMPLES)))
        self._send = send
        self._position = 0
        self._turn = TurnId(0)
        self._next = 0  # the first sample that has not been sent
        self._open = False
        self._resampler = StreamResampler(MIC_RATE, SPEAKER_RATE)
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self.sent_bytes = 0
        """PCM bytes that ever left through the gate: the proof that nothing leaves before a wake word."""

    @property
    def position(self) -> int:
        """The microphone sample that will be heard next."""
        return self._position

    @property
    def is_open(self) -> bool:
        return self._open

    def hear(self, frame: AudioFrame) -> None:
        """Take the next frame; it goes up if the gate is open."""
        self._ring.append(frame)
        self._position = frame.end
        if self._open:
            self._pass(frame)

    def open(self, turn: TurnId, from_sample: int) -> None:
        """Begin a turn's utterance. A turn that is open already keeps what it has sent."""
        self._reset()
        self._turn = turn
        self._next = from_sample
        self._open = True
        for frame in self._ring:
            self._pass(frame)

    def close(self, turn: TurnId) -> None:
        """End the utterance with the last frame heard. Audio after it never leaves."""
        if not self._open or turn != self._turn:
            return
        self._open = False
        self._emit(self._resampler.flush())

    def drop(self, turn: TurnId) -> None:
        """Stop sending, and forget what was kept."""
        if turn == self._turn:
            self._reset()

    def forget(self) -> None:
        """Let go of all audio that was heard so far: none of it can leave any more."""
        self._ring.clear()
        self._reset()

    def replay(self, turn: TurnId) -> None:
        """Send the utterance once more from its beginning, as far as it has been heard; live audio follows."""
        if turn != self._turn:
            return
        for pcm in self._kept:
            self._send(pcm)
            self.sent_bytes += len(pcm)

    def _reset(self) -> None:
        self._turn = TurnId(0)
        self._open = False
        self._resampler = StreamResampler(MIC_RATE, SPEAKER_RATE)
        self._kept = []
        self._kept_bytes = 0

    def _pass(self, frame: AudioFrame) -> None:
        first = max(self._next, frame.start)
        if first < frame.end:
            self._next = frame.end
            self._emit(self._resampler.feed(frame.pcm[(first - frame.start) * 2 :]))

    def _emit(self, pcm: bytes) -> None:
        if not pcm:
            return
        if self._kept_bytes < MAX_KEPT_S * SPEAKER_RATE * 2:
            self._kept.append(pcm)
            self._kept_bytes += len(pcm)
        self.sent_bytes += len(pcm)
        self._send(pcm)
