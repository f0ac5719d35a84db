"""A pause within a request: the whole daemon, with an offline brain that knows how the sentence goes on."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from assistant.demo.kitchen import Kitchen, Person
from tests.house import House

# The silences are long, so that a busy machine has time to say that the sentence is unfinished.
CONFIG = """\
provider: local
session: {{keep_open_s: 300}}
endpointing: {{end_silence_ms: 2500, unfinished_silence_ms: 5000}}
audio:
  input: {{device: "wav:room.pipe"}}
  output: {{device: "wav:speaker.wav"}}
follow_up: {{mode: never}}
log: {{events_file: events.jsonl}}
state_dir: state
"""
PAUSE_S = 3.2  # more than end_silence_ms


async def two_requests(house: House, kitchen: Kitchen) -> None:
    """One to get to know the microphone, and one with a pause in it."""

    async def say(text: str) -> float:
        """Gives when its last sound was heard."""
        return (await kitchen.say(Person().utter(text))).ends

    house.wait_for("ready", within=60)
    await say("hey jarvis what time is it")
    house.wait_for("end_turn", within=60)
    await say("hey jarvis")
    house.wait_for("woken", count=2)
    paused_at = await say("set a timer for")
    await asyncio.sleep(max(0.0, paused_at + PAUSE_S - time.monotonic()))
    await say("ten minutes")
    house.wait_for("end_turn", count=2, within=60)


@pytest.mark.daemon
def test_whoever_pauses_within_a_request_is_not_cut_off(tmp_path: Path) -> None:
    with House(tmp_path, config=CONFIG) as house, Kitchen(tmp_path / "room.pipe", tmp_path / "room.wav") as kitchen:
        house.start()
        asyncio.run(two_requests(house, kitchen))
    assert [entry["outcome"] for entry in house.entries("end_turn")] == ["answered", "answered"]
    [_, timer] = house.entries("run_tool")
    assert json.loads(timer["arguments"]) == {"amount": 10, "unit": "minutes"}, house.log
    assert "unfinished" in [entry["found"] for entry in house.entries("completeness")]
