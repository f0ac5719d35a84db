"""A small chat endpoint for tests: scripted answers over real HTTP, in pieces, or broken as servers break."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(slots=True)
class Script:
    """What the next request gets. ``pieces``: deltas, or raw text that is sent as it is."""

    pieces: Sequence[dict[str, Any] | str] = ()
    status: int = 200
    stall: bool = False
    """Say nothing more after the pieces, and keep the connection open."""
    drop: bool = False
    """Close the connection after the pieces, in the middle."""


@dataclass(slots=True)
class ChatServer:
    """Answers with one script after the other, and keeps what it was asked."""

    scripts: list[Script] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    url: str = ""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client went away before it had everything."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.keys.append(request.headers.get("Authorization", ""))
        script = self.scripts.pop(0)
        if script.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=script.status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for piece in script.pieces:
                raw = piece if isinstance(piece, str) else f"data: {json.dumps(delta(piece))}\n\n"
                for start in range(0, len(raw), 7):  # lines arrive cut anywhere
                    await response.write(raw[start : start + 7].encode())
            if script.stall:
                await asyncio.Event().wait()
            if script.drop:
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(b"data: [DONE]\n\n")
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise
        return response


def delta(fields: dict[str, Any]) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def text(*pieces: str) -> Script:
    return Script([{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)])


def call(name: str, *arguments: str, index: int = 0) -> list[dict[str, Any]]:
    """A tool call whose arguments come in pieces."""
    first = {"index": index, "id": f"c{index}", "type": "function", "function": {"name": name, "arguments": ""}}
    return [
        {"tool_calls": [first]},
        *({"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in arguments),
    ]


@contextlib.asynccontextmanager
async def chat_server(*scripts: Script) -> AsyncIterator[ChatServer]:
    server = ChatServer(list(scripts))
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()
