"""The wheel holds all that a machine without this checkout needs, and nothing of our workshop."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("hearth_assistant-*-py3-none-any.whl")
    with zipfile.ZipFile(file) as archive:
        yield archive


def test_every_bundled_plugin_is_inside(wheel: zipfile.ZipFile) -> None:
    plugins = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "plugins").rglob("*.py"))
    assert plugins
    for plugin in plugins:
        assert wheel.read(f"assistant/_bundled/{plugin}") == (ROOT / plugin).read_bytes()


def test_the_shipped_config_is_inside(wheel: zipfile.ZipFile) -> None:
    assert wheel.read("assistant/_bundled/config.yaml") == (ROOT / "config.yaml").read_bytes()


def test_every_module_is_inside(wheel: zipfile.ZipFile) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "assistant").rglob("*.py")}
    assert modules | {"assistant/py.typed"} <= set(wheel.namelist())


def test_nothing_else_is_inside(wheel: zipfile.ZipFile) -> None:
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert [name for name in names if not name.startswith("assistant/") or "__pycache__" in name] == []


def test_the_command_is_declared(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(name).decode())
    assert parser["console_scripts"]["assistant"] == "assistant.__main__:main"


def test_the_licence_is_inside(wheel: zipfile.ZipFile) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())
