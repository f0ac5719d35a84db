"""From words, spoken or typed, to what is wanted: a tool call or a built-in request.

The same templates that make the recogniser's grammar are matched here with hassil, so whatever may be heard is also
understood. Typed text may hold more: free text in a slot, digits, capitals and punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hassil.intents import (
    Intent,
    IntentData,
    Intents,
    RangeSlotList,
    SlotList,
    TextSlotList,
    TextSlotValue,
    WildcardSlotList,
)
from hassil.models import MatchEntity
from hassil.recognize import RecognizeResult, recognize_all

from assistant.local import phrases
from assistant.local.grammar import spoken_words
from assistant.local.numbers import digits_for_words
from assistant.local.phrases import Request
from assistant.local.skills import AnyText, Numbers, Skill, Skills, Slot, Words, parse_template

MAX_TEXT_CHARS: Final = 1_000
"""Longer input is no command; it is not matched at all."""

_LANGUAGE: Final = "en"
_NOISE = re.compile(r"[\"“”()!?.,;:…]+(?=\s|$)|(?<!\S)[\"“”(]+")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class ToolWanted:
    """A sentence of a tool. ``spoken`` has the words that filled each slot, for the reply."""

    tool: str
    arguments: Mapping[str, Any]
    spoken: Mapping[str, str] = field(default_factory=dict, compare=False)
    missing: tuple[str, ...] = ()
    """Required parameters that were not said."""


@dataclass(frozen=True, slots=True)
class RequestWanted:
    request: Request


@dataclass(frozen=True, slots=True)
class NothingSaid:
    """Silence, or the wake phrase alone."""


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    pass


Meaning = ToolWanted | RequestWanted | NothingSaid | NotUnderstood


class Understanding:
    """Matches text against the sentences of the installed tools, then against the built-in requests."""

    def __init__(self, skills: Skills, wake_phrases: Sequence[str] = ()) -> None:
        self._skills = skills
        self._tools = _intents(skills.skills)
        self._requests = _request_intents()
        self._wakes = _prefixes(tail for phrase in wake_phrases for tail in _tails(spoken_words(phrase)))
        self._before = _prefixes(phrases.POLITE_BEFORE)

    def understand(self, text: str) -> Meaning:
        if len(text) > MAX_TEXT_CHARS:
            return NotUnderstood()
        plain = _SPACES.sub(" ", _NOISE.sub(" ", text.replace("%", " percent "))).strip()
        if not plain:
            return NothingSaid()
        bare = _without(plain, self._wakes)
        if not bare:
            return NothingSaid()
        for form in dict.fromkeys((bare, plain, _polite(bare, self._before))):
            if (meaning := self._match(form)) is not None:
                return meaning
        return NotUnderstood()

    def _match(self, text: str) -> Meaning | None:
        # Digits as a second try: they cover forms that hassil does not know, such as "a hundred and five".
        for form in dict.fromkeys((text, digits_for_words(text.lower()))):
            if (result := _best(form, self._tools)) is not None:
                return self._tool_wanted(result)
        if (result := _best(text, self._requests)) is not None:
            return RequestWanted(Request(result.intent.name))
        return None

    def _tool_wanted(self, result: RecognizeResult) -> ToolWanted:
        skill = self._skills.get(result.intent.name)
        assert skill is not None
        arguments = {name: _value(entity) for name, entity in result.entities.items()}
        spoken = {name: entity.text_clean for name, entity in result.entities.items()}
        return ToolWanted(skill.name, arguments, spoken, tuple(sorted(skill.required - arguments.keys())))


def _value(entity: MatchEntity) -> Any:
    if entity.is_wildcard:
        return entity.text_clean
    if isinstance(entity.value, float) and entity.value.is_integer():  # hassil reads digits as floats
        return int(entity.value)
    return entity.value


def _best(text: str, intents: Intents) -> RecognizeResult | None:
    """The match that leaves least to free text, then the one with most literal words; the first declared of equals."""
    best: RecognizeResult | None = None
    best_rank: tuple[int, int] | None = None
    for result in recognize_all(text, intents, language=_LANGUAGE):
        free = sum(len(entity.text) for entity in result.entities_list if entity.is_wildcard)
        rank = (-free, result.text_chunks_matched)
        if best_rank is None or rank > best_rank:
            best, best_rank = result, rank
    return best


def _intents(skills: Iterable[Skill]) -> Intents:
    return Intents(
        language=_LANGUAGE,
        intents={
            skill.name: Intent(
                name=skill.name,
                data=[
                    IntentData(
                        sentence_texts=[template.text for template in skill.templates],
                        slot_lists={name: _slot_list(name, slot) for name, slot in skill.slots.items()},
                    )
                ],
            )
            for skill in skills
        },
    )


def _request_intents() -> Intents:
    return Intents(
        language=_LANGUAGE,
        intents={
            request.value: Intent(
                name=request.value,
                data=[IntentData(sentence_texts=list(texts))],
            )
            for request, texts in phrases.REQUESTS.items()
        },
    )


def _slot_list(name: str, slot: Slot) -> SlotList:
    match slot:
        case Words(values):
            entries = [TextSlotValue(text_in=parse_template(v.spoken).expression, value_out=v.value) for v in values]
            return TextSlotList(name=name, values=entries)
        case Numbers(start, stop, step):
            return RangeSlotList(name=name, start=start, stop=stop, step=step, words_language=_LANGUAGE)
        case AnyText():
            return WildcardSlotList(name=name)


def _tails(words: Sequence[str]) -> list[str]:
    return [" ".join(words[start:]) for start in range(len(words))]


def _prefixes(texts: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the phrases at the start of a text, the longest first, with the comma that may follow."""
    longest_first = sorted({text for text in texts if text}, key=len, reverse=True)
    choices = "|".join(r"[\s,.!-]+".join(map(re.escape, text.split())) for text in longest_first)
    return re.compile(rf"(?:{choices})(?:[\s,.!?:-]+|$)" if choices else r"(?!)", re.IGNORECASE)


def _without(text: str, prefix: re.Pattern[str]) -> str:
    found = prefix.match(text)
    return text[found.end() :].strip() if found else text


def _polite(text: str, before: re.Pattern[str]) -> str:
    """The text without words of politeness around it."""
    text = _without(text, before)
    for word in phrases.POLITE_AFTER:
        if text.lower().endswith(f" {word}"):
            text = text[: -len(word)].strip()
    return text
