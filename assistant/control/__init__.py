"""The control socket: a local Unix socket by which the owner looks at the running assistant and steers it.

Both sides speak lines of JSON, described in docs/control.md. The socket lies in the state folder, only its owner can
open it, and the server asks the kernel who is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

FILE_NAME: Final = "control.sock"


def socket_path(state_folder: Path) -> Path:
    """Where the socket of the assistant with this state folder is."""
    return state_folder / FILE_NAME
