"""What the installed tools can be asked for, read from their specs. PURE.

A tool spec is what ``session.update`` carries, with one key of our own::

    {"type": "function", "name": "timer_set", "description": "...", "parameters": {...JSON schema...},
     "x-offline": {"sentences": ["set a timer for {n} {unit}", "set a timer"],
                   "lists": {"unit": {"minutes": "minute[s]", "hours": "hour[s]"}},
                   "asks": {"n": "For how long?"},
                   "reply": "Timer set for {n} {unit}.",
                   "topic": "timers",
                   "says": {"There is no timer.": "Es läuft kein Timer."}}}

Sentences are hassil templates; ``slots`` says what a ``{slot}`` may hold. ``{list:parameter}`` fills a parameter from a
list of another name. A sentence may leave out required parameters when ``asks`` has a question for one of them: the
brain then asks, and understands the part of another sentence that holds what is missing ("five minutes").

Where a number is followed by a unit of time, ``{n} {unit}``, the other ways to say a time span are understood too:
"half an hour", "one hour and twenty minutes".

``topic`` names what the tool is about, for "what can you do". ``says`` translates what the tool answers; see
``translation``.

A sentence that cannot work is left out and reported in ``Skills.problems``; it never stops the other ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hassil.expression import Alternative, Expression, Group, ListReference, RuleReference, Sentence

from assistant.local.language import Durations, Language, english
from assistant.local.slots import (
    MAX_TEMPLATE_CHARS,
    WORDS_LIST,
    AnyText,
    Numbers,
    Slot,
    SpokenValue,
    TemplateError,
    Words,
    mapping,
    parse_template,
    read_slot,
    references,
    resolve,
    spoken_hyphens,
    strings,
)

MAX_SENTENCES: Final = 2_000
"""Templates in one session."""

UNITS: Final[Mapping[str, int]] = {"seconds": 1, "minutes": 60, "hours": 3600}
"""The units of time spans that a tool may have, in seconds."""

DURATION: Final = "duration__"
"""In front of the slots of a time span that is said in another way than a number and a unit."""

_DURATION_NUMBERS: Final = {"hours": Numbers(1, 48), "minutes": Numbers(1, 99), "seconds": Numbers(1, 59)}
_SLOT = re.compile(r"\{([^{}]+)\}")
_LITTLE_WORD = re.compile(r"(?<![^\s)\]])([^\W\d]+) $")
_UNSPOKEN = re.compile(r"[^\w' ]+")
_WORDS_AFTER = re.compile(r"(?: [^\W\d]+(?![^\s])){0,3}")
_MAX_RUN: Final = 4  # slots that one answer may fill


@dataclass(frozen=True, slots=True)
class Template:
    """One sentence of a tool."""

    text: str
    parsed: Sentence = field(compare=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """A part of a sentence, which gives required parameters that a request left out."""

    parameters: frozenset[str]
    template: Template


@dataclass(frozen=True, slots=True)
class Skill:
    """One tool that can be reached offline."""

    name: str
    description: str
    templates: tuple[Template, ...]
    slots: Mapping[str, Slot]
    """By list name."""
    required: frozenset[str]
    reply: str | None
    """What to say when the tool answers with nothing to say; ``{parameter}`` and ``{result}`` are filled in."""
    parameters: tuple[str, ...] = ()
    """In the order of the schema."""
    asks: Mapping[str, str] = field(default_factory=dict)
    """Parameter -> the question for it."""
    completions: tuple[Completion, ...] = ()
    topic: str | None = None
    """What it is about; "" = nothing that a person would ask for by itself."""
    says: Mapping[str, str] = field(default_factory=dict)
    duration: tuple[str, str] | None = None
    """The parameters that hold a time span: a number and its unit."""
    units: tuple[str, ...] = ()
    """The units that ``duration`` may have."""


@dataclass(frozen=True, slots=True)
class Skills:
    """Everything that can be asked for, and what is wrong with the specs (one line each)."""

    skills: tuple[Skill, ...] = ()
    problems: tuple[str, ...] = ()
    language: Language = field(default_factory=english)

    def get(self, name: str) -> Skill | None:
        return next((skill for skill in self.skills if skill.name == name), None)


def read_tools(tools: Sequence[Mapping[str, Any]], language: Language | None = None) -> Skills:
    """Read tool specs. Tools without ``x-offline`` sentences are passed over; nothing is raised.

    language: of the sentences; None = English.
    """
    language = language or english()
    skills: list[Skill] = []
    problems: list[str] = []
    room = MAX_SENTENCES
    for tool in tools:
        offline = tool.get("x-offline")
        if tool.get("type") != "function" or not isinstance(offline, Mapping):
            continue
        skill, trouble = _Reader(tool, offline, language.durations).read(room)
        problems += [f"tool {tool.get('name')}: {line}" for line in trouble]
        if skill.templates:
            skills.append(skill)
            room -= len(skill.templates)
    return Skills(tuple(skills), tuple(problems), language)


def parsed(texts: Iterable[str]) -> tuple[Template, ...]:
    """Templates of our own. Raises TemplateError."""
    return tuple(Template(text, parse_template(text)) for text in texts)


def topics(skills: Skills) -> tuple[str, ...]:
    """What the tools are about, in their order."""
    return tuple(dict.fromkeys(skill.topic for skill in skills.skills if skill.topic))


def topic_slot(skills: Skills) -> Words:
    """The topics as something that can be said."""
    return Words(tuple(SpokenValue(_UNSPOKEN.sub(" ", topic), topic) for topic in topics(skills)))


class _Reader:
    """Reads one tool."""

    def __init__(self, tool: Mapping[str, Any], offline: Mapping[str, Any], durations: Durations) -> None:
        schema = mapping(tool.get("parameters"))
        self._tool = tool
        self._offline = offline
        self._durations = durations
        self._properties = {name: resolve(spec, schema) for name, spec in mapping(schema.get("properties")).items()}
        self._lists = mapping(offline.get("lists"))
        self._required = frozenset(name for name in schema.get("required") or () if isinstance(name, str))
        self._asks = {name: text for name, text in mapping(offline.get("asks")).items() if isinstance(text, str)}
        self._slots: dict[str, Slot] = {}
        self._duration: tuple[str, str] | None = None

    def read(self, room: int) -> tuple[Skill, list[str]]:
        """The tool with at most ``room`` sentences, and what is wrong with the others."""
        templates: list[Template] = []
        problems: list[str] = []
        texts: list[str] = []
        for text in strings(self._offline.get("sentences")):
            try:
                if len(templates) >= room:
                    raise TemplateError(f"left out, since a session holds at most {MAX_SENTENCES} sentences")
                templates.append(self._sentence(text))
                texts.append(text)
            except TemplateError as trouble:
                problems.append(f"sentence {text[:80]!r}: {trouble}")
        reply, topic = self._offline.get("reply"), self._offline.get("topic")
        says = mapping(self._offline.get("says"))
        skill = Skill(
            name=str(self._tool.get("name", "")),
            description=str(self._tool.get("description") or ""),
            templates=tuple(templates),
            slots=self._slots,
            required=self._required,
            reply=reply if isinstance(reply, str) and reply.strip() else None,
            parameters=tuple(self._properties),
            asks=self._asks,
            completions=tuple(self._completions(texts)),
            topic=topic if isinstance(topic, str) else None,
            says={english: other for english, other in says.items() if isinstance(other, str)},
            duration=self._duration,
            units=self._units(),
        )
        return skill, problems

    def _sentence(self, text: str) -> Template:
        """A whole sentence: it gives all that is required, or the brain can ask for the rest."""
        template, filled = self._template(text)
        missing = sorted(self._required - filled)
        if missing and not self._asks.keys() & set(missing):
            raise TemplateError(
                f"never gives {', '.join(missing)}, which the tool requires; add {{{missing[0]}}}, "
                "or a question for it to asks"
            )
        return template

    def _template(self, text: str) -> tuple[Template, set[str]]:
        """A template and the parameters that it gives."""
        if len(text) > MAX_TEMPLATE_CHARS:
            raise TemplateError(f"longer than {MAX_TEMPLATE_CHARS} characters; split it")
        wide = self._add_word_forms(self._add_durations(spoken_hyphens(text)))
        sentence = parse_template(wide)
        filled = set()
        for reference in references(sentence.expression):
            if isinstance(reference, RuleReference):
                raise TemplateError(f"<{reference.rule_name}> is not supported; write the words out")
            if reference.list_name.startswith(DURATION):
                self._slots[reference.list_name] = self._duration_slot(reference.list_name.removeprefix(DURATION))
                continue
            filled.add(reference.slot_name)
            if not reference.is_inline_range and reference.list_name not in self._slots:
                slot = read_slot(reference.list_name, reference.slot_name, self._properties, self._lists)
                self._slots[reference.list_name] = slot
        return Template(wide, sentence), filled

    def _add_word_forms(self, text: str) -> str:
        """Let a number slot that also has a list match either: ``{n}`` -> ``({n}|{n__words:n})``."""

        def both(match: re.Match[str]) -> str:
            name = match.group(1)
            if name in self._lists and self._properties.get(name, {}).get("type") in ("integer", "number"):
                return f"({{{name}}}|{{{WORDS_LIST.format(name)}:{name}}})"
            return match.group(0)

        return _SLOT.sub(both, text)

    # -- time spans --------------------------------------------------------------------------------------------------

    def _add_durations(self, text: str) -> str:
        """``{n} {unit}`` -> ``({n} {unit}|<the other ways to say it>)``, where ``unit`` is one of time."""
        forms = "|".join(_SLOT.sub(rf"{{{DURATION}\1}}", form) for form in self._durations.forms)

        def wider(match: re.Match[str]) -> str:
            number, unit = match.group(1), match.group(2)
            if not forms or not self._is_span(number, unit):
                return match.group(0)
            self._duration = (number, unit)
            return f"({match.group(0)}|{forms})"

        return re.sub(r"\{(\w+)\} \{(\w+)\}", wider, text)

    def _is_span(self, number: str, unit: str) -> bool:
        units = self._properties.get(unit, {}).get("enum")
        whole = self._properties.get(number, {}).get("type") == "integer"
        return whole and isinstance(units, list) and bool(units) and all(name in UNITS for name in units)

    def _duration_slot(self, name: str) -> Slot:
        if name in _DURATION_NUMBERS:
            return _DURATION_NUMBERS[name]
        words = self._durations.lists[name]
        return Words(tuple(SpokenValue(form, seconds) for form, seconds in words.items()))

    def _units(self) -> tuple[str, ...]:
        return tuple(self._properties[self._duration[1]]["enum"]) if self._duration else ()

    # -- what is missing ---------------------------------------------------------------------------------------------

    def _completions(self, texts: Sequence[str]) -> Iterator[Completion]:
        """Every run of slots that gives nothing but required parameters, with the words around it: "for {n} {unit}"."""
        if not self._required:
            return
        seen: set[str] = set()
        for text in texts:
            spans = [match.span() for match in _SLOT.finditer(text)]
            for first in range(len(spans)):
                for last in range(first, min(len(spans), first + _MAX_RUN)):
                    part = text[spans[first][0] : spans[last][1]]
                    before = _LITTLE_WORD.search(text[: spans[first][0]])
                    part = f"[{before.group(1)}] {part}" if before else part
                    part += _each_optional(_WORDS_AFTER.match(text[spans[last][1] :]))
                    if part in seen:
                        continue
                    seen.add(part)
                    if completion := self._completion(part):
                        yield completion

    def _completion(self, part: str) -> Completion | None:
        try:
            template, filled = self._template(part)
        except TemplateError:  # it cuts brackets in two
            return None
        return Completion(frozenset(filled), template) if filled <= self._required else None


def _each_optional(words: re.Match[str] | None) -> str:
    """ " cups of water" -> "[ cups[ of[ water]]]": an answer may stop anywhere."""
    text = ""
    for word in reversed(words.group(0).split() if words else ()):
        text = f"[ {word}{text}]"
    return text


def example(skill: Skill, template: Template, language: Language | None = None) -> str:
    """One sentence of a template as a person would say it, for "you can say ...".

    Takes the first of each alternative and of each list, five (or the nearest number) of a range; leaves optional
    words out, but keeps optional endings such as the s of ``minute[s]``. language: None = English.
    """
    return " ".join(_example(template.parsed.expression, skill, language or english()).split())


def _example(expression: Expression, skill: Skill, language: Language) -> str:
    if isinstance(expression, ListReference):
        bounds = expression.get_inline_range()
        slot = Numbers(*bounds) if bounds else skill.slots.get(expression.list_name, AnyText())
        match slot:
            case Words(values):
                return _example(parse_template(values[0].spoken).expression, skill, language)
            case Numbers(start, stop):
                return language.spell(min(max(5, start), stop))[0]
            case AnyText():
                return language.say("something", slot=expression.slot_name.replace("_", " "))
    if isinstance(expression, Alternative):
        if expression.is_optional:
            inner = _example(expression.items[0], skill, language) if expression.items else ""
            return inner if len(inner) <= 2 and not inner.startswith(" ") else ""
        return _example(expression.items[0], skill, language) if expression.items else ""
    if isinstance(expression, Group):
        return "".join(_example(item, skill, language) for item in expression.items)
    return getattr(expression, "original_text", "")
