"""From analysed frames to events, with the uplink in step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from assistant.audio.analysis import Heard
from assistant.audio.hearing import Hearing
from assistant.audio.uplink import Uplink
from assistant.core import events as ev
from assistant.core.barge_in import Evidence, Suspicion
from assistant.core.completeness import Completeness
from assistant.core.endpointing import Endpointer, EndpointingSettings, Expect
from assistant.core.events import Event, StopReason
from assistant.core.wake_gate import WakeGate, WakeWordSettings
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, AudioFrame, TurnId


class Room:
    def __init__(self, *, confirm_ms: int = 0) -> None:
        self.events: list[Event] = []
        self.sent: list[bytes] = []
        self.index = 0
        uplink = Uplink(6.0, self.sent.append)
        gate = WakeGate([WakeWordSettings("alexa")])
        endpointer = Endpointer(EndpointingSettings())
        self.asked: list[tuple[int, Callable[[Completeness], None]]] = []
        self.hearing = Hearing(
            gate,
            endpointer,
            uplink,
            self.events.append,
            lambda: self.index * 0.02,
            ask=lambda tell: self.asked.append((self.index, tell)),
            confirm_ms=confirm_ms,
        )

    def hear(
        self,
        frames: int,
        *,
        speech: bool = False,
        score: float | None = None,
        evidence: Evidence | None = None,
        stop: bool = False,
    ) -> None:
        for _ in range(frames):
            scores = None if score is None else {"alexa": score}
            frame = AudioFrame(self.index * FRAME_SAMPLES, bytes(FRAME_BYTES), 0.0)
            self.hearing.hear(Heard(frame, speech, scores, evidence, stop=stop))
            self.index += 1


def test_a_wake_word_names_the_sample_where_it_was_certain() -> None:
    room = Room()
    room.hear(10)
    room.hear(1, score=0.9)
    [woken] = room.events
    assert woken == ev.Woken(room.index * 0.02 - 0.02, "alexa", 0.9, 11 * FRAME_SAMPLES)


def test_an_utterance_from_start_to_stop() -> None:
    room = Room()
    room.hear(50)
    room.hearing.expect(Expect.UTTERANCE, None, 0)
    room.hear(40, speech=True)
    [started] = room.events
    assert isinstance(started, ev.SpeechStarted)
    assert started.sample == 50 * FRAME_SAMPLES - 300 * 16
    room.hearing.uplink.open(TurnId(1), started.sample)
    room.hear(30)
    stopped = room.events[1]
    assert isinstance(stopped, ev.SpeechStopped)
    assert stopped.reason is StopReason.SILENCE
    assert stopped.last_voiced == 90 * FRAME_SAMPLES


def test_each_pause_of_an_utterance_is_asked_about_once() -> None:
    room = Room()
    room.hear(50)
    assert room.asked == []
    room.hearing.expect(Expect.UTTERANCE, None, 0)
    room.hear(40, speech=True)
    room.hear(20)
    [(asked_at, tell)] = room.asked
    assert asked_at == 99, "with the frame that makes 200 ms of silence"
    tell(Completeness.UNFINISHED)
    room.hear(40)
    assert not any(isinstance(event, ev.SpeechStopped) for event in room.events)
    room.hear(20, speech=True)
    room.hear(12)
    assert len(room.asked) == 2
    room.asked[1][1](Completeness.COMPLETE)
    room.hear(3)
    stopped = room.events[-1]
    assert isinstance(stopped, ev.SpeechStopped)
    assert stopped.sample == stopped.last_voiced + 300 * 16


def test_a_delay_ignores_the_echo_of_the_answer() -> None:
    room = Room()
    room.hear(10, speech=True)
    room.hearing.expect(Expect.FOLLOW_UP, None, delay_ms=400)
    room.hear(20, speech=True)  # 400 ms of echo
    room.hear(9, speech=True)
    assert room.events == []
    room.hear(1, speech=True)
    [started] = room.events
    assert isinstance(started, ev.SpeechStarted)
    assert started.sample >= 30 * FRAME_SAMPLES


def test_the_frame_that_decides_is_in_the_ring_when_the_gate_opens() -> None:
    room = Room()

    def open_gate(event: Event) -> None:
        if isinstance(event, ev.SpeechStarted):
            room.hearing.uplink.open(TurnId(1), event.sample)

    room.hearing._emit = open_gate
    room.hearing.expect(Expect.UTTERANCE, 0, 0)
    room.hear(10, speech=True)
    room.hearing.uplink.close(TurnId(1))
    assert sum(len(pcm) for pcm in room.sent) == 10 * FRAME_BYTES * 3 // 2


def test_a_suspicion_is_told_once_and_so_is_its_end() -> None:
    room = Room()
    for suspicion, frames in ((Suspicion.NONE, 5), (Suspicion.SUSPECTED, 5), (Suspicion.NONE, 5)):
        room.hear(frames, evidence=Evidence(False, suspicion))
    assert [type(event) for event in room.events] == [ev.BargeInSuspected, ev.BargeInCleared]


def test_only_what_the_echo_does_not_explain_interrupts_an_answer() -> None:
    room = Room()
    room.hearing.expect(Expect.BARGE_IN, 0, 0)
    room.hear(50, speech=True, evidence=Evidence(False))
    assert room.events == []
    room.hear(10, speech=True, evidence=Evidence(True))
    assert [type(event) for event in room.events] == [ev.SpeechStarted, ev.BargeInConfirmed]


@pytest.mark.parametrize("cancelled", [True, False])
def test_speech_into_an_answer_is_confirmed_by_more_of_it_in_the_silence(cancelled: bool) -> None:
    """Behind a canceller by evidence: reverberation is speech to the VAD. Without one there is nothing but the VAD."""
    room = Room(confirm_ms=60)

    def speech(frames: int, spoken: bool) -> None:
        evidence = Evidence(spoken) if cancelled else None
        room.hear(frames, speech=spoken or cancelled, evidence=evidence)

    room.hearing.expect(Expect.BARGE_IN, 0, 0)
    speech(4, True)
    assert [type(event) for event in room.events] == [ev.SpeechStarted]
    speech(3, False)
    speech(2, True)
    assert len(room.events) == 1, "not yet"
    speech(1, True)
    assert [type(event) for event in room.events] == [ev.SpeechStarted, ev.BargeInConfirmed]
    speech(5, True)
    assert len(room.events) == 2, "once"


def test_a_new_beginning_forgets_what_was_to_be_confirmed() -> None:
    room = Room(confirm_ms=60)
    room.hearing.expect(Expect.BARGE_IN, 0, 0)
    room.hear(4, speech=True)
    room.hearing.expect(Expect.NOTHING, None, 0)
    room.hear(5, speech=True)
    assert [type(event) for event in room.events] == [ev.SpeechStarted]


def test_an_utterance_that_interrupted_ends_when_the_user_does_whatever_the_evidence() -> None:
    room = Room()
    room.hearing.expect(Expect.BARGE_IN, 0, 0)
    room.hear(10, speech=True, evidence=Evidence(True))
    room.hear(50, speech=True, evidence=Evidence(False))  # the answer's echo still explains it
    room.hear(30, evidence=Evidence(False))
    stopped = room.events[-1]
    assert isinstance(stopped, ev.SpeechStopped)
    assert stopped.last_voiced == 60 * FRAME_SAMPLES


def test_speech_over_an_earcon_is_an_utterance() -> None:
    room = Room()
    room.hearing.expect(Expect.UTTERANCE, 0, 0)
    room.hear(20, speech=True, evidence=Evidence(False))
    assert [type(event) for event in room.events] == [ev.SpeechStarted]


@pytest.mark.parametrize("expect", [Expect.NOTHING, Expect.BARGE_IN])
def test_a_spoken_stop_ends_what_is_played(expect: Expect) -> None:
    room = Room()
    room.hearing.expect(expect, None, 0)
    room.hear(5)
    room.hear(1, stop=True)
    room.hear(5)
    assert room.events == [ev.StopRequested(5 * 0.02, spoken=True)]


@pytest.mark.parametrize("expect", [Expect.UTTERANCE, Expect.FOLLOW_UP])
def test_in_a_request_it_is_a_word_of_it(expect: Expect) -> None:
    room = Room()
    room.hearing.expect(expect, None, 0)
    room.hear(1, stop=True)
    assert room.events == []


@pytest.mark.parametrize(("more", "ends"), [(3, ev.StopRequested), (20, ev.SpeechStopped)])
def test_what_begins_with_stop_may_be_a_request(more: int, ends: type[Event]) -> None:
    """By then the answer is silent. "Stop the radio" is for the brain; "stop" alone needs none."""
    room = Room()
    room.hearing.expect(Expect.BARGE_IN, None, 0)
    room.hear(15, speech=True)
    assert [type(event) for event in room.events] == [ev.SpeechStarted, ev.BargeInConfirmed]
    room.hear(1, speech=True, stop=True)
    room.hear(more, speech=True)
    room.hear(40)
    assert [type(event) for event in room.events[2:]] == [ends]


def test_stop_does_not_wait_for_an_interruption_to_be_confirmed() -> None:
    room = Room(confirm_ms=400)
    room.hearing.expect(Expect.BARGE_IN, None, 0)
    room.hear(15, speech=True)
    room.hear(1, speech=True, stop=True)
    assert [type(event) for event in room.events] == [ev.SpeechStarted, ev.StopRequested]
