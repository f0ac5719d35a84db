"""What the config and the echo test make of echo cancellation and barge-in."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant import echo_choice, wiring
from assistant.audio.device_echo import DeviceEchoPath
from assistant.audio.echo import EchoPath
from assistant.audio.echo_report import FILE_NAME, EchoReport, Shortfall, load, save
from assistant.audio.reference import ReferenceBuffer
from assistant.cli.run import with_devices
from assistant.config import Config, parse
from assistant.config import load as load_config
from assistant.core.policy import BargeIn
from assistant.errors import ConfigError, ModelLoadError
from assistant.tools.registry import ToolRegistry

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
        ({"volume": 40}, BargeIn.SPEECH),  # as long as it is not louder: the conversation sees to that
        ({"speaker": "Another"}, BargeIn.WAKE_WORD),
        ({"microphone": "Another"}, BargeIn.WAKE_WORD),
        ({"canceller": "device"}, BargeIn.WAKE_WORD),
    ],
)
def test_auto_is_speech_where_the_echo_test_was_passed(tmp_path: Path, changes: dict[str, Any], mode: BargeIn) -> None:
    settings = config(tmp_path)
    assert echo_choice.barge_in(settings) is BargeIn.WAKE_WORD
    save(tmp_path / "state", replace(REPORT, **changes))
    assert echo_choice.barge_in(settings) is mode


def kind(settings: Config) -> type | None:
    path = echo_choice.echo_path(settings, ReferenceBuffer())
    return None if path is None else type(path)


PATHS = {"auto": EchoPath, "webrtc": EchoPath, "device": DeviceEchoPath, "off": None}


@pytest.mark.parametrize("mode", ["auto", "wake_word", "speech", "off"])
@pytest.mark.parametrize("canceller", PATHS)
def test_every_mode_with_every_canceller(tmp_path: Path, mode: str, canceller: str) -> None:
    settings = config(tmp_path, f"echo: {{canceller: {canceller}}}\nbarge_in: {{mode: {mode}}}")
    assert kind(settings) is PATHS[canceller]
    for tested_with, passed in itertools.product(["webrtc", "device"], [True, False]):
        save(tmp_path / "state", replace(REPORT, canceller=tested_with, passed=passed))
        same = tested_with == {"auto": "webrtc"}.get(canceller, canceller)
        found = "speech" if passed and same else "wake_word"
        assert echo_choice.barge_in(settings) is BargeIn(found if mode == "auto" else mode)
    warned = [warning.key for warning in settings.warnings]
    assert warned == (["barge_in.mode"] if (mode, canceller) == ("speech", "off") else [])


def test_the_volume_of_the_test_is_the_limit_of_what_auto_allows(tmp_path: Path) -> None:
    def limit(mode: str) -> tuple[float, float]:
        settings = config(tmp_path, f"barge_in: {{mode: {mode}}}")
        registry = ToolRegistry(tmp_path)
        conversation = wiring.conversation_settings(settings, registry)
        return conversation.volume, conversation.speech_volume

    assert limit("auto") == (60, 100)
    save(tmp_path / "state", replace(REPORT, volume=45))
    assert limit("auto") == (60, 45)
    assert limit("speech") == (60, 100), "by hand, for every volume"
    save(tmp_path / "state", replace(REPORT, volume=45, speaker="Another"))
    assert limit("auto") == (60, 100)


def test_files_have_no_echo(tmp_path: Path) -> None:
    assert kind(config(tmp_path)) is EchoPath
    (tmp_path / "config.yaml").write_text("audio: {input: {device: 'wav:x.wav'}}")
    assert kind(load_config(tmp_path / "config.yaml")) is None
    (tmp_path / "config.yaml").write_text("audio: {input: {device: 'wav:x.wav'}}\necho: {canceller: webrtc}")
    assert kind(load_config(tmp_path / "config.yaml")) is EchoPath


def test_what_cannot_be_meant_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml:2: echo\.canceller: device is for microphones: a recording"):
        parse("audio: {input: {device: 'wav:x.wav'}}\necho: {canceller: device}", tmp_path / "config.yaml")
    for canceller in ("device", "off"):
        settings = config(tmp_path, f"echo: {{canceller: {canceller}, noise_suppression: true}}")
        (warning,) = settings.warnings
        assert warning.key == "echo.noise_suppression"


def test_other_devices_on_the_command_line_count(tmp_path: Path) -> None:
    save(tmp_path / "state", REPORT)
    settings = config(tmp_path)
    assert with_devices(settings, None, None).audio == settings.audio
    assert echo_choice.barge_in(with_devices(settings, None, "Another")) is BargeIn.WAKE_WORD
    assert kind(with_devices(settings, "wav:x.wav", None)) is None
    assert kind(with_devices(settings, None, "none")) is None


def test_a_missing_package_stops_only_who_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "state", REPORT)
    assert echo_choice.barge_in(config(tmp_path)) is BargeIn.SPEECH
    monkeypatch.setitem(sys.modules, "livekit.rtc", None)
    assert kind(config(tmp_path)) is None
    assert "pip install livekit" in caplog.text
    assert echo_choice.barge_in(config(tmp_path)) is BargeIn.WAKE_WORD, "it would interrupt itself"
    with pytest.raises(ModelLoadError):
        kind(config(tmp_path, "echo: {canceller: webrtc}"))


@pytest.mark.parametrize(
    ("changes", "shortfalls"),
    [
        ({}, ()),
        ({"delay_ms": 500.0}, (Shortfall.LATE,)),
        ({"delay_ms": 500.0, "canceller": "device", "removed_db": None, "echo_dbfs": -60.0}, ()),
        ({"delay_ms": None}, ()),
        ({"removed_db": 9.0}, (Shortfall.LEFT,)),
        ({"removed_db": 9.0, "room_dbfs": -41.0}, ()),  # what is left is the room
        ({"removed_db": 9.0, "room_dbfs": -43.0}, (Shortfall.LEFT,)),
        ({"echo_dbfs": -56.0, "removed_db": 0.0}, ()),  # headphones
        ({"canceller": "device", "removed_db": None, "echo_dbfs": -54.0}, (Shortfall.LEFT,)),
        ({"canceller": "device", "removed_db": None, "echo_dbfs": -56.0}, ()),
        ({"interruptions": 1}, (Shortfall.ALARMS,)),
        ({"suspicions": 3}, ()),
        ({"suspicions": 4, "removed_db": 0.0}, (Shortfall.LEFT, Shortfall.ALARMS)),
    ],
)
def test_what_stands_against_letting_speech_interrupt(
    changes: dict[str, Any], shortfalls: tuple[Shortfall, ...]
) -> None:
    assert replace(REPORT, **changes).shortfalls == shortfalls


def test_a_report_of_a_release_that_knew_one_canceller_still_holds(tmp_path: Path) -> None:
    old = json.loads(save(tmp_path / "state", REPORT).read_text())
    del old["canceller"], old["room_dbfs"]
    (tmp_path / "state" / FILE_NAME).write_text(json.dumps(old))
    assert load(tmp_path / "state") == REPORT


def test_the_report_is_plain_json(tmp_path: Path) -> None:
    path = save(tmp_path, REPORT)
    assert json.loads(path.read_text())["removed_db"] == 35.0
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE_NAME]
