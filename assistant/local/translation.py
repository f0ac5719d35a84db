"""What tools answer, in another language. PURE.

Tools answer in English sentences of their own making. A catalogue says the same in another language, with holes where
the sentences differ::

    "{name} timer set for {span}." = "{name}-Timer auf {span} gestellt."
    "{count} minutes" = "{count} Minuten"

What stands in a hole is looked up in turn ("5 minutes" -> "5 Minuten"), and stays as it is when nothing fits. The entry
that leaves least of the text as it is wins, and of equals the one with the most words of its own. Text is looked up
sentence by sentence where that leaves less of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_HOLE = re.compile(r"\{(\w+)\}")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_MAX_DEPTH: Final = 4
_MAX_CHARS: Final = 2_000  # a longer text is no sentence, and matching holes in it takes long


class Catalogue:
    """Sentences of tools and their translations. Entries whose translation has unknown holes are passed over."""

    def __init__(self, says: Mapping[str, str]) -> None:
        fixed = {key: text for key, text in says.items() if not _HOLE.search(key)}
        self._fixed = {key.casefold(): text for key, text in fixed.items()}
        holed = sorted(says.keys() - fixed.keys(), key=lambda key: (-len(_HOLE.sub("", key)), key))
        self._holed = [(_pattern(key), says[key]) for key in holed if _holes(says[key]) <= _holes(key)]

    def translate(self, text: str) -> str:
        """The text in the other language, as far as the catalogue has it."""
        whole = self._part(text, _MAX_DEPTH)
        sentences = [self._part(sentence, _MAX_DEPTH) for sentence in _SENTENCE_END.split(text.strip())]
        # A hole for one word fits several sentences just as well, and leaves them as they are.
        if whole[1] < sum(left for _, left in sentences):
            return whole[0]
        return " ".join(sentence for sentence, _ in sentences)

    def _found(self, text: str, depth: int) -> tuple[str, int] | None:
        """The translation, and how many letters of the text it leaves as they are; None when no entry fits."""
        if (fixed := self._fixed.get(text.casefold())) is not None:
            return fixed, 0
        if not depth or len(text) > _MAX_CHARS:
            return None
        best: tuple[str, int] | None = None
        for pattern, other in self._holed:
            if match := pattern.fullmatch(text):
                parts = {name: self._part(part, depth - 1) for name, part in match.groupdict().items()}
                left = sum(count for _, count in parts.values())
                if best is None or left < best[1]:
                    best = _HOLE.sub(lambda hole, parts=parts: parts[hole.group(1)][0], other), left  # type: ignore[misc]
        return best

    def _part(self, text: str, depth: int) -> tuple[str, int]:
        return self._found(text, depth) or (text, sum(letter.isalpha() for letter in text))


def _holes(text: str) -> set[str]:
    return set(_HOLE.findall(text))


def _pattern(text: str) -> re.Pattern[str]:
    """The sentence as a pattern; a hole that comes twice must hold the same both times."""
    seen: set[str] = set()
    parts = []
    for index, part in enumerate(_HOLE.split(text)):
        if index % 2 == 0:
            parts.append(re.escape(part))
        elif part in seen:
            parts.append(f"(?P={part})")
        else:
            seen.add(part)
            parts.append(f"(?P<{part}>.+?)")
    return re.compile("".join(parts), re.IGNORECASE)
