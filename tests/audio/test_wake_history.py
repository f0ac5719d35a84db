from __future__ import annotations

import json
import logging
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from assistant.audio import wake_history
from assistant.audio.analysis import Heard
from assistant.audio.hearing import Hearing
from assistant.audio.uplink import Uplink
from assistant.audio.wake_history import AUDIO_FOLDER, FILE_NAME, HistoryEntry, WakeHistory, read_history, tries
from assistant.core.endpointing import Endpointer, EndpointingSettings
from assistant.core.events import Event, Woken
from assistant.core.wake_attempts import WhatIf, what_if
from assistant.core.wake_gate import WakeGate, WakeWordSettings
from assistant.types import FRAME_SAMPLES, AudioFrame


class Room:
    """Feeds a history with frames and a score each fourth of them."""

    def __init__(self, folder: Path, *, keep_audio: bool = False) -> None:
        self.frames = 0
        self.history = WakeHistory(folder, keep_audio=keep_audio, now=lambda: 1000.0 + self.frames * 0.02)

    def step(self, score: float, *, hit: bool = False, speaking: bool = False) -> None:
        for quarter in range(4):
            pcm = np.full(FRAME_SAMPLES, self.frames % 1000, "<i2").tobytes()
            scores = {"alexa": score} if quarter == 3 else None
            frame = AudioFrame(self.frames * FRAME_SAMPLES, pcm, 0.0)
            self.history.hear(frame, scores, "alexa" if hit and scores else None, speaking=speaking)
            self.frames += 1

    def attempt(self, peak: float, *, hit: bool = False, speaking: bool = False) -> None:
        self.step(peak, hit=hit, speaking=speaking)
        for _ in range(13):
            self.step(0.0, speaking=speaking)


def test_scores_and_outcomes_are_kept_and_no_audio(tmp_path: Path) -> None:
    room = Room(tmp_path / "state")
    room.attempt(0.42)
    room.attempt(0.05)
    room.attempt(0.97, hit=True, speaking=True)
    assert read_history(tmp_path / "state") == [
        HistoryEntry(1001.1, "alexa", 0.42, False, False),
        HistoryEntry(1003.3, "alexa", 0.97, True, True),
    ]
    assert [path.name for path in (tmp_path / "state").iterdir()] == [FILE_NAME]
    assert stat.S_IMODE((tmp_path / "state" / FILE_NAME).stat().st_mode) == 0o600


def test_audio_is_kept_where_it_is_allowed_and_holds_the_attempt(tmp_path: Path) -> None:
    room = Room(tmp_path, keep_audio=True)
    for _ in range(100):
        room.step(0.0)
    room.attempt(0.42)
    [entry] = read_history(tmp_path)
    assert entry.audio is not None
    file = tmp_path / AUDIO_FOLDER / entry.audio
    samples = np.frombuffer(file.read_bytes()[44:], "<i2")
    assert len(samples) == 4 * 16_000
    assert 403 in samples, "the frame that scored"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_both_are_bounded_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake_history, "MAX_ENTRIES", 20)
    monkeypatch.setattr(wake_history, "MAX_RECORDINGS", 3)
    (tmp_path / FILE_NAME).write_text(
        "".join(
            json.dumps({"at": n, "word": "alexa", "peak": 0.3, "hit": False, "speaking": False}) + "\n"
            for n in range(50)
        )
    )
    room = Room(tmp_path, keep_audio=True)
    for _ in range(5):
        room.attempt(0.42)
    assert len((tmp_path / FILE_NAME).read_text().splitlines()) == 24  # cut at the first one, then 4 more
    entries = read_history(tmp_path)
    assert len(entries) == 20
    assert [entry.at for entry in entries[-6:]] == [49, 1001.1, 1002.2, 1003.3, 1004.5, 1005.6]
    kept = sorted(path.name for path in (tmp_path / AUDIO_FOLDER).iterdir())
    assert kept == [entry.audio for entry in entries[-3:]]


def test_recordings_go_after_their_time_also_when_no_more_are_made(tmp_path: Path) -> None:
    folder = tmp_path / AUDIO_FOLDER
    folder.mkdir()
    names = ["400.0-alexa-0.50.wav", "600.0-alexa-0.50.wav", "mine.wav"]
    for name in names:
        (folder / name).write_bytes(b"RIFF")

    def history(now: float) -> WakeHistory:
        return WakeHistory(tmp_path, keep_audio=False, now=lambda: now, keep_audio_s=500.0)

    history(now=900.0)
    assert sorted(path.name for path in folder.iterdir()) == names
    history(now=1000.0)
    assert sorted(path.name for path in folder.iterdir()) == names[1:]
    room = Room(tmp_path)
    room.history = WakeHistory(tmp_path, keep_audio=False, now=lambda: 1000.0 + room.frames * 0.5, keep_audio_s=500.0)
    assert len(list(folder.iterdir())) == 2
    for _ in range(4):
        room.attempt(0.42)
    assert [path.name for path in folder.iterdir()] == ["mine.wav"]


def test_a_damaged_line_is_left_out(tmp_path: Path) -> None:
    good = json.dumps({"at": 1.0, "word": "alexa", "peak": 0.3, "hit": False, "speaking": False})
    (tmp_path / FILE_NAME).write_text(f'{good}\n{{"at": 2.0, "wo\n[1]\n{{}}\n{good}\n')
    assert len(read_history(tmp_path)) == 2
    assert read_history(tmp_path / "none") == []


def test_a_folder_that_cannot_be_written_ends_it_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    room = Room(tmp_path / "state")
    with caplog.at_level(logging.WARNING):
        room.attempt(0.42)
        room.attempt(0.42)
    assert [record.message.split(":")[0] for record in caplog.records] == ["wake history"]


def test_hearing_tells_the_history_what_woke_the_assistant_and_when_it_spoke(tmp_path: Path) -> None:
    words = [WakeWordSettings("alexa", 0.5, threshold_speaking=0.3)]
    woken: list[Event] = []
    history = WakeHistory(tmp_path, keep_audio=False, now=lambda: 7.0)
    endpointer, uplink = Endpointer(EndpointingSettings()), Uplink(2.0, lambda pcm: None)
    interrupt = False

    def emit(event: Event) -> None:
        woken.append(event)
        if interrupt and isinstance(event, Woken):
            hearing.speaking(False)

    hearing = Hearing(WakeGate(words), endpointer, uplink, emit, lambda: 0.0, history=history)

    def hear(first: int, score: float) -> None:
        for number in range(first, first + 100):
            frame = AudioFrame(number * FRAME_SAMPLES, bytes(640), 0.0)
            scores = {"alexa": score if number == first + 3 else 0.0} if number % 4 == 3 else None
            hearing.hear(Heard(frame, False, scores))

    hear(0, 0.4)
    hearing.speaking(True)
    interrupt = True
    hear(100, 0.4)
    interrupt = False
    hear(200, 0.6)
    assert [(event.sample, event.score) for event in woken if isinstance(event, Woken)] == [
        (104 * FRAME_SAMPLES, 0.4),
        (204 * FRAME_SAMPLES, 0.6),
    ]
    assert [(entry.peak, entry.hit, entry.speaking) for entry in read_history(tmp_path)] == [
        (0.4, False, False),
        (0.4, True, True),
        (0.6, True, False),
    ]


def test_what_the_verifier_said_is_kept_and_counts_in_what_if(tmp_path: Path) -> None:
    words = [WakeWordSettings("alexa", 0.3, verifier_threshold=0.5)]
    history = WakeHistory(tmp_path, keep_audio=False, now=lambda: 7.0)
    endpointer, uplink = Endpointer(EndpointingSettings()), Uplink(2.0, lambda pcm: None)
    hearing = Hearing(WakeGate(words), endpointer, uplink, lambda event: None, lambda: 0.0, history=history)
    for attempt, sure in enumerate((0.9, 0.2, None)):
        for number in range(attempt * 200, attempt * 200 + 200):
            frame = AudioFrame(number * FRAME_SAMPLES, bytes(640), 0.0)
            first = number % 200 == 3
            verified = {"alexa": sure} if first and sure is not None else {}
            hearing.hear(
                Heard(frame, False, {"alexa": 0.8 if first else 0.0} if number % 4 == 3 else None, None, None, verified)
            )
    entries = read_history(tmp_path)
    assert [(entry.peak, entry.hit, entry.verified) for entry in entries] == [
        (0.8, True, 0.9),
        (0.8, False, 0.2),
        (0.8, False, None),
    ]
    assert what_if(tries(entries, {"alexa": 0.5}), 0.4) == WhatIf(kept=1, added=1, lost=0)
    assert what_if(tries(entries, {"alexa": 0.1}), 0.4) == WhatIf(kept=1, added=2, lost=0)
    assert what_if(tries(entries, {"alexa": 0.95}), 0.4) == WhatIf(kept=0, added=1, lost=1)
    spoken_into = [replace(entry, speaking=True) for entry in entries]
    assert what_if(tries(spoken_into, {"alexa": 0.95}), 0.4) == WhatIf(kept=1, added=2, lost=0)
    assert what_if(tries(entries, {}), 0.4) == WhatIf(kept=1, added=2, lost=0), "the verifier was removed"
