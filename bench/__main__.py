"""All measurements, one after another: ``make bench``, or ``make bench ARGS=latency`` for one of them."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path


def main() -> int:
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    known = [module.name for module in modules if not module.name.startswith("_")]
    wanted = sys.argv[1:] or known
    if unknown := [name for name in wanted if name not in known]:
        print(f"bench: there is no {', '.join(unknown)}; known are: {', '.join(known)}", file=sys.stderr)
        return 2
    status = 0
    for name in wanted:
        print(f"\n=== {name}: python -m bench.{name}\n", flush=True)
        status |= importlib.import_module(f"bench.{name}").main() or 0
    return status


if __name__ == "__main__":
    sys.exit(main())
