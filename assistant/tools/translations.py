"""Sentences of tools in another language, as data: one TOML file a plugin and language.

A file is looked for beside the plugin, as ``NAME.de.toml`` beside ``NAME.py`` or in the folder of a package, then among
Hearth's own, in ``assistant/languages/de/NAME.toml``::

    topic = "Timer"                       # what the tools are about, for "what can you do"

    [set_timer]                           # one table a tool; what is left out stays English
    sentences = ["timer auf {amount} {unit}"]
    asks = { amount = "Wie lange?" }
    reply = "Der Timer läuft."
    lists.unit = { minutes = "minute[n]" }

    [lists.day]                           # for all tools of the plugin that have such a list
    today = "heute"

    [says]                                # what the tools say, with holes
    "There is no timer." = "Es läuft kein Timer."

A file that cannot be used is one line in the log, and its tools stay English.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from assistant.errors import PluginLoadError
from assistant.plugin import ToolOptions
from assistant.tools.tool import Tool, check_offline, lists_of

LANGUAGES: Final = Path(__file__).resolve().parents[1] / "languages"
AUTHORS: Final = "en"
"""The language in which tools are written."""

_TOOL_KEYS: Final = {"sentences", "lists", "asks", "reply"}
_log = logging.getLogger("hearth.tools")


class Translations:
    """Tools in the language of the household."""

    def __init__(self, language: str) -> None:
        self._language = language.partition("-")[0].lower()
        self._files: dict[str, Mapping[str, Any]] = {}
        self._tools: dict[str, tuple[Tool, Tool]] = {}  # name -> the tool, and the same in our language

    def of(self, tool: Tool, main: Path | None) -> Tool:
        """The tool in the language of the household, or as it is. ``main``: the file of its plugin."""
        if self._language == AUTHORS:
            return tool
        known = self._tools.get(tool.name)
        if known is None or known[0] is not tool:
            known = tool, self._translated(tool, main)
            self._tools[tool.name] = known
        return known[1]

    def _translated(self, tool: Tool, main: Path | None) -> Tool:
        if tool.plugin not in self._files:
            self._files[tool.plugin] = self._read(tool.plugin, main)
        file = self._files[tool.plugin]
        if not file:
            return tool
        try:
            options = _options(tool, _table(file, tool.name), _table(file, "lists"))
            check_offline(options, tool.schema.parameters, f"{tool.plugin} in {self._language!r}: {tool.name}")
        except (PluginLoadError, TypeError) as error:
            _log.warning("%s", error)
            return tool
        says = {english: text for english, text in _table(file, "says").items() if isinstance(text, str)}
        title = file.get("topic")
        return replace(tool, options=options, says=says, title=title if isinstance(title, str) else None)

    def _read(self, plugin: str, main: Path | None) -> Mapping[str, Any]:
        places = [LANGUAGES / self._language / f"{plugin}.toml"]
        if main is not None:
            places.insert(0, main.parent / f"{plugin}.{self._language}.toml")
        for place in places:
            try:
                return tomllib.loads(place.read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                _log.warning("%s: %s; the tools of plugin %s stay English", place, error, plugin)
                return {}
        return {}


def _table(file: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = file.get(name, {})
    if not isinstance(table, Mapping):
        raise TypeError(f"[{name}] is a table")
    return table


def _options(tool: Tool, table: Mapping[str, Any], common: Mapping[str, Any]) -> ToolOptions:
    """The options of a tool with what a file says instead. Raises TypeError for what is not of the right kind."""
    if unknown := sorted(table.keys() - _TOOL_KEYS):
        raise TypeError(f"plugin {tool.plugin}: [{tool.name}] has no {unknown[0]}; it may have {sorted(_TOOL_KEYS)}")
    old = tool.options
    lists = dict(old.lists)
    for slot, forms in {**{slot: common[slot] for slot in lists if slot in common}, **_table(table, "lists")}.items():
        before = lists.get(slot, {})
        lists[slot] = before if isinstance(before, str) else {**before, **forms}
    sentences = table.get("sentences", old.sentences)
    if isinstance(sentences, str):
        raise TypeError(f"plugin {tool.plugin}: [{tool.name}] sentences is a list")
    if "sentences" in table:  # lists that only the English sentences have
        used = {slot for sentence in sentences for slot in lists_of(sentence)} | tool.schema.parameters[
            "properties"
        ].keys()
        lists = {slot: forms for slot, forms in lists.items() if slot in used}
    return replace(
        old,
        sentences=tuple(sentences),
        lists=lists,
        asks={**old.asks, **_table(table, "asks")},
        reply=table.get("reply", old.reply),
    )
