"""What the installed tools can be asked for, read from their specs. PURE.

A tool spec is what ``session.update`` carries, with one key of our own::

    {"type": "function", "name": "timer_set", "description": "...", "parameters": {...JSON schema...},
     "x-offline": {"sentences": ["set a timer for {n} {unit}"],
                   "lists": {"unit": {"minutes": "minute[s]", "hours": "hour[s]"}},
                   "reply": "Timer set for {n} {unit}."}}

Sentences are hassil templates. What a ``{slot}`` may hold comes from the JSON schema of the parameter of that name:

========================  =============================================================================
enum                      its values, underscores spoken as spaces
integer or number         number words from ``minimum`` to ``maximum`` (0 and 100 where the schema is silent)
boolean                   on / off
string without enum       anything; only in typed text, since a grammar cannot hold it
========================  =============================================================================

``lists`` overrides the spoken forms of a slot, value by value (a template, or several). For a number the list adds to
the number words: ``{"n": {"1": "(a|an)"}}`` makes "a minute" one minute. ``{list:parameter}`` fills a parameter from a
list of another name.

A sentence that cannot work is left out and reported in ``Skills.problems``; it never stops the other ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hassil.errors import HassilError
from hassil.expression import Alternative, Expression, Group, ListReference, RuleReference, Sentence
from hassil.parse_expression import parse_sentence
from hassil.parser import ParseError

from assistant.local.numbers import LARGEST, spell

MAX_SENTENCES: Final = 2_000
"""Templates in one session."""

MAX_TEMPLATE_CHARS: Final = 500
MAX_LIST_VALUES: Final = 2_000

_WORDS_LIST = "{}__words"  # spoken forms that a list adds to the number words of a slot
_SLOT = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class SpokenValue:
    """One value of a slot and a hassil template of how people say it."""

    spoken: str
    value: Any


@dataclass(frozen=True, slots=True)
class Words:
    """A slot with a closed list of values."""

    values: tuple[SpokenValue, ...]


@dataclass(frozen=True, slots=True)
class Numbers:
    """A slot that holds a whole number, both ends included."""

    start: int
    stop: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class AnyText:
    """A slot that holds any words: understood when typed, never when spoken."""


Slot = Words | Numbers | AnyText


@dataclass(frozen=True, slots=True)
class Template:
    """One sentence of a tool."""

    text: str
    parsed: Sentence = field(compare=False)


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


@dataclass(frozen=True, slots=True)
class Skills:
    """Everything that can be asked for, and what is wrong with the specs (one line each)."""

    skills: tuple[Skill, ...] = ()
    problems: tuple[str, ...] = ()

    def get(self, name: str) -> Skill | None:
        return next((skill for skill in self.skills if skill.name == name), None)


def read_tools(tools: Sequence[Mapping[str, Any]]) -> Skills:
    """Read tool specs. Tools without ``x-offline`` sentences are passed over; nothing is raised."""
    skills: list[Skill] = []
    problems: list[str] = []
    room = MAX_SENTENCES
    for tool in tools:
        offline = tool.get("x-offline")
        if tool.get("type") != "function" or not isinstance(offline, Mapping):
            continue
        skill, trouble = _read_tool(tool, offline, room)
        problems += [f"tool {tool.get('name')}: {line}" for line in trouble]
        if skill.templates:
            skills.append(skill)
            room -= len(skill.templates)
    return Skills(tuple(skills), tuple(problems))


class TemplateError(ValueError):
    """One sentence or list that cannot work, in words for the tool's author."""


def _read_tool(tool: Mapping[str, Any], offline: Mapping[str, Any], room: int) -> tuple[Skill, list[str]]:
    schema = tool.get("parameters")
    schema = schema if isinstance(schema, Mapping) else {}
    properties = {name: _resolve(spec, schema) for name, spec in _mapping(schema.get("properties")).items()}
    lists = _mapping(offline.get("lists"))
    required = frozenset(name for name in schema.get("required") or () if isinstance(name, str))
    slots: dict[str, Slot] = {}
    templates: list[Template] = []
    problems: list[str] = []
    for text in _strings(offline.get("sentences")):
        try:
            if len(templates) >= room:
                raise TemplateError(f"left out, since a session holds at most {MAX_SENTENCES} sentences")
            templates.append(_read_template(text, properties, lists, required, slots))
        except TemplateError as trouble:
            problems.append(f"sentence {text[:80]!r}: {trouble}")
    reply = offline.get("reply")
    skill = Skill(
        name=str(tool.get("name", "")),
        description=str(tool.get("description") or ""),
        templates=tuple(templates),
        slots=slots,
        required=required,
        reply=reply if isinstance(reply, str) and reply.strip() else None,
    )
    return skill, problems


def _read_template(
    text: str,
    properties: Mapping[str, Mapping[str, Any]],
    lists: Mapping[str, Any],
    required: frozenset[str],
    slots: dict[str, Slot],
) -> Template:
    if len(text) > MAX_TEMPLATE_CHARS:
        raise TemplateError(f"longer than {MAX_TEMPLATE_CHARS} characters; split it")
    text = _add_word_forms(text, properties, lists)
    sentence = parse_template(text)
    filled = set()
    for reference in _references(sentence.expression):
        if isinstance(reference, RuleReference):
            raise TemplateError(f"<{reference.rule_name}> is not supported; write the words out")
        filled.add(reference.slot_name)
        if not reference.is_inline_range and reference.list_name not in slots:
            slots[reference.list_name] = _slot(reference.list_name, reference.slot_name, properties, lists)
    if missing := sorted(required - filled):
        raise TemplateError(f"never gives {', '.join(missing)}, which the tool requires; add {{{missing[0]}}}")
    return Template(text, sentence)


def parse_template(text: str) -> Sentence:
    """Parse a hassil template; raises TemplateError when it is not one."""
    try:
        return parse_sentence(text)
    except (ParseError, HassilError, ValueError, AssertionError, IndexError, RecursionError) as error:
        raise TemplateError(f"not a valid template ({error or type(error).__name__}); check the brackets") from None


def _add_word_forms(text: str, properties: Mapping[str, Mapping[str, Any]], lists: Mapping[str, Any]) -> str:
    """Let a number slot that also has a list match either: ``{n}`` -> ``({n}|{n__words:n})``."""

    def both(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in lists and properties.get(name, {}).get("type") in ("integer", "number"):
            return f"({{{name}}}|{{{_WORDS_LIST.format(name)}:{name}}})"
        return match.group(0)

    return _SLOT.sub(both, text)


def _slot(
    list_name: str, parameter: str, properties: Mapping[str, Mapping[str, Any]], lists: Mapping[str, Any]
) -> Slot:
    """What ``{list_name:parameter}`` may hold."""
    spec = properties.get(parameter)
    if spec is None:
        known = ", ".join(properties) or "none"
        raise TemplateError(f"{{{parameter}}} is not a parameter of the tool (it has: {known})")
    kind = spec.get("type")
    for name in lists:
        words_only = kind in ("integer", "number") and list_name == name and name in properties
        if list_name in (name, _WORDS_LIST.format(name)) and not words_only:
            return _listed(name, lists[name], spec)
    if "enum" in spec or "const" in spec:
        values = spec.get("enum", [spec.get("const")])
        return _words(parameter, [(str(value).replace("_", " "), value) for value in values if value is not None])
    if kind in ("integer", "number"):
        return _numbers(parameter, spec)
    if kind == "boolean":
        return Words((SpokenValue("on", True), SpokenValue("off", False)))
    if kind == "string":
        return AnyText()
    raise TemplateError(
        f"{{{parameter}}} is of type {kind!r}, which cannot be spoken; give it a list in x-offline.lists"
    )


def _listed(name: str, spoken: Any, spec: Mapping[str, Any]) -> Words:
    """A list as its author wrote it: {value: template or templates}, or just [value, ...]."""
    if isinstance(spoken, Mapping):
        pairs = [(form, _typed(str(key), spec)) for key, forms in spoken.items() for form in _strings(forms)]
    else:
        pairs = [(form.replace("_", " "), _typed(form, spec)) for form in _strings(spoken)]
    return _words(name, pairs)


def _words(name: str, pairs: Sequence[tuple[str, Any]]) -> Words:
    pairs = [(form.strip(), value) for form, value in pairs if form.strip()]
    if not pairs:
        raise TemplateError(f"the list of {{{name}}} is empty")
    if len(pairs) > MAX_LIST_VALUES:
        raise TemplateError(f"the list of {{{name}}} has {len(pairs)} entries; the limit is {MAX_LIST_VALUES}")
    for form, _ in pairs:
        if len(form) > MAX_TEMPLATE_CHARS:
            raise TemplateError(f"the list of {{{name}}} has an entry of more than {MAX_TEMPLATE_CHARS} characters")
        if any(True for _ in _references(parse_template(form).expression)):
            raise TemplateError(f"{form!r} in the list of {{{name}}} may not hold another slot or rule")
    return Words(tuple(SpokenValue(form, value) for form, value in pairs))


def _numbers(parameter: str, spec: Mapping[str, Any]) -> Numbers:
    low, high = spec.get("minimum"), spec.get("maximum")
    if low is None and isinstance(above := spec.get("exclusiveMinimum"), int | float):
        low = above + 1
    if high is None and isinstance(below := spec.get("exclusiveMaximum"), int | float):
        high = below - 1
    start = int(low) if isinstance(low, int | float) else 0
    stop = int(high) if isinstance(high, int | float) else max(100, start + 100)
    step = spec.get("multipleOf")
    if start > stop:
        raise TemplateError(f"{{{parameter}}} has a minimum above its maximum")
    if max(abs(start), abs(stop)) > LARGEST:
        start, stop = max(start, -LARGEST), min(stop, LARGEST)
    return Numbers(start, stop, int(step) if isinstance(step, int) and step > 0 else 1)


def _typed(text: str, spec: Mapping[str, Any]) -> Any:
    """A list's key, which JSON made a string, as the parameter's type."""
    for value in spec.get("enum") or ():
        if str(value) == text:
            return value
    kind = spec.get("type")
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
    except ValueError:
        raise TemplateError(f"the list has the value {text!r}, but the parameter is of type {kind}") from None
    if kind == "boolean":
        return text.lower() in ("true", "on", "yes", "1")
    return text


def _resolve(spec: object, root: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """The plain schema behind ``$ref`` and "X or null"."""
    schema = _mapping(spec)
    if depth > 8:
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        return _resolve(_mapping(root.get("$defs")).get(reference.removeprefix("#/$defs/")), root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        options = [option for option in schema.get(key) or () if _mapping(option).get("type") != "null"]
        if len(options) == 1:
            return _resolve(options[0], root, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        return {**schema, "type": next((name for name in kind if name != "null"), None)}
    return schema


def _references(expression: Expression) -> Iterator[ListReference | RuleReference]:
    if isinstance(expression, ListReference | RuleReference):
        yield expression
    elif isinstance(expression, Group):
        for item in expression.items:
            yield from _references(item)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return [item for item in value if isinstance(item, str)]
    return []


def example(skill: Skill, template: Template) -> str:
    """One sentence of a template as a person would say it, for "you can say ...".

    Takes the first of each alternative and of each list, five (or the nearest number) of a range; leaves optional
    words out, but keeps optional endings such as the s of ``minute[s]``.
    """
    return " ".join(_example(template.parsed.expression, skill).split())


def _example(expression: Expression, skill: Skill) -> str:
    if isinstance(expression, ListReference):
        bounds = expression.get_inline_range()
        slot = Numbers(*bounds) if bounds else skill.slots.get(expression.list_name, AnyText())
        match slot:
            case Words(values):
                return _example(parse_template(values[0].spoken).expression, skill)
            case Numbers(start, stop):
                return spell(min(max(5, start), stop))[0]
            case AnyText():
                return f"something for {expression.slot_name.replace('_', ' ')}"
    if isinstance(expression, Alternative):
        if expression.is_optional:
            inner = _example(expression.items[0], skill) if expression.items else ""
            return inner if len(inner) <= 2 and not inner.startswith(" ") else ""
        return _example(expression.items[0], skill) if expression.items else ""
    if isinstance(expression, Group):
        return "".join(_example(item, skill) for item in expression.items)
    return getattr(expression, "original_text", "")
