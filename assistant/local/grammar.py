"""From sentence templates to the grammar of the recogniser. PURE.

A grammar is the graph of every sentence that may be spoken, plus a loop of common words beside it: speech that is no
command fits the loop better, and is rejected instead of being forced into the nearest command. ``strictness`` is the
probability of each word of the loop: the larger, the more is rejected. ``python -m bench.brain`` measures it.

In front of a sentence the wake phrase may stand, or its last words, since people speak in one breath and the audio then
begins with it; and words of politeness may stand on either side.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from hassil.expression import Alternative, Expression, Group, ListReference, Permutation, TextChunk

from assistant.core.completeness import Completeness
from assistant.local.language import DEFAULT, Language, language
from assistant.local.numbers import spoken_words
from assistant.local.skills import Completion, Skill, Skills, Template, parsed, topic_slot
from assistant.local.slots import AnyText, Numbers, TemplateError, Words, parse_template
from assistant.local.wordgraph import (
    EMPTY,
    GraphTooLarge,
    WordGraph,
    determinise,
    optional,
    sentence,
    sequence,
    union,
)

DEFAULT_STRICTNESS: Final = 1e-10
MAX_NUMBERS: Final = 10_000
"""Values of one spoken number slot."""

MAX_PERMUTED: Final = 4
"""Parts of a ``(a;b;c)`` permutation; five would already be 120 orders."""

_WHEN_ASKED: Final = 1.2
"""Of 32 short answers at 25 dB, 26 are understood instead of 22; of 40 other sentences, 1 is instead of none."""

_MAX_FORMS: Final = 2_000  # spellings of one run of text without a space inside, such as "(re|)start[s|ed]"
_UNSPOKEN = re.compile(r"[^\w' ]+")
_BREAK = re.compile(r"[-_/\s]+")


@dataclass(frozen=True, slots=True)
class Grammar:
    """What the recogniser may hear: ``graph``, or a run of ``garbage`` words with probability ``strictness`` each.

    endings: words of politeness that may follow any sentence, and are part of the graph.
    """

    graph: WordGraph
    garbage: tuple[str, ...] = ()
    strictness: float = DEFAULT_STRICTNESS
    endings: frozenset[str] = frozenset()

    def completeness(self, heard: str) -> Completeness:
        """Whether these words are a sentence that nothing but politeness can follow, or the beginning of one."""
        state = self.graph.after(heard.split())
        if state is None or not heard:
            return Completeness.OPEN
        if state not in self.graph.finals:
            return Completeness.UNFINISHED
        ends = all(rest in self.endings for rest in self.graph.sentences(state) if rest)
        return Completeness.COMPLETE if ends else Completeness.OPEN


def compile_grammar(
    skills: Skills, *, wake_phrases: Sequence[str] = (), strictness: float = DEFAULT_STRICTNESS
) -> tuple[Grammar, tuple[str, ...]]:
    """The grammar of all skills and built-in requests, and what had to be left out of it, one line each."""
    spoken_in = skills.language
    problems: list[str] = []
    requests = Skill("", "", (), {"topic": topic_slot(skills)}, frozenset(), None)
    texts = [text for sentences in spoken_in.requests.values() for text in sentences]
    spoken = union(template_graph(requests, template, spoken_in) for template in parsed(texts))
    for skill in skills.skills:
        for template in skill.templates:
            try:
                spoken = union([spoken, template_graph(skill, template, spoken_in)])
            except (GraphTooLarge, TemplateError) as error:
                problems.append(
                    f"tool {skill.name}: sentence {template.text[:80]!r}: {error}; it is understood when typed, "
                    "not when spoken. Make it simpler or its lists shorter"
                )
    before = optional(union([sentence(text.split()) for text in spoken_in.polite_before]))
    after = optional(union([sentence(text.split()) for text in spoken_in.polite_after]))
    command = sequence([before, spoken, after])
    wakes = union([sentence(words) for phrase in wake_phrases for words in _tails(spoken_words(phrase))])
    # Also the wake phrase alone: somebody says it and then nothing.
    whole = command if wakes.is_empty else union([sequence([optional(wakes), command]), wakes])
    return Grammar(whole, spoken_in.garbage, strictness, frozenset(spoken_in.polite_after)), tuple(problems)


def with_answers(grammar: Grammar, answers: WordGraph) -> Grammar:
    """The grammar while the brain waits for an answer to a question.

    Less strict: an answer is expected, and is shorter than what it must prevail against.
    """
    return replace(grammar, graph=union([grammar.graph, answers]), strictness=grammar.strictness**_WHEN_ASKED)


def completions_graph(skill: Skill, completions: Iterable[Completion], language: Language) -> WordGraph:
    """What can be said to a question for what is missing; nothing where that is too much to be listened for."""
    try:
        return union(template_graph(skill, completion.template, language) for completion in completions)
    except (GraphTooLarge, TemplateError):
        return EMPTY


def words_graph(texts: Sequence[str], language: Language) -> WordGraph:
    """Templates without slots."""
    bare = Skill("", "", (), {}, frozenset(), None)
    return union(template_graph(bare, template, language) for template in parsed(texts))


def template_graph(skill: Skill, template: Template, language: Language) -> WordGraph:
    """The sentences of one template. Parts that cannot be spoken (free text) have none.

    Raises GraphTooLarge or TemplateError.
    """
    return _Compiler(skill, language).graph(template.parsed.expression)


def _tails(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """The phrase, and what is left of it when its first words were cut off."""
    for start in range(len(words)):
        yield words[start:]


@lru_cache(maxsize=64)
def number_graph(start: int, stop: int, step: int, code: str = DEFAULT) -> WordGraph:
    """All ways to say the numbers of a range in a language. Raises GraphTooLarge for absurd ranges."""
    numbers = range(start, stop + 1, step)
    if len(numbers) > MAX_NUMBERS:
        raise GraphTooLarge(f"has a number with {len(numbers)} values; at most {MAX_NUMBERS} can be spoken")
    # Joined in a tree, so that no step works on more than it must.
    graphs = [union([sentence(form.split()) for form in language(code).spell(number)]) for number in numbers]
    while len(graphs) > 1:
        graphs = [union(graphs[index : index + 64]) for index in range(0, len(graphs), 64)]
    return graphs[0] if graphs else EMPTY


# A part of a template is a graph of words whose first and last word may still grow, since "light[s]" joins pieces
# without a space. So the compiler works on tokens: a piece of a word, or SPACE.
_SPACE: Final = " "


class _Compiler:
    """Compiles the templates of one skill."""

    def __init__(self, skill: Skill, language: Language) -> None:
        self._skill = skill
        self._language = language

    def graph(self, expression: Expression) -> WordGraph:
        return _join_pieces(self._pieces(expression))

    def _pieces(self, expression: Expression) -> WordGraph:
        """A graph over pieces and SPACE."""
        match expression:
            case TextChunk():
                return sentence(self._tokens(expression.original_text))
            case Permutation(items=items):
                if len(items) > MAX_PERMUTED:
                    raise GraphTooLarge(f"permutes {len(items)} parts; at most {MAX_PERMUTED} are possible")
                parts = [self._pieces(item) for item in items]
                return union(sequence(order) for order in itertools.permutations(parts))
            case Alternative(items=items):
                return union(self._pieces(item) for item in items)
            case Group(items=items):
                return sequence([self._pieces(item) for item in items])
            case ListReference():
                return self._slot(expression)
            case _:
                raise TemplateError(f"{type(expression).__name__} is not supported")

    def _slot(self, reference: ListReference) -> WordGraph:
        bounds = reference.get_inline_range()
        slot = Numbers(*bounds) if bounds else self._skill.slots.get(reference.list_name, AnyText())
        match slot:
            case Words(values):
                return union(self._pieces(parse_template(value.spoken).expression) for value in values)
            case Numbers(start, stop, step):
                return _spaced(number_graph(start, stop, step, self._language.code))
            case AnyText():
                return EMPTY

    def _tokens(self, text: str) -> Iterator[str]:
        for part in re.split(r"([-_/\s]+)", text.lower()):
            if _BREAK.fullmatch(part):
                yield _SPACE
            elif part.isdecimal():
                for index, word in enumerate(self._language.words(part)):
                    yield from (_SPACE, word) if index else (word,)
            elif piece := _UNSPOKEN.sub("", part):
                yield piece


def _spaced(graph: WordGraph) -> WordGraph:
    """A graph of words as a graph of pieces: SPACE between the words."""
    arcs: list[dict[str, int]] = [{} for _ in graph.arcs]
    finals = set()
    for state, row in enumerate(graph.arcs):
        for word, target in row.items():
            middle = len(arcs)
            arcs.append({_SPACE: target})
            arcs[state][word] = middle
            if target in graph.finals:
                finals.add(middle)
    return WordGraph(tuple(arcs), frozenset(finals))


_END: Final = -1  # the place after a word with which the template ends


def _join_pieces(pieces: WordGraph) -> WordGraph:
    """Put pieces together into words; several spaces are one, those at the ends are none."""

    def step(state: int) -> Iterator[tuple[str, int]]:
        return (word for word in _words_from(pieces, state) if word[0])

    def final(state: int) -> bool:
        return any(word == ("", _END) for word in _words_from(pieces, state))

    return determinise([0], step, final)


def _words_from(pieces: WordGraph, start: int) -> Iterator[tuple[str, int]]:
    """The words that can be spelled from ``start`` and where each leads; ``("", _END)`` if nothing needs to follow."""
    if start == _END:
        yield "", _END
        return
    seen = {(start, "")}
    stack = [(start, "")]
    while stack:
        state, text = stack.pop()
        if state in pieces.finals:
            yield text, _END
        for piece, target in pieces.arcs[state].items():
            if piece == _SPACE and text:
                yield text, target
                continue
            following = (target, "" if piece == _SPACE else text + piece)
            if following not in seen:
                seen.add(following)
                stack.append(following)
        if len(seen) > _MAX_FORMS:
            raise GraphTooLarge(f"spells one word in more than {_MAX_FORMS} ways")
