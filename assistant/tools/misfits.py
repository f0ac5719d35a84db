"""What the owner wrote about plugins and tools that fits nothing, a line each. PURE."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from assistant.plugin import Tier
from assistant.plugin.decorator import strictest
from assistant.tools.tool import Tool


def unknown_plugins(section: str, names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Names of plugins that do not exist."""
    known = sorted(known)
    lines = []
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"plugins are: {', '.join(known)}"
            lines.append(f"{section}: there is no plugin named {name}: {hint}")
    return lines


def useless_tiers(tiers: Mapping[str, Tier], tools: Mapping[str, Tool], *, more_to_come: bool) -> list[str]:
    """Tiers for tools that do not exist, and those that would make a tool weaker.

    more_to_come: there will be more tools; a name that fits none yet is then no mistake.
    """
    lines = []
    for pattern, tier in tiers.items():
        fitting = [tool for name, tool in tools.items() if fnmatchcase(name, pattern)]
        if not fitting and not more_to_come:
            close = difflib.get_close_matches(pattern, tools, n=1)
            hint = f": did you mean {close[0]}?" if close else ""
            lines.append(f"tools.tiers: there is no tool {pattern}{hint}")
        lines += [
            f"tools.tiers: {tool.name} is {tool.options.tier} by its author and stays so: {tier} would be weaker"
            for tool in fitting
            if strictest(tier, tool.options.tier) != tier
        ]
    return lines
