"""The address that Prometheus asks. Only this machine can reach it, and no page of a browser can read it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import web

from assistant.metrics.exposition import CONTENT_TYPE

log = logging.getLogger(__name__)

GOODBYE_S = 1.0
"""How long an open connection may take to end with the daemon."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


async def serve(host: str, port: int, page: Callable[[], str], listening: Callable[[str], None] | None = None) -> None:
    """Serve ``/metrics`` until cancelled. If that cannot be, one line in the log says why.

    listening: told the address, once it is served.
    """

    async def answer(request: web.Request) -> web.Response:
        if request.url.host not in _LOOPBACK:  # a name that a foreign page has pointed at this machine
            raise web.HTTPMisdirectedRequest(text="ask for 127.0.0.1 or localhost\n")
        return web.Response(body=page().encode(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=GOODBYE_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            log.error("health.metrics: cannot listen on %s:%d: %s: choose another port", host, port, error.strerror)
            return
        bound_host, bound_port = runner.addresses[0][:2]
        address = f"http://{f'[{bound_host}]' if ':' in bound_host else bound_host}:{bound_port}/metrics"
        log.info("metrics: %s", address)
        if listening is not None:
            listening(address)
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        await runner.cleanup()
