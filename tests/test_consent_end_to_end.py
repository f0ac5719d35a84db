"""A tool that asks first, through everything: the offline brain in its own process, session, conversation, engine."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from assistant import wiring
from assistant.assembly import Assistant
from assistant.config import load
from assistant.core import events as ev
from assistant.journal import Entry, Journal
from assistant.tools.audit import read_calls

CONFIG = """\
provider: local
state_dir: state
tools: {{pin_file: pin, tiers: {{set_timer: pin}}}}
plugins:
  system: {{reboot_command: [touch, {mark}]}}
audio: {{output: {{device: none}}}}
follow_up: {{mode: never}}
"""


async def talk(file: Path, *texts: str) -> tuple[list[str], list[Entry]]:
    """Say these one after the other; gives the answers, and the journal."""
    config = load(file)
    loop = asyncio.get_running_loop()
    journal, entries = Journal(), list[Entry]()
    journal.subscribe(entries.append)
    answers = []
    assistant = Assistant(config, journal, wiring.speaker("none", loop, available=lambda: assistant.player.available()))
    async with assistant.running():
        for text in texts:
            before = len(entries)
            assistant.engine.dispatch(ev.TextSubmitted(loop.time(), text))
            await assistant.engine.idle.wait()
            answers.append("".join(e["delta"] for e in entries[before:] if e["name"] == "answer_text"))
    return answers, entries


@pytest.mark.daemon
def test_a_yes_and_a_pin_are_given_in_the_next_turn(tmp_path: Path) -> None:
    mark, file = tmp_path / "rebooted", tmp_path / "config.yaml"
    file.write_text(CONFIG.format(mark=mark))
    (tmp_path / "pin").write_text("4711\n")
    (tmp_path / "pin").chmod(0o600)

    async def main() -> None:
        answers, entries = await talk(
            file,
            "yes",
            "restart the machine",
            "no",
            "yes",
            "restart the machine",
            "yes please",
            "set a timer for five minutes",
            "one two three four",
            "four seven one one",
        )
        assert answers == [
            "There is nothing to confirm.",
            "Shall I restart this machine?",
            "Okay, I will leave it.",
            "There is nothing to confirm.",
            "Shall I restart this machine?",
            "I am restarting.",
            "Shall I really set timer? Please tell me the PIN. What is it?",
            "That is not the PIN. What is it?",
            "Timer set for 5 minutes.",
        ]
        runs = [(e["tool"], e["arguments"]) for e in entries if e["name"] == "run_tool"]
        assert runs[-1] == ("enter_pin", "(not kept)")
        assert "4711" not in repr([e for e in entries if e["name"] in ("run_tool", "tool_called", "tool_result")])

    asyncio.run(main())
    assert mark.exists()
    calls = [(call.tool, call.status) for call in read_calls(tmp_path / "state" / "tools.sqlite3", 20)]
    assert calls.count(("reboot", "asked")) == 2
    assert calls.count(("reboot", "ok")) == 1
    assert calls[-3:] == [("set_timer", "asked"), ("enter_pin", "refused"), ("set_timer", "ok")]
    with sqlite3.connect(tmp_path / "state" / "plugins" / "timers" / "plugin.sqlite3") as db:
        assert db.execute("SELECT count(*) FROM timer").fetchone() == (1,)
    db.close()
