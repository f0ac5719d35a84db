"""Changing single values in the text of a config file, and nothing else in it: comments, order and style stay.

The text is not written anew from what was read: each value is replaced in its place, by the marks of the parser. (A
round trip with ruamel.yaml 0.19 writes ``null`` as nothing, and moves comments.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, TypeAlias

import yaml

from assistant.config.document import compose

Value: TypeAlias = str | int | float | bool | None

_PLAIN: Final = re.compile(r"[A-Za-z][\w.\-/]*", re.ASCII)
_NOT_TEXT: Final = frozenset({"null", "true", "false"})
_COMMENT_AFTER: Final = re.compile(r"( +)#")


def edit(text: str, changes: Mapping[str, Value]) -> str:
    """The text with new values, by dotted keys such as ``session.voice``. The text must be one that can be read."""
    for key, value in changes.items():
        text = _set(text, tuple(key.split(".")), value)
    return text


def _set(text: str, path: tuple[str, ...], value: Value) -> str:
    root = compose(text)
    if not isinstance(root, yaml.MappingNode):  # empty, or comments only
        return _appended(text, path, value)
    node, rest = root, path
    while True:
        found = next(((key, child) for key, child in node.value if key.value == rest[0]), None)
        if found is None:
            return _inserted(text, node, rest, value) if node is not root else _at_root(text, root, rest, value)
        key, child = found
        rest = rest[1:]
        if not rest:
            return _replaced(text, key, child, value, flow=bool(node.flow_style))
        if not isinstance(child, yaml.MappingNode):  # a section without anything in it
            return _replaced(text, key, child, _Raw(_flow(rest, value)), flow=True)
        node = child


class _Raw(str):
    """YAML that is written as it is."""


def _replaced(text: str, key: yaml.Node, node: yaml.Node, value: Value, *, flow: bool) -> str:
    start, end = node.start_mark.index, node.end_mark.index
    block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
    if block:  # its end is the next token; comments and empty lines in between are not its own
        inside = text[start:end]
        kept = re.search(r"\n(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*$", inside)
        end = start + kept.start() if kept and not _is_content(inside, kept.start(), key) else end
    new = _rendered(value, key.start_mark.column, flow=flow)
    if start == end and text[start - 1] == ":":
        new = f" {new}"
    after = text[end:]
    if (spaces := _COMMENT_AFTER.match(after)) is not None and "\n" not in new and "\n" not in text[start:end]:
        width = max(1, len(spaces[1]) + (end - start) - len(new))  # the comment stays in its column
        after = " " * width + after[spaces.end() - 1 :]
    return text[:start] + new + after


def _is_content(inside: str, at: int, key: yaml.Node) -> bool:
    """Whether what looks like a comment after a block text is indented as far as the text, and so part of it."""
    lines = [line for line in inside[at:].split("\n") if line.strip()]
    return any(len(line) - len(line.lstrip()) > key.start_mark.column for line in lines)


def _inserted(text: str, section: yaml.MappingNode, rest: tuple[str, ...], value: Value) -> str:
    if section.flow_style or not section.value:
        at = section.start_mark.index + 1
        comma = ", " if section.value else ""
        return f"{text[:at]}{_pair(rest, value, flow=True)}{comma}{text[at:]}"
    first = section.value[0][0].start_mark
    pair = _pair(rest, value, flow=False, indent=first.column)
    return f"{text[: first.index]}{pair}\n{' ' * first.column}{text[first.index :]}"


def _at_root(text: str, root: yaml.MappingNode, rest: tuple[str, ...], value: Value) -> str:
    return _inserted(text, root, rest, value) if root.flow_style else _appended(text, rest, value)


def _appended(text: str, path: tuple[str, ...], value: Value) -> str:
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}{_pair(path, value, flow=False)}\n"


def _pair(path: tuple[str, ...], value: Value, *, flow: bool, indent: int = 0) -> str:
    if len(path) == 1:
        return f"{path[0]}: {_rendered(value, indent, flow=flow)}"
    return f"{path[0]}: {_flow(path[1:], value)}"


def _flow(path: tuple[str, ...], value: Value) -> str:
    return "{" + _pair(path, value, flow=True) + "}"


def _rendered(value: Value, indent: int, *, flow: bool) -> str:
    if isinstance(value, _Raw):
        return str(value)
    if not isinstance(value, str):
        return json.dumps(value)
    if "\n" in value and not flow and _fits_block(value):
        keep = "|" if value.endswith("\n") else "|-"
        return keep + "".join(
            f"\n{' ' * (indent + 2)}{line}" if line else "\n" for line in value.rstrip("\n").split("\n")
        )
    if _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return "".join(
        each if each.isprintable() else f"\\U{ord(each):08x}" for each in json.dumps(value, ensure_ascii=False)
    )


def _fits_block(value: str) -> bool:
    """Whether a block text can hold it as it is: printable, no leading space, at most one line end at its end."""
    lines = value.split("\n")
    return value[0] not in " \n" and not value.endswith("\n\n") and all(line.isprintable() for line in lines)
