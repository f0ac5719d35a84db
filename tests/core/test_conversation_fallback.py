"""The embedded brain answers when the far one cannot be had; and sessions that would become dear are replaced."""

from __future__ import annotations

import pytest

from assistant.core import commands as do
from assistant.core import events as ev
from assistant.core.commands import EarconKind, TurnOutcome
from assistant.core.events import Failure
from assistant.core.personas import FALLBACK
from assistant.core.policy import FollowUp, Link, State
from tests.core.test_conversation import Script, answer, outcomes


def lose_all(script: Script, failure: Failure = Failure.CONNECT) -> None:
    """The far brain cannot be had, however often it is tried."""
    while script.last(do.OpenSession).persona != FALLBACK.name and script.state is not State.IDLE:
        script.wait(script.last(do.OpenSession).delay_s)
        script.lose(failure)


def finish(script: Script, number: int) -> None:
    script.ready()
    script.respond(f"r{number}")
    script.audio(f"r{number}", f"i{number}")
    script.done(f"r{number}")
    script.heard(f"i{number}")


def test_the_same_request_goes_to_the_embedded_brain() -> None:
    script = Script(fallback=True, fallback_budget=3.0)
    script.ask()
    began = script.at
    lose_all(script)
    assert script.at - began <= 3.0, "nobody waits long when somebody else can answer"
    assert script.last(do.OpenSession).persona == FALLBACK.name
    assert do.PlayEarcon(EarconKind.FALLBACK) in script.commands
    after = script.commands[script.commands.index(script.last(do.OpenSession)) :]
    assert [type(command) for command in after[:4]] == [
        do.OpenSession,
        do.ReplayUplink,
        do.CommitInput,
        do.CreateResponse,
    ]
    finish(script, 1)
    assert outcomes(script) == [TurnOutcome.ANSWERED]
    assert not script.all(do.SayPhrase)


def test_without_a_fallback_nothing_of_that_happens() -> None:
    script = Script(fallback=False)
    script.ask()
    lose_all(script)
    assert all(opened.persona != FALLBACK.name for opened in script.all(do.OpenSession))
    assert outcomes(script) == [TurnOutcome.FAILED]


def test_the_next_turns_do_not_wait_for_the_far_brain_and_later_it_is_tried_again() -> None:
    script = Script(fallback=True, fallback_hold=60.0, follow_up=FollowUp.NEVER, keep_open=10.0)
    script.ask()
    lose_all(script)
    finish(script, 1)
    script.wait(20.0)
    script.wake()
    script.speak()
    assert script.last(do.OpenSession).persona == FALLBACK.name
    script.fall_silent()
    finish(script, 2)
    script.wait(60.0)
    script.wake()
    script.speak()
    assert script.last(do.OpenSession).persona == "", "it returns to the far brain by itself"


def test_it_returns_to_the_far_brain_even_while_the_other_session_is_open() -> None:
    script = Script(fallback=True, fallback_hold=60.0, follow_up=FollowUp.NEVER, keep_open=600.0)
    script.ask()
    lose_all(script)
    finish(script, 1)
    script.wait(61.0)
    script.wake()
    assert do.CloseSession(script.session) in script.speak()
    assert script.last(do.OpenSession).persona == ""


@pytest.mark.parametrize("failure", [Failure.QUOTA, Failure.AUTHENTICATION, Failure.REFUSED])
def test_what_will_not_pass_by_itself_is_said_once(failure: Failure) -> None:
    script = Script(fallback=True)
    script.ask()
    script.lose(failure)
    assert len(script.all(do.SayPhrase)) == 1
    assert script.last(do.OpenSession).persona == FALLBACK.name
    finish(script, 1)
    assert outcomes(script) == [TurnOutcome.ANSWERED]


def test_a_turn_that_has_acted_is_not_done_again_by_another_brain() -> None:
    script = Script(fallback=True)
    script.ask()
    script.respond()
    script.call()
    script.lose()
    assert outcomes(script) == [TurnOutcome.FAILED]


def test_an_embedded_brain_that_fails_too_ends_the_turn() -> None:
    script = Script(fallback=True)
    script.ask()
    for _ in range(30):
        if script.state is State.IDLE:
            break
        script.wait(script.last(do.OpenSession).delay_s)
        script.lose()
    assert outcomes(script) == [TurnOutcome.FAILED]
    assert script.conversation.link is Link.DOWN


def test_a_request_that_is_still_being_spoken_goes_on_to_the_embedded_brain() -> None:
    script = Script(fallback=True)
    script.wake()
    script.speak()
    lose_all(script)
    assert script.state is State.LISTENING
    assert script.last(do.ReplayUplink)
    script.ready()
    script.fall_silent()
    finish(script, 1)
    assert outcomes(script) == [TurnOutcome.ANSWERED]


def test_a_session_that_grows_dear_is_replaced_and_told_the_last_turns() -> None:
    script = Script(max_session_turns=3, follow_up=FollowUp.NEVER, keep_open=60.0)
    for number in range(1, 4):
        answer(script, f"question {number}", f"Answer {number}.", number)
    assert script.all(do.CloseSession) == [do.CloseSession(1)]
    assert script.session == 2
    assert len(script.last(do.RestoreHistory).messages) == 6
    answer(script, "question 4", "Answer 4.", 4)
    assert script.session == 2
    script.wait(61.0)
    assert script.conversation.link is Link.DOWN


def test_turns_without_a_request_do_not_count() -> None:
    script = Script(max_session_turns=2, follow_up=FollowUp.NEVER, no_speech_timeout=6.0)
    answer(script, "question", "Answer.", 1)
    for _ in range(5):
        script.wake()
        script.wait(6.0)
    script.send(ev.ConnectHint(script.at))
    assert not script.all(do.CloseSession)
