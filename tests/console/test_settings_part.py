"""Settings over HTTP: what is written, what holds at once, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import aiohttp

from assistant.audio.meter import Meter
from assistant.config import Config, load
from assistant.console.server import Shown, serve
from assistant.console.settings import SettingsPart
from assistant.controls import Controls
from assistant.happenings import Happenings
from assistant.journal import Journal
from tests.test_control import Desk

TEXT = """\
console: {enabled: true, port: 0}
session:
  voice: marin   # like the sea
follow_up: {mode: never}
"""

Change = Callable[[dict[str, Any]], Awaitable[tuple[int, dict[str, Any]]]]


def with_settings(file: Path, scene: Callable[[Change, list[Config]], Awaitable[None]]) -> None:
    """``scene`` is given a way to ask for changes, and the configurations that were applied."""

    async def run() -> None:
        config, applied = load(file), list[Config]()
        shown = Shown(config, cast(Controls, Desk()), Happenings(Journal(), lambda: 0.0), Meter())
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        part = SettingsPart(config, applied.append, None)
        server = asyncio.ensure_future(serve(shown, part, listening=ready.set_result))
        async with aiohttp.ClientSession(await ready) as client:

            async def change(changes: dict[str, Any], path: str = "/api/settings") -> tuple[int, dict[str, Any]]:
                async with client.post(path, json=changes) as answer:
                    return answer.status, await answer.json()

            await scene(change, applied)
            assert (await change({}, "/api/restart"))[0] == 400  # nobody would start it again
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)

    asyncio.run(run())


def test_what_holds_at_once_is_applied_and_the_rest_waits(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(TEXT)
    file.chmod(0o640)

    async def scene(change: Change, applied: list[Config]) -> None:
        assert await change({"session.voice": "cedar", "follow_up.mode": "always"}) == (
            200,
            {"ok": True, "waiting": ["follow_up.mode"]},
        )
        assert [config.session.voice for config in applied] == ["cedar"]
        assert applied[0].follow_up.mode == "never"
        assert file.read_text() == TEXT.replace("marin ", "cedar ").replace("never", "always")
        assert (await change({"follow_up.mode": "never"}))[1]["waiting"] == []
        assert len(applied) == 1

    with_settings(file, scene)
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_what_cannot_be_used_or_is_not_offered_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(TEXT)

    async def scene(change: Change, applied: list[Config]) -> None:
        status, answer = await change({"session.voice": "cedar", "session.speed": 9})
        assert status == 422
        assert answer["problems"] == [{"key": "session.speed", "line": 3, "message": "must be from 0.25 to 1.5, got 9"}]
        for changes in ({"console.host": "0.0.0.0"}, {"openai.api_key_file": "/etc/shadow"}, {"session.voice": ["x"]}):
            assert (await change(changes))[0] == 400
        assert file.read_text() == TEXT
        file.write_text("session: {voce: x}\n")  # somebody edits it meanwhile
        status, answer = await change({"session.voice": "cedar"})
        assert status == 422 and answer["problems"][0]["line"] == 1
        assert file.read_text() == "session: {voce: x}\n"
        assert applied == []

    with_settings(file, scene)


def test_without_a_file_nothing_can_be_kept(tmp_path: Path) -> None:
    async def run() -> None:
        from aiohttp.test_utils import make_mocked_request

        part = SettingsPart(Config(), lambda config: None, None)
        shown = await part._show(make_mocked_request("GET", "/api/settings"))
        assert b'"file": null' in cast(Any, shown).body

    asyncio.run(run())
