"""Work that takes longer than a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from assistant.plugin import Plugin, Progress, ToolError, tool
from assistant.testing.plugins import PluginHarness, settle
from assistant.tools.audit import AuditLog, read_calls
from assistant.tools.loading import bundled_plugins_folder, from_file
from assistant.tools.registry import PluginStatus

TASKS = bundled_plugins_folder() / "tasks.py"


class Copier(Plugin):
    @tool(sentences=["copy the photos", "copy {minutes} minutes of photos"])
    async def copy_photos(self, minutes: int = 5, problem: str | None = None) -> object:
        """Copy the photos to the disk in the cellar.

        minutes: how long that takes
        problem: what goes wrong at the end
        """

        async def copy(progress: Progress) -> str:
            for minute in range(minutes):
                progress.say(f"{minute} of {minutes} minutes are copied")
                await self.context.sleep(60)
            if problem == "crash":
                raise ValueError("secret")
            if problem:
                raise ToolError(problem)
            return "All photos are copied."

        return await self.context.task("copying the photos", copy)


def at_home(folder: Path, script: Callable[[PluginHarness], Awaitable[None]]) -> None:
    async def main() -> None:
        home = PluginHarness(Copier, folder / "state")
        home.registry.load_candidates([from_file(TASKS)])
        home.runner._audit = AuditLog(folder / "audit.sqlite3")
        async with home:
            await script(home)

    asyncio.run(main())


def test_the_turn_goes_on_progress_is_told_and_the_end_is_announced(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        said = await home.say("copy the photos")
        assert said.answer == "I have begun copying the photos, and tell you when I am done."
        with pytest.raises(ToolError, match="at it already"):
            await home.call("copy_photos")
        assert home.ringer.announced == []
        await home.advance(seconds=121)
        assert home.ringer.announced == ["1 of 5 minutes are copied", "2 of 5 minutes are copied"]
        asked = await home.say("what is running")
        assert (asked.tool, asked.answer) == ("running_tasks", "Copying the photos: 2 of 5 minutes are copied.")
        await home.advance(minutes=10)
        assert home.ringer.announced[-1] == "All photos are copied."
        assert (await home.say("what is running")).answer == "Nothing is running."

    at_home(tmp_path, script)
    ended = [call for call in read_calls(tmp_path / "audit.sqlite3", 99) if call.tool == "(copying the photos)"]
    assert [(call.plugin, call.status, round(call.duration_ms)) for call in ended] == [("copier", "ok", 300_000)]


def test_what_is_quick_is_answered_at_once(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        assert await home.call("copy_photos", minutes=0) == "All photos are copied."
        with pytest.raises(ToolError, match="the disk is full"):
            await home.call("copy_photos", minutes=0, problem="the disk is full")
        await home.advance(minutes=5)
        assert home.ringer.announced == []

    at_home(tmp_path, script)


def test_a_failure_is_announced(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("copy_photos", minutes=1, problem="the disk is full")
        await home.advance(minutes=2)
        assert home.ringer.announced == ["I could not finish copying the photos: the disk is full"]
        await home.call("copy_photos", minutes=1)
        await home.advance(minutes=2)
        assert home.ringer.announced[1:] == ["All photos are copied."]

    at_home(tmp_path, script)


def test_a_crash_is_announced_without_its_message_and_shows(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("copy_photos", minutes=1, problem="crash")
        await home.advance(minutes=2)
        assert home.ringer.announced == ["I could not finish copying the photos."]
        assert home.registry.plugins[0].status is PluginStatus.CRASHED

    with pytest.raises(AssertionError, match="copying the photos crashed: ValueError"):
        at_home(tmp_path, script)


@pytest.mark.parametrize("sentence", ["stop the task", "cancel the photos task"])
def test_it_is_cancelled_by_voice(tmp_path: Path, sentence: str) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("copy_photos")
        assert (await home.say(sentence)).answer == "I have cancelled copying the photos."
        await settle()
        assert home.registry.long_tasks.running == ()
        await home.advance(minutes=10)
        assert home.ringer.announced == []
        with pytest.raises(ToolError, match="Nothing is running"):
            await home.call("cancel_task")

    at_home(tmp_path, script)
    calls = read_calls(tmp_path / "audit.sqlite3", 99)
    assert [call.status for call in calls if call.tool == "(copying the photos)"] == ["cancelled"]


def test_the_end_of_the_plugin_ends_it(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("copy_photos")
        assert len(home.registry.long_tasks.running) == 1
        await home.registry.stop()
        assert home.registry.long_tasks.running == ()

    at_home(tmp_path, script)
