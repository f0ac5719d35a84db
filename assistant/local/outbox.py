"""What goes out on one connection: a bounded queue with one writer.

``put`` never waits, so that the reader of a connection is never held up by its writer: a cancel is obeyed while audio
is on its way. Whoever makes much (audio) awaits ``room`` in between. A client that does not read fills the queue; then
the connection is given up.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from websockets.asyncio.server import ServerConnection

_ROOM_BYTES: Final = 128 * 1024  # above this, audio waits: about two seconds of it
_MAX_BYTES: Final = 48 * 1024 * 1024  # a retrieved item of 24 MiB is 32 MiB of base64


class SlowClient(Exception):
    """The client does not read what it asked for."""


class Outbox:
    """Events to one client, in order."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._queue: deque[str] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, event: Mapping[str, Any]) -> None:
        """Send an event after those before it. Raises SlowClient when far too much is waiting."""
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        if self._bytes + len(text) > _MAX_BYTES:
            raise SlowClient
        self._queue.append(text)
        self._bytes += len(text)
        self._filled.set()
        self._empty.clear()
        if self._bytes > _ROOM_BYTES:
            self._room.clear()

    async def room(self) -> None:
        """Wait until little is waiting."""
        await self._room.wait()

    async def run(self) -> None:
        """Write until cancelled; raises ConnectionClosed when the client is gone. Cancelling loses what waits."""
        while True:
            await self._filled.wait()
            while self._queue:
                text = self._queue.popleft()
                await self._connection.send(text)
                self._bytes -= len(text)
                if self._bytes <= _ROOM_BYTES:
                    self._room.set()
            self._filled.clear()
            self._empty.set()

    async def flush(self) -> None:
        """Wait until everything was handed to the socket."""
        await self._empty.wait()
