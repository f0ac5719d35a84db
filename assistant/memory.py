"""How much memory a process has in RAM."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path


def resident_mb(pid: int | None = None) -> float:
    """In MB; of this process without ``pid``. Of another one that cannot be asked, such as one that has ended: 0."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 if pid is None else 0.0
