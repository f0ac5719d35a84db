"""``assistant`` and ``python -m assistant``."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit status. Commands import what they need: ``--help`` must be quick."""
    from assistant.cli import execute

    return execute(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    sys.exit(main())
