"""The shopping list, the to-do list and notes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.plugin import ToolError
from assistant.testing.plugins import PluginHarness
from assistant.tools.registry import PluginStatus
from tests.plugins.spoken import understood

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def use(plugin: str, state: Path, check: Callable[[PluginHarness], Awaitable[None]], **config: Any) -> None:
    async def main() -> None:
        async with PluginHarness(PLUGINS / f"{plugin}.py", state, settings=config) as home:
            await check(home)

    asyncio.run(main())


def test_a_list_is_kept_read_and_survives_a_restart(tmp_path: Path) -> None:
    async def fill(home: PluginHarness) -> None:
        assert (await home.call("read_list"))["say"] == "Your shopping list is empty."
        assert (
            await home.call("add_to_list", item=" two  kilos of rice ") == "Two kilos of rice is on your shopping list."
        )
        await home.call("add_to_list", item="bread")
        assert await home.call("add_to_list", item="Bread") == "Bread is on your shopping list already."
        await home.call("add_to_list", item="call the plumber", list="to_do")

    async def look(home: PluginHarness) -> None:
        assert (await home.call("read_list"))["say"] == "On your shopping list: two kilos of rice and bread."
        assert (await home.call("read_list", list="to_do"))["items"] == ["call the plumber"]

    use("lists", tmp_path, fill)
    use("lists", tmp_path, look)


def test_things_are_found_as_people_name_them(tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        for item in ("two litres of milk", "oat milk", "bread"):
            await home.call("add_to_list", item=item)
        with pytest.raises(ToolError, match="There are 2 of them: two litres of milk and oat milk"):
            await home.call("remove_from_list", item="milk")
        assert await home.call("remove_from_list", item="Oat Milk") == "Oat milk is off your shopping list."
        assert await home.call("remove_from_list", item="milk") == "Two litres of milk is off your shopping list."
        with pytest.raises(ToolError, match="There is no cheese on your shopping list"):
            await home.call("remove_from_list", item="cheese")

    use("lists", tmp_path, check)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.sampled_from(["a", "b", "c d"])), max_size=8))
def test_undo_goes_back_step_by_step(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]) -> None:
    async def check(home: PluginHarness) -> None:
        past = []
        for verb, item in steps:
            before = (await home.call("read_list"))["items"]
            try:
                await home.call(f"{verb}_{'to' if verb == 'add' else 'from'}_list", item=item)
            except ToolError:
                continue
            if (await home.call("read_list"))["items"] != before:
                past.append(before)
        for before in reversed(past):
            await home.call("undo_list_change")
            assert (await home.call("read_list"))["items"] == before
        with pytest.raises(ToolError, match="nothing to undo"):
            await home.call("undo_list_change")

    use("lists", tmp_path_factory.mktemp("state"), check)


def test_clearing_a_list_asks_first_and_can_be_undone(tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        await home.call("add_to_list", item="tea")
        assert (await home.call("clear_list", list="shopping"))["say"] == "Shall I clear the whole shopping list?"
        assert (await home.call("read_list"))["items"] == ["tea"]
        assert await home.agree() == "Your shopping list is empty now."
        assert await home.call("undo_list_change") == "Undone: the shopping list is cleared."
        assert (await home.call("read_list"))["items"] == ["tea"]

    use("lists", tmp_path, check)


def test_a_list_is_kept_as_plain_text_too(tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        for item in ("tea", "Käse"):
            await home.call("add_to_list", item=item)
        assert (tmp_path / "shopping.txt").read_text("utf-8") == "tea\nKäse\n"
        await home.call("remove_from_list", item="tea")
        assert (tmp_path / "shopping.txt").read_text("utf-8") == "Käse\n"
        assert not (tmp_path / "to_do.txt").exists()

    use("lists", tmp_path / "state", check, export_folder=str(tmp_path))


def test_a_missing_export_folder_shows_in_the_status(tmp_path: Path) -> None:
    async def main() -> None:
        home = PluginHarness(PLUGINS / "lists.py", tmp_path, settings={"export_folder": str(tmp_path / "none")})
        await home.registry.start()
        (info,) = home.registry.plugins
        assert (info.status, info.reason.endswith("is no folder: create it")) == (PluginStatus.SELF_CHECK_FAILED, True)
        await home.call("add_to_list", item="tea")  # the list itself works
        await home.registry.stop()
        await home.runner.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("plugin", "text", "wanted"),
    [
        ("lists", "add milk to the shopping list", ("add_to_list", {"item": "milk", "list": "shopping"})),
        ("lists", "put two eggs on my shopping list", ("add_to_list", {"item": "two eggs", "list": "shopping"})),
        ("lists", "take soap off my to do list", ("remove_from_list", {"item": "soap", "list": "to_do"})),
        ("lists", "what's on my to do list", ("read_list", {"list": "to_do"})),
        ("lists", "clear the shopping list", ("clear_list", {"list": "shopping"})),
        ("lists", "undo that", ("undo_list_change", {})),
        ("notes", "take a note that Ann comes on Friday", ("take_note", {"text": "Ann comes on Friday"})),
        ("notes", "read my notes", ("read_notes", {})),
        ("notes", "delete my last note", ("delete_last_note", {})),
    ],
)  # fmt: skip
def test_sentences(tmp_path: Path, plugin: str, text: str, wanted: tuple[str, dict[str, Any]]) -> None:
    async def check(home: PluginHarness) -> None:
        assert understood(home.registry, text) == wanted

    use(plugin, tmp_path, check)


def test_notes_are_kept_read_found_and_deleted(tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        assert (await home.call("read_notes"))["say"] == "There is no note."
        await home.call("take_note", text="The key is under the mat.")
        await home.advance(hours=24)
        assert await home.call("take_note", text="buy paint") == "I have noted it."
        assert (await home.call("read_notes"))["say"] == "Today: buy paint. Yesterday: The key is under the mat."
        assert (await home.call("read_notes", about="KEY"))["say"] == "Yesterday: The key is under the mat."
        assert (await home.call("read_notes", about="x"))["say"] == "There is no note about x."
        await home.call("delete_last_note")
        assert await home.agree() == "Deleted: buy paint"
        for number in range(7):
            await home.call("take_note", text=f"note {number}")
        assert (await home.call("read_notes"))["say"].endswith("Today: note 2. There are 3 more.")
        text = (tmp_path / "notes.txt").read_text("utf-8").splitlines()
        assert text[:2] == ["2025-11-21 09:30  The key is under the mat.", "2025-11-22 09:30  buy paint"]

    use("notes", tmp_path / "state", check, export_file=str(tmp_path / "notes.txt"))
