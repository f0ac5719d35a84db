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

from assistant.local.language import Answer, Request
from assistant.local.numbers import spoken_words
from assistant.local.skills import DURATION, UNITS, Skill, Skills, Template, parsed, topic_slot
from assistant.local.slots import AnyText, Numbers, Slot, Words, parse_template

MAX_TEXT_CHARS: Final = 1_000
"""Longer input is no command; it is not matched at all."""

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
    topic: str | None = None
    """What the request is about."""


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
        language = skills.language
        self._skills = skills
        self._language = language
        self._tools = self._intents({skill.name: (skill.templates, skill.slots) for skill in skills.skills})
        topics = {"topic": topic_slot(skills)}
        requests = {request.value: (parsed(texts), topics) for request, texts in language.requests.items()}
        self._requests = self._intents(requests)
        self._answers = self._intents({name.value: (parsed(texts), {}) for name, texts in language.answers.items()})
        self._wakes = _prefixes(tail for phrase in wake_phrases for tail in _tails(spoken_words(phrase)))
        self._before = _prefixes(language.polite_before)

    def understand(self, text: str) -> Meaning:
        """What a whole request means."""
        for form in self._forms(text):
            if not form:
                return NothingSaid()
            if (meaning := self._match(form)) is not None:
                return meaning
        return NotUnderstood()

    def complete(self, wanted: ToolWanted, text: str) -> tuple[ToolWanted, bool] | None:
        """``wanted`` with what an answer adds to it ("five minutes"), and whether that holds free text; or None."""
        skill = self._skills.get(wanted.tool)
        if skill is None:
            return None
        missing = frozenset(wanted.missing)
        templates = [item.template for item in skill.completions if item.parameters <= missing]
        if not templates:
            return None
        intents = self._intents({skill.name: (templates, skill.slots)})
        for form in self._forms(text):
            if form and (result := self._best_number(form, intents)) is not None:
                added = self._tool_wanted(result)
                arguments = {**wanted.arguments, **added.arguments}
                whole = ToolWanted(
                    skill.name, arguments, {**wanted.spoken, **added.spoken}, _missing(skill, arguments.keys())
                )
                return whole, any(entity.is_wildcard for entity in result.entities_list)
        return None

    def bare(self, text: str) -> str:
        """The text without punctuation, the wake phrase and politeness."""
        return self._polite(next(iter(self._forms(text)), ""))

    def answer(self, text: str) -> Answer | None:
        """A yes or a no, if it is one."""
        for form in self._forms(text):
            if form and (result := self._best(form, self._answers)) is not None:
                return Answer(result.intent.name)
        return None

    # -- inside ------------------------------------------------------------------------------------------------------

    def _forms(self, text: str) -> list[str]:
        """The text without punctuation, wake phrase and politeness, in the order in which to try; [""] = nothing."""
        if len(text) > MAX_TEXT_CHARS:
            return []
        plain = _SPACES.sub(" ", _NOISE.sub(" ", text.replace("%", " percent "))).strip()
        bare = _without(plain, self._wakes) if plain else ""
        return list(dict.fromkeys((bare, plain, self._polite(bare)))) if bare else [""]

    def _polite(self, text: str) -> str:
        """The text without words of politeness around it."""
        text = _without(text, self._before)
        for word in self._language.polite_after:
            if text.lower().endswith(f" {word}"):
                text = text[: -len(word)].strip()
        return text

    def _match(self, text: str) -> Meaning | None:
        if (result := self._best_number(text, self._tools)) is not None:
            return self._tool_wanted(result)
        if (result := self._best(text, self._requests)) is not None:
            topic = result.entities.get("topic")
            return RequestWanted(Request(result.intent.name), topic.value if topic else None)
        return None

    def _best_number(self, text: str, intents: Intents) -> RecognizeResult | None:
        # Digits as a second try: they cover forms that hassil does not know, such as "a hundred and five". Words as the
        # third: what is no number for a tool, such as a time of day, has its words in a list, and may be typed "7:30".
        forms = (text, self._language.digits(text.lower()), " ".join(self._language.words(text)))
        for form in dict.fromkeys(forms):
            if (result := self._best(form, intents)) is not None:
                return result
        return None

    def _best(self, text: str, intents: Intents) -> RecognizeResult | None:
        """The match that leaves least to free text, then the one with most literal words; the first of equals."""
        best: RecognizeResult | None = None
        best_rank: tuple[int, int] | None = None
        for result in recognize_all(text, intents, language=self._language.numbers):
            free = sum(len(entity.text) for entity in result.entities_list if entity.is_wildcard)
            rank = (-free, result.text_chunks_matched)
            if best_rank is None or rank > best_rank:
                best, best_rank = result, rank
        return best

    def _tool_wanted(self, result: RecognizeResult) -> ToolWanted:
        skill = self._skills.get(result.intent.name)
        assert skill is not None
        plain = {name: entity for name, entity in result.entities.items() if not name.startswith(DURATION)}
        arguments = {name: _value(entity) for name, entity in plain.items()}
        spoken = {name: entity.text_clean for name, entity in plain.items()}
        if len(plain) < len(result.entities) and skill.duration is not None:
            arguments |= _duration(
                skill, {name: _value(result.entities[name]) for name in result.entities.keys() - plain}
            )
        return ToolWanted(skill.name, arguments, spoken, _missing(skill, arguments.keys()))

    def _intents(self, parts: Mapping[str, tuple[Sequence[Template], Mapping[str, Slot]]]) -> Intents:
        """Templates and the slots in them, by the name of what they mean."""
        return Intents(
            language=self._language.numbers,
            intents={
                name: Intent(
                    name=name,
                    data=[
                        IntentData(
                            sentence_texts=[template.text for template in templates],
                            slot_lists={slot: self._slot_list(slot, content) for slot, content in slots.items()},
                        )
                    ],
                )
                for name, (templates, slots) in parts.items()
            },
        )

    def _slot_list(self, name: str, slot: Slot) -> SlotList:
        match slot:
            case Words(values):
                entries = [TextSlotValue(parse_template(v.spoken).expression, value_out=v.value) for v in values]
                return TextSlotList(name=name, values=entries)
            case Numbers(start, stop, step):
                return RangeSlotList(name, start=start, stop=stop, step=step, words_language=self._language.numbers)
            case AnyText():
                return WildcardSlotList(name=name)


def _value(entity: MatchEntity) -> Any:
    if entity.is_wildcard:
        return entity.text_clean
    if isinstance(entity.value, float) and entity.value.is_integer():  # hassil reads digits as floats
        return int(entity.value)
    return entity.value


def _missing(skill: Skill, given: Iterable[str]) -> tuple[str, ...]:
    """What the tool still needs, in the order of its parameters."""
    lacking = skill.required - set(given)
    return tuple(name for name in skill.parameters if name in lacking)


def _duration(skill: Skill, parts: Mapping[str, int]) -> Mapping[str, Any]:
    """A time span in the largest of the tool's units that holds it whole."""
    assert skill.duration is not None
    total = sum(count * UNITS.get(name.removeprefix(DURATION), 1) for name, count in parts.items())
    whole = [unit for unit in skill.units if total % UNITS[unit] == 0] or [min(skill.units, key=UNITS.__getitem__)]
    unit = max(whole, key=UNITS.__getitem__)
    return {skill.duration[0]: total // UNITS[unit], skill.duration[1]: unit}


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
