"""``assistant doctor --echo`` on the command line, with devices that are files or a private sound card."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from assistant import echo_choice, wiring
from assistant.audio import echo_test
from assistant.audio.echo_report import EchoReport, load, save
from assistant.cli import doctor_echo, execute
from assistant.config import parse
from assistant.core.policy import BargeIn
from tests import speech
from tests.house import run_command
from tests.vsound import virtual_sound

REPORT = EchoReport("mic", None, 70, 80.0, -30.0, 35.0, 0, 0, 30.0, True)


def test_a_pass_is_shown_with_what_follows(capsys: pytest.CaptureFixture[str]) -> None:
    doctor_echo.show(REPORT, "auto")
    shown = capsys.readouterr().out
    for part in ("-30 dBFS, 80 ms late", "35 dB", "0 times in 30 s", "speaking interrupts an answer, up to volume 70"):
        assert part in shown


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"delay_ms": 600.0}, "wireless"),
        ({"interruptions": 2}, "turn the volume down"),
        ({"interruptions": 2, "stumbles": 3}, "the sound stumbled 3 times"),
        ({"removed_db": 3.0}, "is another speaker heard"),
        ({"canceller": "device", "removed_db": None}, "belong to the canceller"),
    ],
)
def test_a_failure_says_what_to_do(changes: dict[str, Any], advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    doctor_echo.show(dataclasses.replace(REPORT, passed=False, **changes), "auto")
    shown = capsys.readouterr().out
    assert "only the wake word interrupts" in shown
    assert advice in shown


def test_a_microphone_that_cancels_and_a_mode_that_does_not_ask(capsys: pytest.CaptureFixture[str]) -> None:
    report = dataclasses.replace(REPORT, canceller="device", removed_db=None, echo_dbfs=-61.0, suspicions=1)
    doctor_echo.show(report, "wake_word")
    shown = capsys.readouterr().out
    assert "the microphone itself" in shown and "left of the echo:       -61 dBFS" in shown
    assert "removed" not in shown
    assert "once;" in shown
    assert "barge_in.mode is wake_word: as long as it is, this changes nothing" in shown


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("echo: {canceller: off}", "echo.canceller is off"),
        ("audio: {output: {device: none}}", "microphone or speaker is a file"),
    ],
)
def test_without_cancellation_there_is_nothing_to_test(
    settings: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(settings)
    assert execute(["doctor", "--echo", "--config", str(tmp_path / "config.yaml")]) != 0
    assert why in (shown := capsys.readouterr().err) and "nothing to test" in shown


@pytest.mark.sound
def test_on_a_sound_card_whose_microphone_does_not_hear_the_speaker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_sound() as sound:
        for name, value in sound.changed_env.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "config.yaml").write_text("state_dir: state")
        result = run_command("doctor", "--echo", "--config", "config.yaml", folder=tmp_path, within=90)
    # A null sink is digital silence: exactly what a muted microphone delivers.
    assert result.returncode != 0
    assert "the microphone delivers silence" in result.stderr
    assert load(tmp_path / "state") is None


@pytest.mark.sound
def test_on_a_sound_card_whose_speaker_is_heard_by_its_microphone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_sound() as sound:
        for name, value in sound.changed_env.items():
            monkeypatch.setenv(name, value)
        loop = ["module-loopback", "source=speaker.monitor", "sink=micfeed", "latency_msec=60", "adjust_time=0"]
        subprocess.run(["pactl", "load-module", *loop], check=True, stdout=subprocess.DEVNULL)
        (tmp_path / "config.yaml").write_text("state_dir: state\naudio: {output: {volume: 30}}")
        result = run_command("doctor", "--echo", "--config", "config.yaml", folder=tmp_path, within=90)
    assert result.returncode == 0, result.stderr
    report = load(tmp_path / "state")
    assert report is not None and report.delay_ms is not None
    assert report.volume == 30
    assert 30 < report.delay_ms < 200
    assert report.removed_db > 8  # 60 on an idle machine; one that is busy plays gaps, which no canceller can foresee


@pytest.mark.sound
def test_on_a_sound_server_that_cancels_echo_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A perfect one: its source gives the room, and nothing of what is played."""
    monkeypatch.setattr(echo_test, "CONVERGE_S", 0.5)
    monkeypatch.setattr(echo_test, "SPEECH_S", 2.0)
    monkeypatch.setattr(echo_test, "CHIRP_WINDOW_S", 1.0)
    settings = parse("state_dir: state\necho: {canceller: device}", tmp_path / "config.yaml")

    async def measure() -> EchoReport:
        loop = asyncio.get_running_loop()
        microphone, speaker = wiring.microphone(settings.audio.input, loop), wiring.speaker(None, loop)
        return await doctor_echo.measure(settings, microphone, speaker)

    with virtual_sound() as sound, sound.murmur(speech.noise(1.0, -60.0, seed=1).tobytes()):
        for name, value in sound.changed_env.items():
            monkeypatch.setenv(name, value)
        report = asyncio.run(measure())
    assert report.passed, report
    assert (report.canceller, report.removed_db, report.delay_ms) == ("device", None, None)
    assert report.left_dbfs == pytest.approx(-60, abs=3)
    save(tmp_path / "state", report)
    assert echo_choice.barge_in(settings) is BargeIn.SPEECH
    assert echo_choice.barge_in(parse("state_dir: state", tmp_path / "config.yaml")) is BargeIn.WAKE_WORD
