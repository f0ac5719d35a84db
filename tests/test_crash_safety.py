"""Killed at any moment: what was said to be done is there afterwards, whole, once, and nothing is done twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from assistant.tools.audit import read_calls
from tests import crash_worker

KILLS = int(os.environ.get("HEARTH_KILLS", "60"))
"""Some hundreds take a minute; see docs/service.md."""

STARTED_S = 30.0


class Lives:
    """One life after the other on the same state, and what each has said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "own").mkdir()
        (folder / "own" / "jobs.py").write_text(crash_worker.JOBS)
        (folder / "config.yaml").write_text(crash_worker.CONFIG)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.crash_worker"])
        self._chance = random.Random(4)
        self.number = 0
        self.done: dict[str, list[int]] = {
            kind: [] for kind in ("list", "note", "timer", "ledger", "turn", "job", "did", "echo", "config")
        }
        self.muted: bool | None = False
        self.volume: int | None = 0
        """None: it was just being written when the end came."""

    def live(self, kill_after_s: float | None = None) -> dict[str, Any]:
        """Live and be killed; gives what was found at the start of this life."""
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=crash_worker.live, args=(self.folder, self.number, theirs))
        process.start()
        theirs.close()
        try:
            assert ours.poll(STARTED_S), "it does not start any more"
            kind, found = ours.recv()
            assert kind == "found"
            process.join(self._chance.uniform(0, 0.15) if kill_after_s is None else kill_after_s)
            assert process.exitcode is None, "it has ended by itself"
        finally:
            process.kill()
            process.join()
        self._hear_out(ours)
        ours.close()
        process.close()
        self.number += 5000
        assert isinstance(found, dict)
        return found

    def _hear_out(self, pipe: Any) -> None:
        while True:
            try:
                kind, number = pipe.recv()
            except (EOFError, OSError):
                return
            if kind in ("mute", "mute begins"):
                self.muted = number % 2 == 0 if kind == "mute" else None
            elif kind == "config begins":
                self.volume = None
            else:
                if kind == "config":
                    self.volume = crash_worker.volume_of(number)
                self.done[kind].append(number)


@pytest.mark.timeout(600)
def test_killed_at_random_moments(tmp_path: Path) -> None:
    lives = Lives(tmp_path)
    lives.live(0.3)
    for _ in range(KILLS):
        promised = {kind: list(numbers) for kind, numbers in lives.done.items()}
        muted, volume = lives.muted, lives.volume
        found = lives.live()
        check(found, promised)
        assert muted is None or found["mute"] == muted
        assert volume is None or found["config"] == volume
    for file in tmp_path.rglob("*.sqlite3"):
        database = sqlite3.connect(file)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",), file
        database.close()
    assert min(len(numbers) for numbers in lives.done.values()) > KILLS / 4, "a test that does nothing shows nothing"
    twice = [job for job, count in Counter(lives.done["did"]).items() if count > 1]
    assert not twice, "a job was done twice"
    assert set(lives.done["did"]) <= set(range(lives.number))


def check(found: dict[str, Any], promised: dict[str, list[int]]) -> None:
    """What was said to be done must be there, once; what was being done at the end may be."""
    assert_kept(found["list"], [f"thing {number}" for number in promised["list"]])
    assert_kept(found["note"], [f"note {number}" for number in promised["note"]])
    assert_kept(found["ledger"], promised["ledger"])
    for number in promised["timer"]:
        assert f"timer {number}'" not in found["timer"], "a timer that was cancelled is back"
    turns = found["turn"]
    assert turns == sorted(set(turns))
    if promised["turn"]:
        assert set(promised["turn"][-20:]) <= set(turns), "the file is a ring, but the newest turns are in it"
    assert found["comments"] == crash_worker.CONFIG.count("#")
    assert found["echo"] or not promised["echo"]
    assert found["audit"] > 0 or not promised["list"]


def assert_kept(found: list[Any], promised: list[Any]) -> None:
    counts = Counter(found)
    assert not [item for item, count in counts.items() if count > 1], "done twice"
    missing = [item for item in promised if item not in counts]
    assert not missing, f"lost: {missing[:5]}"
    assert len(found) <= len(promised) + 2 * (KILLS + 2), "more than was ever begun"


def test_an_audit_log_whose_maker_was_killed_at_its_birth_is_empty(tmp_path: Path) -> None:
    (tmp_path / "tools.sqlite3").touch()
    assert read_calls(tmp_path / "tools.sqlite3", 10) == []
