"""Several turns in a row: what is missing is asked for, what was nearly understood is asked back."""

from __future__ import annotations

import pytest

from assistant.local.brain import Brain, CallTool, Decision, Exchange, Guess, Incomplete, Said, Say
from assistant.local.language import english
from assistant.local.skills import read_tools
from tests.local.household import CLOCK, LIGHTS, tool

TIMERS = tool(
    "timer_set",
    {
        "n": {"type": "integer", "minimum": 1, "maximum": 99},
        "unit": {"type": "string", "enum": ["seconds", "minutes", "hours"]},
    },
    ["set a timer for {n} {unit}", "set a {n} {unit} timer", "set a timer"],
    lists={"unit": {"seconds": "second[s]", "minutes": "minute[s]", "hours": "hour[s]"}},
    asks={"n": "For how long?"},
    topic="timers",
)
LISTS = tool(
    "list_add",
    {"item": {"type": "string"}, "list": {"type": "string", "enum": ["shopping", "to_do"]}},
    ["add {item} to the {list} list", "add something [to the {list} list]"],
    asks={"item": "What shall I add?", "list": "To which list?"},
    topic="lists",
)
YES = tool("confirm", {}, ["yes [please]"], topic="")
BRAIN = Brain(read_tools([TIMERS, LISTS, LIGHTS, CLOCK, YES]), ("hey jarvis",))


class Talk:
    """A conversation with the brain, which is told of it as a session would."""

    def __init__(self) -> None:
        self.history: list[Exchange] = []
        self.last: Decision | None = None

    def __call__(self, text: str, **how: object) -> Decision:
        said = Said(text, **how)  # type: ignore[arg-type]
        self.last = BRAIN.decide(said, history=self.history)
        answered = self.last.text if isinstance(self.last, Say) else "It is done."
        self.history.append(Exchange(said.text, answered))
        return self.last

    def heard(self, words: str) -> bool:
        """True if the recogniser listens for these words after the last answer, beside everything else."""
        assert isinstance(self.last, Say)
        assert self.last.awaits is not None
        return BRAIN.answers_graph(self.last.awaits).accepts(words.split())


def test_what_is_missing_is_asked_for_and_completes_the_request() -> None:
    talk = Talk()
    assert talk("set a timer") == Say("For how long?")
    assert talk.heard("five minutes")
    assert talk.heard("for twenty five seconds")
    assert talk.heard("half an hour")
    assert not talk.heard("set a timer")
    assert talk("five minutes") == CallTool("timer_set", {"n": 5, "unit": "minutes"})
    assert isinstance(talk("ten minutes"), Say), "nothing is asked any more"


def test_a_part_of_the_answer_makes_it_ask_for_the_rest() -> None:
    talk = Talk()
    talk("hey jarvis set a timer please")
    assert talk("ten") == Say("Seconds, minutes or hours?")
    assert talk.heard("minutes")
    assert talk("minutes please") == CallTool("timer_set", {"n": 10, "unit": "minutes"})


@pytest.mark.parametrize("answer", ["five", "five cups", "five cups of water", "Five cups, please."])
def test_an_answer_may_go_on_as_the_sentence_does(answer: str) -> None:
    kettle = tool("boil", {"cups": {"type": "integer"}}, ["boil {cups} cups of water", "boil some"], asks={"cups": "?"})
    brain = Brain(read_tools([kettle]))
    history = [Exchange("boil some", "?")]
    assert brain.decide(Said(answer), history=history) == CallTool("boil", {"cups": 5})


def test_the_other_order_works_too() -> None:
    talk = Talk()
    assert talk("add something to the shopping list") == Say("What shall I add?")
    assert talk("oat milk") == CallTool("list_add", {"item": "oat milk", "list": "shopping"})


def test_two_things_are_asked_one_after_the_other() -> None:
    talk = Talk()
    assert talk("add something") == Say("What shall I add?")
    assert talk("oat milk") == Say("To which list?")
    assert talk("to do") == CallTool("list_add", {"item": "oat milk", "list": "to_do"})


@pytest.mark.parametrize("text", ["cancel", "never mind", "stop", "forget it"])
def test_a_question_can_be_called_off(text: str) -> None:
    talk = Talk()
    talk("set a timer")
    assert talk(text) == Say("Okay.")
    assert isinstance(talk("five minutes"), Say)


def test_another_request_comes_before_the_question() -> None:
    talk = Talk()
    talk("set a timer")
    assert talk("what time is it") == CallTool("time_get", {})
    talk = Talk()
    talk("add something to the shopping list")
    assert talk("what time is it") == CallTool("time_get", {}), "although anything could be an item"


def test_an_answer_that_is_not_understood_is_asked_for_once_more() -> None:
    talk = Talk()
    talk("set a timer")
    assert talk("the weather is nice") == Say("Sorry, I did not understand that. For how long?")
    assert talk("", rejected=True) == Say("Sorry, I did not understand that."), "and not for ever"
    assert isinstance(talk("five minutes"), Say)


def test_an_answer_after_the_second_question_completes_the_request() -> None:
    talk = Talk()
    talk("set a timer")
    talk("", rejected=True)
    assert talk.heard("five minutes")
    assert talk("five minutes") == CallTool("timer_set", {"n": 5, "unit": "minutes"})


def test_a_question_that_somebody_else_asked_is_not_ours() -> None:
    history = [Exchange("set a timer", "Sure! How long would you like?")]
    assert isinstance(BRAIN.decide(Said("five minutes"), history=history), Say)


@pytest.mark.parametrize("yes", ["yes", "yes please", "Yeah.", "that's right"])
def test_a_guess_is_asked_back_and_a_yes_carries_it_out(yes: str) -> None:
    talk = Talk()
    assert talk("", rejected=True, guess="hey jarvis turn on the kitchen light") == Say(
        "Did you say: turn on the kitchen light?"
    )
    assert talk.heard("yes please")
    assert talk.heard("no")
    assert talk(yes) == CallTool("light_set", {"state": "on", "area": "kitchen"})


def test_what_was_heard_in_two_ways_is_asked_about() -> None:
    talk = Talk()
    heard = "turn on the kitchen light"
    assert talk(heard, guess="turn off the kitchen light") == Say("Did you say: turn off the kitchen light?")
    assert talk("yes") == CallTool("light_set", {"state": "off", "area": "kitchen"})
    same = Talk()(heard, guess="turn on the kitchen lights")
    assert same == CallTool("light_set", {"state": "on", "area": "kitchen"}), "it means the same"
    assert Talk()(heard, guess="good morning") == same


def test_a_wrong_guess_does_nothing() -> None:
    talk = Talk()
    talk("", rejected=True, guess="turn on the kitchen light")
    assert talk("no") == Say("Sorry. What would you like?")
    assert talk("yes") == CallTool("confirm", {}), "nothing of ours is open, so a yes is for the tools"


def test_saying_it_again_is_better_than_a_yes() -> None:
    talk = Talk()
    talk("", rejected=True, guess="turn on the kitchen light")
    assert talk("turn off the bedroom light") == CallTool("light_set", {"state": "off", "area": "bedroom"})


def test_a_guess_can_be_incomplete() -> None:
    talk = Talk()
    talk("", rejected=True, guess="set a timer")
    assert talk("yes") == Say("For how long?")
    assert talk("an hour and a half") == CallTool("timer_set", {"n": 90, "unit": "minutes"})


@pytest.mark.parametrize("guess", ["", "what can you do", "sing"])
def test_only_a_request_for_a_tool_is_worth_a_question(guess: str) -> None:
    assert Talk()("", rejected=True, guess=guess) == Say("Sorry, I did not understand that.")


def test_what_was_said_can_be_repeated() -> None:
    talk = Talk()
    assert talk("repeat that") == Say("I have not said anything yet.")
    talk("what time is it")
    assert talk("say that again please") == Say("It is done.")
    assert talk("what did you say") == Say("It is done.")


def test_a_repeated_question_is_still_open() -> None:
    talk = Talk()
    talk("set a timer")
    assert talk("pardon") == Say("For how long?")
    assert talk.heard("five minutes")
    assert talk("five minutes") == CallTool("timer_set", {"n": 5, "unit": "minutes"})


def test_help_names_the_topics_and_tells_more_about_each() -> None:
    talk = Talk()
    help_ = talk("what can you do")
    assert isinstance(help_, Say)
    assert "timers or lists" in help_.text
    assert "yes" not in help_.text.lower().split(), "nobody asks for that by itself"
    about = talk("what can I say about timers")
    assert about == Say("You can say, for example: Set a timer for five seconds.")


def test_questions_await_what_they_ask_for() -> None:
    asked = BRAIN.decide(Said("set a timer"))
    assert isinstance(asked, Say)
    assert isinstance(asked.awaits, Incomplete)
    assert asked.awaits.wanted.missing == ("n", "unit")
    guessed = BRAIN.decide(Said("", rejected=True, guess="what time is it"))
    assert isinstance(guessed, Say)
    assert guessed.awaits == Guess("what time is it")


def test_the_phrases_that_code_uses_are_there() -> None:
    language = english()
    assert language.listing(["a", "b", "c"]) == "a, b and c"
    assert language.listing(["a"], "or") == "a"
    assert language.listing([]) == ""
