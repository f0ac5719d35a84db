"""The systemd units: valid without a single remark, hardened, and in step with what the daemon does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.errors import EXIT_CONFIG, EXIT_RESTART

FOLDER = Path(__file__).resolve().parents[1] / "systemd"
UNIT = FOLDER / "hearth.service"
USER_UNIT = FOLDER / "hearth-user.service"
OFFLINE = FOLDER / "offline.conf"
MOST_EXPOSURE = 1.5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def settings(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def analyze(command: str, tmp_path: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on a unit as it would be installed here: with programs that exist."""
    copy = tmp_path / "hearth.service"
    copy.write_text(re.sub(r"^(Exec\w+=\+?)\S+", rf"\1{sys.executable}", text, flags=re.MULTILINE), "utf-8")
    line = ["systemd-analyze", command, *options, str(copy)]
    # A user's manager wants to know where that user's run-time files are.
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=environment)


@needs_systemd
@pytest.mark.parametrize("unit", [[UNIT], [UNIT, OFFLINE], [USER_UNIT]], ids=["system", "offline", "user"])
def test_verify_has_nothing_to_say(unit: list[Path], tmp_path: Path) -> None:
    text = "\n".join(file.read_text("utf-8") for file in unit)
    result = analyze("verify", tmp_path, text, *(["--user"] if unit == [USER_UNIT] else []))
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)


@needs_systemd
def test_verify_would_have_said_it(tmp_path: Path) -> None:
    """verify ends with 0 for a misspelt setting: its output is what counts."""
    result = analyze("verify", tmp_path, UNIT.read_text("utf-8").replace("WatchdogSec=30", "WatchdogSec=banana"))
    assert "banana" in result.stderr
    assert result.returncode == 0


@needs_systemd
def test_exposure(tmp_path: Path) -> None:
    threshold = f"--threshold={MOST_EXPOSURE * 10:.0f}"
    result = analyze("security", tmp_path, UNIT.read_text("utf-8"), "--offline=true", "--no-pager", threshold)
    if "Unknown option" in result.stderr or "unrecognized option" in result.stderr:
        pytest.skip("this systemd cannot judge a unit that is not installed")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "exposure" in result.stdout


@pytest.mark.parametrize("file", [UNIT, USER_UNIT], ids=["system", "user"])
def test_contract_with_the_daemon(file: Path) -> None:
    unit = settings(file.read_text("utf-8"))
    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"]
    assert float(unit["WatchdogSec"][0]) == 30
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == [str(EXIT_CONFIG)]
    assert str(EXIT_RESTART) not in unit["RestartPreventExitStatus"]
    assert unit["LimitCORE"] == ["0"], "a core file would hold the last seconds of the room"


@needs_systemd
def test_the_exposure_is_the_one_that_the_pages_name(tmp_path: Path) -> None:
    scores = []
    for unit in ([UNIT], [UNIT, OFFLINE]):
        text = "\n".join(file.read_text("utf-8") for file in unit)
        result = analyze("security", tmp_path, text, "--offline=true", "--no-pager", "--threshold=100")
        if "unrecognized option" in result.stderr:
            pytest.skip("this systemd cannot judge a unit that is not installed")
        scores += re.findall(r"exposure level for hearth.service: ([\d.]+)", result.stdout)
    with_network, without = scores
    security = (FOLDER.parent / "SECURITY.md").read_text("utf-8")
    service = (FOLDER.parent / "docs" / "service.md").read_text("utf-8")
    assert f"exposure {with_network} of 10" in security
    assert f"says {with_network};" in service and f"falls to {without}:" in service


def test_the_sandbox() -> None:
    """No capability, no other user's files, nothing to gain; no crash leaves what was in memory."""
    unit = settings(UNIT.read_text("utf-8"))
    for name, value in {
        "User": "hearth",
        "CapabilityBoundingSet": "",
        "AmbientCapabilities": "",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateUsers": "yes",
        "DevicePolicy": "closed",
        "LimitCORE": "0",
    }.items():
        assert unit[name] == [value], name
    outside = {line for name in unit if name.startswith("Exec") for line in unit[name] if line.startswith("+")}
    assert {line.split()[0] for line in outside} == {"+/opt/hearth/current/trial"}, "what runs outside of it"


def test_without_a_network_there_is_no_network() -> None:
    offline = settings(OFFLINE.read_text("utf-8"))
    assert offline == {"PrivateNetwork": ["yes"], "IPAddressDeny": ["any"], "IPAddressAllow": ["localhost"]}


def test_state_and_devices() -> None:
    unit = settings(UNIT.read_text("utf-8"))
    assert unit["StateDirectory"] == ["hearth"]
    assert (unit["StateDirectoryMode"], unit["UMask"]) == (["0700"], ["0077"])
    assert unit["DeviceAllow"] == ["char-alsa rw"]


def test_credentials_have_the_names_that_the_configuration_looks_for() -> None:
    names = re.findall(r"^#LoadCredential=(\w+):", UNIT.read_text("utf-8"), re.MULTILINE)
    assert names == [f"{provider}_api_key" for provider in ("openai", "azure", "voice_live", "custom")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ([], "which? There are: mcp media "),
        (["mqtt", "nonsense"], "there is no extra nonsense; there are: mcp media "),
    ],
)
def test_an_extra_that_is_none_is_answered_with_those_that_are(line: list[str], told: str) -> None:
    done = subprocess.run([FOLDER / "extra", *line], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"hearth: {told}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("script", ["install", "uninstall", "extra"])
def test_every_script_says_how_it_is_called(script: str) -> None:
    done = subprocess.run([FOLDER / script, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "--user" in done.stdout and f"systemd/{script}" in done.stdout
    assert "set -euo" not in done.stdout
