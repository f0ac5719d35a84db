"""Loads plugins again when their files change: for authors, while they write."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, TypeAlias

from assistant.tools.registry import ToolRegistry

LOOK_EVERY_S: Final = 0.5

_State: TypeAlias = frozenset[tuple[str, int, int]]


async def watch(registry: ToolRegistry, every_s: float = LOOK_EVERY_S) -> None:
    """Look at the files of all plugins and reload what has changed, until cancelled."""
    seen = {name: _state(path) for name, path in registry.files.items()}
    while True:
        await asyncio.sleep(every_s)
        for name, path in registry.files.items():
            if (state := _state(path)) != seen[name] and state:  # empty: an editor is just replacing the file
                seen[name] = state
                await registry.reload(name)


def _state(main: Path) -> _State:
    """What tells one version of a plugin from another: its files' times and sizes."""
    files = main.parent.rglob("*.py") if main.name == "__init__.py" else [main]
    found = set()
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        found.add((str(file), status.st_mtime_ns, status.st_size))
    return frozenset(found)
