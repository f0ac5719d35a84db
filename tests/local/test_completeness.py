"""Whether what was heard so far is a whole request: by the sentences of the tools, before anybody has finished."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.core.completeness import Completeness
from assistant.local.brain import CallTool, Incomplete, Say
from assistant.local.chat import ChatRequest
from assistant.local.conversation import Item, Part
from assistant.local.grammar import DEFAULT_STRICTNESS, Grammar, compile_grammar
from assistant.local.language import english
from assistant.local.mind import Mind
from assistant.local.recognizer import Recognizer, Utterance
from assistant.local.skills import read_tools
from tests.local.household import TOOLS, tool

ALARM = tool(
    "alarm_set",
    {"hour": {"type": "integer", "minimum": 1, "maximum": 12}},
    ["set an alarm [for {hour}]"],
    asks={"hour": "For when?"},
)
HOUSEHOLD = [*TOOLS, ALARM]
GRAMMAR, _ = compile_grammar(read_tools(HOUSEHOLD), wake_phrases=("hey jarvis",))
SENTENCES = [*islice(GRAMMAR.graph.sentences(), 0, 40_000, 97)]


class Listener(Recognizer):
    """Hears nothing; knows what it was told to listen for."""

    grammar: Grammar

    async def set_grammar(self, grammar: Grammar) -> None:
        self.grammar = grammar

    def begin(self) -> Utterance:
        raise NotImplementedError

    async def close(self) -> None: ...


async def mind() -> Mind:
    made = Mind(Listener(), english(), ("hey jarvis",), DEFAULT_STRICTNESS)
    made.set_tools(HOUSEHOLD)
    await made.load()
    return made


@pytest.mark.parametrize(
    ("heard", "found"),
    [
        ("turn on the kitchen light", Completeness.COMPLETE),
        ("turn on the kitchen light please", Completeness.COMPLETE),
        ("hey jarvis turn the bedroom lights off", Completeness.COMPLETE),
        ("never mind", Completeness.COMPLETE),
        ("turn on the", Completeness.UNFINISHED),
        ("set a timer for", Completeness.UNFINISHED),
        ("set a timer for twenty", Completeness.UNFINISHED),
        ("please", Completeness.UNFINISHED),
        ("hey jarvis", Completeness.UNFINISHED),  # a sentence of the grammar: but nobody stops there
        ("set an alarm", Completeness.UNFINISHED),  # also one, which would be answered with a question
        ("set an alarm for seven", Completeness.COMPLETE),
        ("what is the time", Completeness.COMPLETE),
        ("the weather is nice", Completeness.OPEN),
        ("ten minutes", Completeness.OPEN),  # nobody has asked for how long
        ("", Completeness.OPEN),
    ],
)
def test_what_was_heard_so_far(heard: str, found: Completeness) -> None:
    assert asyncio.run(mind()).completeness(heard) is found


def test_a_sentence_that_may_go_on_is_waited_for_as_ever() -> None:
    open_ended, _ = compile_grammar(read_tools([tool("t", {}, ["what time is it [in london]"])]))
    assert open_ended.completeness("what time is it") is Completeness.OPEN
    assert open_ended.completeness("what time is it in") is Completeness.UNFINISHED
    assert open_ended.completeness("what time is it in london") is Completeness.COMPLETE


def test_before_the_sentences_are_known_nothing_is_judged() -> None:
    unloaded = Mind(Listener(), english(), (), DEFAULT_STRICTNESS)
    assert unloaded.completeness("turn on the kitchen light") is Completeness.OPEN


def test_the_answer_to_a_question_is_complete() -> None:
    async def main() -> list[Completeness]:
        asked = await mind()
        context = [Item("u", "message", role="user", parts=[Part("input_audio", "set an alarm")])]
        decisions = [decision async for decision in asked.decide(ChatRequest("", context, HOUSEHOLD))]
        assert isinstance(decisions[0], Say)
        assert isinstance(decisions[0].awaits, Incomplete)
        before = asked.completeness("seven")
        context.append(Item("a", "message", role="assistant", parts=[Part("output_audio", decisions[0].text)]))
        context.append(Item("v", "message", role="user", parts=[Part("input_audio", "seven")]))
        assert [type(each) async for each in asked.decide(ChatRequest("", context, HOUSEHOLD))] == [CallTool]
        return [before, asked.completeness("seven")]

    assert asyncio.run(main()) == [Completeness.COMPLETE, Completeness.OPEN]


@given(st.sampled_from(SENTENCES), st.data())
def test_no_beginning_of_a_sentence_is_complete_and_no_sentence_unfinished(text: str, data: st.DataObject) -> None:
    words = text.split()
    assert GRAMMAR.completeness(text) is not Completeness.UNFINISHED
    cut = data.draw(st.integers(0, len(words) - 1))
    rest = " ".join(words[cut:])
    if rest not in GRAMMAR.endings:
        assert GRAMMAR.completeness(" ".join(words[:cut])) is not Completeness.COMPLETE
