"""How each microphone sounds is kept, one file a microphone, without wearing out an SD card."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.local.means import Means


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_microphone_has_its_own(tmp_path: Path) -> None:
    means = Means(tmp_path / "means")
    means.learn("desk", "1.0,2.0")
    means.learn("", "3.0,4.0")
    again = Means(tmp_path / "means")
    assert (again.get("desk"), again.get(""), again.get("hall")) == ("1.0,2.0", "3.0,4.0", None)
    assert len([*(tmp_path / "means").iterdir()]) == 2


def test_it_is_written_at_once_and_then_now_and_then(tmp_path: Path) -> None:
    clock = Clock()
    means = Means(tmp_path, clock)
    file = tmp_path / "default.txt"
    means.learn("", "1.0")
    assert file.read_text() == "1.0\n"
    means.learn("", "2.0")
    assert (file.read_text(), means.get("")) == ("1.0\n", "2.0")
    clock.now = 601.0
    means.learn("", "3.0")
    assert file.read_text() == "3.0\n"
    means.learn("", "4.0")
    means.save()
    assert file.read_text() == "4.0\n"


@pytest.mark.parametrize("text", ["", "nonsense", "1.0,nan", "1.0,inf", "1.0," * 1000])
def test_a_damaged_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "default.txt").write_text(text)
    assert Means(tmp_path).get("") is None


def test_names_of_microphones_are_no_paths(tmp_path: Path) -> None:
    Means(tmp_path / "means").learn("../../etc/passwd", "1.0")
    assert [path.parent for path in tmp_path.rglob("*.txt")] == [tmp_path / "means"]


def test_a_client_cannot_fill_the_memory_or_the_disk(tmp_path: Path) -> None:
    means = Means(tmp_path)
    for number in range(200):
        means.learn(str(number), "1.0")
    assert len([*tmp_path.iterdir()]) == 64
    assert means.get("199") is None
    assert means.get("5") == "1.0"


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "means").write_text("a file where the folder should be")
    means = Means(tmp_path / "means")
    means.learn("", "1.0")
    assert means.get("") == "1.0"
    assert "cannot be kept" in caplog.text


def test_nothing_is_written_without_a_folder() -> None:
    means = Means(None)
    means.learn("", None)
    assert means.get("") is None
    means.learn("", "1.0")
    assert means.get("") == "1.0"
