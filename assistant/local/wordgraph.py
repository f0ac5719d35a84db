"""Graphs of words: a finite set of sentences, held as the smallest deterministic automaton. PURE.

Built from pieces (``sentence``, ``union``, ``sequence``, ``optional``); every operation gives a minimal graph back, so
that graphs stay small while they are combined. Raises GraphTooLarge instead of eating the memory.

Determinisation is the textbook subset construction; minimisation merges equal right languages bottom-up, which is
enough since the graphs have no cycles (D. Revuz, Minimisation of acyclic deterministic automata in linear time, 1992).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

MAX_ARCS: Final = 20_000
"""More arcs than this make the recogniser slow; brain models stay in the low thousands."""


class GraphTooLarge(ValueError):
    """The sentences would need more than MAX_ARCS arcs."""


@dataclass(frozen=True, slots=True)
class WordGraph:
    """``arcs[state]`` maps a word to the next state; state 0 is the start. No cycles, no dead ends.

    A graph without arcs holds no sentence, unless state 0 is final: then it holds the empty one.
    """

    arcs: tuple[Mapping[str, int], ...]
    finals: frozenset[int]

    @property
    def size(self) -> int:
        """Number of arcs."""
        return sum(len(arcs) for arcs in self.arcs)

    @property
    def words(self) -> frozenset[str]:
        return frozenset(word for arcs in self.arcs for word in arcs)

    @property
    def is_empty(self) -> bool:
        """True if it holds no sentence at all."""
        return not self.finals

    def after(self, words: Iterable[str]) -> int | None:
        """The state to which words lead; None if no sentence begins with them."""
        state: int | None = 0
        for word in words:
            state = self.arcs[state].get(word) if state is not None else None
        return state

    def accepts(self, words: Iterable[str]) -> bool:
        return self.after(words) in self.finals

    def sentences(self, start: int = 0) -> Iterator[str]:
        """Every sentence, or every end of one from a state on. There may be very many; take what you need."""
        stack: list[tuple[int, tuple[str, ...]]] = [(start, ())]
        while stack:
            state, words = stack.pop()
            if state in self.finals:
                yield " ".join(words)
            stack += [(target, (*words, word)) for word, target in self.arcs[state].items()]


EMPTY: Final = WordGraph(({},), frozenset())
SILENCE: Final = WordGraph(({},), frozenset({0}))
"""Holds only the empty sentence."""


def sentence(words: Iterable[str]) -> WordGraph:
    arcs: list[Mapping[str, int]] = [{word: index + 1} for index, word in enumerate(words)]
    return WordGraph((*arcs, {}), frozenset({len(arcs)}))


def union(graphs: Iterable[WordGraph]) -> WordGraph:
    """The sentences of all of them."""
    parts = [graph for graph in graphs if not graph.is_empty]
    if len(parts) <= 1:
        return parts[0] if parts else EMPTY
    return determinise([(index, 0) for index in range(len(parts))], _within(parts), _final_in(parts))


def sequence(graphs: Sequence[WordGraph]) -> WordGraph:
    """Each sentence of the first followed by each of the second, and so on."""
    parts = list(graphs)
    if any(part.is_empty for part in parts):
        return EMPTY
    if len(parts) <= 1:
        return parts[0] if parts else SILENCE

    def enter(index: int, state: int) -> Iterator[_Place]:
        yield index, state
        while state in parts[index].finals and index + 1 < len(parts):
            index, state = index + 1, 0
            yield index, state

    def step(place: _Place) -> Iterator[tuple[str, _Place]]:
        index, state = place
        for word, target in parts[index].arcs[state].items():
            for reached in enter(index, target):
                yield word, reached

    def final(place: _Place) -> bool:
        return place[0] == len(parts) - 1 and place[1] in parts[-1].finals

    return determinise(list(enter(0, 0)), step, final)


def optional(graph: WordGraph) -> WordGraph:
    return union([graph, SILENCE])


_Place = tuple[int, int]
"""Which graph, which state in it."""


def _within(parts: Sequence[WordGraph]) -> Callable[[_Place], Iterator[tuple[str, _Place]]]:
    def step(place: _Place) -> Iterator[tuple[str, _Place]]:
        index, state = place
        for word, target in parts[index].arcs[state].items():
            yield word, (index, target)

    return step


def _final_in(parts: Sequence[WordGraph]) -> Callable[[_Place], bool]:
    return lambda place: place[1] in parts[place[0]].finals


_P = TypeVar("_P", bound=Hashable)


def determinise(
    start: Iterable[_P], step: Callable[[_P], Iterable[tuple[str, _P]]], final: Callable[[_P], bool]
) -> WordGraph:
    """The minimal graph of what a nondeterministic one holds.

    ``step(place)`` gives the words that may follow a place, and where each leads; there must be no cycles.
    """
    first = frozenset(start)
    numbers = {first: 0}
    queue = [first]
    arcs: list[dict[str, int]] = []
    finals: set[int] = set()
    total = 0
    for places in queue:  # grows while it is walked
        if any(final(place) for place in places):
            finals.add(len(arcs))
        reached: dict[str, set[_P]] = {}
        for place in places:
            for word, target in step(place):
                reached.setdefault(word, set()).add(target)
        total += len(reached)
        if total > MAX_ARCS:
            raise GraphTooLarge(f"needs more than {MAX_ARCS} word arcs")
        row: dict[str, int] = {}
        for word, targets in reached.items():
            key = frozenset(targets)
            if key not in numbers:
                numbers[key] = len(queue)
                queue.append(key)
            row[word] = numbers[key]
        arcs.append(row)
    return _minimise(arcs, finals)


def _minimise(arcs: Sequence[Mapping[str, int]], finals: set[int]) -> WordGraph:
    """Merge states with the same future, drop those without any, and number them from the start in arc order."""
    classes: dict[tuple[bool, frozenset[tuple[str, int]]], int] = {}
    rows: list[dict[str, int]] = []
    class_of: dict[int, int | None] = {}
    for state in _leaves_first(arcs):
        row = {word: merged for word, target in arcs[state].items() if (merged := class_of[target]) is not None}
        if not row and state not in finals:
            class_of[state] = None
            continue
        key = (state in finals, frozenset(row.items()))
        if key not in classes:
            classes[key] = len(rows)
            rows.append(row)
        class_of[state] = classes[key]
    root = class_of[0]
    if root is None:
        return EMPTY
    final_classes = {number for (is_final, _), number in classes.items() if is_final}
    order = {root: 0}
    for merged in (walk := [root]):
        for target in rows[merged].values():
            if target not in order:
                order[target] = len(order)
                walk.append(target)
    return WordGraph(
        tuple({word: order[target] for word, target in rows[merged].items()} for merged in walk),
        frozenset(order[merged] for merged in final_classes if merged in order),
    )


def _leaves_first(arcs: Sequence[Mapping[str, int]]) -> Iterator[int]:
    """States reachable from 0, each after all its targets."""
    done: set[int] = set()
    stack = [(0, iter(arcs[0].values()))]
    opened = {0}
    while stack:
        state, targets = stack[-1]
        following = next((target for target in targets if target not in done and target not in opened), None)
        if following is None:
            stack.pop()
            done.add(state)
            yield state
        else:
            opened.add(following)
            stack.append((following, iter(arcs[following].values())))
