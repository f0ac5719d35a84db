"""What the offline brain makes of a sentence with one plugin installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistant.local.brain import Brain, CallTool, Said
from assistant.local.skills import read_tools
from assistant.tools.registry import ToolRegistry


def understood(registry: ToolRegistry, text: str) -> tuple[str, Mapping[str, Any]] | None:
    skills = read_tools(registry.specs(offline=True))
    assert skills.problems == ()
    decision = Brain(skills).decide(Said(text))
    return (decision.tool, dict(decision.arguments)) if isinstance(decision, CallTool) else None
