"""The console's web server: pages, requests, events. One task of the daemon, and nothing is left of it afterwards."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from aiohttp import WSMsgType, hdrs, web

from assistant.audio.meter import Meter
from assistant.config import Config
from assistant.console.doors import COOKIE, HEADERS, OPEN_PATHS, SIGNED_IN_S, Doors
from assistant.console.feed import Feed, Page
from assistant.control.requests import Requests, parse
from assistant.controls import ControlError, Controls
from assistant.errors import ConfigError
from assistant.happenings import Happenings

log = logging.getLogger(__name__)

STATIC: Final = Path(__file__).parent / "static"

MAX_BODY: Final = 65_536
"""Bytes of one request."""

MAX_PAGES: Final = 64
"""Pages that are told events at a time."""

GOODBYE_S: Final = 1.0
"""How long open connections may take to end with the daemon."""

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Part(Protocol):
    """Something that answers some of the addresses."""

    def routes(self) -> Sequence[web.RouteDef]: ...


@dataclass(frozen=True, slots=True)
class Shown:
    """What the console shows of the assistant."""

    config: Config
    controls: Controls
    happenings: Happenings
    meter: Meter


async def serve(
    shown: Shown,
    *parts: Part,
    listening: Callable[[str], None] | None = None,
    closing: Callable[[], None] | None = None,
) -> None:
    """Serve until cancelled. If that cannot be, one line in the log says why, and the assistant goes on without.

    listening: told the address, once it is served. closing: called before open connections are ended.
    """
    settings = shown.config.console
    try:
        token = shown.config.console_token()
    except ConfigError as error:
        log.error("%s: the console is not served", error)
        return
    if token is None and settings.host not in _LOOPBACK:
        log.error("console: not served on %s without a token: set console.token_file", settings.host)
        return
    console = Console(shown, Doors(token, settings.names), parts)
    app = console.app()
    if closing is not None:
        app.on_shutdown.append(_calling(closing))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GOODBYE_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            log.error("console: cannot listen on %s: %s: set console.port to another", where, error.strerror)
            return
        host, port = runner.addresses[0][:2]
        address = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        log.info("console: %s", address)
        if listening is not None:
            listening(address)
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        await runner.cleanup()


class Console:
    """Answers requests. ``parts`` answer further addresses."""

    def __init__(self, shown: Shown, doors: Doors, parts: Sequence[Part] = ()) -> None:
        self._controls = shown.controls
        self._requests = Requests(shown.controls)
        self._doors = doors
        self._feed = Feed(shown.happenings, shown.meter)
        self._parts = parts

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY)
        app.on_response_prepare.append(_dress)
        app.on_shutdown.append(self._say_goodbye)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/signin", self._sign_in_page),
                web.post("/signin", self._sign_in),
                web.post("/signout", self._sign_out),
                web.post("/api/do", self._do),
                web.get("/api/events", self._events),
                web.static("/static", STATIC),
                *(route for part in self._parts for route in part.routes()),
            ]
        )
        return app

    # --- doors ------------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._doors.knows_host(request):
            text = "this name is not the assistant's: use its address, or add the name to console.names\n"
            raise web.HTTPMisdirectedRequest(text=text)
        asks = request.method not in ("GET", "HEAD") or request.headers.get(hdrs.UPGRADE) is not None
        if asks and not self._doors.comes_from_here(request):
            raise web.HTTPForbidden(text="another page has asked for this: open the console itself\n")
        if request.path not in OPEN_PATHS and not self._doors.knows_person(request):
            if request.path == "/":
                raise web.HTTPSeeOther("/signin")
            raise web.HTTPUnauthorized(text="sign in first\n")
        try:
            return await handler(request)
        except ControlError as error:
            return web.json_response({"ok": False, "error": str(error)}, status=400)

    async def _sign_in_page(self, request: web.Request) -> web.StreamResponse:
        if self._doors.knows_person(request):
            raise web.HTTPSeeOther("/")
        return web.FileResponse(STATIC / "signin.html")

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        token = await _object(request)
        cookie = await self._doors.sign_in(str(token.get("token", "")))
        if cookie is None:
            log.warning("console: somebody at %s has tried a wrong token", request.remote)
            return web.json_response({"ok": False, "error": "this is not the token"}, status=403)
        response = web.json_response({"ok": True})
        response.set_cookie(COOKIE, cookie, max_age=SIGNED_IN_S, httponly=True, samesite="Strict", path="/")
        return response

    async def _sign_out(self, request: web.Request) -> web.StreamResponse:
        response = web.json_response({"ok": True})
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
        return response

    # --- pages and requests -----------------------------------------------------------------------------------------

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _do(self, request: web.Request) -> web.StreamResponse:
        """The requests of docs/control.md."""
        asked = parse(json.dumps(await _object(request)))
        return web.json_response(await self._requests.answer({**asked, "caller": "console"}))

    # --- events -----------------------------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """First the status, then what happens, until the page closes or the assistant ends."""
        if self._feed.pages >= MAX_PAGES:
            raise web.HTTPServiceUnavailable(text="too many pages are open: close one\n")
        answer = web.WebSocketResponse(heartbeat=20.0, max_msg_size=4096, timeout=GOODBYE_S, compress=False)
        await answer.prepare(request)
        page = self._feed.open()
        try:
            hello = {"event": "hello", "status": self._controls.status(), "signed_in": self._doors.needs_token}
            await answer.send_json(hello)
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read_wishes(answer, page))
                while (message := await page.messages.get()) is not None:
                    await answer.send_str(message)
                reader.cancel()
        except* ConnectionError:
            pass  # the page has gone
        finally:
            self._feed.close(page)
        await answer.close(code=1013 if page.behind else 1001)
        return answer

    async def _read_wishes(self, socket: web.WebSocketResponse, page: Page) -> None:
        """``{"want": ["level"]}`` begins the level meter, ``{"want": []}`` ends it."""
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            try:
                wishes = json.loads(message.data)
            except ValueError:
                break
            wanted = wishes.get("want") if isinstance(wishes, dict) else None
            self._feed.want_level(page, isinstance(wanted, list) and "level" in wanted)
        page.end()

    async def _say_goodbye(self, app: web.Application) -> None:
        self._feed.close_all()


def _calling(function: Callable[[], None]) -> Callable[[web.Application], Awaitable[None]]:
    async def call(app: web.Application) -> None:
        function()

    return call


async def _object(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request. Only that: what a foreign page could send by a form is refused."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="JSON is needed\n")
    try:
        found = await request.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ControlError("a JSON object is needed")
    return found


async def _dress(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-cache" if request.path.startswith("/static/") else "no-store")
