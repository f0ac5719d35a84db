from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

from assistant.plugin import BaseModel, Context, Field, Plugin, ToolError, tool
from assistant.tools import loading
from assistant.tools.loading import Candidate, bundled_plugins_folder, from_object
from assistant.tools.registry import PluginInfo, PluginStatus, ToolRegistry
from assistant.tools.runner import ToolRunner

HELLO = '''
from assistant.plugin import tool

@tool
def {name}() -> str:
    """Say hello."""
    return "{text}"
'''


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def loaded(tmp_path: Path, *folders: Path, **options: Any) -> ToolRegistry:
    registry = ToolRegistry(tmp_path / "state")
    registry.load(folders, bundled=False, installed=False, **options)
    return registry


def only(registry: ToolRegistry) -> PluginInfo:
    (info,) = registry.plugins
    return info


async def result(registry: ToolRegistry, name: str) -> str:
    return (await ToolRunner(registry).call(name, "")).output


# --- finding ----------------------------------------------------------------------------------------------------------


def test_files_and_packages_are_found_and_private_names_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(folder, "hello.py", HELLO.format(name="hello", text="hi"))
    write(folder, "kitchen/__init__.py", "from .lamp import lamp\n")
    write(folder, "kitchen/lamp.py", HELLO.format(name="lamp", text="on"))
    write(folder, "_helper.py", "raise SystemExit")
    write(folder, ".hidden.py", "raise SystemExit")
    write(folder, "notes.txt", "raise SystemExit")
    write(folder, "__pycache__/x.py", "raise SystemExit")
    registry = loaded(tmp_path, folder)
    assert [(info.name, info.status, info.tools) for info in registry.plugins] == [
        ("hello", PluginStatus.ENABLED, ("hello",)),
        ("kitchen", PluginStatus.ENABLED, ("lamp",)),
    ]
    assert asyncio.run(result(registry, "lamp")) == '"on"'


def test_equal_file_names_do_not_meet_and_the_later_folder_wins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    write(first, "json.py", HELLO.format(name="hello", text="first"))
    write(second, "json.py", HELLO.format(name="hello", text="second"))
    write(first, "other.py", "import json\n" + HELLO.format(name="other", text="x") + "\njson.dumps(1)\n")
    with caplog.at_level(logging.INFO):
        registry = loaded(tmp_path, first, second)
    assert [info.status for info in registry.plugins] == [PluginStatus.ENABLED] * 2
    assert asyncio.run(result(registry, "hello")) == '"second"'
    assert f"{second}/json.py is used instead of {first}/json.py" in caplog.text


def test_a_users_plugin_wins_over_an_installed_one_and_that_over_a_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled, mine = tmp_path / "bundled", tmp_path / "mine"
    for name in ("a", "b", "c"):
        write(bundled, f"{name}.py", HELLO.format(name=name, text="bundled"))
    write(mine, "c.py", HELLO.format(name="c", text="mine"))

    @tool(name="b")
    def installed_b() -> str:
        """Do."""
        return "installed"

    @tool(name="c")
    def installed_c() -> str:
        """Do."""
        return "installed"

    monkeypatch.setattr(loading, "bundled_plugins_folder", lambda: bundled)
    monkeypatch.setattr(
        loading,
        "installed",
        lambda: [Candidate("b", "x", lambda: installed_b), Candidate("c", "x", lambda: installed_c)],
    )
    registry = ToolRegistry(tmp_path / "state")
    registry.load([mine])

    async def main() -> list[str]:
        return [await result(registry, name) for name in ("a", "b", "c")]

    assert asyncio.run(main()) == ['"bundled"', '"installed"', '"mine"']


def test_entry_points_may_name_a_module_a_class_or_a_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, "thermostat_for_test.py", HELLO.format(name="warm", text="yes"))
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        EntryPoint("house", "thermostat_for_test", "hearth.plugins"),
        EntryPoint("gone", "no_such_module_for_test", "hearth.plugins"),
    ]
    monkeypatch.setattr(loading, "entry_points", lambda group: points if group == "hearth.plugins" else [])
    registry = ToolRegistry(tmp_path / "state")
    registry.load(bundled=False)
    gone, house = registry.plugins
    assert (house.status, house.tools) == (PluginStatus.ENABLED, ("warm",))
    assert gone.status is PluginStatus.LOAD_ERROR
    assert "it needs the module no_such_module_for_test" in gone.reason


def test_a_missing_folder_is_a_line_in_the_list(tmp_path: Path) -> None:
    info = only(loaded(tmp_path, tmp_path / "nowhere"))
    assert info.status is PluginStatus.LOAD_ERROR
    assert "create it, or remove it from tools.folders" in info.reason


def test_the_bundled_plugins_are_found_and_clean(tmp_path: Path) -> None:
    assert (bundled_plugins_folder() / "clock.py").is_file()
    registry = ToolRegistry(tmp_path / "state")
    registry.load(installed=False)
    assert {"clock", "timers"} <= {info.name for info in registry.plugins}
    assert [info for info in registry.plugins if info.status is not PluginStatus.ENABLED] == []
    assert not (tmp_path / "state").exists()  # listing tools leaves no trace


# --- broken plugins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def broken(:\n", "broken.py:1: syntax error: "),
        ("import sys\nsys.exit(3)\n", "it calls sys.exit() while it is imported (SystemExit at broken.py:2)"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt at broken.py:1"),
        ("class Odd(BaseException): pass\nraise Odd('why')\n", "Odd at broken.py:2: why"),
        ("import nothing_of_that_name\n", "it needs the module nothing_of_that_name, which is not installed"),
        ("from assistant.plugin import nothing\n", "ImportError at broken.py:1: cannot import name 'nothing'"),
        ("from . import sibling\n", "ImportError at broken.py:1"),
        ("x = 1\n", "it holds no @tool function and no Plugin class"),
        ("1/0\n", "ZeroDivisionError at broken.py:1: division by zero"),
        (
            HELLO.format(name="a", text="x") + HELLO.format(name="b", text="x").replace("@tool", "@tool(name='a')"),
            "two tools",
        ),
        (
            "from assistant.plugin import Plugin\nclass A(Plugin): ...\nclass B(Plugin): ...\n",
            "A and B are both Plugins",
        ),
        ("\0", "broken.py"),
    ],
)
def test_a_broken_plugin_is_off_and_the_others_are_on(tmp_path: Path, text: str, reason: str) -> None:
    folder = tmp_path / "mine"
    write(folder, "broken.py", text)
    write(folder, "hello.py", HELLO.format(name="hello", text="hi"))
    broken, hello = loaded(tmp_path, folder).plugins
    assert broken.status is PluginStatus.LOAD_ERROR
    assert reason in broken.reason or text == "\0"
    assert broken.reason
    assert "\n" not in broken.reason
    assert hello.status is PluginStatus.ENABLED


def test_an_import_that_failed_leaves_no_module_behind(tmp_path: Path) -> None:
    write(tmp_path / "mine", "half/__init__.py", "from . import part\n1/0\n")
    write(tmp_path / "mine", "half/part.py", "")
    loaded(tmp_path, tmp_path / "mine")
    assert [name for name in sys.modules if "_half" in name and name.startswith("_hearth_plugin_")] == []


def test_an_import_that_never_returns_is_given_up() -> None:
    release = threading.Event()
    with pytest.raises(loading.PluginLoadError, match=r"longer than 0\.02 s"):
        loading.load_plugin(Candidate("slow", "slow.py", release.wait), limit_s=0.02)
    release.set()


def test_a_tool_name_that_is_taken_refuses_the_second_plugin(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write(folder, "a.py", HELLO.format(name="hello", text="a"))
    write(folder, "b.py", HELLO.format(name="hello", text="b") + HELLO.format(name="more", text="b"))
    registry = loaded(tmp_path, folder)
    a, b = registry.plugins
    assert (a.status, b.status) == (PluginStatus.ENABLED, PluginStatus.LOAD_ERROR)
    assert b.reason.startswith("its tool hello exists already in plugin a: rename it")
    assert list(registry.tools) == ["hello"]


# --- settings ---------------------------------------------------------------------------------------------------------


class Lamp(Plugin):
    class Config(BaseModel):
        host: str
        port: int = Field(80, ge=1)

    config: Config

    @tool
    def where(self) -> str:
        """Tell where."""
        return f"{self.config.host}:{self.config.port}"


def with_settings(settings: dict[str, Any], tmp_path: Path) -> ToolRegistry:
    registry = ToolRegistry(tmp_path)
    registry.load_candidates([from_object("lamp", Lamp)], settings=settings)
    return registry


def test_settings_are_validated_and_given_to_the_plugin(tmp_path: Path) -> None:
    async def main() -> str:
        registry = with_settings({"lamp": {"host": "10.0.0.2"}}, tmp_path)
        await registry.start()
        try:
            return await result(registry, "where")
        finally:
            await registry.stop()

    assert asyncio.run(main()) == '"10.0.0.2:80"'


def test_wrong_settings_turn_the_plugin_off_and_are_named_without_their_values(tmp_path: Path) -> None:
    info = only(with_settings({"lamp": {"host": "a", "port": "hunter2"}}, tmp_path))
    assert info.status is PluginStatus.CONFIG_ERROR
    assert [problem.key for problem in info.problems] == ["plugins.lamp.port"]
    assert "hunter2" not in info.reason
    info = only(with_settings({}, tmp_path))
    assert info.reason == "plugins.lamp.host: Field required"
    info = only(with_settings({"lamp": {"host": "a", "prt": 1}}, tmp_path))
    assert info.reason == "plugins.lamp.prt: there is no such setting; known are: host, port"


def test_settings_for_a_plugin_without_any_and_unknown_names_are_reported(tmp_path: Path) -> None:
    write(tmp_path / "mine", "hello.py", HELLO.format(name="hello", text="hi"))
    info = only(loaded(tmp_path, tmp_path / "mine", settings={"hello": {"a": 1}}))
    assert (info.status, info.reason) == (
        PluginStatus.CONFIG_ERROR,
        "plugins.hello: this plugin has no settings: remove the section",
    )
    registry = loaded(tmp_path, tmp_path / "mine", settings={"helo": {}}, disabled=["weather"])
    assert registry.unknown == (
        "tools.disabled: there is no plugin named weather: plugins are: hello",
        "plugins: there is no plugin named helo: did you mean hello?",
    )


def test_a_disabled_plugin_is_not_imported(tmp_path: Path) -> None:
    write(tmp_path / "mine", "hello.py", "raise SystemExit")
    info = only(loaded(tmp_path, tmp_path / "mine", disabled=["hello"]))
    assert info.status is PluginStatus.DISABLED


# --- life -------------------------------------------------------------------------------------------------------------


class Recorder(Plugin):
    """Notes what happens to it."""

    log: ClassVar[list[str]] = []

    async def start(self) -> None:
        self.log.append(f"start {self.context.name}")

    async def stop(self) -> None:
        self.log.append(f"stop {self.context.name}")

    @tool(name="ping")
    async def ping(self) -> str:
        """Ping."""
        return self.context.name


def registry_of(tmp_path: Path, *kinds: type[Plugin], **options: Any) -> ToolRegistry:
    registry = ToolRegistry(tmp_path / "state", **options)
    registry.load_candidates([from_object(kind.__name__.lower(), kind) for kind in kinds])
    return registry


def test_plugins_start_in_order_and_stop_in_reverse(tmp_path: Path) -> None:
    entries: list[str] = []

    class First(Recorder):
        log = entries

    class Second(Recorder):
        log = entries

        @tool(name="pong")
        async def ping(self) -> str:
            """Pong."""
            return "pong"

    async def main() -> None:
        registry = registry_of(tmp_path, First, Second)
        assert "not running" in await result(registry, "ping")
        await registry.start()
        assert await result(registry, "ping") == '"first"'
        assert await result(registry, "pong") == '"pong"'
        await registry.stop()
        await registry.stop()
        assert "not running" in await result(registry, "ping")

    asyncio.run(main())
    assert entries == ["start first", "start second", "stop second", "stop first"]


async def never() -> None:
    await asyncio.Event().wait()


async def swallow() -> None:
    while True:
        try:
            await never()
        except asyncio.CancelledError:
            continue


async def leave() -> None:
    raise SystemExit(3)


async def refuse() -> None:
    raise ToolError("the bridge does not answer")


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (never, "it takes longer than 0.02 s"),
        (swallow, "it takes longer than 0.02 s"),
        (leave, "start failed: SystemExit at test_registry.py:"),
        (refuse, ": the bridge does not answer"),
    ],
)
def test_a_plugin_that_cannot_start_is_off_and_the_others_are_on(
    tmp_path: Path, step: Callable[[], Any], reason: str
) -> None:
    class Bad(Plugin):
        async def start(self) -> None:
            await step()

        @tool
        def bad(self) -> None:
            """Do."""

    class Good(Recorder):
        pass

    async def main() -> None:
        registry = registry_of(tmp_path, Bad, Good, start_limit_s=0.02)
        await registry.start()
        bad, good = registry.plugins
        assert bad.status is PluginStatus.START_ERROR
        assert reason in bad.reason
        assert good.status is PluginStatus.ENABLED
        assert list(registry.tools) == ["ping"]
        assert [spec["name"] for spec in registry.specs(offline=True)] == ["ping"]
        await registry.stop()

    asyncio.run(main())


def test_a_constructor_that_exits_is_contained(tmp_path: Path) -> None:
    class Bad(Plugin):
        def __init__(self, context: Context) -> None:
            raise SystemExit

    async def main() -> PluginInfo:
        registry = registry_of(tmp_path, Bad)
        await registry.start()
        await registry.stop()
        return only(registry)

    assert asyncio.run(main()).status is PluginStatus.START_ERROR


@pytest.mark.parametrize("step", [never, swallow, leave])
def test_stop_ends_in_time_whatever_the_plugin_does(tmp_path: Path, step: Callable[[], Any]) -> None:
    class Bad(Plugin):
        async def start(self) -> None:
            self.context.spawn(swallow(), "swallowing")

        async def stop(self) -> None:
            await step()

    async def main() -> float:
        registry = registry_of(tmp_path, Bad, stop_limit_s=0.1)
        await registry.start()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await registry.stop()
        return loop.time() - began

    assert asyncio.run(main()) < 2


def test_a_crash_in_the_background_marks_the_plugin_and_keeps_its_tools(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Shaky(Recorder):
        async def start(self) -> None:
            self.context.spawn(leave(), "watching")

    async def main() -> None:
        registry = registry_of(tmp_path, Shaky)
        await registry.start()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        info = only(registry)
        assert info.status is PluginStatus.CRASHED
        assert info.reason.startswith("watching crashed: SystemExit at test_registry.py:")
        assert await result(registry, "ping") == '"shaky"'
        await registry.stop()

    asyncio.run(main())
    assert "watching crashed" in caplog.text


def test_one_state_folder_serves_one_process(tmp_path: Path) -> None:
    class Good(Recorder):
        pass

    async def main() -> None:
        first, second = registry_of(tmp_path, Good), registry_of(tmp_path, Good)
        await first.start()
        await second.start()
        info = only(second)
        assert info.status is PluginStatus.START_ERROR
        assert "in use by a running assistant" in info.reason
        await second.stop()
        await first.stop()
        third = registry_of(tmp_path, Good)
        await third.start()
        assert only(third).status is PluginStatus.ENABLED
        await third.stop()

    asyncio.run(main())
