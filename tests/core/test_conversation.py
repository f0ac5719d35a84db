"""The conversation as a table of what happens: every test sends events and looks at the commands."""

from __future__ import annotations

from typing import TypeVar

import pytest

from assistant.core import commands as do
from assistant.core import events as ev
from assistant.core.commands import Command, EarconKind, TurnOutcome
from assistant.core.conversation import Conversation
from assistant.core.endpointing import Expect
from assistant.core.events import Event, Failure, ResponseStatus, StopReason
from assistant.core.history import Message
from assistant.core.notices import MAX_ANNOUNCEMENTS
from assistant.core.policy import (
    CUT_OFF,
    END_CONVERSATION,
    TOO_MANY_ROUNDS,
    BargeIn,
    ConversationSettings,
    FollowUp,
    Link,
    State,
)
from assistant.types import AlertId, CallId, ItemId, Milliseconds, ResponseId, TurnId

C = TypeVar("C")
SECOND_OF_AUDIO = bytes(48_000)


class Script:
    """Drives a conversation and keeps every command."""

    def __init__(self, **settings: object) -> None:
        self.conversation = Conversation(ConversationSettings(**settings))  # type: ignore[arg-type]
        self.at = 100.0
        self.commands: list[Command] = []

    def send(self, event: Event) -> list[Command]:
        commands = self.conversation.handle(event)
        self.commands += commands
        return commands

    def wait(self, seconds: float) -> list[Command]:
        """Let time pass as the shell would: a Tick at each deadline."""
        until, out = self.at + seconds, []
        while (deadline := self.conversation.deadline) is not None and deadline <= until:
            self.at = max(self.at, deadline)
            out += self.send(ev.Tick(self.at))
        self.at = until
        return out

    def all(self, kind: type[C]) -> list[C]:
        return [command for command in self.commands if isinstance(command, kind)]

    def last(self, kind: type[C]) -> C:
        return self.all(kind)[-1]

    @property
    def state(self) -> State:
        return self.conversation.state

    # --- what usually happens ---

    def wake(self) -> list[Command]:
        return self.send(ev.Woken(self.at, "hey_jarvis", 0.9, 16_000))

    def speak(self) -> list[Command]:
        return self.send(ev.SpeechStarted(self.at, 17_000))

    def interrupt(self) -> list[Command]:
        """Speak into an answer for long enough to be believed."""
        return self.speak() + self.send(ev.BargeInConfirmed(self.at))

    def fall_silent(self, reason: StopReason = StopReason.SILENCE) -> list[Command]:
        return self.send(ev.SpeechStopped(self.at, 50_000, 42_000, reason))

    def ready(self) -> list[Command]:
        return self.send(ev.SessionReady(self.at, self.session))

    @property
    def session(self) -> int:
        return self.last(do.OpenSession).session

    def ask(self) -> None:
        """Wake word, a request, and a session that is ready."""
        self.wake()
        self.speak()
        self.ready()
        self.fall_silent()

    def respond(self, response: str = "r1") -> list[Command]:
        return self.send(ev.ResponseCreated(self.at, self.session, ResponseId(response)))

    def audio(self, response: str = "r1", item: str = "i1", pcm: bytes = SECOND_OF_AUDIO) -> list[Command]:
        return self.send(ev.AnswerAudio(self.at, ResponseId(response), ItemId(item), pcm))

    def text(self, delta: str, response: str = "r1", item: str = "i1") -> list[Command]:
        return self.send(ev.AnswerText(self.at, ResponseId(response), ItemId(item), delta))

    def call(self, call: str = "c1", response: str = "r1", name: str = "clock_time") -> list[Command]:
        return self.send(ev.ToolCalled(self.at, ResponseId(response), CallId(call), name, "{}"))

    def done(self, response: str = "r1", status: ResponseStatus = ResponseStatus.COMPLETED) -> list[Command]:
        return self.send(ev.ResponseDone(self.at, ResponseId(response), status))

    def tool(self, call: str = "c1", output: str = '"noon"') -> list[Command]:
        return self.send(ev.ToolFinished(self.at, CallId(call), output))

    def heard(self, item: str = "i1", ms: int = 1000, interrupted: bool = False) -> list[Command]:
        return self.send(ev.PlaybackStopped(self.at, ItemId(item), Milliseconds(ms), interrupted))

    def lose(self, failure: Failure = Failure.CONNECT, retry_after: float | None = None) -> list[Command]:
        return self.send(ev.SessionLost(self.at, self.session, failure, retry_after))


def outcomes(script: Script) -> list[TurnOutcome]:
    return [end.outcome for end in script.all(do.EndTurn)]


# --- a turn ----------------------------------------------------------------------------------------------------------


def test_one_turn_from_wake_word_to_answer() -> None:
    script = Script()
    assert script.wake() == [do.BeginTurn(TurnId(1)), do.Listen(Expect.UTTERANCE, since=16_000)]
    assert script.speak() == [do.OpenSession(1), do.OpenUplink(TurnId(1), 17_000)]
    assert script.conversation.link is Link.CONNECTING
    script.ready()
    assert script.fall_silent() == [
        do.CloseUplink(TurnId(1)),
        do.CommitInput(),
        do.CreateResponse(),
        do.Listen(Expect.NOTHING),
    ]
    assert script.state is State.THINKING
    assert script.respond() == []
    assert script.audio() == [do.Play(ItemId("i1"), SECOND_OF_AUDIO), do.Listen(Expect.NOTHING)]
    assert script.state is State.SPEAKING
    script.send(ev.AnswerAudioDone(script.at, ResponseId("r1"), ItemId("i1")))
    assert script.last(do.FinishPlayback) == do.FinishPlayback(ItemId("i1"))
    script.done()
    assert script.state is State.SPEAKING, "generation ends long before playback"
    script.heard()
    assert script.state is State.IDLE
    assert outcomes(script) == [TurnOutcome.ANSWERED]
    assert not script.all(do.TruncateItem)


def test_a_wake_word_without_speech_opens_no_session() -> None:
    script = Script(no_speech_timeout=6.0)
    script.wake()
    script.wait(6.0)
    assert script.state is State.IDLE
    assert outcomes(script) == [TurnOutcome.NO_SPEECH]
    assert not script.all(do.OpenSession)
    assert not script.all(do.OpenUplink)
    assert script.conversation.deadline is None


def test_the_wake_earcon_waits_for_those_who_pause() -> None:
    script = Script(wake_earcon_delay=0.35)
    script.wake()
    assert do.PlayEarcon(EarconKind.WAKE) in script.wait(0.4)
    in_one_breath = Script(wake_earcon_delay=0.35)
    in_one_breath.wake()
    in_one_breath.speak()
    in_one_breath.wait(1.0)
    assert not in_one_breath.all(do.PlayEarcon)


def test_everything_said_before_the_session_is_ready_keeps_its_order() -> None:
    script = Script()
    script.wake()
    script.speak()
    script.fall_silent()
    kinds = [type(command) for command in script.commands]
    wanted = [do.OpenSession, do.OpenUplink, do.CloseUplink, do.CommitInput, do.CreateResponse]
    assert [kind for kind in kinds if kind in wanted] == wanted


def test_an_answer_of_nothing_ends_the_turn_quietly() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.done()
    assert script.state is State.IDLE
    assert outcomes(script) == [TurnOutcome.EMPTY]
    assert not script.all(do.PlayEarcon)


def test_a_request_in_writing() -> None:
    script = Script(follow_up=FollowUp.ALWAYS)
    commands = script.send(ev.TextSubmitted(script.at, "what time is it"))
    assert commands[:4] == [
        do.BeginTurn(TurnId(1)),
        do.OpenSession(1),
        do.SendText("what time is it"),
        do.CreateResponse(),
    ]
    script.ready()
    script.respond()
    script.text("It is noon. Anything else?")
    script.audio()
    script.done()
    script.heard()
    assert script.state is State.IDLE, "nobody waits at the microphone for a follow-up of a written request"


def test_the_session_stays_open_for_a_while_and_is_used_again() -> None:
    script = Script(keep_open=60.0, follow_up=FollowUp.NEVER)
    script.ask()
    script.respond()
    script.audio()
    script.done()
    script.heard()
    script.wait(30.0)
    script.wake()
    script.speak()
    assert len(script.all(do.OpenSession)) == 1
    script.fall_silent()
    script.respond("r2")
    script.audio("r2", "i2")
    script.done("r2")
    script.heard("i2")
    assert do.CloseSession(1) in script.wait(61.0)
    assert script.conversation.link is Link.DOWN


def test_a_silent_wake_word_does_not_keep_an_open_session_for_ever() -> None:
    script = Script(keep_open=60.0)
    script.ask()
    script.respond()
    script.done()
    script.wait(1.0)
    script.wake()
    script.wait(200.0)
    assert script.all(do.CloseSession) == [do.CloseSession(1)]


# --- follow-up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "answer", "wanted"),
    [
        (FollowUp.NEVER, "For how long?", State.IDLE),
        (FollowUp.AFTER_QUESTION, "For how long?", State.FOLLOW_UP),
        (FollowUp.AFTER_QUESTION, "Done.", State.IDLE),
        (FollowUp.ALWAYS, "Done.", State.FOLLOW_UP),
    ],
)
def test_follow_up_window(mode: FollowUp, answer: str, wanted: State) -> None:
    script = Script(follow_up=mode, follow_up_window=5.0)
    script.ask()
    script.respond()
    script.text(answer)
    script.audio()
    script.done()
    script.heard()
    assert script.state is wanted
    script.wait(5.0)
    assert script.state is State.IDLE


def test_speech_in_the_follow_up_window_is_a_new_turn() -> None:
    script = Script(follow_up=FollowUp.ALWAYS)
    script.ask()
    script.respond()
    script.audio()
    script.done()
    script.heard()
    assert script.last(do.Listen) == do.Listen(Expect.FOLLOW_UP, delay_ms=200)
    script.speak()
    assert script.state is State.LISTENING
    assert script.last(do.OpenUplink).turn == TurnId(2)


# --- tools -----------------------------------------------------------------------------------------------------------


def test_tool_outputs_of_one_response_are_answered_by_one_create() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.call("c1")
    script.call("c2")
    assert [tool.call for tool in script.all(do.RunTool)] == ["c1", "c2"]
    script.tool("c1")
    script.done()
    assert len(script.all(do.CreateResponse)) == 1, "one call is still running"
    assert script.state is State.THINKING
    script.tool("c2")
    assert script.all(do.AnswerToolCall) == [
        do.AnswerToolCall(CallId("c1"), '"noon"'),
        do.AnswerToolCall(CallId("c2"), '"noon"'),
    ]
    assert len(script.all(do.CreateResponse)) == 2
    script.respond("r2")
    script.audio("r2", "i2")
    script.done("r2")
    script.heard("i2")
    assert outcomes(script) == [TurnOutcome.ANSWERED]


def test_a_tool_that_is_done_before_its_response_waits_for_it() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.call()
    script.tool()
    assert len(script.all(do.CreateResponse)) == 1
    script.done()
    assert len(script.all(do.CreateResponse)) == 2


def test_a_repeated_call_id_runs_once() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.call()
    script.call()
    assert len(script.all(do.RunTool)) == 1


def test_tool_rounds_are_capped_and_the_last_answer_must_do_without() -> None:
    script = Script(max_tool_rounds=2)
    script.ask()
    for number in range(1, 4):
        script.respond(f"r{number}")
        script.call(f"c{number}", f"r{number}")
        if number <= 2:
            script.tool(f"c{number}")
        script.done(f"r{number}")
    assert len(script.all(do.RunTool)) == 2
    assert script.last(do.AnswerToolCall) == do.AnswerToolCall(CallId("c3"), TOO_MANY_ROUNDS)
    assert script.last(do.CreateResponse) == do.CreateResponse(tools=False)


def test_a_spoken_preamble_while_the_tool_runs() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.audio()
    script.call()
    script.done()
    script.heard()
    assert script.state is State.THINKING
    script.tool()
    assert len(script.all(do.CreateResponse)) == 2


def test_the_result_of_a_tool_of_an_interrupted_turn_is_told_but_not_answered() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.call()
    script.wake()
    assert script.last(do.CancelResponse) == do.CancelResponse(ResponseId("r1"))
    script.tool()
    assert script.last(do.AnswerToolCall).call == "c1"
    assert len(script.all(do.CreateResponse)) == 1


# --- barge-in --------------------------------------------------------------------------------------------------------


def test_speech_over_the_answer_stops_cancels_and_truncates_at_what_was_heard() -> None:
    script = Script(barge_in=BargeIn.SPEECH)
    script.ask()
    script.respond()
    script.audio()
    assert script.last(do.Listen) == do.Listen(Expect.BARGE_IN)
    assert script.speak() == [do.HoldPlayback()], "silent at once"
    commands = script.send(ev.BargeInConfirmed(script.at))
    assert do.StopPlayback() in commands
    assert do.CancelResponse(ResponseId("r1")) in commands
    assert commands[-1] == do.OpenUplink(TurnId(2), 17_000)
    assert outcomes(script) == [TurnOutcome.INTERRUPTED]
    assert script.heard(ms=420, interrupted=True) == [do.TruncateItem(ItemId("i1"), Milliseconds(420))]
    assert script.audio() == [], "late audio of a dead response is not played"
    script.fall_silent()
    assert len(script.all(do.CreateResponse)) == 1, "the slot is taken until the cancelled response is done"
    script.done(status=ResponseStatus.CANCELLED)
    assert len(script.all(do.CreateResponse)) == 2


def speaking(**settings: object) -> Script:
    """An answer of a second is being spoken, and speech may interrupt it."""
    script = Script(barge_in=BargeIn.SPEECH, **settings)
    script.ask()
    script.respond()
    script.audio()
    return script


GOES_ON = [do.ResumePlayback(), do.Listen(Expect.BARGE_IN)]


def test_a_false_interruption_lets_the_answer_go_on_where_it_was() -> None:
    script = speaking()
    script.speak()
    assert script.wait(0.59) == []
    assert script.wait(0.02) == GOES_ON
    assert script.state is State.SPEAKING and not outcomes(script)
    assert not script.all(do.CancelResponse) and len(script.all(do.OpenUplink)) == 1
    script.done()
    script.heard()
    assert outcomes(script) == [TurnOutcome.ANSWERED]


def test_speech_that_is_over_before_it_was_confirmed_lets_the_answer_go_on() -> None:
    script = speaking()
    script.speak()
    assert script.fall_silent() == GOES_ON
    assert script.wait(1.0) == [], "once"


def test_a_confirmation_that_comes_too_late_changes_nothing() -> None:
    script = speaking()
    script.speak()
    script.wait(0.7)
    assert script.send(ev.BargeInConfirmed(script.at)) == []


def test_what_was_heard_to_its_end_while_the_answer_is_held_does_not_end_the_turn_yet() -> None:
    script = speaking()
    script.done()
    script.speak()
    assert script.heard() == [], "somebody is speaking, perhaps"
    script.wait(0.7)
    assert outcomes(script) == [TurnOutcome.ANSWERED]

    script = speaking()
    script.done()
    script.speak()
    script.heard()
    script.send(ev.BargeInConfirmed(script.at))
    assert outcomes(script) == [TurnOutcome.INTERRUPTED] and script.state is State.LISTENING


def test_the_wake_word_while_the_answer_is_held_ends_it_at_once() -> None:
    script = speaking()
    script.speak()
    commands = script.wake()
    assert do.StopPlayback() in commands and script.state is State.LISTENING
    assert script.wait(1.0) == [do.PlayEarcon(EarconKind.WAKE)], "nothing is left of the other interruption"


def test_stop_while_the_answer_is_held() -> None:
    script = speaking()
    script.speak()
    assert do.StopPlayback() in script.send(ev.StopRequested(script.at))
    script.wait(1.0)
    assert outcomes(script) == [TurnOutcome.STOPPED] and script.state is State.IDLE


def test_muting_while_the_answer_is_held_lets_it_go_on() -> None:
    """The end of the speech would never be heard."""
    script = speaking()
    script.speak()
    assert do.ResumePlayback() in script.send(ev.MuteChanged(script.at, True))
    script.wait(1.0)
    assert script.state is State.SPEAKING


def test_a_tool_that_ends_while_the_answer_is_held_is_answered_and_waits() -> None:
    script = speaking()
    script.call()
    script.done()
    script.speak()
    assert script.tool() == [do.AnswerToolCall(CallId("c1"), '"noon"')]
    assert do.CreateResponse() in script.wait(0.7)


def test_truncation_never_claims_more_than_was_received() -> None:
    script = Script(barge_in=BargeIn.SPEECH)
    script.ask()
    script.respond()
    script.audio(pcm=bytes(4_800))
    script.interrupt()
    script.heard(ms=5000, interrupted=True)
    assert script.last(do.TruncateItem).heard_ms == 100


def test_generation_that_is_over_is_truncated_but_not_cancelled() -> None:
    script = Script(barge_in=BargeIn.SPEECH)
    script.ask()
    script.respond()
    script.audio()
    script.done()
    script.interrupt()
    assert not script.all(do.CancelResponse)
    script.heard(ms=10, interrupted=True)
    assert script.all(do.TruncateItem)


def test_louder_than_it_was_tested_only_the_wake_word_interrupts() -> None:
    script = Script(barge_in=BargeIn.SPEECH, volume=60, speech_volume=60)
    script.ask()
    script.respond()
    script.audio()
    assert script.last(do.Listen).expect is Expect.BARGE_IN
    assert script.send(ev.VolumeChanged(script.at, 30.0)) == []
    assert script.send(ev.VolumeChanged(script.at, 60.5)) == [do.Listen(Expect.NOTHING)]
    assert script.speak() == []
    assert script.send(ev.BargeInSuspected(script.at)) == [do.Duck(15.0)], "the wake word is helped through"
    assert script.send(ev.VolumeChanged(script.at, 60.0)) == [do.Listen(Expect.BARGE_IN)]
    script.interrupt()
    assert script.state is State.LISTENING
    assert script.send(ev.VolumeChanged(script.at, 100.0)) == []


def test_a_volume_that_is_changed_while_the_answer_is_held_counts_when_it_goes_on() -> None:
    script = Script(barge_in=BargeIn.SPEECH, volume=60, speech_volume=60)
    script.ask()
    script.respond()
    script.audio()
    script.speak()
    assert script.send(ev.VolumeChanged(script.at, 80.0)) == []
    assert do.Listen(Expect.NOTHING) in script.fall_silent()
    script.speak()
    assert script.state is State.SPEAKING


@pytest.mark.parametrize("mode", list(BargeIn))
def test_what_may_interrupt(mode: BargeIn) -> None:
    script = Script(barge_in=mode)
    script.ask()
    script.respond()
    script.audio()
    script.interrupt()
    assert (script.state is State.LISTENING) == (mode is BargeIn.SPEECH)
    script = Script(barge_in=mode)
    script.ask()
    script.respond()
    script.audio()
    script.wake()
    assert (script.state is State.LISTENING) == (mode is not BargeIn.OFF)


def test_a_cancel_before_the_response_exists_is_remembered() -> None:
    script = Script()
    script.ask()
    script.wake()
    assert not script.all(do.CancelResponse)
    assert script.respond() == [do.CancelResponse(ResponseId("r1"))]


def test_the_wake_word_inside_a_request_changes_nothing() -> None:
    script = Script()
    script.wake()
    script.speak()
    assert script.wake() == []
    script.fall_silent()
    assert script.state is State.THINKING


def test_a_second_wake_word_before_speech_gives_more_time_in_the_same_turn() -> None:
    script = Script(no_speech_timeout=6.0)
    script.wake()
    script.wait(5.0)
    script.wake()
    script.wait(5.0)
    assert script.state is State.LISTENING
    assert len(script.all(do.BeginTurn)) == 1


# --- losses ----------------------------------------------------------------------------------------------------------


def test_a_link_lost_while_the_user_speaks_keeps_the_utterance() -> None:
    script = Script()
    script.wake()
    script.speak()
    script.ready()
    assert script.lose() == [do.OpenSession(2), do.ReplayUplink(TurnId(1))]
    assert script.state is State.LISTENING
    script.ready()
    script.fall_silent()
    assert len(script.all(do.CommitInput)) == 1


def test_a_link_lost_while_thinking_replays_the_committed_audio() -> None:
    script = Script()
    script.ask()
    assert script.lose()[:4] == [do.OpenSession(2), do.ReplayUplink(TurnId(1)), do.CommitInput(), do.CreateResponse()]
    script.ready()
    script.respond("r2")
    script.audio("r2")
    script.done("r2")
    script.heard()
    assert outcomes(script) == [TurnOutcome.ANSWERED]


def test_a_tool_is_never_run_twice_because_the_link_was_lost() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.call()
    script.lose()
    assert len(script.all(do.OpenSession)) == 1
    assert outcomes(script) == [TurnOutcome.FAILED]
    assert script.last(do.PlayEarcon) == do.PlayEarcon(EarconKind.ERROR)
    assert script.tool() == [], "nobody is there to be told"


def test_a_link_lost_while_speaking_plays_what_has_arrived() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.audio()
    assert script.lose() == [do.FinishPlayback(ItemId("i1"))]
    assert script.state is State.SPEAKING
    script.heard()
    assert script.state is State.IDLE
    assert not script.all(do.TruncateItem)


def test_retries_back_off_and_end_with_the_budget() -> None:
    script = Script(retry_budget=10.0)
    script.ask()
    while script.state is not State.IDLE:
        script.lose()
        script.wait(script.last(do.OpenSession).delay_s)
    delays = [opened.delay_s for opened in script.all(do.OpenSession)][1:]
    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert outcomes(script) == [TurnOutcome.FAILED]


def test_retry_after_is_honoured_or_the_turn_fails() -> None:
    script = Script(retry_budget=10.0)
    script.ask()
    script.lose(Failure.RATE_LIMITED, retry_after=3.0)
    assert script.last(do.OpenSession).delay_s == 3.0
    script.lose(Failure.RATE_LIMITED, retry_after=60.0)
    assert outcomes(script) == [TurnOutcome.FAILED]


@pytest.mark.parametrize("failure", [failure for failure in Failure if not failure.retryable])
def test_what_cannot_be_mended_by_trying_again_is_not_tried_again(failure: Failure) -> None:
    script = Script()
    script.ask()
    script.lose(failure)
    assert len(script.all(do.OpenSession)) == 1
    assert script.last(do.EndTurn).detail == failure.value


def test_a_link_lost_in_idle_is_not_noticed_by_anybody() -> None:
    script = Script(follow_up=FollowUp.NEVER)
    script.ask()
    script.respond()
    script.audio()
    script.done()
    script.heard()
    assert script.lose() == []
    assert script.conversation.deadline is None
    script.wake()
    script.speak()
    assert script.session == 2


def test_news_of_an_older_session_is_stale() -> None:
    script = Script()
    script.ask()
    script.lose()
    before = len(script.commands)
    script.send(ev.SessionLost(script.at, 1, Failure.CONNECT))
    script.send(ev.SessionReady(script.at, 1))
    script.send(ev.ResponseCreated(script.at, 1, ResponseId("r1")))
    assert len(script.commands) == before
    assert script.conversation.link is Link.CONNECTING


def test_a_server_that_stalls_ends_the_turn_and_the_session() -> None:
    script = Script(response_timeout=20.0)
    script.ask()
    script.wait(19.0)
    assert script.state is State.THINKING
    script.wait(1.0)
    assert script.state is State.IDLE
    assert script.last(do.CloseSession) == do.CloseSession(1)
    assert script.last(do.PlayEarcon) == do.PlayEarcon(EarconKind.ERROR)


def test_a_failed_response_fails_the_turn() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.send(ev.ResponseDone(script.at, ResponseId("r1"), ResponseStatus.FAILED, "insufficient_quota"))
    assert script.last(do.EndTurn) == do.EndTurn(TurnId(1), TurnOutcome.FAILED, "insufficient_quota")


def test_a_busy_server_is_asked_again_after_its_response() -> None:
    script = Script()
    script.ask()
    script.send(ev.ResponseRefused(script.at, 1, busy=True))
    assert script.state is State.THINKING
    script.send(ev.ResponseDone(script.at, ResponseId("foreign"), ResponseStatus.COMPLETED))
    assert len(script.all(do.CreateResponse)) == 2


def test_a_refused_create_fails_the_turn() -> None:
    script = Script()
    script.ask()
    script.send(ev.ResponseRefused(script.at, 1, busy=False))
    assert outcomes(script) == [TurnOutcome.FAILED]


def test_a_long_answer_may_play_longer_than_any_timeout() -> None:
    script = Script(response_timeout=20.0)
    script.ask()
    script.respond()
    script.audio(pcm=bytes(48_000 * 90))
    script.done()
    script.wait(95.0)
    assert script.state is State.SPEAKING
    script.wait(10.0)
    assert script.state is State.IDLE, "but a speaker that stands still does not hold the assistant for ever"
    assert outcomes(script) == [TurnOutcome.FAILED]


def test_a_microphone_that_dies_in_an_utterance_ends_the_turn() -> None:
    script = Script(max_utterance=20.0)
    script.wake()
    script.speak()
    script.ready()
    script.wait(25.0)
    assert outcomes(script) == [TurnOutcome.FAILED]
    assert do.ClearInput() in script.commands, "half an utterance must not become part of the next one"


# --- server turn detection -------------------------------------------------------------------------------------------


def test_with_server_vad_the_uplink_stays_open_until_the_server_has_heard_the_end() -> None:
    script = Script(server_turn_detection=True)
    script.wake()
    script.speak()
    script.ready()
    script.fall_silent()
    assert not script.all(do.CloseUplink)
    script.send(ev.ServerSpeechStopped(script.at, 1))
    assert script.last(do.CloseUplink) == do.CloseUplink(TurnId(1))
    assert not script.all(do.CommitInput)
    assert not script.all(do.CreateResponse)
    script.respond()
    assert not script.all(do.CancelResponse), "the server's own response is adopted"
    script.audio()
    assert script.state is State.SPEAKING


def test_with_server_vad_that_misses_the_end_we_commit_ourselves() -> None:
    script = Script(server_turn_detection=True)
    script.wake()
    script.speak()
    script.ready()
    script.fall_silent()
    script.wait(3.0)
    assert script.all(do.CommitInput) and script.all(do.CreateResponse)
    assert script.state is State.THINKING


# --- alerts and stop -------------------------------------------------------------------------------------------------


def ring(script: Script, alert: str = "a1") -> list[Command]:
    return script.send(ev.AlertRaised(script.at, AlertId(alert), "Pasta"))


def test_an_alert_rings_when_nobody_talks_and_the_wake_word_dismisses_it() -> None:
    script = Script()
    assert ring(script) == [do.StartAlert(AlertId("a1"))]
    assert script.wake()[0] == do.StopAlert(AlertId("a1"), dismissed=True)


def test_an_alert_waits_for_the_end_of_the_turn() -> None:
    script = Script(follow_up=FollowUp.ALWAYS)
    script.ask()
    assert ring(script) == []
    script.respond()
    script.audio()
    script.done()
    script.heard()
    assert script.last(do.StartAlert) == do.StartAlert(AlertId("a1"))
    assert script.state is State.IDLE, "no follow-up window under a ringing alert"


def test_a_plugin_may_end_its_alert_before_and_while_it_rings() -> None:
    script = Script()
    ring(script)
    assert script.send(ev.AlertEnded(script.at, AlertId("a1"))) == [do.StopAlert(AlertId("a1"), dismissed=False)]
    script.ask()
    ring(script, "a2")
    script.send(ev.AlertEnded(script.at, AlertId("a2")))
    script.respond()
    script.done()
    assert len(script.all(do.StartAlert)) == 1


def test_stop_ends_a_turn_in_any_state_without_a_sound() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.audio()
    commands = script.send(ev.StopRequested(script.at))
    assert do.StopPlayback() in commands
    assert do.CancelResponse(ResponseId("r1")) in commands
    assert script.state is State.IDLE
    assert outcomes(script) == [TurnOutcome.STOPPED]


@pytest.mark.parametrize("mode", list(BargeIn))
def test_a_button_stands_for_the_wake_word_and_may_always_interrupt(mode: BargeIn) -> None:
    script = Script(barge_in=mode)
    ring(script)
    commands = script.send(ev.ListenRequested(script.at, 500))
    assert do.StopAlert(AlertId("a1"), dismissed=True) in commands
    assert do.Listen(Expect.UTTERANCE, since=500) in commands
    script.speak()
    script.ready()
    script.fall_silent()
    script.respond()
    script.audio()
    assert script.state is State.SPEAKING
    script.send(ev.ListenRequested(script.at, 90_000))
    assert script.state is State.LISTENING
    assert outcomes(script) == [TurnOutcome.INTERRUPTED]
    script.speak()
    assert script.send(ev.ListenRequested(script.at, 95_000)) == [], "a request goes on"


def test_mute_ends_half_a_request_and_the_window_but_not_an_answer() -> None:
    script = Script(follow_up=FollowUp.ALWAYS)
    script.wake()
    script.speak()
    commands = script.send(ev.MuteChanged(script.at, muted=True))
    assert do.DropUplink(TurnId(1)) in commands and do.ClearInput() in commands
    assert script.state is State.IDLE
    script.send(ev.MuteChanged(script.at, muted=False))
    script.ask()
    assert script.send(ev.MuteChanged(script.at, muted=True)) == [], "what has been asked is answered"
    script.respond()
    script.audio()
    script.done()
    script.heard()
    assert script.state is State.FOLLOW_UP
    script.send(ev.MuteChanged(script.at, muted=True))
    assert script.state is State.IDLE
    assert outcomes(script) == [TurnOutcome.STOPPED, TurnOutcome.ANSWERED]


# --- connecting early, replacing a session, remembering ---------------------------------------------------------------


def test_a_hint_connects_without_a_turn_and_the_turn_uses_that_session() -> None:
    script = Script()
    assert script.send(ev.ConnectHint(script.at)) == [do.OpenSession(1)]
    assert script.state is State.IDLE
    script.ready()
    script.wake()
    script.speak()
    assert len(script.all(do.OpenSession)) == 1


def test_a_hint_that_leads_to_nothing_is_let_go() -> None:
    script = Script(prewarm=20.0)
    script.send(ev.ConnectHint(script.at))
    script.ready()
    assert script.wait(19.0) == []
    assert script.wait(1.0) == [do.CloseSession(1)]
    assert script.conversation.deadline is None


def test_a_hint_while_a_session_is_there_changes_nothing() -> None:
    script = Script()
    script.ask()
    assert script.send(ev.ConnectHint(script.at)) == []


def answer(script: Script, question: str, reply: str, number: int) -> None:
    """A whole turn with words."""
    script.wake()
    script.speak()
    script.send(ev.SessionReady(script.at, script.session, expires_in=3600.0))
    script.fall_silent()
    script.respond(f"r{number}")
    script.send(ev.UserTranscript(script.at, question))
    script.text(reply, f"r{number}", f"i{number}")
    script.audio(f"r{number}", f"i{number}")
    script.done(f"r{number}")
    script.heard(f"i{number}")


def test_a_later_session_is_told_what_was_said() -> None:
    script = Script(keep_open=60.0, context=300.0)
    answer(script, "will it rain today", "No, it stays dry.", 1)
    script.wait(100.0)
    assert script.conversation.link is Link.DOWN
    script.wake()
    commands = script.speak()
    assert commands[:2] == [
        do.OpenSession(2),
        do.RestoreHistory((Message("user", "will it rain today"), Message("assistant", "No, it stays dry."))),
    ]


def test_of_an_answer_that_was_interrupted_only_what_was_heard_is_remembered() -> None:
    script = Script(context=300.0)
    script.ask()
    script.send(ev.UserTranscript(script.at, "tell me a story"))
    script.respond()
    script.text("once upon a time there was a very long story")
    script.audio()
    script.wake()
    script.heard(ms=300, interrupted=True)
    script.send(ev.StopRequested(script.at))
    script.wait(120)
    script.wake()
    script.speak()
    [restored] = script.all(do.RestoreHistory)[-1:]
    assert [message.text for message in restored.messages] == ["tell me a story", "once upon a ..."]


def test_after_some_minutes_nothing_is_remembered() -> None:
    script = Script(context=300.0)
    answer(script, "will it rain today", "No, it stays dry.", 1)
    script.wait(301.0)
    script.wake()
    script.speak()
    assert not script.all(do.RestoreHistory)


def test_a_transcript_that_comes_late_belongs_to_the_turn_that_is_over() -> None:
    script = Script(context=300.0, keep_open=1.0)
    answer(script, "", "It stays dry.", 1)
    script.send(ev.UserTranscript(script.at, "will it rain today"))
    script.wait(10.0)
    script.wake()
    script.speak()
    assert script.last(do.RestoreHistory).messages[0] == Message("user", "will it rain today")


def test_a_session_that_reached_a_cap_is_let_go_with_its_turn_and_not_before() -> None:
    script = Script()
    script.ask()
    assert script.send(ev.SessionRetired(script.at)) == []
    script.respond()
    script.text("done")
    script.audio()
    script.done()
    assert not script.all(do.CloseSession)
    script.heard()
    assert script.all(do.CloseSession) == [do.CloseSession(1)]
    script.wake()
    script.speak()
    assert script.session == 2
    script.send(ev.StopRequested(script.at))
    assert not script.all(do.CloseSession)[1:], "the new one has reached nothing"
    assert script.send(ev.SessionRetired(script.at)) == [do.CloseSession(2)], "nobody talks: at once"


def test_a_session_is_replaced_before_it_ends_at_a_quiet_moment() -> None:
    script = Script(keep_open=7200.0, rotate_before=300.0, follow_up=FollowUp.NEVER)
    answer(script, "hello", "Hello.", 1)
    script.wait(3299.0)
    assert len(script.all(do.OpenSession)) == 1
    commands = script.wait(2.0)
    assert commands[:2] == [do.CloseSession(1), do.OpenSession(2)]
    script.ready()
    script.wait(3590.0)
    assert script.conversation.link is Link.READY, "the new one is fresh, and is kept"


def test_a_session_is_not_replaced_in_the_middle_of_a_turn() -> None:
    script = Script(rotate_before=300.0, response_timeout=20.0)
    script.wake()
    script.speak()
    script.send(ev.SessionReady(script.at, 1, expires_in=310.0))
    script.fall_silent()
    script.respond()
    script.audio(pcm=bytes(48_000 * 60))
    script.wait(50.0)
    assert not script.all(do.CloseSession)
    script.done()
    script.heard(ms=60_000)
    script.wait(10.0)
    assert do.CloseSession(1) in script.commands


# --- endings and failures --------------------------------------------------------------------------------------------


def test_the_model_may_end_the_conversation() -> None:
    script = Script(follow_up=FollowUp.ALWAYS)
    script.ask()
    script.respond()
    script.audio()
    script.send(ev.ToolCalled(script.at, ResponseId("r1"), CallId("c1"), END_CONVERSATION, "{}"))
    script.done()
    script.heard()
    assert script.state is State.IDLE, "no follow-up window after a goodbye"
    assert not script.all(do.RunTool)
    assert len(script.all(do.CreateResponse)) == 1, "the goodbye has been said"


def test_a_goodbye_that_was_not_said_is_asked_for() -> None:
    script = Script(follow_up=FollowUp.ALWAYS)
    script.ask()
    script.respond()
    script.send(ev.ToolCalled(script.at, ResponseId("r1"), CallId("c1"), END_CONVERSATION, "{}"))
    script.done()
    assert len(script.all(do.CreateResponse)) == 2
    script.respond("r2")
    script.audio("r2", "i2")
    script.done("r2")
    script.heard("i2")
    assert script.state is State.IDLE


@pytest.mark.parametrize("failure", list(Failure))
def test_every_failure_says_one_sentence(failure: Failure) -> None:
    script = Script(retry_budget=0.0)
    script.ask()
    script.call()  # not live: changes nothing
    script.respond()
    script.call()  # and this makes a replay impossible
    script.lose(failure)
    assert len(script.all(do.SayPhrase)) == 1


def test_a_sentence_about_a_failure_is_not_talked_over() -> None:
    script = Script()
    script.ask()
    script.lose(Failure.AUTHENTICATION)
    said = script.last(do.SayPhrase)
    assert script.wake()[0] == do.StopPlayback()
    script.send(ev.PlaybackStopped(script.at, said.item, Milliseconds(10), True))
    assert not script.all(do.TruncateItem)
    assert script.state is State.LISTENING


def test_a_call_that_was_cut_off_is_answered_and_never_run() -> None:
    script = Script()
    script.ask()
    script.respond()
    cut_off = ev.ToolCalled(script.at, ResponseId("r1"), CallId("c1"), "unlock_door", "", complete=False)
    assert script.send(cut_off) == [do.AnswerToolCall(CallId("c1"), CUT_OFF)]
    assert not script.all(do.RunTool)


# --- announcements ---------------------------------------------------------------------------------------------------


def announce(script: Script, text: str = "The washing machine is done.") -> list[Command]:
    return script.send(ev.AnnouncementRaised(script.at, text))


def test_an_announcement_is_said_out_of_band_and_nobody_is_expected_to_answer() -> None:
    script = Script(follow_up=FollowUp.ALWAYS)
    commands = announce(script)
    assert do.CreateResponse(tools=False, announce="The washing machine is done.") in commands
    assert not script.all(do.CommitInput) and not script.all(do.SendText)
    script.ready()
    script.respond()
    script.audio()
    script.done()
    script.heard()
    assert script.state is State.IDLE
    assert outcomes(script) == [TurnOutcome.ANSWERED]


def test_an_announcement_waits_for_the_end_of_a_turn_and_of_ringing() -> None:
    script = Script(follow_up=FollowUp.NEVER)
    script.ask()
    assert announce(script) == []
    ring(script)
    script.respond()
    script.audio()
    script.done()
    script.heard()
    assert script.all(do.StartAlert) and script.state is State.IDLE
    script.send(ev.AlertEnded(script.at, AlertId("a1")))
    assert script.last(do.CreateResponse).announce == "The washing machine is done."


def test_the_user_may_talk_over_an_announcement() -> None:
    script = Script()
    announce(script)
    script.ready()
    script.respond()
    script.audio()
    script.wake()
    assert script.state is State.LISTENING
    assert do.CancelResponse(ResponseId("r1")) in script.commands


def test_an_announcement_survives_a_lost_link_and_is_no_part_of_the_history() -> None:
    script = Script(keep_open=1.0)
    announce(script, "One.")
    commands = script.lose()
    assert do.CreateResponse(tools=True, announce="One.") in commands
    assert not script.all(do.ReplayUplink)
    script.ready()
    script.respond("r2")
    script.text("One.", "r2")
    script.audio("r2")
    script.done("r2")
    script.heard()
    script.wait(5.0)
    script.wake()
    script.speak()
    assert not script.all(do.RestoreHistory)


def test_announcements_that_pile_up_are_bounded() -> None:
    script = Script(follow_up=FollowUp.NEVER)
    script.ask()
    for number in range(30):
        announce(script, f"Number {number}.")
    assert len(script.conversation._notices._announcements) == MAX_ANNOUNCEMENTS


def test_an_announcement_that_fails_does_so_without_a_sound() -> None:
    script = Script()
    announce(script)
    script.lose(Failure.AUTHENTICATION)
    assert outcomes(script) == [TurnOutcome.FAILED]
    assert not script.all(do.SayPhrase) and not script.all(do.PlayEarcon)


# --- ducking ---------------------------------------------------------------------------------------------------------


def suspect(script: Script) -> list[Command]:
    return script.send(ev.BargeInSuspected(script.at))


def clear(script: Script) -> list[Command]:
    return script.send(ev.BargeInCleared(script.at))


@pytest.mark.parametrize("mode", list(BargeIn))
def test_a_suspicion_ducks_the_answer_until_it_is_cleared(mode: BargeIn) -> None:
    script = Script(barge_in=mode, duck_db=12.0)
    script.ask()
    script.respond()
    script.audio()
    ducked = mode is not BargeIn.OFF
    assert suspect(script) == ([do.Duck(12.0)] if ducked else [])
    assert suspect(script) == []
    assert clear(script) == ([do.Duck(0.0)] if ducked else [])
    assert clear(script) == []
    assert script.state is State.SPEAKING, "a false suspicion interrupts nothing"


def test_without_an_answer_there_is_nothing_to_duck() -> None:
    script = Script(barge_in=BargeIn.SPEECH)
    assert suspect(script) == []
    script.ask()
    assert suspect(script) == []
    assert clear(script) == []


def test_an_interrupted_answer_stops_before_ducking_ends() -> None:
    script = Script(barge_in=BargeIn.SPEECH)
    script.ask()
    script.respond()
    script.audio()
    suspect(script)
    commands = script.interrupt()
    assert commands.index(do.StopPlayback()) < commands.index(do.Duck(0.0))
    assert clear(script) == []


def test_the_next_answer_is_as_loud_as_ever() -> None:
    script = Script()
    script.ask()
    script.respond()
    script.audio()
    suspect(script)
    script.done()
    assert do.Duck(0.0) in script.heard()


def test_an_announcement_after_a_stalled_turn_gets_a_session_of_its_own() -> None:
    script = Script(response_timeout=20.0)
    script.ask()
    announce(script)
    commands = script.wait(20.0)
    kinds = [type(command) for command in commands]
    assert kinds.index(do.CloseSession) < kinds.index(do.OpenSession), "the stalled session is not trusted with it"
    assert script.last(do.CreateResponse).announce is not None
