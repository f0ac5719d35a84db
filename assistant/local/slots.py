"""What a slot of a sentence may hold, read from the JSON schema of its parameter. PURE.

========================  =============================================================================
enum                      its values, underscores spoken as spaces
integer or number         number words from ``minimum`` to ``maximum`` (0 and 100 where the schema is silent)
boolean                   on / off
string without enum       anything; only in free text, since a grammar cannot hold it
========================  =============================================================================

A list overrides the spoken forms of a slot, value by value (a template, or several). For a number the list adds to the
number words: ``{"n": {"1": "(a|an)"}}`` makes "a minute" one minute.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hassil.errors import HassilError
from hassil.expression import Expression, Group, ListReference, RuleReference, Sentence
from hassil.parse_expression import parse_sentence
from hassil.parser import ParseError

from assistant.local.numbers import LARGEST

_HYPHEN = re.compile(r"(?<=\w)-(?=\w)")
MAX_TEMPLATE_CHARS: Final = 500
MAX_LIST_VALUES: Final = 2_000

WORDS_LIST: Final = "{}__words"
"""Name of the list of spoken forms that a list adds to the number words of a slot."""


class TemplateError(ValueError):
    """One sentence or list that cannot work, in words for the tool's author."""


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


def parse_template(text: str) -> Sentence:
    """Parse a hassil template; raises TemplateError when it is not one."""
    try:
        return parse_sentence(text)
    except (ParseError, HassilError, ValueError, AssertionError, IndexError, RecursionError) as error:
        raise TemplateError(f"not a valid template ({error or type(error).__name__}); check the brackets") from None


def spoken_hyphens(text: str) -> str:
    """A template in which each hyphen between words may be a space: a recogniser hears none."""
    return _HYPHEN.sub("(-| )", text)


def read_slot(
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
        if list_name in (name, WORDS_LIST.format(name)) and not words_only:
            return _listed(name, lists[name], spec)
    if "enum" in spec or "const" in spec:
        values = spec.get("enum", [spec.get("const")])
        return words_of(parameter, [(str(value).replace("_", " "), value) for value in values if value is not None])
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
        pairs = [(form, _typed(str(key), spec)) for key, forms in spoken.items() for form in strings(forms)]
    else:
        pairs = [(form.replace("_", " "), _typed(form, spec)) for form in strings(spoken)]
    return words_of(name, pairs)


def words_of(name: str, pairs: Sequence[tuple[str, Any]]) -> Words:
    pairs = [(spoken_hyphens(form.strip()), value) for form, value in pairs if form.strip()]
    if not pairs:
        raise TemplateError(f"the list of {{{name}}} is empty")
    if len(pairs) > MAX_LIST_VALUES:
        raise TemplateError(f"the list of {{{name}}} has {len(pairs)} entries; the limit is {MAX_LIST_VALUES}")
    for form, _ in pairs:
        if len(form) > MAX_TEMPLATE_CHARS:
            raise TemplateError(f"the list of {{{name}}} has an entry of more than {MAX_TEMPLATE_CHARS} characters")
        if any(True for _ in references(parse_template(form).expression)):
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


def resolve(spec: object, root: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """The plain schema behind ``$ref`` and "X or null"."""
    schema = mapping(spec)
    if depth > 8:
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        return resolve(mapping(root.get("$defs")).get(reference.removeprefix("#/$defs/")), root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        options = [option for option in schema.get(key) or () if mapping(option).get("type") != "null"]
        if len(options) == 1:
            return resolve(options[0], root, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        return {**schema, "type": next((name for name in kind if name != "null"), None)}
    return schema


def references(expression: Expression) -> Iterator[ListReference | RuleReference]:
    if isinstance(expression, ListReference | RuleReference):
        yield expression
    elif isinstance(expression, Group):
        for item in expression.items:
            yield from references(item)


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return [item for item in value if isinstance(item, str)]
    return []
