"""The home_assistant plugin with a real Home Assistant of 500 things: ``python -m bench.home``.

From a command to the changed state, how long the names take to be found, what the house costs a session, and how soon
the connection is back after Home Assistant was restarted. ``make test-home`` installs the Home Assistant.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from assistant.tools import loading
from assistant.tools.loading import bundled_plugins_folder
from assistant.tools.registry import ToolRegistry
from assistant.tools.runner import ToolRunner
from tests.real_home import STAMP, VERSION, RealHome, real_home

THINGS = 500
COMMANDS = 200
FINDS = 200
PEOPLE_SAY = ("Spot {n}", "the spot {n} light", "spot {n} lamp", "spto {n}")

_LIGHT = """      spot_{n}:
        unique_id: spot_{n}
        friendly_name: Spot {n}
        turn_on: []
        turn_off: []
"""


def more_lights() -> str:
    """Lights that follow at once: what is measured is the way to them."""
    return "light more:\n  - platform: template\n    lights:\n" + "".join(
        _LIGHT.format(n=number) for number in range(THINGS)
    )


def percentiles(times: list[float]) -> str:
    ordered = sorted(times)
    p50, p95 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 for part in (0.5, 0.95))
    return f"p50 {p50:7.2f} ms   p95 {p95:7.2f} ms"


async def measure(house: RealHome, state: Path) -> None:
    os.environ["HOME_ASSISTANT_TOKEN"] = house.token
    registry = ToolRegistry(state)
    candidate = loading.from_file(bundled_plugins_folder() / "home_assistant" / "__init__.py")
    registry.load_candidates([candidate], settings={"home_assistant": {"url": house.url}})
    runner = ToolRunner(registry)
    began = time.perf_counter()
    await registry.start()
    plugin: Any = registry._entries["home_assistant"].instance
    await plugin.connection.ready(30)
    print(f"  connected, and all of it known         {(time.perf_counter() - began) * 1000:7.0f} ms")
    print(f"  things that can be told or asked       {len(plugin.house.things):7d}")
    specs = [spec for spec in registry.specs(offline=False) if spec["name"].startswith("home_")]
    print(f"  tools in every session                 {len(specs):7d}   {len(json.dumps(specs))} bytes")
    names = json.dumps([thing.name for thing in plugin.house.things])
    print(f"  (their names alone would be                      {len(names)} bytes)")
    await time_commands(runner)
    states = await asyncio.to_thread(house.request, "/api/states")
    lit = sum(one["state"] == "on" for one in states if one["entity_id"].startswith("light.spot_"))
    assert lit == COMMANDS, f"Home Assistant itself says that {lit} are on"
    await time_group(runner)
    await time_finding(runner)
    await time_restart(house, plugin)
    await registry.stop()
    await runner.close()


async def time_commands(runner: ToolRunner) -> None:
    """The whole call: find the thing, send the command, see the new state."""
    times = []
    for turn in range(COMMANDS):
        arguments = {"name": f"spot {turn}", "action": "on"}
        began = time.perf_counter()
        outcome = await runner.call("home_set", json.dumps(arguments), turn=turn + 1)
        times.append(time.perf_counter() - began)
        assert outcome.status == "ok", outcome.output
    print(f"  command to state changed             {percentiles(times)}   ({COMMANDS} commands; no radio in it)")


async def time_group(runner: ToolRunner) -> None:
    began = time.perf_counter()
    outcome = await runner.call("home_set", json.dumps({"name": "all lights", "action": "off"}), turn=COMMANDS + 1)
    print(f"  all lights off                         {(time.perf_counter() - began) * 1000:7.0f} ms   {outcome.status}")


async def time_finding(runner: ToolRunner) -> None:
    """A question changes nothing: what is left is the finding of the name."""
    for form in PEOPLE_SAY:
        times = []
        for number in range(FINDS // len(PEOPLE_SAY)):
            began = time.perf_counter()
            await runner.call("home_status", json.dumps({"name": form.format(n=number)}), turn=number + 1)
            times.append(time.perf_counter() - began)
        print(f"  asked for {form.format(n='N')!r:<26} {percentiles(times)}")


async def time_restart(house: RealHome, plugin: Any) -> None:
    await asyncio.to_thread(house.stop)  # takes its time: the connection is lost long before it has ended
    assert plugin.connection.problem is not None
    await asyncio.to_thread(house.start)
    up = time.perf_counter()
    await plugin.connection.ready(120)
    print(f"  connected again after a restart        {time.perf_counter() - up:7.1f} s after it said that it runs")


def main() -> None:
    if not STAMP.is_file():
        print("bench.home: there is no Home Assistant here, so nothing is measured: make test-home installs one")
        return
    logging.getLogger("hearth").setLevel(logging.CRITICAL)
    print(f"Home Assistant {VERSION} with {THINGS} lights and a dozen other things, on this machine:")
    with real_home(more_lights()) as house, tempfile.TemporaryDirectory() as state:
        asyncio.run(measure(house, Path(state)))


if __name__ == "__main__":
    main()
