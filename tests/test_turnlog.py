"""The ring of turns on disk, and the thread that writes it."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from assistant.scribe import MAX_WAITING, Scribe, ScribeBusy
from assistant.turnlog import VERSION, TurnLog, TurnRecorder


def record(number: int, padding: int = 0) -> dict[str, Any]:
    return {"v": VERSION, "turn": number, "padding": "x" * padding}


def turns(log: TurnLog) -> list[int]:
    return [each["turn"] for each in log.read()]


def test_it_is_a_ring_and_ours_alone(tmp_path: Path) -> None:
    log = TurnLog(tmp_path / "state" / "turns.jsonl", max_bytes=10_000)
    for number in range(500):
        log.append(record(number, 100))
        assert log.path.stat().st_size <= 10_000
    kept = turns(log)
    assert kept == list(range(kept[0], 500)), "the newest, without a gap"
    assert len(kept) > 30
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert [file.name for file in log.path.parent.iterdir()] == ["turns.jsonl"]


def test_half_a_line_of_a_crash_costs_only_itself(tmp_path: Path) -> None:
    log = TurnLog(tmp_path / "turns.jsonl")
    log.append(record(1))
    with log.path.open("a") as file:
        file.write('{"v": 1, "turn": 2, "edg')
    log.append(record(3))
    assert turns(log) == [1, 3]


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    log = TurnLog(tmp_path / "turns.jsonl")
    assert log.read() == []
    log.path.write_bytes(b'[]\n\xff\xfe\n7\n{"v": 99}\n' + json.dumps(record(5)).encode() + b"\n" + b'"' * 100)
    assert turns(log) == [5]


def _write(path: str, first: int) -> None:
    log = TurnLog(Path(path), max_bytes=6_000)
    for number in range(first, first + 100):
        log.append(record(number, 50))


def test_processes_take_turns(tmp_path: Path) -> None:
    """Rotation by one must not lose the other's lines, nor mix them."""
    path = tmp_path / "turns.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(path), first)) for first in (1000, 2000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    log = TurnLog(path)
    assert len(path.read_bytes().splitlines()) == len(log.read()), "every line is whole"
    for first in (1000, 2000):
        kept = [number for number in turns(log) if first <= number < first + 1000]
        assert kept == list(range(first + 100 - len(kept), first + 100)), "the newest of each, in order"
    assert len(turns(log)) > 20


def test_a_file_that_was_replaced_while_we_waited_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TurnLog(tmp_path / "turns.jsonl")
    log.append(record(1))
    lock, waits = fcntl.flock, [True]

    def slow_lock(file: int, how: int) -> None:
        if waits:
            waits.clear()
            new = tmp_path / "new"
            new.write_text(json.dumps(record(2)) + "\n")
            new.replace(log.path)
        lock(file, how)

    monkeypatch.setattr("assistant.turnlog.fcntl.flock", slow_lock)
    log.append(record(3))
    assert turns(log) == [2, 3]


def one_turn(recorder: TurnRecorder) -> None:
    recorder({"kind": "event", "name": "woken", "at": 10.0, "word": "alexa"})
    recorder({"kind": "command", "name": "begin_turn", "at": 10.0, "turn": 4})
    recorder({"kind": "command", "name": "end_turn", "at": 16.0, "turn": 4, "outcome": "no_speech", "detail": ""})
    recorder({"kind": "note", "name": "uplink", "at": 16.0, "turn": 4, "sent_bytes": 0})


def test_a_turn_is_written_with_the_time_of_day_at_which_it_began(tmp_path: Path) -> None:
    scribe = Scribe()
    log = TurnLog(tmp_path / "turns.jsonl")
    recorder = TurnRecorder(log, scribe, run=77, now=lambda: 16.5, wall_clock=lambda: 1_770_000_006.5)
    recorder.opening("local", None)
    one_turn(recorder)
    recorder.finish()
    assert scribe.close(5)
    [written] = log.read()
    assert (written["time"], written["run"], written["turn"]) == (1_770_000_000.0, 77, 4)
    assert (written["provider"], written["word"], written["edges"]["end"]) == ("local", "alexa", 6000)


def test_a_disk_that_takes_nothing_is_one_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    scribe = Scribe()
    recorder = TurnRecorder(TurnLog(tmp_path / "file" / "turns.jsonl"), scribe, run=1, now=lambda: 20.0)
    for _ in range(5):
        one_turn(recorder)
    assert scribe.close(5)
    assert caplog.text.count("turns cannot be recorded") == 1


class TestScribe:
    def test_jobs_are_done_in_order_and_give_their_results(self) -> None:
        scribe = Scribe()
        done: list[int] = []
        for number in range(20):
            scribe.put(lambda number=number: done.append(number))
        assert scribe.call(lambda: 42).result(5) == 42
        assert done == list(range(20))
        with pytest.raises(OSError, match="no"):
            scribe.call(lambda: (_ for _ in ()).throw(OSError("no"))).result(5)
        assert scribe.close(5)
        assert scribe.close(5), "twice is once"

    def test_a_stuck_disk_blocks_nobody_and_is_said_once(self, caplog: pytest.LogCaptureFixture) -> None:
        scribe = Scribe()
        release, stuck = threading.Event(), threading.Event()
        scribe.put(lambda: (stuck.set(), release.wait()))
        assert stuck.wait(5)
        for _ in range(MAX_WAITING + 10):
            scribe.put(lambda: None)
        assert caplog.text.count("the disk does not keep up") == 1
        with pytest.raises(ScribeBusy):
            scribe.call(lambda: None).result(5)
        assert not scribe.close(0.01)
        release.set()
        scribe._thread.join(5)
        assert not scribe._thread.is_alive()

    def test_an_error_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        scribe = Scribe()
        scribe.put(lambda: 1 / 0)
        assert scribe.close(5)
        assert "ZeroDivisionError" in caplog.text

    def test_after_the_end_nothing_is_taken(self) -> None:
        scribe = Scribe()
        assert scribe.close(5)
        scribe.put(lambda: None)
        with pytest.raises(ScribeBusy):
            scribe.call(lambda: None).result(5)
