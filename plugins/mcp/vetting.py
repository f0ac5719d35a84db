"""What a server says about its tools, made fit for a model: short, closed, plain, and never in the way of others.

A server is a stranger. Its names may look like those of other tools, its descriptions may be sermons, its schemas may
hold themselves. What does not fit is left out with a reason, and the rest of the server still works. PURE.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

MOST_TOOLS: Final = 64
DESCRIPTION_LIMIT: Final = 1000
SCHEMA_LIMIT: Final = 8_000
"""Characters of a tool's schema: each session pays for it."""

DEEPEST: Final = 8
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PROPERTY: Final = re.compile(r"[A-Za-z0-9_.$-]{1,64}")
_KEPT: Final = frozenset(
    {"type", "enum", "const", "format", "default", "multipleOf", "minLength", "maxLength"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "uniqueItems"}
)


class Unfit(Exception):
    """Why a tool is left out, in a few words."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool that can be offered. ``tool``: its name at the server. ``destructive``: the server says so itself."""

    name: str
    tool: str
    description: str
    parameters: dict[str, Any]
    destructive: bool


def vet(server: str, tools: Iterable[Mapping[str, Any]], wanted: Sequence[str]) -> tuple[list[Offer], list[str]]:
    """The tools of a server that the owner wants and a model can use, and a few words about each that is left out.

    tools: as in ``tools/list``. wanted: names at the server, or patterns. Each is offered as ``SERVER_NAME``, so that
    no server can put itself in place of another tool.
    """
    offers: dict[str, Offer] = {}
    left_out: list[str] = []
    for tool in tools:
        called = str(tool.get("name", ""))
        if not any(fnmatchcase(called, pattern) for pattern in wanted):
            continue
        try:
            if len(offers) >= MOST_TOOLS:
                raise Unfit(f"the server has more than {MOST_TOOLS} tools: name those that you want under tools")
            offer = _offer(server, called, tool)
            if offer.name in offers:
                raise Unfit("the server has two tools of that name")
        except Unfit as reason:
            left_out.append(f"{_shown(called)}: {reason}")
        else:
            offers[offer.name] = offer
    return list(offers.values()), left_out


def _offer(server: str, called: str, tool: Mapping[str, Any]) -> Offer:
    name = f"{server}_{re.sub(r'[^A-Za-z0-9_-]', '_', called)}"
    if not called.isascii() or not called.isprintable() or not called:
        raise Unfit("its name holds characters that cannot be used")
    if not _NAME.fullmatch(name):
        raise Unfit("its name is too long")
    schema = tool.get("inputSchema")
    if not isinstance(schema, Mapping):
        raise Unfit("it has no schema")
    definitions = {key: schema[key] for key in ("$defs", "definitions") if isinstance(schema.get(key), Mapping)}
    parameters = _plain(schema, definitions, 0)
    if parameters.get("type", "object") != "object":
        raise Unfit("its parameters are not an object")
    properties = parameters.get("properties", {})
    required = [key for key in parameters.get("required", []) if key in properties]
    parameters = {"type": "object", "properties": properties, "required": required}
    if len(json.dumps(parameters)) > SCHEMA_LIMIT:
        raise Unfit("its parameters are too many or too long")
    hints = tool.get("annotations")
    destructive = isinstance(hints, Mapping) and hints.get("destructiveHint") is True
    description = _line(tool.get("description") or tool.get("title"), DESCRIPTION_LIMIT)
    return Offer(name, called, description or f"{called} of {server}", parameters, destructive)


def _plain(schema: Any, definitions: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """A schema without references and without what models have no use for."""
    if schema is True or schema == {}:
        return {}
    if not isinstance(schema, Mapping):
        raise Unfit("its schema is none")
    if depth > DEEPEST:
        raise Unfit("its parameters hold one another too deeply")
    if (reference := schema.get("$ref")) is not None:
        return _plain(_resolved(reference, definitions), definitions, depth + 1)
    plain: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
    if text := _line(schema.get("description"), DESCRIPTION_LIMIT):
        plain["description"] = text
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(branches := schema.get(key), list):
            plain[key] = [_plain(branch, definitions, depth + 1) for branch in branches[:10]]
    if "items" in schema:
        plain["items"] = _plain(schema["items"], definitions, depth + 1)
    if isinstance(properties := schema.get("properties"), Mapping):
        if not all(isinstance(key, str) and _PROPERTY.fullmatch(key) for key in properties):
            raise Unfit("a parameter has a name that cannot be used")
        plain["properties"] = {key: _plain(value, definitions, depth + 1) for key, value in properties.items()}
        if isinstance(required := schema.get("required"), list):
            plain["required"] = [key for key in required if isinstance(key, str) and key in properties]
    return plain


def _resolved(reference: object, definitions: Mapping[str, Any]) -> Any:
    steps = str(reference).removeprefix("#/").split("/")
    if len(steps) == 2 and isinstance(found := definitions.get(steps[0], {}).get(steps[1]), Mapping):
        return found
    raise Unfit("its schema refers to something that is not there")


def _line(text: object, limit: int) -> str:
    """One line of printable text."""
    if not isinstance(text, str):
        return ""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _shown(name: str) -> str:
    return ascii(name[:40])[1:-1] or "a tool without a name"
