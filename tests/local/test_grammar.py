from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.local.grammar import compile_grammar, number_graph, spoken_words, template_graph
from assistant.local.language import english
from assistant.local.numbers import spell
from assistant.local.skills import read_tools
from assistant.local.understanding import NothingSaid, NotUnderstood, ToolWanted, Understanding
from assistant.local.wordgraph import GraphTooLarge, WordGraph
from tests.local.household import TOOLS, tool

WAKE = ("hey jarvis", "okay house")
SKILLS = read_tools(TOOLS)
GRAMMAR, PROBLEMS = compile_grammar(SKILLS, wake_phrases=WAKE)
UNDERSTANDING = Understanding(SKILLS, WAKE)


def sentences_of(template: str, **properties: object) -> set[str]:
    spec = tool("t", dict(properties), [template], required=[])
    skills = read_tools([spec])
    assert skills.problems == ()
    return set(template_graph(skills.skills[0], skills.skills[0].templates[0], english()).sentences())


@st.composite
def walks(draw: Callable[..., object], graph: WordGraph) -> list[str]:
    """A random sentence of a graph."""
    state, words = 0, []
    while True:
        choices = sorted(graph.arcs[state])
        if state in graph.finals and (not choices or draw(st.booleans())):
            return words
        word = draw(st.sampled_from(choices))
        assert isinstance(word, str)
        words.append(word)
        state = graph.arcs[state][word]


def test_nothing_had_to_be_left_out() -> None:
    assert PROBLEMS == ()


@given(walks(GRAMMAR.graph))
def test_whatever_may_be_heard_is_understood(words: list[str]) -> None:
    meaning = UNDERSTANDING.understand(" ".join(words))
    assert not isinstance(meaning, NotUnderstood)
    if isinstance(meaning, NothingSaid):
        assert any(phrase.endswith(" ".join(words)) for phrase in WAKE)
    if isinstance(meaning, ToolWanted):
        assert meaning.missing == ()


@given(st.integers(1, 99), st.sampled_from(["second", "minute", "hour"]), st.booleans())
def test_numbers_are_heard_as_what_was_said(number: int, unit: str, plural: bool) -> None:
    for words in spell(number):
        text = f"set a timer for {words} {unit}{'s' if plural else ''}"
        assert GRAMMAR.graph.accepts(text.split())
        meaning = UNDERSTANDING.understand(text)
        assert isinstance(meaning, ToolWanted)
        assert meaning.arguments == {"n": number, "unit": f"{unit}s"}


@pytest.mark.parametrize(
    "text",
    [
        "turn on the kitchen light",
        "switch living room lights off",
        "hey jarvis turn on the kitchen light please",
        "jarvis what's the time",
        "hey jarvis",
        "house",
        "could you please set a timer for an hour",
        "set a five minute timer",
        "never mind",
        "turn the fan off",
    ],
)
def test_spoken_sentences(text: str) -> None:
    assert GRAMMAR.graph.accepts(text.split())


@pytest.mark.parametrize(
    "text", ["", "hey", "turn on the", "turn on the garage light", "note milk", "set a timer for one hundred minutes"]
)
def test_what_is_no_spoken_sentence(text: str) -> None:
    assert not GRAMMAR.graph.accepts(text.split())


@pytest.mark.parametrize(
    ("template", "sentences"),
    [
        ("light[s] on", {"light on", "lights on"}),
        ("(re|un)start[ed|ing]", {"restart", "unstart", "restarted", "unstarted", "restarting", "unstarting"}),
        ("a  b", {"a b"}),
        ("[please] go [now]", {"go", "please go", "go now", "please go now"}),
        ("half-hour", {"half hour"}),
        ("What's up?", {"what's up"}),
        ("channel 12", {"channel twelve"}),
        ("(now;please) go", {"now please go", "please now go"}),
        ("{1..3:n} go", {"one go", "two go", "three go"}),
    ],
)
def test_templates(template: str, sentences: set[str]) -> None:
    assert sentences_of(template, n={"type": "integer"}) == sentences


def test_free_text_cannot_be_spoken_but_the_rest_of_the_template_can() -> None:
    assert sentences_of("note [called {name}]", name={"type": "string"}) == {"note"}
    assert sentences_of("note {name}", name={"type": "string"}) == set()


def test_a_large_range_stays_small() -> None:
    assert number_graph(0, 9_999, 1).size < 500
    assert len(set(number_graph(1, 99, 1).sentences())) == 99


def test_a_range_without_end_is_refused() -> None:
    with pytest.raises(GraphTooLarge, match="20001 values"):
        number_graph(0, 20_000, 1)


def test_a_template_that_explodes_is_left_out_and_said() -> None:
    # "some words, then one, then some words" over two lists: the number of states doubles with each further word.
    words = "(one|two)"
    explosive = " ".join([f"[{words}]"] * 14 + ["one"] + [words] * 14)
    grammar, problems = compile_grammar(read_tools([tool("bad", {}, [explosive]), *TOOLS]))
    assert [problem.partition(":")[0] for problem in problems] == ["tool bad"]
    assert "typed" in problems[0]
    assert "\n" not in problems[0]
    assert grammar.graph.accepts(["what", "time", "is", "it"])


def test_too_many_orders_are_refused() -> None:
    _, problems = compile_grammar(read_tools([tool("t", {}, ["(a;b;c;d;e)"])]))
    assert "permutes 5 parts" in problems[0]


def test_spoken_words() -> None:
    assert spoken_words("Hey, Jarvis-2!") == ["hey", "jarvis", "two"]
    assert spoken_words("7:00, 7:05, 17:30") == ["seven", "o'clock", "seven", "oh", "five", "seventeen", "thirty"]
    assert spoken_words("Channel 1234567") == ["channel", "one", "two", "three", "four", "five", "six", "seven"]


def test_the_garbage_is_words() -> None:
    garbage = GRAMMAR.garbage
    assert len(set(garbage)) == len(garbage) > 150
    assert all(word == word.lower().strip() and " " not in word for word in garbage)
