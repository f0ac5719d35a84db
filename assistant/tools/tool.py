"""One tool as the registry knows it, and how the model and the offline brain are told of it."""

from __future__ import annotations

import inspect
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from assistant.errors import PluginLoadError
from assistant.plugin import ToolOptions
from assistant.tools.schema import ToolSchema, build_schema

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what the realtime API takes
_SLOT: Final = re.compile(r"\{([^{}]*)\}")
CONSENT: Final = "consent"
"""The plugin of the tools by which a user agrees."""

MAX_VALUES: Final = 200
"""Values of a list that a model is told of; a house with more has them found by name."""

Spoken: TypeAlias = str | Sequence[str]
Entities: TypeAlias = Mapping[str, Mapping[str, Spoken]]
_CLOSERS: Final = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model can call."""

    name: str
    plugin: str
    function: Callable[..., Any]
    method: bool
    """The function is a method: it needs its plugin's instance as first argument."""
    schema: ToolSchema
    options: ToolOptions
    says: Mapping[str, str] = field(default_factory=dict)
    """What it answers, in the language of the household; see ``translations``."""
    title: str | None = None
    """What the plugin is called in that language."""

    @property
    def topic(self) -> str:
        """What people would call the thing that it is about; "" for a yes or a no, which nobody asks for by itself."""
        return "" if self.plugin == CONSENT else self.title or self.plugin.replace("_", " ")

    @property
    def group(self) -> str:
        """Whose calls at a time are counted together: the plugin, or a part of it."""
        return f"{self.plugin}: {self.options.group}" if self.options.group else self.plugin

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    def spec(self, offline: bool, entities: Entities | None = None) -> dict[str, Any]:
        """The tool for ``session.update``.

        offline: with what the offline brain needs, which no cloud knows.
        entities: the lists that the plugin keeps. A sentence with a list that is empty is left out.
        """
        lists: dict[str, Mapping[str, Spoken]] = {
            slot: (entities or {}).get(forms, {}) if isinstance(forms, str) else forms
            for slot, forms in self.options.lists.items()
        }
        known = {slot: list(lists[slot]) for slot, forms in self.options.lists.items() if isinstance(forms, str)}
        spec: dict[str, Any] = {
            "type": "function",
            "name": self.name,
            "description": self.schema.description,
            "parameters": _with_values(self.schema.parameters, known),
        }
        sentences = [text for text in self.options.sentences if all(lists.get(slot) != {} for slot in lists_of(text))]
        if offline and sentences:
            extra: dict[str, Any] = {"sentences": sentences}
            if lists := {slot: forms for slot, forms in lists.items() if forms}:
                extra["lists"] = {slot: dict(forms) for slot, forms in lists.items()}
            if self.options.asks:
                extra["asks"] = dict(self.options.asks)
            if self.options.reply is not None:
                extra["reply"] = self.options.reply
            if self.says:
                extra["says"] = dict(self.says)
            extra["topic"] = self.topic
            spec["x-offline"] = extra
        return spec


def lists_of(sentence: str) -> list[str]:
    """The lists and parameters that a sentence has as slots."""
    return [slot.partition(":")[0] for slot in _SLOT.findall(sentence)]


def _with_values(parameters: dict[str, Any], known: Mapping[str, list[str]]) -> dict[str, Any]:
    """The schema with the values that a list gives its parameter; the check of arguments stays as it was."""
    known = {slot: values for slot, values in known.items() if values and slot in parameters["properties"]}
    if not known:
        return parameters
    properties = {
        name: {**schema, "enum": known[name][:MAX_VALUES]} if name in known else schema
        for name, schema in parameters["properties"].items()
    }
    return {**parameters, "properties": properties}


def build_tool(function: Callable[..., Any], options: ToolOptions, *, plugin: str, file: str, method: bool) -> Tool:
    """Check a decorated function and make a tool of it. Raises PluginLoadError naming file, function and spot."""
    own_name: str = getattr(function, "__name__", "tool")
    where = f"{file}: {own_name}"
    name = options.name or own_name
    if not _NAME.fullmatch(name):
        raise PluginLoadError(f"{where}: the name {name!r} may only hold letters, digits, _ and - (at most 64)")
    if options.time_limit_s is not None and not options.time_limit_s > 0:
        raise PluginLoadError(f"{where}: time_limit_s must be more than 0")
    schema = build_schema(function, method=method, where=where, parameters=options.parameters)
    check_offline(options, schema.parameters, where)
    return Tool(name, plugin, function, method, schema, options)


def check_offline(options: ToolOptions, parameters: Mapping[str, Any], where: str) -> None:
    """Check the sentences of a tool and what belongs to them. Raises PluginLoadError."""
    known = parameters["properties"]
    for sentence in options.sentences:
        spot = f"{where}: sentence {sentence!r}"
        _check_brackets(sentence, spot)
        slots = {slot.rpartition(":")[2] for slot in _SLOT.findall(sentence)}
        if unknown := sorted(slots - set(known)):
            raise PluginLoadError(f"{spot}: {{{unknown[0]}}} is not a parameter of the function")
        missing = [name for name in parameters["required"] if name not in slots]
        if missing and not set(missing) & options.asks.keys():
            raise PluginLoadError(
                f"{spot}: it must hold {{{missing[0]}}}, or give {missing[0]} a default, or a question in asks"
            )
    used = {slot for sentence in options.sentences for slot in lists_of(sentence)}
    for slot, forms in options.lists.items():
        if slot not in known and slot not in used:
            raise PluginLoadError(f"{where}: lists: {slot} is neither a parameter nor in a sentence as {{{slot}:...}}")
        for spoken in () if isinstance(forms, str) else forms.values():
            _check_brackets(spoken, f"{where}: lists: {slot}: {spoken!r}")
    if unknown := sorted(options.asks.keys() - set(known)):
        raise PluginLoadError(f"{where}: asks: {unknown[0]} is not a parameter of the function")
    for slot in _places(options.reply or "", f"{where}: reply"):
        if slot != "result" and slot not in known:
            raise PluginLoadError(f"{where}: reply: {{{slot}}} is neither 'result' nor a parameter")
    for slot in _places(options.question or "", f"{where}: question"):
        if slot not in known:
            raise PluginLoadError(f"{where}: question: {{{slot}}} is not a parameter of the function")


def _places(text: str, spot: str) -> list[str]:
    try:
        return [slot for _, slot, _, _ in string.Formatter().parse(text) if slot is not None]
    except ValueError as error:
        raise PluginLoadError(f"{spot}: {error}") from None


def _check_brackets(template: str, spot: str) -> None:
    """Refuse an unbalanced template here, with its place; hassil would only meet it in the offline brain."""
    if not template.strip():
        raise PluginLoadError(f"{spot}: it is empty")
    stack = []
    for character in template:
        if character in _CLOSERS.values():
            stack.append(character)
        elif character in _CLOSERS and (not stack or stack.pop() != _CLOSERS[character]):
            raise PluginLoadError(f"{spot}: the brackets do not fit: {character!r} closes nothing")
    if stack:
        raise PluginLoadError(f"{spot}: the brackets do not fit: {stack[-1]!r} is never closed")
