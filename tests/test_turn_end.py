"""A pause within a request: the whole daemon, with an offline brain that knows how the sentence goes on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from assistant.demo.kitchen import Kitchen, Person
from assistant.demo.stage import Stage

# The silences are long, so that a busy machine has time to say that the sentence is unfinished.
CONFIG = """\
provider: local
session: {keep_open_s: 300}
endpointing: {end_silence_ms: 1000, unfinished_silence_ms: 4000}
audio:
  input: {device: "wav:room.pipe"}
  output: {device: "wav:speaker.wav"}
follow_up: {mode: never}
log: {events_file: events.jsonl}
state_dir: state
"""


async def two_requests(folder: Path) -> list[str]:
    """One to get to know the microphone, and one with a pause in it; gives what the journal says from there on."""
    person = Person()
    with Kitchen(folder / "room.pipe", folder / "room.wav") as kitchen:
        stage = Stage(folder, kitchen, CONFIG, quiet=True)
        async with stage.daemon():
            await stage.wait("the daemon", 60, name="ready")
            await stage.say(person, "hey jarvis what time is it")
            await stage.wait("the first answer", 60, name="end_turn")
            second = len(stage.entries)
            await stage.say(person, "hey jarvis")
            await stage.wait("the wake word", 10, name="woken")
            await stage.say(person, "set a timer for")
            await asyncio.sleep(2.0)
            await stage.say(person, "ten minutes")
            await stage.wait("the second answer", 60, name="end_turn")
        fields = {"completeness": "found", "run_tool": "arguments", "end_turn": "outcome"}
        return [entry[fields[entry["name"]]] for entry in stage.entries[second:] if entry["name"] in fields]


@pytest.mark.daemon
def test_whoever_pauses_within_a_request_is_not_cut_off(tmp_path: Path) -> None:
    happened = asyncio.run(two_requests(tmp_path))
    assert "unfinished" in happened
    assert json.loads(happened[-2]) == {"amount": 10, "unit": "minutes"}, (tmp_path / "daemon.log").read_text()
    assert happened[-1] == "answered"
