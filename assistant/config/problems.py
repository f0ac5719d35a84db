"""From pydantic's errors to sentences that name the line, the key, what is wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from assistant.config.credentials import instead_of_literal, is_literal_secret, is_secret_like, looks_like_secret
from assistant.config.document import Document, KeyPath
from assistant.config.values import PROBLEM
from assistant.errors import ConfigProblem

_EXPECTED: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_unicode": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "settings, one 'key: value' a line",
    "model_type": "settings, one 'key: value' a line",
    "path_type": "a path",
    "is_instance_of": "a path",
}


def explain(
    error: ValidationError, model: type[BaseModel], document: Document
) -> Iterator[tuple[KeyPath, ConfigProblem]]:
    """One problem for each error of pydantic, with the path of the key it belongs to."""
    for item in error.errors(include_url=False):
        path: KeyPath = item["loc"]
        yield path, document.problem(path, _message(item, path, model))


def literal_secrets(document: Document) -> Iterator[tuple[KeyPath, ConfigProblem]]:
    """The secrets that are written into the settings of plugins (ours have no key that could hold one)."""

    def walk(value: Any, path: KeyPath) -> Iterator[KeyPath]:
        if isinstance(value, list):
            for index, child in enumerate(value):
                yield from walk(child, (*path, index))
        elif isinstance(value, dict):
            for key, child in value.items():
                if is_literal_secret(key, child):
                    yield (*path, key)
                yield from walk(child, (*path, key))

    for path in walk(document.data.get("plugins"), ("plugins",)):
        yield path, document.problem(path, instead_of_literal(str(path[-1])))


def _message(item: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> str:
    kind, value = item["type"], item["input"]
    key = str(path[-1]) if path else ""
    if kind == PROBLEM:
        return item["msg"]
    if kind == "missing":
        return "this is missing"
    if kind == "extra_forbidden":
        return _unknown(path, model, value)
    field = _field(model, path)
    got = _got(value, hidden=is_secret_like(key))
    if kind == "literal_error" and field is not None:
        return f"must be {_choices(field, value)}{got}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}{got}{_hint(kind, value)}"
    if field is not None and (limits := _limits(field)):
        return f"must be {limits}{got}"
    if kind == "too_short":
        return "needs at least one entry"
    if kind == "string_too_short":
        return "must not be empty; leave the line out for the default"
    if kind == "string_pattern_mismatch":
        return "expected a language code such as en or en-GB"
    return item["msg"][:1].lower() + item["msg"][1:]


def _unknown(path: KeyPath, model: type[BaseModel], value: object) -> str:
    key = str(path[-1])
    section = _section(model, path[:-1])
    if is_literal_secret(key, value):
        return instead_of_literal(key)
    names = list(section.model_fields) if section else []
    if close := difflib.get_close_matches(key.lower().replace("-", "_"), names, n=1, cutoff=0.6):
        return f"there is no such setting; did you mean {close[0]}?"
    if elsewhere := [place for place in _places(model) if place.split(".")[-1] == key]:
        return f"there is no such setting here; did you mean {' or '.join(elsewhere[:3])}?"
    return f"there is no such setting; there are {', '.join(names)}"


def _places(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """The dotted names of all settings."""
    for name, field in model.model_fields.items():
        yield f"{before}{name}"
        if (section := _model_in(field)) is not None:
            yield from _places(section, f"{before}{name}.")


def _model_in(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a field holds, by itself or in a list."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _section(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    section: type[BaseModel] | None = model
    keyed = False  # the next part is a key of a dict
    for part in path:
        if isinstance(part, int):
            continue  # an entry of a list has the model that its list has
        if keyed:
            keyed = False
            continue  # the key of an entry: all of them have the same model
        field = section.model_fields.get(part) if section else None
        section = _model_in(field) if field else None
        keyed = field is not None and get_origin(field.annotation) is dict
    return section


def _field(model: type[BaseModel], path: KeyPath) -> FieldInfo | None:
    section = _section(model, path[:-1])
    return section.model_fields.get(str(path[-1])) if section and path else None


def _choices(field: FieldInfo, value: object) -> str:
    names: list[str] = []
    for kind in (field.annotation, *get_args(field.annotation)):
        names += [name for name in get_args(kind) if isinstance(name, str)]
    choices = ", ".join(dict.fromkeys(names))
    if isinstance(value, str) and (close := difflib.get_close_matches(value.lower(), names, n=1)):
        return f"one of {choices} (did you mean {close[0]}?)"
    return f"one of {choices}"


def _limits(field: FieldInfo) -> str:
    """``from 0 to 100``, out of the field's constraints."""
    found: dict[str, Any] = {}
    for constraint in field.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if (limit := getattr(constraint, name, None)) is not None:
                found[name] = limit
    low = f"from {found['ge']}" if "ge" in found else f"more than {found['gt']}" if "gt" in found else ""
    high = f"less than {found['lt']}" if "lt" in found else f"at most {found['le']}" if "le" in found else ""
    if "ge" in found and "le" in found:
        return f"from {found['ge']} to {found['le']}"
    return " and ".join(part for part in (low, high) if part)


_KINDS: Final[Mapping[type, str]] = {str: "text", list: "a list", tuple: "a list", dict: "a section"}


def _got(value: object, *, hidden: bool) -> str:
    """What stands there: numbers and single words as they are, everything else, and all secrets, by kind alone."""
    match value:
        case None:
            return ", got null"
        case bool():
            return f", got {str(value).lower()}"
        case int() | float():
            text = "a very large number" if isinstance(value, int) and abs(value) >= 10**15 else repr(value)
            return ", got a number" if hidden else f", got {text}"
        case str() if not hidden and 0 < len(value) <= 20 and value.isprintable() and not looks_like_secret(value):
            return f", got the text '{value}'"
    return f", got {_KINDS.get(type(value), type(value).__name__)}"


def _hint(kind: str, value: object) -> str:
    if value is None:
        return ": leave the line out for the default"
    if kind in ("string_type", "path_type", "is_instance_of") and isinstance(value, bool | int | float):
        return ": put it in quotes"
    if kind in ("int_type", "float_type") and isinstance(value, str) and value[:1].isdigit():
        return ": write the number alone, without quotes or unit"
    if kind in ("dict_type", "model_type") and isinstance(value, str):
        return ": is a ':' missing?"
    return ""
