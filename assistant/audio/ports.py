"""What the rest of Hearth needs from sound hardware and from models, as protocols.

Adapters live in :mod:`assistant.adapters`; fakes in :mod:`assistant.testing` pass the same contract tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from assistant.errors import DeviceError
from assistant.types import AudioFrame

FrameSink: TypeAlias = Callable[[AudioFrame], None]
"""Takes one frame. May be called on any thread; returns at once and never raises."""

EndSink: TypeAlias = Callable[[DeviceError | None], None]
"""Told once that a stream is over: an error if the device was lost, None if the recording simply ended.
May be called on any thread."""

PcmSource: TypeAlias = Callable[[int], bytes]
"""``source(samples)`` gives exactly that many samples of 24 kHz int16 mono, silence where there is nothing to play.
May be called on any thread; returns at once and never raises."""


class Microphone(Protocol):
    """One capture stream: 16 kHz mono int16 in frames of 20 ms, opened once and left open.

    Frames come in order and their ``start`` never goes back; samples that were lost leave a gap in ``start``.
    """

    @property
    def description(self) -> str:
        """The device as a person would name it, for logs and ``assistant doctor``."""
        ...

    @property
    def steady(self) -> bool:
        """Whether it gives frames in time by itself once it is open, so that something is wrong when none comes.

        A pipe does not: its writer may pause.
        """
        ...

    @property
    def fault(self) -> str | None:
        """What is wrong with the sound, in a line, where it is mended and so cannot be heard in the frames; None if
        nothing is."""
        ...

    def start(self, on_frame: FrameSink, on_end: EndSink) -> None:
        """Open the device and begin to deliver frames. Raises DeviceError if it cannot be opened."""
        ...

    def stop(self) -> None:
        """Close the device. No frame is delivered after this returns. Safe to call twice, or before start."""
        ...


class Speaker(Protocol):
    """One playback stream at 24 kHz mono int16 that pulls what it plays from a source."""

    @property
    def description(self) -> str: ...

    @property
    def latency(self) -> float:
        """Seconds from the moment a sample leaves the source to the moment it is heard (0.0 before start)."""
        ...

    def start(self, source: PcmSource, on_end: EndSink) -> None:
        """Open the device and begin to pull. Raises DeviceError if it cannot be opened."""
        ...

    def stop(self) -> None:
        """Close the device. The source is not called after this returns. Safe to call twice, or before start."""
        ...


class WakeWordDetector(Protocol):
    """Scores each wake word on a stream of 20 ms frames. Used from one thread at a time."""

    @property
    def names(self) -> tuple[str, ...]:
        """The wake words, in the order of the config."""
        ...

    @property
    def verified(self) -> Mapping[str, float]:
        """How sure the verifiers (0..1, by word) are of the latest step; only those that were asked are in it."""
        ...

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        """Take one 20 ms frame; give the scores (0..1) when this frame completed a step of the models, else None."""
        ...

    def reset(self) -> None:
        """Forget all audio heard so far."""
        ...


class VoiceActivityDetector(Protocol):
    """Says for each 20 ms frame whether it holds speech. Used from one thread at a time."""

    def is_speech(self, pcm: bytes) -> bool: ...


class EchoCanceller(Protocol):
    """Removes the echo of what the speaker plays from microphone frames. Used from one thread at a time."""

    def process(self, mic_frame: bytes, reference: bytes) -> bytes:
        """Take 20 ms of 16 kHz and what the speaker was given meanwhile (20 ms, 24 or 16 kHz); give 20 ms of 16 kHz.

        Both streams must be whole: silence counts. Raises ValueError for other lengths.
        """
        ...

    def reset(self) -> None:
        """Forget the room."""
        ...
