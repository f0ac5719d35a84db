"""A plugin that changes while the assistant runs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from assistant.tools.loading import from_object
from assistant.tools.registry import PluginStatus, ToolRegistry
from assistant.tools.runner import ToolRunner
from assistant.tools.watching import watch

PLUGIN = """\
from assistant.plugin import BaseModel, Plugin, tool


class Lamp(Plugin):
    class Config(BaseModel):
        watts: int = 40

    async def start(self) -> None:
        self.context.database()

    async def stop(self) -> None:
        with self.context.database() as db:
            db.execute("CREATE TABLE IF NOT EXISTS stopped (version TEXT)")
            db.execute("INSERT INTO stopped VALUES ('{version}')")

    @tool
    async def {name}(self) -> str:
        \"\"\"Tell the version.\"\"\"
        with self.context.database() as db:
            db.execute("CREATE TABLE IF NOT EXISTS stopped (version TEXT)")
            stopped = [row[0] for row in db.execute("SELECT version FROM stopped")]
        return f"{version} {{self.config.watts}} {{stopped}}"
"""


def plugin(version: str = "a", name: str = "version") -> str:
    return PLUGIN.format(version=version, name=name)


def write(file: Path, text: str) -> None:
    """As an editor that is so fast that the file's age does not change."""
    file.write_text(text)
    os.utime(file, (1_000_000_000, 1_000_000_000))


def use(folder: Path, check: Callable[[ToolRegistry, ToolRunner], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        registry = ToolRegistry(folder / "state")
        registry.load([folder / "mine"], bundled=False, installed=False, settings=settings)
        runner = ToolRunner(registry)
        await registry.start()
        try:
            await check(registry, runner)
        finally:
            await registry.stop()
            await runner.close()

    asyncio.run(main())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    file = tmp_path / "mine" / "lamp.py"
    write(file, plugin())
    return file


def test_new_code_takes_the_place_of_the_old(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    async def check(registry: ToolRegistry, runner: ToolRunner) -> None:
        assert (await runner.call("version", "")).output == '"a 60 []"'
        write(file, plugin("b"))  # the same size and, to the second, the same age
        assert await registry.reload("lamp") is None
        assert (await runner.call("version", "")).output == "\"b 60 ['a']\""
        write(file, plugin("c", name="tell_version"))
        assert await registry.reload("lamp") is None
        assert [spec["name"] for spec in registry.specs(offline=True)] == ["tell_version"]
        assert (await runner.call("version", "")).status == "unknown"

    use(tmp_path, check, lamp={"watts": 60})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("this is no python", "lamp.py:1: syntax error"),
        (plugin("b").replace('"""Tell the version."""', ""), "lamp.py: version"),
        (plugin("b").replace("watts", "volts"), "plugins.lamp.watts: there is no such setting"),
        (plugin("b", name="confirm_action"), "its tool confirm_action has a name of Hearth's own"),
        ("import sys; sys.exit(1)", "it calls sys.exit()"),
    ],
)
def test_code_that_cannot_be_loaded_changes_nothing(tmp_path: Path, file: Path, text: str, reason: str) -> None:
    async def check(registry: ToolRegistry, runner: ToolRunner) -> None:
        modules = {name for name in sys.modules if name.startswith("_hearth_plugin_")}
        write(file, text)
        assert reason in str(await registry.reload("lamp"))
        assert (await runner.call("version", "")).output == '"a 60 []"'
        assert registry.plugins[0].status is PluginStatus.ENABLED
        assert {name for name in sys.modules if name.startswith("_hearth_plugin_")} == modules

    use(tmp_path, check, lamp={"watts": 60})


def test_a_broken_plugin_is_healed_and_shows_its_newest_trouble(tmp_path: Path, file: Path) -> None:
    write(file, "1/0")

    async def check(registry: ToolRegistry, runner: ToolRunner) -> None:
        assert registry.plugins[0].status is PluginStatus.LOAD_ERROR
        write(file, "import nothing_like_it")
        await registry.reload("lamp")
        assert "nothing_like_it" in registry.plugins[0].reason
        write(file, plugin("b"))
        assert await registry.reload("lamp") is None
        assert (await runner.call("version", "")).output == '"b 40 []"'
        write(file, plugin("c").replace("self.context.database()", "1/0", 1))
        assert "start failed: ZeroDivisionError" in str(await registry.reload("lamp"))
        assert registry.plugins[0].status is PluginStatus.START_ERROR

    use(tmp_path, check)


def test_what_is_no_file_says_so(tmp_path: Path, file: Path) -> None:
    async def check(registry: ToolRegistry, runner: ToolRunner) -> None:
        assert await registry.reload("lampe") == "there is no plugin lampe that could be loaded again"
        registry.load_candidates([from_object("object", test_what_is_no_file_says_so)])
        assert "restart the assistant" in str(await registry.reload("object"))

    use(tmp_path, check)


def test_a_file_that_changes_is_noticed(tmp_path: Path, file: Path) -> None:
    async def check(registry: ToolRegistry, runner: ToolRunner) -> None:
        watcher = asyncio.ensure_future(watch(registry, 0.001))
        await asyncio.sleep(0)
        write(file, "broken, half-way")
        await asyncio.sleep(0.01)
        write(file, plugin("longer"))
        for _ in range(2000):
            if (await runner.call("version", "")).output.startswith('"longer'):
                break
            await asyncio.sleep(0.001)
        else:
            raise AssertionError("the change was not noticed")
        watcher.cancel()
        await asyncio.wait({watcher})
        assert watcher.cancelled()

    use(tmp_path, check)


def test_only_what_has_changed_is_loaded_again(tmp_path: Path, file: Path) -> None:
    other = file.with_name("fan.py")
    write(other, plugin("fan", "fan_version"))

    async def check(registry: ToolRegistry, runner: ToolRunner) -> None:
        assert await registry.reload_changed() == []
        write(file, plugin("newer"))
        assert await registry.reload_changed() == ["lamp: loaded again"]
        assert "newer" in (await runner.call("version", "")).output
        write(other, "def broken(:")
        (line,) = await registry.reload_changed()
        assert line.startswith("fan: fan.py:1: syntax error")
        assert await registry.reload_changed() == [], "not again until it changes again"
        other.unlink()
        assert await registry.reload_changed() == [], "an editor may be about to put it back"
        assert (await runner.call("fan_version", "")).status == "ok"

    use(tmp_path, check)
