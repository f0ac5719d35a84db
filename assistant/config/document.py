"""A config file as YAML: plain data, the line of every key, and what is wrong with it as a text.

The dialect is the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), not PyYAML's 1.1: ``no``,
``off`` and ``22:30`` are text, ``1e-8`` is a number, ``2024-01-01`` is text. So ``language: no`` means Norwegian and
``mode: off`` means the mode called off. PyYAML keeps the last of two equal keys; here the second one is a problem.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from assistant.errors import ConfigProblem

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: ``("wake", "words", 0, "threshold")``."""

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 20_000
"""Nobody writes more by hand; aliases that multiply each other would."""

_TAG: Final = "tag:yaml.org,2002:"


def dotted(path: KeyPath) -> str:
    """``wake.words[0].threshold``: how a key is named in a problem."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says. ``data`` holds whatever could be read, also when there are problems."""

    data: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    problems: tuple[ConfigProblem, ...] = ()

    def line_of(self, path: KeyPath) -> int | None:
        """The line of this key, or of the nearest key around it that is in the file."""
        for length in range(len(path), 0, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return line
        return None

    def problem(self, path: KeyPath, message: str) -> ConfigProblem:
        return ConfigProblem(dotted(path), message, self.line_of(path))


def read_document(text: str) -> Document:
    """Read one YAML document. Never raises: everything wrong is in ``problems``."""
    try:
        node = compose(text)
        builder = _Builder()
        data = None if node is None else builder.build(node, (), 0)
    except _Refused as refused:
        return Document(problems=(refused.problem,))
    if data is None and not builder.problems:
        data = {}  # an empty file, or one that is all comments: every setting has its default
    if not isinstance(data, dict):
        problems = builder.problems or [ConfigProblem("", "the file must hold settings, one 'key: value' a line", 1)]
        return Document(problems=tuple(problems))
    return Document(data, builder.lines, tuple(builder.problems))


class _Refused(Exception):
    """The text cannot be read at all."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.problem = ConfigProblem("", message, line)


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner and parser with the scalars of the YAML 1.2 core schema; values are built by _Builder."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (as in the base class)


for _name, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


def compose(text: str) -> yaml.Node | None:
    """The syntax tree, with the place of every value in the text."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _Refused(*_sentence(error, text)) from None
    except RecursionError:
        raise _Refused("the file is nested too deeply", None) from None
    except (ValueError, OverflowError):  # an escape such as "\UFFFFFFFF" is no character
        raise _Refused("not valid YAML: a \\ escape in a quoted text is not a character", None) from None


_SENTENCES: Final = (
    (r"character '\\t'", "a tab stands where YAML wants spaces: indent with spaces only"),
    (
        r"mapping values are not allowed",
        "':' does not fit here: check the indentation and the line above, or quote a text with ': '",
    ),
    (r"could not find expected ':'", "this line has no 'key: value': add the ':' (with a space after it)"),
    (r"expected <block end>|expected the node content", "the indentation or the brackets do not fit the lines above"),
    (r"while parsing a flow|expected ',' or", "a bracket that was opened is not closed, or a comma is missing"),
    (r"unexpected end of stream", "a quote or bracket that was opened is never closed"),
    (r"character '[@`%]'", "text that begins with @, ` or % needs quotes"),
    (r"undefined alias|scanning an (?:alias|anchor)", "'*' and '&' begin an alias: put the text in quotes"),
    (r"duplicate anchor", "two anchors have the same name"),
    (r"expected a single document", "the file holds more than one document: remove the second '---'"),
    (r"unknown escape character", "a \\ in \"double quotes\" begins an escape: use 'single quotes' for a plain \\"),
    (r"sequence entries are not allowed", "a list item '- ' cannot stand here: check the indentation"),
)


def _sentence(error: yaml.YAMLError, text: str) -> tuple[str, int | None]:
    """A plain sentence and a line for what the parser says. Never quotes the file: it may hold a secret."""
    if isinstance(error, yaml.reader.ReaderError):
        return "a control character, which YAML does not allow", text.count("\n", 0, error.position) + 1
    if not isinstance(error, yaml.MarkedYAMLError):
        return "not valid YAML", None
    said = f"{error.context or ''} {error.problem or ''}"
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    for pattern, sentence in _SENTENCES:
        if re.search(pattern, said):
            if "never closed" in sentence and error.context_mark:
                line = error.context_mark.line + 1  # where it was opened, not the end of the file
            return sentence, line
    return "not valid YAML: check the quotes, colons and indentation here", line


_BROKEN: Final = object()
"""Stands for a value that a problem has already been reported for."""


class _Builder:
    """Turns nodes into plain data and notes the line of each key."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[ConfigProblem] = []
        self._values = 0

    def build(self, node: yaml.Node, path: KeyPath, depth: int) -> Any:
        line = self.lines.setdefault(path, node.start_mark.line + 1)
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            raise _Refused("nested too deeply, or aliases that refer to themselves", line)
        match node:
            case yaml.ScalarNode():
                return self._scalar(node, path)
            case yaml.SequenceNode(tag=tag) if tag == _TAG + "seq":
                items = (self.build(child, (*path, index), depth + 1) for index, child in enumerate(node.value))
                return [item for item in items if item is not _BROKEN]
            case yaml.MappingNode(tag=tag) if tag == _TAG + "map":
                return self._mapping(node, path, depth)
            case _:
                return self._refuse_tag(path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(ConfigProblem(dotted(path), "a key must be a plain word", line))
                continue
            key = key_node.value
            here = (*path, key)
            if key == "<<":
                message = "merge keys (<<) are not supported: write the settings out"
                self.problems.append(ConfigProblem(dotted(here), message, line))
            elif here in self.lines:
                message = f"set twice: first in line {self.lines[here]}; remove one of them"
                self.problems.append(ConfigProblem(dotted(here), message, line))
            else:
                self.lines[here] = line
                if (value := self.build(child, here, depth + 1)) is not _BROKEN:
                    result[key] = value
        return result

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        try:
            match node.tag.removeprefix(_TAG):
                case "str":
                    return text
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "int":
                    return int(text, 0 if text[:2] in ("0o", "0x") else 10)
                case "float":
                    return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
        except (ValueError, KeyError):  # an explicit tag that does not fit, or a number of thousands of digits
            self.problems.append(ConfigProblem(dotted(path), "not a value of the type it claims", self.lines[path]))
            return _BROKEN
        return self._refuse_tag(path)

    def _refuse_tag(self, path: KeyPath) -> object:
        message = "tags ('!...') are not supported: put text that begins with '!' in quotes"
        self.problems.append(ConfigProblem(dotted(path), message, self.lines[path]))
        return _BROKEN
