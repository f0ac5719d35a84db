"""The systemd unit: valid without a single remark, hardened, and in step with what the daemon does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.errors import EXIT_CONFIG, EXIT_RESTART

UNIT = Path(__file__).resolve().parents[1] / "systemd" / "hearth.service"
MOST_EXPOSURE = 2.0

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def settings(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def analyze(command: str, tmp_path: Path, *options: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on the unit as it would be installed here: with a program that exists."""
    program, *_ = settings(UNIT.read_text("utf-8"))["ExecStart"][0].split()
    copy = tmp_path / UNIT.name
    copy.write_text((text or UNIT.read_text("utf-8")).replace(program, sys.executable), "utf-8")
    line = ["systemd-analyze", command, *options, str(copy)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
def test_verify_has_nothing_to_say(tmp_path: Path) -> None:
    result = analyze("verify", tmp_path)
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


@needs_systemd
def test_verify_would_have_said_it(tmp_path: Path) -> None:
    """verify ends with 0 for a misspelt setting: its output is what counts."""
    result = analyze("verify", tmp_path, text=UNIT.read_text("utf-8").replace("WatchdogSec=30", "WatchdogSec=banana"))
    assert "banana" in result.stderr
    assert result.returncode == 0


@needs_systemd
def test_exposure(tmp_path: Path) -> None:
    threshold = f"--threshold={MOST_EXPOSURE * 10:.0f}"
    result = analyze("security", tmp_path, "--offline=true", "--no-pager", threshold)
    if "Unknown option" in result.stderr or "unrecognized option" in result.stderr:
        pytest.skip("this systemd cannot judge a unit that is not installed")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "exposure" in result.stdout


def test_contract_with_the_daemon() -> None:
    unit = settings(UNIT.read_text("utf-8"))
    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"]
    assert float(unit["WatchdogSec"][0]) == 30
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == [str(EXIT_CONFIG)]
    assert str(EXIT_RESTART) not in unit["RestartPreventExitStatus"]
    assert unit["StateDirectory"] == ["hearth"]
    assert unit["DeviceAllow"] == ["char-alsa rw"]


def test_credentials_have_the_names_that_the_configuration_looks_for() -> None:
    names = re.findall(r"^#LoadCredential=(\w+):", UNIT.read_text("utf-8"), re.MULTILINE)
    assert names == [f"{provider}_api_key" for provider in ("openai", "azure", "custom")]
