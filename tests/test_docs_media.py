"""docs/media.md: what it says one can say and set."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from assistant.testing.plugins import PluginHarness
from tests.plugins.test_media import harness, plugin_of
from tests.real_mpd import RealMpd, real_mpd
from tests.test_docs_home import settings

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "media.md").read_text("utf-8")


def test_everything_that_can_be_said_to_the_player(tmp_path: Path) -> None:
    table = PAGE.partition("## What to say")[2].partition("The offline brain")[0]
    sentences = [said for row in re.findall(r"^\| (\w[^|]*) \|", table, re.MULTILINE) for said in row.split("; ")][1:]
    assert len(sentences) > 12
    stations = {name: {**station, "url": "0.flac"} for name, station in settings(PAGE, "media")["stations"].items()}

    async def main(mpd: RealMpd) -> None:
        async with harness(mpd, tmp_path, stations=stations) as home:
            await plugin_of(home).link.ready(20)
            async with asyncio.timeout(20):
                while "albums" not in plugin_of(home).context.entity_lists:  # noqa: ASYNC110 - the harness has no event
                    await asyncio.sleep(0.005)
            for said in sentences:
                assert (await home.say(said)).tool is not None, said

    with real_mpd() as mpd:
        asyncio.run(main(mpd))


def test_every_setting_has_its_place_on_the_page(tmp_path: Path) -> None:
    registry = PluginHarness(ROOT / "plugins" / "media", tmp_path, settings=settings(PAGE, "media")).registry
    config = registry._entries["media"].config
    assert config is not None, registry.plugins
    for name in type(config).model_fields:
        assert f"`{name}`" in PAGE, name
