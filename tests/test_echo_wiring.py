"""What the config and the echo test make of echo cancellation and barge-in."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant import wiring
from assistant.adapters.livekit_aec import WebRtcEchoCanceller
from assistant.audio.echo_report import FILE_NAME, EchoReport, load, save
from assistant.cli.run import with_devices
from assistant.config import Config
from assistant.config import load as load_config
from assistant.core.policy import BargeIn
from assistant.errors import ModelLoadError

REPORT = EchoReport(None, "Speaker", 60, 80.0, -30.0, 35.0, 0, 0, 30.0, True)


def config(folder: Path, text: str = "") -> Config:
    (folder / "config.yaml").write_text(f"state_dir: state\naudio: {{output: {{device: Speaker, volume: 60}}}}\n{text}")
    return load_config(folder / "config.yaml")


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    save(tmp_path / "state", REPORT)
    assert load(tmp_path / "state") == REPORT


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 2}', '{"version": 1}', '{"version": 1, "x": 2}', "\x00"]
)
def test_a_report_that_cannot_be_read_is_none(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert load(tmp_path) is None
    assert "run assistant doctor --echo again" in caplog.text


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({}, BargeIn.SPEECH),
        ({"passed": False}, BargeIn.WAKE_WORD),
        ({"volume": 40}, BargeIn.WAKE_WORD),  # it is louder now than it was in the test
        ({"speaker": "Another"}, BargeIn.WAKE_WORD),
        ({"microphone": "Another"}, BargeIn.WAKE_WORD),
    ],
)
def test_auto_is_speech_where_the_echo_test_was_passed(tmp_path: Path, changes: dict[str, Any], mode: BargeIn) -> None:
    settings = config(tmp_path)
    assert wiring.barge_in(settings) is BargeIn.WAKE_WORD
    save(tmp_path / "state", replace(REPORT, **changes))
    assert wiring.barge_in(settings) is mode


def test_without_a_canceller_auto_is_the_wake_word_and_what_was_asked_for_stays(tmp_path: Path) -> None:
    save(tmp_path / "state", REPORT)
    assert wiring.barge_in(config(tmp_path, "echo: {canceller: off}")) is BargeIn.WAKE_WORD
    assert wiring.barge_in(config(tmp_path, "barge_in: {mode: off}")) is BargeIn.OFF


def test_files_have_no_echo(tmp_path: Path) -> None:
    assert isinstance(wiring.echo_canceller(config(tmp_path)), WebRtcEchoCanceller)
    (tmp_path / "config.yaml").write_text("audio: {input: {device: 'wav:x.wav'}}")
    assert wiring.echo_canceller(load_config(tmp_path / "config.yaml")) is None
    (tmp_path / "config.yaml").write_text("audio: {input: {device: 'wav:x.wav'}}\necho: {canceller: webrtc}")
    assert isinstance(wiring.echo_canceller(load_config(tmp_path / "config.yaml")), WebRtcEchoCanceller)


def test_other_devices_on_the_command_line_count(tmp_path: Path) -> None:
    save(tmp_path / "state", REPORT)
    settings = config(tmp_path)
    assert with_devices(settings, None, None).audio == settings.audio
    assert wiring.barge_in(with_devices(settings, None, "Another")) is BargeIn.WAKE_WORD
    assert wiring.echo_canceller(with_devices(settings, "wav:x.wav", None)) is None
    assert wiring.echo_canceller(with_devices(settings, None, "none")) is None


def test_a_missing_package_stops_only_who_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "livekit.rtc", None)
    assert wiring.echo_canceller(config(tmp_path)) is None
    assert "pip install livekit" in caplog.text
    with pytest.raises(ModelLoadError):
        wiring.echo_canceller(config(tmp_path, "echo: {canceller: webrtc}"))


def test_the_report_is_plain_json(tmp_path: Path) -> None:
    path = save(tmp_path, REPORT)
    assert json.loads(path.read_text())["removed_db"] == 35.0
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE_NAME]
