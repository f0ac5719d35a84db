"""``assistant tools new``: a plugin to begin with, and its test."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from assistant.errors import HearthError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

_PLUGIN = Template('''"""$title: a plugin for Hearth. The guide is docs/plugins.md."""

from __future__ import annotations

from typing import Annotated

from assistant.plugin import BaseModel, Field, Plugin, ToolError, tool


class $cls(Plugin):
    class Config(BaseModel):
        """The settings: the section plugins.$name of config.yaml."""

        largest: Annotated[int, Field(ge=1, le=1000)] = 100

    config: Config

    async def start(self) -> None:
        with self.context.database() as db:
            db.execute("CREATE TABLE IF NOT EXISTS counted (at TEXT, count INTEGER)")

    @tool(sentences=["$words count to {count}"])
    def ${name}_count(self, count: Annotated[int, Field(ge=1, le=1000)]) -> str:
        """Count from one up to a number, and remember it.

        count: where to stop
        """
        if count > self.config.largest:
            raise ToolError(f"I only count to {self.config.largest}.")
        with self.context.database() as db:
            db.execute("INSERT INTO counted VALUES (?, ?)", (self.context.now().isoformat(), count))
        return f"{', '.join(str(number + 1) for number in range(count))}."
''')

_TEST = Template('''"""What people say, what is called, what is answered. No sound, no cloud, milliseconds."""

from __future__ import annotations

import asyncio
from pathlib import Path

from assistant.testing.plugins import PluginHarness


def test_it_counts_and_knows_its_limit(tmp_path: Path) -> None:
    async def main() -> None:
        async with PluginHarness(Path(__file__).with_name("$name.py"), tmp_path, settings={"largest": 5}) as home:
            said = await home.say("$words count to three")
            assert (said.tool, said.arguments, said.answer) == ("${name}_count", {"count": 3}, "1, 2, 3.")
            assert (await home.say("$words count to nine")).answer == "I only count to 5."

    asyncio.run(main())
''')


def write_plugin(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a plugin and its test into a folder, which is made. Raises HearthError rather than overwriting."""
    if not _NAME.fullmatch(name):
        raise HearthError(f"tools new: {name!r} is no name for a plugin: use small letters, digits and _")
    plugin, test = folder / f"{name}.py", folder / f"test_{name}.py"
    words = name.replace("_", " ")
    fills = {"name": name, "words": words, "title": words.capitalize(), "cls": name.title().replace("_", "")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, template in ((plugin, _PLUGIN), (test, _TEST)):
            with file.open("x", encoding="utf-8") as handle:
                handle.write(template.substitute(fills))
    except FileExistsError as error:
        raise HearthError(f"tools new: {error.filename} exists already: take another name") from None
    except OSError as error:
        raise HearthError(f"tools new: {error.filename} cannot be written: {error.strerror}") from None
    return plugin, test
