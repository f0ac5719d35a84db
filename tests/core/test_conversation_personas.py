"""Each wake word may have somebody else answer: by an update of the open session, or by a session of its own."""

from __future__ import annotations

from assistant.core import commands as do
from assistant.core import events as ev
from assistant.core.personas import Persona
from assistant.core.policy import FollowUp, Link
from tests.core.test_conversation import Script

PERSONAS = {"computer": Persona("twin"), "hey_mycroft": Persona("pirate", "local en")}


class Household(Script):
    def __init__(self, **settings: object) -> None:
        super().__init__(personas=PERSONAS, **settings)

    def call_for(self, word: str) -> None:
        """A wake word and a request, up to the point where it is sent."""
        self.send(ev.Woken(self.at, word, 0.9, 16_000))
        self.speak()
        if self.conversation.link is Link.CONNECTING:
            self.ready()
        self.fall_silent()

    def answer(self, number: int, text: str = "Done.") -> None:
        self.respond(f"r{number}")
        self.text(text, f"r{number}", f"i{number}")
        self.audio(f"r{number}", f"i{number}")
        self.done(f"r{number}")
        self.heard(f"i{number}")


def told(house: Household) -> list[do.OpenSession | do.ChangePersona | do.CloseSession]:
    wanted = (do.OpenSession, do.ChangePersona, do.CloseSession)
    return [command for command in house.commands if isinstance(command, wanted)]


def test_a_session_opens_as_who_was_called() -> None:
    house = Household()
    house.call_for("hey_mycroft")
    assert told(house) == [do.OpenSession(1, 0.0, "pirate")]
    assert house.conversation.persona == "pirate"


def test_one_of_the_same_kind_takes_over_the_open_session_before_any_audio() -> None:
    house = Household()
    house.call_for("hey_jarvis")
    house.answer(1)
    before = len(house.commands)
    house.call_for("computer")
    sent = [type(command) for command in house.commands[before:]]
    assert told(house) == [do.OpenSession(1), do.ChangePersona("twin")]
    assert sent.index(do.ChangePersona) < sent.index(do.OpenUplink) < sent.index(do.CreateResponse)
    house.answer(2)
    house.call_for("computer")
    assert len(told(house)) == 2, "it is already who it should be"


def test_one_of_another_kind_needs_a_session_of_its_own() -> None:
    house = Household()
    house.call_for("hey_jarvis")
    house.answer(1)
    house.call_for("hey_mycroft")
    house.answer(2)
    house.call_for("hey_jarvis")
    assert told(house) == [
        do.OpenSession(1),
        do.CloseSession(1),
        do.OpenSession(2, 0.0, "pirate"),
        do.CloseSession(2),
        do.OpenSession(3),
    ]


def test_a_follow_up_stays_with_who_answered_and_writing_goes_to_the_assistant_itself() -> None:
    house = Household(follow_up=FollowUp.ALWAYS)
    house.call_for("computer")
    house.answer(1)
    house.speak()
    house.fall_silent()
    house.answer(2)
    assert told(house) == [do.OpenSession(1, 0.0, "twin")]
    house.send(ev.TextSubmitted(house.at, "hello"))
    assert told(house)[1:] == [do.ChangePersona("")]


def test_a_retry_stays_with_who_was_called() -> None:
    house = Household()
    house.call_for("hey_mycroft")
    house.lose()
    assert house.last(do.OpenSession).persona == "pirate"


def test_the_last_wake_word_before_the_request_counts() -> None:
    house = Household()
    house.send(ev.Woken(house.at, "hey_mycroft", 0.9, 16_000))
    house.call_for("computer")
    assert told(house) == [do.OpenSession(1, 0.0, "twin")]


def test_a_name_within_a_request_changes_nobody() -> None:
    house = Household()
    house.send(ev.Woken(house.at, "computer", 0.9, 16_000))
    house.speak()
    house.send(ev.Woken(house.at, "hey_mycroft", 0.9, 30_000))
    house.ready()
    house.fall_silent()
    assert told(house) == [do.OpenSession(1, 0.0, "twin")]
