"""What happened, as JSON lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

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


def entries_of(path: Path) -> list[Any]:
    return [json.loads(line)["name"] for line in path.read_text().splitlines()]


def test_events_are_kept_for_their_time_and_begin_anew_with_each_start(tmp_path: Path) -> None:
    path, older = tmp_path / "events.jsonl", tmp_path / "events.jsonl.1"
    file = JournalFile(path, keep_s=100.0)
    for at in (1000, 1040, 1060, 1100, 1120):
        file({"at": at, "name": at})
    assert (entries_of(older), entries_of(path)) == ([1060, 1100], [1120])
    assert older.stat().st_mode & 0o777 == 0o600
    file.close()
    JournalFile(path, keep_s=100.0).close()
    assert (path.read_text(), older.exists()) == ("", False)


def test_events_do_not_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = JournalFile(path, max_bytes=1000)
    for number in range(1000):
        file({"at": 1.0, "name": number})
    file.close()
    assert entries_of(path)[-1] == 999
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 2200


def test_events_may_go_into_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "events"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = JournalFile(path, keep_s=1.0, max_bytes=1)
    for at in range(5):
        file({"at": at, "name": "wake"})
    file.close()
    assert os.read(reader, 9999).count(b"wake") == 5
    os.close(reader)


def test_a_full_disk_ends_the_file_and_not_the_assistant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = JournalFile(Path("/dev/full"))
    file({"at": 1.0, "name": "wake"})
    file({"at": 2.0, "name": "wake"})
    [line] = [record.getMessage() for record in caplog.records]
    assert line == "/dev/full cannot be written: No space left on device: no more events are kept"
