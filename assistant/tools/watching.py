"""Loads plugins again when their files change: for authors, while they write."""

from __future__ import annotations

import asyncio
from typing import Final

from assistant.tools.registry import ToolRegistry

LOOK_EVERY_S: Final = 0.5


async def watch(registry: ToolRegistry, every_s: float = LOOK_EVERY_S) -> None:
    """Look at the files of all plugins and reload what has changed, until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        await registry.reload_changed()
