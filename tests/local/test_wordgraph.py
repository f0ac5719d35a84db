from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.local.wordgraph import (
    EMPTY,
    SILENCE,
    GraphTooLarge,
    WordGraph,
    optional,
    sentence,
    sequence,
    union,
)

SENTENCES = st.lists(st.lists(st.sampled_from("abc"), max_size=4).map(tuple), max_size=6).map(set)


def graph_of(sentences: set[tuple[str, ...]]) -> WordGraph:
    return union(sentence(words) for words in sentences)


def held(graph: WordGraph) -> set[tuple[str, ...]]:
    listed = [tuple(text.split()) for text in graph.sentences()]
    assert len(listed) == len(set(listed)), "a deterministic graph lists no sentence twice"
    return set(listed)


@given(SENTENCES)
def test_a_union_holds_exactly_its_sentences(sentences: set[tuple[str, ...]]) -> None:
    graph = graph_of(sentences)
    assert held(graph) == sentences
    assert all(graph.accepts(words) for words in sentences)
    assert not graph.accepts(["d"])


@given(SENTENCES, SENTENCES)
def test_a_sequence_holds_every_pair(first: set[tuple[str, ...]], second: set[tuple[str, ...]]) -> None:
    assert held(sequence([graph_of(first), graph_of(second)])) == {a + b for a in first for b in second}


@given(SENTENCES, SENTENCES)
def test_equal_languages_have_equal_size_however_they_were_built(
    first: set[tuple[str, ...]], second: set[tuple[str, ...]]
) -> None:
    """Minimal graphs of one language have the same number of states and arcs."""
    at_once = graph_of(first | second)
    in_steps = union([graph_of(first), graph_of(second), graph_of(first)])
    assert (len(at_once.arcs), at_once.size) == (len(in_steps.arcs), in_steps.size)


def test_equal_endings_are_shared() -> None:
    graph = union([sentence(["turn", "on", "the", "light"]), sentence(["switch", "on", "the", "light"])])
    assert len(graph.arcs) == 5
    assert graph.size == 5


def test_optional_adds_the_empty_sentence() -> None:
    assert held(optional(sentence(["please"]))) == {(), ("please",)}


@pytest.mark.parametrize("parts", [[EMPTY, sentence("a")], [sentence("a"), EMPTY]])
def test_nothing_after_nothing(parts: Sequence[WordGraph]) -> None:
    assert sequence(parts).is_empty
    assert held(sequence([])) == held(SILENCE) == {()}


def test_a_graph_that_explodes_is_refused() -> None:
    # "the n-th word from the end is a" needs 2^n states when it is read from the front.
    letter = union([sentence("a"), sentence("b")])
    with pytest.raises(GraphTooLarge):
        prefix = [optional(letter)] * 14
        sequence([*prefix, sentence("a"), *[letter] * 14])
