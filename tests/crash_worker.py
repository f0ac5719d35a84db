"""A life of the assistant's state that ends by SIGKILL: for test_crash_safety.

It says in its pipe what it has found at its start, and then each thing that it has done, after it was done.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from assistant.audio import echo_report
from assistant.audio.echo_report import EchoReport
from assistant.config.loading import parse
from assistant.console.settings import rewrite
from assistant.core.pricing import Nanos, Tokens
from assistant.ears import MuteFile
from assistant.ledger.store import Entry, open_ledger
from assistant.tools.audit import AuditLog, read_calls
from assistant.tools.registry import ToolRegistry
from assistant.tools.runner import ToolRunner
from assistant.turnlog import TurnLog

JOBS = '''\
"""Jobs that say when they are done."""

from datetime import timedelta

from assistant.plugin import Plugin, tool

told = []


class Jobs(Plugin):
    async def start(self):
        self.context.schedule.handle("job", self.done)

    async def done(self, job):
        told.append(job.data["number"])

    @tool
    def add_job(self, number: int, after_ms: int) -> str:
        """Add a job.

        number: its number
        after_ms: when
        """
        self.context.schedule.add("job", timedelta(milliseconds=after_ms), {"number": number})
        return "added"
'''


CONFIG = """\
# What the household has set; the comments are theirs, too.
session: {instructions: Be brief.}
audio: {output: {volume: 0}}  # the neighbours
"""


def live(folder: Path, number: int, pipe: Connection) -> None:
    """Do things that are kept, until killed. ``number``: of the first thing."""
    asyncio.run(_live(folder, number, pipe))


async def _live(folder: Path, number: int, pipe: Connection) -> None:
    registry = ToolRegistry(folder / "plugins")
    registry.load([folder / "own"], disabled=["home_assistant", "mcp", "mqtt"])
    runner = ToolRunner(registry, audit=AuditLog(folder / "tools.sqlite3"))
    await registry.start()
    ledger = open_ledger(folder / "ledger.sqlite3", {})
    turns = TurnLog(folder / "turns.jsonl", max_bytes=20_000)
    mute = MuteFile(folder / "muted")
    plugin = {p.name: p for p in registry.plugins}["jobs"]
    assert plugin.status == "enabled", plugin
    told = next(tool for tool in registry.tools.values() if tool.name == "add_job").function.__globals__["told"]
    pipe.send(("found", await _find(runner, ledger, turns, mute, folder)))
    chance = random.Random(number)
    heard = 0
    while True:
        number += 1
        kind = chance.choice(("list", "note", "timer", "ledger", "turn", "mute", "job", "config", "echo"))
        if kind in ("mute", "config"):
            pipe.send((f"{kind} begins", number))
        pipe.send(await _do(kind, number, folder)(runner, ledger, turns, mute))
        await asyncio.sleep(0)
        for job in told[heard:]:
            pipe.send(("did", job))
        heard = len(told)


def volume_of(number: int) -> int:
    return number % 101


def _do(kind: str, number: int, folder: Path) -> Any:
    async def act(runner: ToolRunner, ledger: Any, turns: TurnLog, mute: MuteFile) -> tuple[str, int]:
        match kind:
            case "list":
                await _call(runner, "add_to_list", item=f"thing {number}", list="to_do")
            case "note":
                await _call(runner, "take_note", text=f"note {number}")
            case "timer":
                await _call(runner, "set_timer", amount=900, unit="hours", name=f"timer {number}")
                await _call(runner, "cancel_timer", name=f"timer {number}")
            case "job":
                await _call(runner, "add_job", number=number, after_ms=number % 40)
            case "ledger":
                ledger.record(Entry(time.time(), 1, number, "cloud", "m", Tokens(text_in=number), Nanos(1)))
            case "turn":
                turns.append({"v": 1, "turn": number})
            case "mute":
                mute.write(number % 2 == 0)
            case "config":
                rewrite(folder / "config.yaml", {"audio.output.volume": volume_of(number)})
            case "echo":
                echo_report.save(
                    folder, EchoReport("mic", None, volume_of(number), 80.0, -30.0, 35.0, 0, 0, 30.0, True)
                )
        return kind, number

    return act


async def _call(runner: ToolRunner, tool: str, **arguments: object) -> Any:
    outcome = await runner.call(tool, json.dumps(arguments))
    assert outcome.status == "ok", outcome
    return json.loads(outcome.output)


async def _find(runner: ToolRunner, ledger: Any, turns: TurnLog, mute: MuteFile, folder: Path) -> dict[str, Any]:
    """What has survived, by way of the code that the assistant reads it with."""
    lists = sqlite3.connect(f"file:{folder}/plugins/lists/plugin.sqlite3?mode=ro", uri=True)
    notes = sqlite3.connect(f"file:{folder}/plugins/notes/plugin.sqlite3?mode=ro", uri=True)
    try:
        return {
            "list": [row[0] for row in lists.execute("SELECT text FROM item")],
            "note": [row[0] for row in notes.execute("SELECT text FROM note")],
            "timer": str(await _call(runner, "list_timers")),
            "ledger": [row[0] for row in ledger._connection.execute("SELECT turn FROM usage")],
            "turn": [record["turn"] for record in turns.read()],
            "mute": mute.read(),
            "config": parse((config := (folder / "config.yaml")).read_text("utf-8"), config).audio.output.volume,
            "comments": config.read_text("utf-8").count("#"),
            "echo": echo_report.load(folder) is not None,
            "audit": len(read_calls(folder / "tools.sqlite3", 100_000)),
        }
    finally:
        lists.close()
        notes.close()
