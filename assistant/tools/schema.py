"""From a typed function to a JSON schema and a check of the arguments.

The schema is strict and closed: every property has a type, unknown properties are refused. It is plain JSON schema
without ``$ref``, since not every realtime server follows references. The check coerces what models often get wrong
and can only mean one thing ("3" for 3, null for "left out").
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NotRequired, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError
from typing_extensions import TypedDict  # pydantic insists on this one before Python 3.12

from assistant.errors import PluginLoadError, ToolError

_SCALARS: Final = (str, int, float, bool)
_CONFIG: Final = ConfigDict(extra="forbid", coerce_numbers_to_str=True, hide_input_in_errors=True)
_SUPPORTED: Final = "str, int, float, bool, Literal, Enum, list[...], a dataclass or a pydantic model"
_INSTEAD: Final[Mapping[Any, str]] = {
    list: "list[str] or a list of another type",
    dict: "a dataclass with named fields, or a list of them",
    tuple: "list[...]",
    set: "list[...]",
    frozenset: "list[...]",
    bytes: "str",
    complex: "float",
}
_MESSAGES: Final = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "unexpected_keyword_argument": "is not known here",
}


_ANYTHING: Final[TypeAdapter[dict[str, Any]]] = TypeAdapter(dict[str, Any])


class ToolArgumentsError(ToolError):
    """The model's arguments do not fit; the message says what to send instead."""


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """What the model is told about a tool, and the check of what it sends."""

    description: str
    parameters: dict[str, Any]
    """JSON schema of an object."""
    adapter: TypeAdapter[dict[str, Any]]
    none_if_missing: frozenset[str]
    given: bool = False
    """The author gave the schema as it is: only names are checked, and the rest is up to the function."""

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the function wants them, by name. Raises ToolArgumentsError, in one line."""
        required = self.parameters["required"]
        given = {key: value for key, value in arguments.items() if value is not None or key in required}
        if self.given:
            return self._named(given)
        try:
            return {**dict.fromkeys(self.none_if_missing), **self.adapter.validate_python(given)}
        except ValidationError as error:
            raise ToolArgumentsError(explain(error)) from None

    def _named(self, arguments: dict[str, Any]) -> dict[str, Any]:
        missing = [name for name in self.parameters["required"] if name not in arguments]
        unknown = sorted(arguments.keys() - self.parameters["properties"].keys())
        faults = [f"{name}: is missing" for name in missing] + [f"{name}: is not known here" for name in unknown]
        if faults:
            raise ToolArgumentsError("; ".join(faults[:5])[:500])
        return arguments


def _given_schema(function: Callable[..., Any], parameters: Mapping[str, Any], where: str) -> ToolSchema:
    description, _ = read_docstring(function, where)
    properties, required = parameters.get("properties", {}), parameters.get("required", [])
    fits = isinstance(properties, Mapping) and isinstance(required, list) and set(required) <= set(properties)
    if not fits or parameters.get("type") != "object":
        raise PluginLoadError(f"{where}: parameters must be the JSON schema of an object with properties")
    closed = {**parameters, "properties": dict(properties), "required": required, "additionalProperties": False}
    return ToolSchema(description, closed, _ANYTHING, frozenset(), given=True)


def build_schema(
    function: Callable[..., Any], *, method: bool, where: str, parameters: Mapping[str, Any] | None = None
) -> ToolSchema:
    """Read a tool's hints and docstring.

    method: the first parameter is ``self``.
    where: file and function, the beginning of every error.
    parameters: the schema itself, instead of hints.
    Raises PluginLoadError when the model could not be told how to call it, and says what to write instead.
    """
    _check_kind(function, where)
    if parameters is not None:
        return _given_schema(function, parameters, where)
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise PluginLoadError(
            f"{where}: a type hint cannot be resolved ({error}): define the type in the module"
        ) from None
    description, notes = read_docstring(function, where)
    in_signature = list(inspect.signature(function).parameters.values())[1 if method else 0 :]
    fields: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    none_if_missing = set()
    for parameter in in_signature:
        spot = f"{where}: parameter {parameter.name}"
        hint = _hint_of(parameter, hints, spot)
        hint, nullable = _without_none(hint)
        _check_type(hint, spot, ())
        if parameter.name in notes and not _described(hint):
            hint = Annotated[hint, Field(description=notes[parameter.name])]
        if parameter.default is not inspect.Parameter.empty:
            defaults[parameter.name] = parameter.default
        elif nullable:
            none_if_missing.add(parameter.name)
        optional = nullable or parameter.name in defaults
        fields[parameter.name] = NotRequired[hint] if optional else hint
    try:
        arguments = with_config(_CONFIG)(TypedDict("Arguments", fields))  # type: ignore[operator]
        adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(arguments)
        raw = adapter.json_schema()
    except (PydanticUserError, SchemaError, TypeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise PluginLoadError(f"{where}: its parameters cannot be described to the model: {first}") from None
    return ToolSchema(description, _object_schema(raw, defaults), adapter, frozenset(none_if_missing))


def explain(error: ValidationError) -> str:
    """What is wrong with some values, in one line and without the values."""
    parts = []
    for item in error.errors(include_url=False, include_input=False, include_context=False)[:5]:
        place = " ".join(".".join(str(step) for step in item["loc"]).split())[:100]  # may hold keys of any shape
        message = _MESSAGES.get(item["type"], item["msg"])
        parts.append(f"{place}: {message}" if place else message)
    return "; ".join(parts)


# --- docstrings -------------------------------------------------------------------------------------------------------


def read_docstring(function: Callable[..., Any], where: str) -> tuple[str, dict[str, str]]:
    """The first paragraph, and the text of each later line ``name: text`` (indented lines go on with it)."""
    text = inspect.getdoc(function) or ""
    head, _, rest = text.partition("\n\n")
    description = " ".join(head.split())
    if not description:
        raise PluginLoadError(f"{where}: add a docstring: its first paragraph tells the model what the tool does")
    notes: dict[str, str] = {}
    current = None
    for line in rest.splitlines():
        if match := re.match(r"(\w+):\s+(.+)", line):
            current = match[1]
            notes[current] = match[2].strip()
        elif current and line.startswith(" ") and line.strip():
            notes[current] += " " + line.strip()
        else:
            current = None
    return description, notes


# --- types ------------------------------------------------------------------------------------------------------------


def _check_kind(function: Callable[..., Any], where: str) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise PluginLoadError(f"{where}: a tool returns its result, it cannot yield: use return")


def _hint_of(parameter: inspect.Parameter, hints: Mapping[str, Any], spot: str) -> Any:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise PluginLoadError(f"{spot}: the model needs named parameters: write them out instead of *args or **kwargs")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise PluginLoadError(f"{spot}: it can only be given by position: remove the '/' from the signature")
    if parameter.name not in hints:
        raise PluginLoadError(f"{spot}: it has no type: write '{parameter.name}: int' or another of {_SUPPORTED}")
    if isinstance(parameter.default, FieldInfo):
        raise PluginLoadError(
            f"{spot}: Field(...) is not a default: write '{parameter.name}: Annotated[int, Field(...)]'"
        )
    return hints[parameter.name]


def _without_none(hint: Any) -> tuple[Any, bool]:
    """``X | None`` as (X, True), also inside Annotated; everything else as (hint, False)."""
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        bare, nullable = _without_none(inner)
        return (Annotated[(bare, *extras)], True) if nullable else (hint, False)
    members = _union(hint)
    if len(members) == 2 and NoneType in members:
        return next(member for member in members if member is not NoneType), True
    return hint, False


def _union(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else ()


def _described(hint: Any) -> bool:
    return get_origin(hint) is Annotated and any(isinstance(x, FieldInfo) and x.description for x in get_args(hint))


def _check_type(hint: Any, spot: str, inside: tuple[Any, ...]) -> None:
    """Raise PluginLoadError for a type that has no plain JSON schema. ``inside``: the classes around it."""
    hint, _ = _without_none(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        _check_type(arguments[0], spot, inside)
    elif hint in _SCALARS:
        return
    elif origin is Literal:
        _check_choices(arguments, spot)
    elif origin is list:
        _check_type(arguments[0], spot, inside)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        _check_choices([member.value for member in hint], spot)
    elif isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, BaseModel)):
        if hint in inside:
            raise PluginLoadError(f"{spot}: {hint.__name__} holds itself: use a list of plain values")
        for name, member in _members(hint, spot):
            _check_type(member, f"{spot}.{name}", (*inside, hint))
    else:
        shown = getattr(hint, "__name__", None) if origin is None else None
        kind = _INSTEAD.get(origin or hint, f"one of {_SUPPORTED}")
        raise PluginLoadError(f"{spot}: the model cannot send a {shown or hint}: write {kind} instead")


def _members(kind: type[Any], spot: str) -> list[tuple[str, Any]]:
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception as error:
        raise PluginLoadError(f"{spot}: a hint in {kind.__name__} cannot be resolved ({error})") from None
    if issubclass(kind, BaseModel):
        return [(name, hints[name]) for name in kind.model_fields]
    return [(item.name, hints[item.name]) for item in dataclasses.fields(kind)]


def _check_choices(values: typing.Sequence[Any], spot: str) -> None:
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or kinds.isdisjoint({str, int}):
        raise PluginLoadError(f"{spot}: the choices must be all strings or all whole numbers")


# --- JSON schema ------------------------------------------------------------------------------------------------------


def _object_schema(raw: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    schema = _plain(raw, raw.get("$defs", {}))
    properties = schema.get("properties", {})
    for name, default in defaults.items():
        value = default.value if isinstance(default, Enum) else default
        if isinstance(value, _SCALARS):
            properties[name]["default"] = value
    return {
        "type": "object",
        "properties": properties,
        "required": schema.get("required", []),
        "additionalProperties": False,
    }


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema without references, titles, null branches and ``const``, and with all objects closed."""
    if reference := schema.get("$ref"):
        target = definitions[reference.removeprefix("#/$defs/")]
        return _plain({**target, **{key: value for key, value in schema.items() if key != "$ref"}}, definitions)
    plain = {key: value for key, value in schema.items() if key not in ("title", "$defs", "anyOf", "const")}
    if "anyOf" in schema:  # only ever "X or null": other unions were refused
        branch = next(item for item in schema["anyOf"] if item.get("type") != "null")
        plain = {**_plain(branch, definitions), **plain}
    if plain.get("default", ...) is None:
        del plain["default"]
    if "const" in schema:
        plain["enum"] = [schema["const"]]
    if "items" in plain:
        plain["items"] = _plain(plain["items"], definitions)
    if plain.get("type") == "object":
        properties = plain.get("properties", {})
        plain["properties"] = {name: _plain(item, definitions) for name, item in properties.items()}
        plain["additionalProperties"] = False
    return plain
