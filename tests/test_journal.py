"""What happened, as JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

from assistant.core import commands as do
from assistant.core import events as ev
from assistant.core.endpointing import Expect
from assistant.core.history import Message
from assistant.journal import Entry, Journal, JournalFile
from assistant.types import CallId, ItemId, ResponseId, TurnId


def collect() -> tuple[Journal, list[Entry]]:
    entries: list[Entry] = []
    journal = Journal()
    journal.subscribe(entries.append)
    return journal, entries


def test_events_and_commands_without_their_audio() -> None:
    journal, entries = collect()
    journal.event(ev.AnswerAudio(1.5, ResponseId("r"), ItemId("i"), bytes(960)))
    journal.command(do.RunTool(TurnId(3), CallId("c"), "set_timer", "{}"), 2.0)
    journal.command(do.EndTurn(TurnId(3), do.TurnOutcome.ANSWERED), 2.5)
    assert entries == [
        {"at": 1.5, "kind": "event", "name": "answer_audio", "response": "r", "item": "i", "bytes": 960},
        {
            "at": 2.0,
            "kind": "command",
            "name": "run_tool",
            "turn": 3,
            "call": "c",
            "tool": "set_timer",
            "arguments": "{}",
        },
        {"at": 2.5, "kind": "command", "name": "end_turn", "turn": 3, "outcome": "answered", "detail": ""},
    ]


def test_what_happens_all_the_time_is_left_out() -> None:
    journal, entries = collect()
    journal.event(ev.Tick(1.0))
    journal.command(do.Listen(Expect.NOTHING), 1.0)
    assert entries == []


def test_every_event_and_command_can_be_written(tmp_path: Path) -> None:
    """Fields that JSON cannot hold would end the daemon's journal in the middle of a turn."""
    from tests.core.test_conversation import Script

    journal, entries = collect()
    file = JournalFile(tmp_path / "deep" / "events.jsonl")
    journal.subscribe(file)
    script = Script()
    script.ask()
    script.respond()
    script.call()
    script.audio()
    script.wake()
    for command in script.commands:
        journal.command(command, 1.0)
    journal.command(do.RestoreHistory((Message("user", "will it rain"),)), 1.0)
    journal.note("ready", 2.0, pid=1)
    file.close()
    lines = (tmp_path / "deep" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == [entry["name"] for entry in entries]
    assert (tmp_path / "deep" / "events.jsonl").stat().st_mode & 0o777 == 0o600
    file({"name": "late"})  # after close nothing is written, and nothing breaks
