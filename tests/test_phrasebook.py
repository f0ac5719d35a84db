"""The sentences that need no brain."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from assistant.core.commands import Phrase
from assistant.phrasebook import SENTENCES, Phrasebook
from assistant.types import SPEAKER_RATE


@pytest.mark.parametrize("language", SENTENCES)
def test_every_language_has_every_sentence(language: str) -> None:
    assert set(SENTENCES[language]) == set(Phrase)


def test_sentences_are_spoken_once_and_kept(tmp_path: Path) -> None:
    book = Phrasebook(tmp_path, "en", "en-us", 165)
    assert book.pcm(Phrase.BUSY) is None, "an earcon must do until they are spoken"
    asyncio.run(book.prepare())
    for phrase in Phrase:
        pcm = book.pcm(phrase)
        assert pcm is not None
        samples = np.frombuffer(pcm, "<i2").astype(float)
        assert 1.0 < samples.size / SPEAKER_RATE < 8.0
        assert 300 < np.sqrt(np.mean(samples**2)) < 8000
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pcm")}
    asyncio.run(Phrasebook(tmp_path, "en", "en-us", 165).prepare())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pcm")} == made


def test_another_voice_has_files_of_its_own(tmp_path: Path) -> None:
    asyncio.run(Phrasebook(tmp_path, "en", "en-us", 165).prepare())
    assert Phrasebook(tmp_path, "en", "en-gb-x-rp", 165).pcm(Phrase.BUSY) is None
    assert Phrasebook(tmp_path, "de", "de", 165).pcm(Phrase.BUSY) is None


def test_an_unknown_voice_is_one_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book = Phrasebook(tmp_path, "en", "no-such-voice", 165)
    asyncio.run(book.prepare())
    [record] = caplog.records
    assert "no-such-voice" in record.getMessage()
    assert book.pcm(Phrase.FAILED) is None


def test_a_folder_that_cannot_be_written_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "phrases").write_text("a file, not a folder")
    asyncio.run(Phrasebook(tmp_path / "phrases", "en", "en-us", 165).prepare())
    [record] = caplog.records
    assert "could not be spoken" in record.getMessage()
    assert "Traceback" not in caplog.text
