"""What a microphone frame holds: wake-word scores and speech, found on a thread of its own.

The models must not run on the event loop, and nothing may block the device's callback. So frames pass through a
bounded queue to one thread, and what was found goes to the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from assistant.audio.device_echo import DeviceEchoPath
from assistant.audio.echo import EchoPath
from assistant.audio.ports import VoiceActivityDetector, WakeWordDetector
from assistant.audio.stop_word import StopWord
from assistant.core.barge_in import Evidence
from assistant.core.capture_health import CaptureHealth
from assistant.types import FRAME_MS, AudioFrame

log = logging.getLogger(__name__)

QUEUE_SECONDS = 2.0
"""How far analysis may fall behind the microphone. Beyond it the oldest frame is dropped, and counted."""

MAX_UNDELIVERED = int(10_000 / FRAME_MS)
"""Results that may wait for a stalled event loop (10 s). Beyond it the newest is dropped, and counted."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame, and what was found in it.

    frame: without echo, where echo is cancelled.
    scores: there when the frame completed a step of the wake models.
    verified: how sure the verifiers are that were asked in that step.
    evidence: whether somebody speaks into the answer; None where echo is not cancelled.
    faults: what is wrong with the microphone, a line each, if that has changed with this frame.
    stop: whether somebody has just said "stop" into what is played.
    """

    frame: AudioFrame
    speech: bool
    scores: Mapping[str, float] | None
    evidence: Evidence | None = None
    faults: tuple[str, ...] | None = None
    verified: Mapping[str, float] = field(default_factory=dict)
    stop: bool = False


class Analyzer:
    """Wake words and VAD on one stream of frames. One thread at a time.

    With ``echo``, it is the echo path that asks its VADs, and ``stop_word`` hears what it cleans. With ``capture``,
    faults of the microphone are found.
    """

    def __init__(
        self,
        wake_words: WakeWordDetector,
        vad: VoiceActivityDetector,
        echo: EchoPath | DeviceEchoPath | None = None,
        capture: CaptureHealth | None = None,
        stop_word: StopWord | None = None,
    ) -> None:
        self._wake_words = wake_words
        self._vad = vad
        self._echo = echo
        self._capture = capture
        self._stop_word = stop_word

    def analyze(self, frame: AudioFrame) -> Heard:
        faults = None
        if self._capture is not None and self._capture.hear(frame):
            faults = tuple(self._capture.report())
        if self._echo is None:
            scores = self._wake_words.process(frame.pcm)
            speech = self._vad.is_speech(frame.pcm)
            return Heard(frame, speech, scores, faults=faults, verified=self._wake_words.verified)
        cleaned = self._echo.clean(frame)
        scores = self._wake_words.process(cleaned.words)
        evidence, verified = cleaned.evidence, self._wake_words.verified
        stop = self._stop_word is not None and self._stop_word.hear(
            cleaned.words, cleaned.played, talker=evidence.speech
        )
        return Heard(cleaned.frame, cleaned.speech, scores, evidence, faults, verified, stop)


class AnalysisThread:
    """Runs an Analyzer between a microphone and the event loop.

    The thread ends by :meth:`stop`, or by an error of a model: then ``on_death`` is called on the loop, since an
    assistant whose analysis is dead is deaf, and must not look alive.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        on_heard: Callable[[Heard], None],
        on_death: Callable[[BaseException], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._analyzer = analyzer
        self._on_heard = on_heard
        self._on_death = on_death
        self._loop = loop
        self._frames: queue.Queue[AudioFrame | None] = queue.Queue(maxsize=int(QUEUE_SECONDS * 1000 / FRAME_MS))
        self._results: deque[Heard] = deque()
        self._thread = threading.Thread(target=self._run, name="analysis", daemon=True)
        self.dropped_frames = 0

    def start(self) -> None:
        self._thread.start()

    def put(self, frame: AudioFrame) -> None:
        """Take a frame from the microphone's thread. Never blocks: when the queue is full, the oldest frame goes."""
        while True:
            try:
                self._frames.put_nowait(frame)
                return
            except queue.Full:
                try:
                    self._frames.get_nowait()
                    self.dropped_frames += 1
                except queue.Empty:
                    continue

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread; what is still queued is dropped."""
        while self._thread.is_alive():
            try:
                self._frames.put_nowait(None)
                break
            except queue.Full:
                try:
                    self._frames.get_nowait()
                except queue.Empty:
                    continue
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while (frame := self._frames.get()) is not None:
                self._hand_over(self._analyzer.analyze(frame))
        except BaseException as error:
            log.exception("analysis of the microphone died")
            self._call(self._on_death, error)

    def _hand_over(self, heard: Heard) -> None:
        if len(self._results) >= MAX_UNDELIVERED:
            self.dropped_frames += 1
            return
        self._results.append(heard)
        self._call(self._deliver)

    def _deliver(self) -> None:
        # One call per result, but a loop that was late takes all that waits in its first call.
        while self._results:
            self._on_heard(self._results.popleft())

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon is on its way out
            self._loop.call_soon_threadsafe(callback, *arguments)
