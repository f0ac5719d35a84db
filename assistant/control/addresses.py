"""Unix sockets at paths of any length."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LONGEST: Final = 100
"""``sun_path`` of unix(7) has 108 bytes."""


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name by which the socket can be bound or connected to while the context lasts.

    A path that is too long for the kernel is reached through an open descriptor of its folder. Raises OSError.
    """
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
