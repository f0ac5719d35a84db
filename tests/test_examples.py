"""The example of an installable plugin: built, installed, found by its entry point, spoken to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "hearth-dice"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the example, without network and without its dependencies."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")  # a build leaves files behind
    install = [
        "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
        "--disable-pip-version-check", "--target", str(folder / "site"), str(folder / "source"),
    ]  # fmt: skip
    done = subprocess.run([sys.executable, *install], capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        pytest.skip("this environment has no pip")
    assert done.returncode == 0, done.stderr
    return folder / "site"


def run(site: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_installed_example_is_found_and_called(site: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("state_dir: state\nplugins: {dice: {sides: 2}}\n")
    listed = run(site, "-m", "assistant", "tools", "list", "--json", folder=tmp_path)
    dice = next(info for info in json.loads(listed.stdout)["plugins"] if info["name"] == "dice")
    assert (dice["status"], dice["source"]) == ("enabled", "hearth-dice 1.0.0 (hearth_dice)")
    called = run(site, "-m", "assistant", "tools", "call", "roll_dice", "--json", '{"count": 1}', folder=tmp_path)
    assert called.stdout in ('"You rolled 1."\n', '"You rolled 2."\n')


def test_the_examples_own_test_passes(site: Path, tmp_path: Path) -> None:
    test = tmp_path / "test_hearth_dice.py"
    shutil.copy(EXAMPLE / test.name, test)
    done = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", test.name, folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
