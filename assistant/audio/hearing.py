"""From analysed frames to conversation events: wake gate, endpointing and uplink gate, on the event loop.

All decisions are made in audio time (sample positions); ``at`` only says when they were made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from assistant.audio.analysis import Heard
from assistant.audio.uplink import Uplink
from assistant.audio.wake_history import WakeHistory
from assistant.core import events as ev
from assistant.core.barge_in import Suspicion
from assistant.core.completeness import Completeness
from assistant.core.connecting import ConnectHints
from assistant.core.endpointing import Endpointer, Expect, SpeechStart, SpeechStop
from assistant.core.events import Event
from assistant.core.wake_gate import WakeGate
from assistant.types import FRAME_MS, MIC_RATE, ms_to_samples

Ask: TypeAlias = Callable[[Callable[[Completeness], None]], None]
"""Asks whether what was sent so far is a whole request. The answer goes to the argument, once or never."""

STOP_TAIL_MS: Final = 200
"""Speech that goes on for longer after "stop" was heard is a request that begins with it."""


class Hearing:
    """Owns what is decided about microphone audio. ``emit`` takes the events; ``now`` is the loop's clock."""

    def __init__(
        self,
        wake_gate: WakeGate,
        endpointer: Endpointer,
        uplink: Uplink,
        emit: Callable[[Event], None],
        now: Callable[[], float],
        hints: ConnectHints | None = None,
        history: WakeHistory | None = None,
        ask: Ask | None = None,
        *,
        confirm_ms: int = 0,
    ) -> None:
        """ask: called once in each pause of an utterance.

        confirm_ms: speech into an answer is confirmed by this much more of it, once the answer is silent.
        """
        self._wake_gate = wake_gate
        self._endpointer = endpointer
        self.uplink = uplink
        self._emit = emit
        self._now = now
        self._hints = hints
        self._history = history
        self._ask = ask
        self._asked_about: int | None = None  # the last pause
        self._expected = Expect.NOTHING
        self._suspected = False
        self._confirm_frames = -(-confirm_ms // FRAME_MS)
        self._unconfirmed: int | None = None  # frames of speech that are still asked for
        self._stop_at: int | None = None  # where "stop" was heard in what interrupted the answer
        self._muted = False

    def mute(self, muted: bool) -> None:
        """Be deaf, also to frames that are on their way, and forget what was heard."""
        self._muted = muted
        self.uplink.forget()
        self._suspect(False)

    def hear(self, heard: Heard) -> None:
        """Take the next analysed frame."""
        if self._muted:
            return
        frame = heard.frame
        self.uplink.hear(frame)  # first: an event of this frame may open the gate, and then wants it in the ring
        if self._hints is not None and self._hints.hear(frame.end, speech=heard.speech, scores=heard.scores):
            self._emit(ev.ConnectHint(self._now()))
        speaking = self._wake_gate.speaking  # as it was before a hit may interrupt the answer
        echo_alone = heard.evidence is not None and heard.evidence.echo_alone
        self._wake_gate.hear(heard.speech, echo_alone=echo_alone)
        hit = self._wake_gate.feed(frame.end, heard.scores, heard.verified) if heard.scores is not None else None
        if hit is not None:
            self._emit(ev.Woken(self._now(), hit.name, hit.score, hit.sample))
        if self._history is not None:
            name = hit.name if hit else None
            self._history.hear(frame, heard.scores, name, speaking=speaking, verified=heard.verified)
        if heard.stop:
            self._hear_stop(frame.end)
        if heard.evidence is not None:
            self._suspect(heard.evidence.suspicion is Suspicion.SUSPECTED)
        self._confirm(heard.speech if heard.evidence is None else heard.evidence.speech)
        match self._endpointer.hear(frame.start, self._counts_as_speech(heard)):
            case SpeechStart() as start:
                self._emit(ev.SpeechStarted(self._now(), start.sample))
                if self._expected is Expect.BARGE_IN:
                    self._unconfirmed = self._confirm_frames
                    self._confirm(0)
            case SpeechStop() as stop:
                self._emit(self._end_of_speech(stop))
            case None:
                self._ask_in_pause()

    def _ask_in_pause(self) -> None:
        pause = self._endpointer.pause
        if pause is not None and pause != self._asked_about and self._ask is not None:
            self._asked_about = pause
            self._ask(partial(self._endpointer.judge, pause))

    def _counts_as_speech(self, heard: Heard) -> bool:
        """Into an answer, only what its echo does not explain starts an utterance; for the rest, the VAD will do."""
        if heard.evidence is None or self._expected is not Expect.BARGE_IN or self._endpointer.in_speech:
            return heard.speech
        return heard.evidence.speech

    def _hear_stop(self, sample: int) -> None:
        """Somebody said "stop". In a request that was asked for, it is a word of it."""
        interrupted = self._endpointer.in_speech and self._unconfirmed is None
        if self._expected is Expect.BARGE_IN and interrupted:
            self._stop_at = sample  # the answer is silent already: what follows may make it "stop the radio"
        elif self._expected in (Expect.NOTHING, Expect.BARGE_IN):
            self._emit(ev.StopRequested(self._now(), spoken=True))

    def _end_of_speech(self, stop: SpeechStop) -> Event:
        said, self._stop_at = self._stop_at, None
        if said is not None and stop.last_voiced < said + ms_to_samples(STOP_TAIL_MS, MIC_RATE):
            return ev.StopRequested(self._now(), spoken=True)
        return ev.SpeechStopped(self._now(), stop.sample, stop.last_voiced, ev.StopReason(stop.reason))

    def _confirm(self, frames: int) -> None:
        if self._unconfirmed is None:
            return
        self._unconfirmed -= frames
        if self._unconfirmed <= 0:
            self._unconfirmed = None
            self._emit(ev.BargeInConfirmed(self._now()))

    def _suspect(self, suspected: bool) -> None:
        if suspected != self._suspected:
            self._suspected = suspected
            event = ev.BargeInSuspected if suspected else ev.BargeInCleared
            self._emit(event(self._now()))

    def speaking(self, speaking: bool) -> None:
        """Tell the wake gate whether the assistant itself speaks now."""
        self._wake_gate.speaking = speaking

    def expect(self, expect: Expect, since: int | None, delay_ms: int) -> None:
        """Tell endpointing what to expect, from a sample on or from now plus a delay."""
        if since is None:
            since = self.uplink.position + ms_to_samples(delay_ms, MIC_RATE)
        self._expected = expect
        self._unconfirmed = self._stop_at = None
        self._endpointer.expect(expect, since)
