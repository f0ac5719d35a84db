"""Who may come in, asked over real HTTP; and what a page is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from assistant.audio.analysis import Heard
from assistant.audio.meter import Level, Meter
from assistant.config import Config
from assistant.config.loading import parse
from assistant.console import doors
from assistant.console.feed import MAX_WAITING, Feed
from assistant.console.server import Shown, serve
from assistant.controls import Controls
from assistant.errors import ConfigError
from assistant.happenings import Happenings
from assistant.journal import Journal
from assistant.types import FRAME_BYTES, AudioFrame
from tests.test_control import Desk

TOKEN = "a token of the house"


class Served:
    """A console on a free port, with a desk instead of an assistant."""

    def __init__(self, config: Config) -> None:
        self.desk = Desk()
        self.happenings = Happenings(Journal(), lambda: 12.5)
        self.meter = Meter()
        self.shown = Shown(config, cast(Controls, self.desk), self.happenings, self.meter)
        self.address = ""


def config(tmp_path: Path, *, token: str | None = None, more: str = "") -> Config:
    section = "enabled: true, port: 0"
    if token is not None:
        (tmp_path / "token").write_text(token)
        section += ", token_file: token"
    return parse(f"console: {{{section}{more}}}", tmp_path / "config.yaml")


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[tuple[Served, aiohttp.ClientSession]]:
    served = Served(config)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(serve(served.shown, listening=ready.set_result))
    try:
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        served.address = ready.result()
        async with aiohttp.ClientSession(served.address, cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
            yield served, client
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def status_of(client: aiohttp.ClientSession, method: str, path: str, **options: Any) -> int:
    async with client.request(method, path, allow_redirects=False, **options) as answer:
        return answer.status


def test_what_a_foreign_name_or_page_asks_for_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(config(tmp_path, more=", names: [hearth.home.arpa]")) as (served, client):
            for host, wanted in [
                ("evil.example", 421),
                ("evil.example:8765", 421),
                ("127.0.0.1.evil.example", 421),
                ("", 421),
                ("localhost", 200),
                ("[::1]:8765", 200),
                ("192.168.1.7", 200),
                ("hearth.home.arpa", 200),
            ]:
                assert await status_of(client, "GET", "/", headers={"Host": host}) == wanted, host
            ask = {"json": {"do": "ask", "text": "hello"}}
            own = served.address.rstrip("/")
            for headers, wanted in [
                ({"Origin": "http://evil.example"}, 403),
                ({"Origin": "null"}, 403),
                ({"Origin": own + "1"}, 403),
                ({"Sec-Fetch-Site": "cross-site"}, 403),
                ({"Origin": own, "Sec-Fetch-Site": "same-origin"}, 200),
                ({}, 200),
            ]:
                assert await status_of(client, "POST", "/api/do", headers=headers, **ask) == wanted, headers
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect("/api/events", origin="http://evil.example")
            assert refused.value.status == 403
            assert served.desk.asked == ["hello", "hello"]
            assert await status_of(client, "POST", "/api/do", data='{"do":"stop"}') == 415  # as a foreign form could

    asyncio.run(run())


def test_a_token_opens_the_console_and_its_cookie_keeps_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "WRONG_TOKEN_S", 0.0)

    async def run() -> str:
        async with serving(config(tmp_path, token=TOKEN)) as (_, client):
            assert await status_of(client, "GET", "/") == 303
            assert await status_of(client, "GET", "/signin") == 200
            for path in ("/api/events", "/static/app.js"):
                assert await status_of(client, "GET", path) == 401
            assert await status_of(client, "POST", "/api/do", json={"do": "status"}) == 401
            for wrong in ("", "wrong", TOKEN + "x"):
                assert await status_of(client, "POST", "/signin", json={"token": wrong}) == 403
            for headers in ({"Authorization": "Bearer wrong"}, {"Cookie": "hearth=9999999999.00"}):
                assert await status_of(client, "GET", "/", headers=headers) != 200
            assert await status_of(client, "GET", "/", headers={"Authorization": f"Bearer {TOKEN}"}) == 200
            async with client.post("/signin", json={"token": TOKEN}) as answer:
                kept = answer.headers["Set-Cookie"]
            assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(kept.split("; "))
            assert TOKEN not in kept
            assert await status_of(client, "GET", "/") == 200
            return kept.split(";")[0]

    cookie = asyncio.run(run())

    async def after_a_restart(token: str) -> int:
        async with serving(config(tmp_path, token=token)) as (_, client):
            return await status_of(client, "GET", "/", headers={"Cookie": cookie})

    assert asyncio.run(after_a_restart(TOKEN)) == 200
    assert asyncio.run(after_a_restart("another token")) == 303


def test_a_cookie_ends_and_its_end_cannot_be_moved(tmp_path: Path) -> None:
    async def run() -> None:
        now = [1000.0]
        door = doors.Doors(config(tmp_path, token=TOKEN).console_token(), now=lambda: now[0])
        cookie = await door.sign_in(TOKEN)
        assert cookie is not None
        until, seal = cookie.split(".")

        def knows(value: str) -> bool:
            return door.knows_person(make_request(value))

        assert knows(cookie)
        assert not knows(f"{int(until) + 1}.{seal}")
        assert not knows(f"{until}.") and not knows("") and not knows("²." + seal)
        now[0] += doors.SIGNED_IN_S
        assert not knows(cookie)

    asyncio.run(run())


def make_request(cookie: str) -> Any:
    from aiohttp.test_utils import make_mocked_request

    return make_mocked_request("GET", "/", headers={"Cookie": f"hearth={cookie}"})


def test_beyond_this_machine_only_with_a_token_that_is_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match="token_file"):
        parse("console: {enabled: true, host: 0.0.0.0}", tmp_path / "config.yaml")
    short = config(tmp_path, token="guess me")

    async def run() -> None:
        await serve(Served(short).shown)

    asyncio.run(run())
    assert "has at least 12 characters" in caplog.text
    assert "guess me" not in caplog.text


def test_a_taken_port_is_one_line_and_no_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with serving(config(tmp_path)) as (served, _):
            port = served.address.rsplit(":")[-1].strip("/")
            await serve(Served(parse(f"console: {{enabled: true, port: {port}}}", tmp_path / "config.yaml")).shown)

    asyncio.run(run())
    assert "cannot listen on 127.0.0.1" in caplog.text


def test_a_page_is_told_what_happens_and_the_level_only_if_it_asks(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(config(tmp_path)) as (served, client), client.ws_connect("/api/events") as socket:
            assert (await socket.receive_json())["status"] == {"state": "idle"}
            served.happenings.tell("heard", text="Grüße")
            assert await socket.receive_json() == {"event": "heard", "at": 12.5, "text": "Grüße"}
            assert served.meter._viewers == []
            await socket.send_str(json.dumps({"want": ["level"]}))
            while not served.meter._viewers:
                await asyncio.to_thread(int)
            for index in range(5):
                frame = AudioFrame(index * 320, bytes(FRAME_BYTES - 2) + b"\xff\x7f", 0.0)
                served.meter.hear(Heard(frame, index == 3, {"alexa": 0.25} if index == 4 else None))
            level = await socket.receive_json()
            assert level == {"event": "level", "dbfs": -25.1, "score": 0.25, "speech": True}
            await socket.close()
            while served.meter._viewers or served.happenings._listeners:
                await asyncio.to_thread(int)

    asyncio.run(run())


def test_a_page_that_falls_behind_is_let_go_and_the_others_are_not() -> None:
    happenings, meter = Happenings(Journal(), lambda: 0.0), Meter()
    feed = Feed(happenings, meter)
    slow, quick = feed.open(), feed.open()
    told = 0
    for index in range(MAX_WAITING + 50):
        happenings.tell("state", state=str(index))
        told += quick.messages.get_nowait() is not None
    assert told == MAX_WAITING + 50
    assert slow.behind and not quick.behind
    messages = [slow.messages.get_nowait() for _ in range(slow.messages.qsize())]
    assert len(messages) == MAX_WAITING + 1 and messages[-1] is None


def test_silence_has_a_level(tmp_path: Path) -> None:
    seen: list[Level] = []
    meter = Meter()
    away = meter.look(seen.append)
    for index in range(10):
        meter.hear(Heard(AudioFrame(index * 320, bytes(FRAME_BYTES), 0.0), False, None))
    away()
    meter.hear(Heard(AudioFrame(0, bytes(FRAME_BYTES), 0.0), False, None))
    assert seen == [Level(-90.0, 0.0, False)] * 2
    assert meter._frames == []


def test_every_answer_forbids_what_is_not_ours(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(config(tmp_path)) as (_, client):
            for path in ("/", "/static/style.css", "/nowhere"):
                async with client.get(path) as answer:
                    policy = answer.headers["Content-Security-Policy"]
                    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
            for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd"):
                assert await status_of(client, "GET", path) in (403, 404)

    asyncio.run(run())
