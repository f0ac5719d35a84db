"""How long each fault of docs/faults.md holds up a turn, and when the next one works: ``python -m bench.recovery``.

Real sockets on loopback, on virtual time: the seconds are those that a user would wait, the run takes a moment.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

from assistant.testing.scripted_server import ScriptedServer
from assistant.testing.virtual_time import run
from tests.engine_rig import Rig
from tests.realtime.test_faults import SERVERS, good, turn_and_next


def _measure(name: str) -> tuple[Rig, list[str], float]:
    async def main() -> tuple[Rig, list[str], float]:
        async with SERVERS[name][0]() as server:
            return await turn_and_next(server, Path(folder))

    with tempfile.TemporaryDirectory() as folder:
        return run(main())


def _without_fault() -> float:
    async def main() -> float:
        async with ScriptedServer(good) as server:
            return (await turn_and_next(server, Path(folder)))[2]

    with tempfile.TemporaryDirectory() as folder:
        return run(main())


def main() -> int:
    logging.disable(logging.CRITICAL)
    usual = _without_fault()
    print(f"a turn without a fault takes {usual:.1f} s here, its answer included\n")
    print(f"{'fault':<30}{'turn':<10}{'over after':>12}{'next turn takes':>17}   heard")
    for name in SERVERS:
        rig, outcomes, took = _measure(name)
        begun, ended = rig.all("begin_turn")[1], rig.all("end_turn")[1]
        phrase = rig.phrases[0] if rig.phrases else "the answer"
        print(f"{name:<30}{outcomes[0]:<10}{took:>10.1f} s{ended['at'] - begun['at']:>15.1f} s   {phrase}")
        if outcomes[1] != "answered":
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
