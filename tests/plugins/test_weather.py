"""The weather, from a server on loopback that answers as Open-Meteo documents it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from assistant.plugin import ToolError, fetch, fetch_json
from assistant.testing.plugins import PluginHarness
from assistant.tools.registry import PluginStatus
from tests.plugins.spoken import understood

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "weather.py"
RECORDED = (Path(__file__).parent / "recorded" / "open_meteo.json").read_bytes()


class Service(ThreadingHTTPServer):
    """Answers every GET with ``body``; behaves badly when told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body, self.status = RECORDED, 200
        self.queries: list[dict[str, list[str]]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.redirect: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/forecast"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self.server.queries.append(parse_qs(urlsplit(self.path).query))
        self.server.hold.wait()
        self.send_response(302 if self.server.redirect else self.server.status)
        if self.server.redirect:
            self.send_header("Location", self.server.redirect)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client had enough
            self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.hold.set()
        server.shutdown()
        thread.join()


def use(service: Service, state: Path, check: Callable[[PluginHarness], Awaitable[None]], **more: Any) -> None:
    async def main() -> None:
        settings = {"url": service.url, "latitude": 52.52, "longitude": 13.42, **more}
        async with PluginHarness(PLUGIN, state, settings=settings) as home:
            await check(home)

    asyncio.run(main())


def test_today_tomorrow_and_the_week(service: Service, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        said = {day: (await home.call("weather", day=day))["say"] for day in ("today", "tomorrow", "week")}
        assert said == {
            "today": "It is 4 degrees and cloudy in Berlin. Today: rain, 0 to 4 degrees, "
            "with a 65 percent chance of rain.",
            "tomorrow": "Tomorrow in Berlin: clear, 1 to 8 degrees.",
            "week": "The week in Berlin: Friday rain, up to 4; Saturday clear, up to 8; Sunday heavy snow, up to -1.",
        }
        assert len(service.queries) == 1, "the forecast is kept for a while"
        await home.advance(minutes=11)
        await home.call("weather")
        assert len(service.queries) == 2

    use(service, tmp_path, check, place="Berlin", units="imperial")
    assert service.queries[0]["latitude"] == ["52.52"]
    assert service.queries[0]["temperature_unit"] == ["fahrenheit"]


def test_rain_counts_from_now_on(service: Service, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        assert (await home.call("rain_soon"))["say"] == "Yes, rain is likely around 15:00: the chance is 65 percent."

    use(service, tmp_path, check)
    service.body = RECORDED.replace(b"65, 80]", b"15, 8]")
    asyncio_said: list[str] = []

    async def dry(home: PluginHarness) -> None:
        asyncio_said.append((await home.call("rain_soon"))["say"])

    use(service, tmp_path, dry)
    assert asyncio_said == ["No, it looks dry for the next 12 hours."]


@pytest.mark.parametrize(
    ("settings", "status"),
    [({}, PluginStatus.ENABLED), ({"latitude": 52.5}, PluginStatus.SELF_CHECK_FAILED)],
)
def test_a_place_that_is_not_set_is_told(tmp_path: Path, settings: dict[str, float], status: PluginStatus) -> None:
    async def main() -> None:
        home = PluginHarness(PLUGIN, tmp_path, settings=settings)
        await home.registry.start()
        (info,) = home.registry.plugins
        assert info.status is status
        with pytest.raises(ToolError, match=r"set latitude and longitude under plugins\.weather"):
            await home.call("weather")
        await home.registry.stop()
        await home.runner.close()

    asyncio.run(main())


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", RECORDED.replace(b'"2025-11-22", ', b""), b'{"daily": 5}'])
def test_an_answer_that_is_none_is_told(service: Service, tmp_path: Path, body: bytes) -> None:
    service.body = body

    async def check(home: PluginHarness) -> None:
        with pytest.raises(ToolError, match="something that I do not understand"):
            await home.call("weather")

    use(service, tmp_path, check)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("what's the weather", ("weather", {})),
        ("how is the weather tomorrow", ("weather", {"day": "tomorrow"})),
        ("what will be the weather like this week", ("weather", {"day": "week"})),
        ("do I need an umbrella", ("rain_soon", {})),
    ],
)
def test_sentences(service: Service, tmp_path: Path, text: str, wanted: tuple[str, dict[str, str]]) -> None:
    async def check(home: PluginHarness) -> None:
        assert understood(home.registry, text) == wanted

    use(service, tmp_path, check)


# --- fetch ------------------------------------------------------------------------------------------------------------


def test_fetch_has_bounds(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert fetch_json(service.url, params={"a": "ä&b"})["elevation"] == 38.0
    assert service.queries[-1] == {"a": ["ä&b"]}
    with pytest.raises(ToolError, match=r"^127\.0\.0\.1 sent more than 10 bytes\.$"):
        fetch(service.url, limit_bytes=10)
    service.hold.clear()
    with pytest.raises(ToolError, match=r"^127\.0\.0\.1 did not answer within 0\.05 seconds\.$"):
        fetch(service.url, limit_s=0.05)
    service.hold.set()
    service.body = b"<html>"
    with pytest.raises(ToolError, match="not JSON"):
        fetch_json(service.url)
    service.status = 503
    with pytest.raises(ToolError, match="answered with error 503"):
        fetch(service.url)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_fetch_stays_on_http(service: Service, target: str) -> None:
    with pytest.raises(ValueError, match="such as https"):
        fetch(target)
    service.redirect = target
    with pytest.raises(ToolError):
        fetch(service.url, limit_s=1.0)


def test_fetch_tells_a_server_that_is_not_there() -> None:
    with pytest.raises(ToolError, match=r"^127\.0\.0\.1 cannot be reached\.$"):
        fetch("http://127.0.0.1:9/secret?token=abc")
