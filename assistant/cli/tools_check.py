"""``assistant tools check``: what an author or owner should look at, beyond what keeps a plugin from loading."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from assistant.local.samples import samples
from assistant.local.skills import Skills, read_tools
from assistant.local.understanding import ToolWanted, Understanding
from assistant.tools.consent import CONSENT_TOOLS
from assistant.tools.registry import PluginStatus, ToolRegistry
from assistant.tools.tool import Tool

SHORTEST_DESCRIPTION = 12
LONGEST_DESCRIPTION = 1000
TOO_ALIKE = 0.88


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at. ``serious``: something does not work; else it could work better."""

    serious: bool
    text: str


def review(registry: ToolRegistry) -> list[Finding]:
    """Everything worth a look in the loaded plugins, the serious first."""
    found = [
        Finding(True, f"plugin {info.name}: {info.status}: {info.reason}")
        for info in registry.plugins
        if info.status not in (PluginStatus.ENABLED, PluginStatus.DISABLED)
    ]
    found += [Finding(True, line) for line in registry.unknown]
    skills = read_tools(registry.specs(offline=True))
    found += [Finding(True, problem) for problem in skills.problems]
    found += [Finding(True, line) for line in _clashes(skills, registry)]
    for tool in registry.tools.values():
        found += [Finding(False, f"tool {tool.name} ({tool.plugin}): {line}") for line in _quality(tool)]
    found += [Finding(False, line) for line in _names_alike(list(registry.tools.values()))]
    return sorted(found, key=lambda finding: not finding.serious)


def _quality(tool: Tool) -> Iterator[str]:
    description = tool.schema.description
    if len(description) < SHORTEST_DESCRIPTION:
        yield f"its description is {description!r}: say what it does and when to use it"
    elif len(description) > LONGEST_DESCRIPTION:
        yield f"its description has {len(description)} characters, which every session pays for: shorten it"
    for name, schema in tool.schema.parameters["properties"].items():
        if "description" not in schema and "enum" not in schema and schema.get("type") != "boolean":
            yield f"parameter {name} has no description: add a line '{name}: ...' to the docstring"
    if not tool.options.sentences:
        yield "it has no sentences, so the offline brain cannot reach it"


def _names_alike(tools: list[Tool]) -> Iterator[str]:
    for one, other in combinations(tools, 2):
        if one.plugin == other.plugin:
            continue
        a, b = (re.sub(r"[_-]", "", tool.name.lower()) for tool in (one, other))
        if difflib.SequenceMatcher(None, a, b).ratio() >= TOO_ALIKE:
            yield (
                f"tools {one.name} ({one.plugin}) and {other.name} ({other.plugin}) have names so alike that a model "
                "may take one for the other: rename one with @tool(name=...)"
            )


def _clashes(skills: Skills, registry: ToolRegistry) -> Iterator[str]:
    """Sentences of one tool that are understood as another one."""
    understanding = Understanding(skills)
    owners = {**{name: tool.plugin for name, tool in registry.tools.items()}, **dict.fromkeys(CONSENT_TOOLS, "consent")}
    for skill in skills.skills:
        for template in skill.templates:
            for sentence in samples(skill, template):
                meaning = understanding.understand(sentence)
                if not isinstance(meaning, ToolWanted) or meaning.tool == skill.name:
                    continue
                yield (
                    f'"{sentence}" of tool {skill.name} ({owners[skill.name]}) is understood as {meaning.tool} '
                    f"({owners[meaning.tool]}): change one of the two"
                )
                break
