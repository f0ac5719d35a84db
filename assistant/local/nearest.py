"""The sentence nearest to what was written down: "turn on the kitchen lite" -> "turn on the kitchen light". PURE.

For recognisers that write down whatever they hear, and for people who mistype. What is found is never acted on, only
asked back. The search is Dijkstra's over (place in the graph of sentences, words used), with the costs of an edit
distance between words.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final

from assistant.local.wordgraph import WordGraph

_MISSING: Final = 0.7  # a word of the sentence that was not said
_EXTRA: Final = 0.7  # a word that was said and is not in the sentence
_LITTLE: Final = 0.3  # the same, for words of up to three letters: "the", "a", "um"
_OTHER: Final = 1.2  # a word in the place of one that is quite unlike it
_ALIKE: Final = 0.6  # from this share of common letters on, two words are alike
_MAX_WORDS: Final = 24
_MAX_STEPS: Final = 20_000

COST_A_WORD: Final = 0.2
"""What a sentence may differ, for each of its words: one wrong letter in most words, or one little word in three."""

LEAST_WORDS: Final = 2
"""One word is near to too much."""


def nearest(graph: WordGraph, words: Sequence[str]) -> str | None:
    """The sentence of the graph that differs least from ``words``, if it differs little."""
    if not LEAST_WORDS <= len(words) <= _MAX_WORDS:
        return None
    limit = COST_A_WORD * len(words)
    order = itertools.count()
    queue: list[tuple[float, int, int, int, tuple[str, ...]]] = [(0.0, next(order), 0, 0, ())]
    done: set[tuple[int, int]] = set()
    for _ in range(_MAX_STEPS):
        if not queue:
            return None
        cost, _, state, used, said = heapq.heappop(queue)
        if (state, used) in done:
            continue
        done.add((state, used))
        if used == len(words) and state in graph.finals:
            return " ".join(said)
        steps = [(cost + _weight(word, _MISSING), target, used, word) for word, target in graph.arcs[state].items()]
        if used < len(words):
            heard = words[used]
            steps.append((cost + _weight(heard, _EXTRA), state, used + 1, ""))
            steps += [
                (cost + _unlike(heard, word), target, used + 1, word) for word, target in graph.arcs[state].items()
            ]
        for total, target, consumed, word in steps:
            if total <= limit and (target, consumed) not in done:
                heapq.heappush(queue, (total, next(order), target, consumed, (*said, word) if word else said))
    return None


def _weight(word: str, weight: float) -> float:
    return _LITTLE if len(word) <= 3 else weight


@lru_cache(maxsize=4096)
def _unlike(heard: str, word: str) -> float:
    if heard == word:
        return 0.0
    alike = SequenceMatcher(None, heard, word, autojunk=False).ratio()
    return 1.0 - alike if alike >= _ALIKE else _OTHER
