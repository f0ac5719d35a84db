"""A realtime server whose behaviour is a script: for tests of everything that can go wrong on the wire.

::

    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.expect("response.create")
        await peer.send("response.created", response={"id": "r1"})
        ...

    async with ScriptedServer(script) as server:
        ...  # connect to server.url

A script that raises (an ``expect`` that got something else, say) makes leaving the server raise the same.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeAlias

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Script: TypeAlias = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's side of one connection."""

    def __init__(self, socket: ServerConnection, number: int) -> None:
        self.socket = socket
        self.number = number
        """Counts connections from 1."""
        self.received: list[dict[str, Any]] = []
        self.audio = b""
        """All audio that was appended."""

    async def receive(self) -> dict[str, Any]:
        """The next event of the client."""
        event: dict[str, Any] = json.loads(await self.socket.recv())
        self.received.append(event)
        if event["type"] == "input_audio_buffer.append":
            self.audio += base64.b64decode(event["audio"])
        return event

    async def expect(self, event_type: str) -> dict[str, Any]:
        """The next event that is not audio; it must be of this type."""
        while True:
            event = await self.receive()
            if event["type"] == event_type:
                return event
            assert event["type"] == "input_audio_buffer.append", f"got {event['type']} instead of {event_type}"

    async def send(self, event_type: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"event_id": "event", "type": event_type, **fields}))

    async def send_raw(self, message: str | bytes) -> None:
        await self.socket.send(message)

    async def open_session(self) -> dict[str, Any]:
        """Say hello, take the settings and accept them; gives the settings."""
        await self.send("session.created", session={"type": "realtime", "model": "scripted"})
        update = await self.expect("session.update")
        await self.send("session.updated", session=update["session"])
        settings: dict[str, Any] = update["session"]
        return settings

    async def answer(self, text: str, pcm: bytes, *, response: str = "resp_1", item: str = "item_1") -> None:
        """A whole spoken answer, in pieces of 100 ms."""
        ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        await self.send("response.created", response={"id": response, "status": "in_progress"})
        await self.send("response.output_audio_transcript.delta", **ids, delta=text)
        for start in range(0, len(pcm), 4800):
            delta = base64.b64encode(pcm[start : start + 4800]).decode()
            await self.send("response.output_audio.delta", **ids, delta=delta)
        await self.send("response.output_audio.done", **ids)
        await self.send("response.done", response={"id": response, "status": "completed", "output": []})

    async def answer_everything(self, text: str, pcm: bytes) -> None:
        """Answer every response.create from now on, each with ids of its own; ends with the connection."""
        number = 0
        while True:
            if (await self.receive())["type"] == "response.create":
                number += 1
                ids = f"{self.number}-{number}"
                await self.answer(text, pcm, response=f"r{ids}", item=f"i{ids}")

    async def drain(self) -> None:
        """Take what the client still sends, until it has gone."""
        try:
            while True:
                await self.receive()
        except ConnectionClosed:
            pass

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.socket.close(code, reason)

    def abort(self) -> None:
        """Break the connection without a word."""
        self.socket.transport.abort()


class ScriptedServer:
    """Runs the script for each connection; ``async with`` starts and stops it.

    refuse: an HTTP status instead of a WebSocket, for the first ``refusals`` connections (None: for all).
    """

    def __init__(
        self,
        script: Script,
        *,
        refuse: HTTPStatus | None = None,
        refusals: int | None = None,
        refuse_headers: dict[str, str] | None = None,
    ) -> None:
        self._script = script
        self._refuse = refuse
        self._refusals = refusals
        self._refuse_headers = refuse_headers or {}
        self._server: Server | None = None
        self._failure: BaseException | None = None
        self.requests: list[Request] = []
        self.peers: list[Peer] = []

    @property
    def url(self) -> str:
        """What a client connects to, without the query."""
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}/v1/realtime"

    async def __aenter__(self) -> ScriptedServer:
        self._server = await serve(
            self._serve, "127.0.0.1", 0, process_request=self._process, compression=None, max_size=None, close_timeout=1
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        if self._failure is not None and exception[0] is None:
            raise self._failure

    async def _process(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if self._refuse is None or (self._refusals is not None and len(self.requests) > self._refusals):
            return None
        response = connection.respond(self._refuse, "refused\n")
        for name, value in self._refuse_headers.items():
            response.headers[name] = value
        return response

    async def _serve(self, socket: ServerConnection) -> None:
        peer = Peer(socket, len(self.peers) + 1)
        self.peers.append(peer)
        try:
            await self._script(peer)
        except (ConnectionClosed, asyncio.CancelledError):
            pass
        except BaseException as error:
            self._failure = self._failure or error
