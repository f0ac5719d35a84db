"""How much a server may send."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import httpx2

MESSAGE_LIMIT: Final = 4_000_000
"""Bytes of one message."""

TOO_LONG: Final = f"it sent a message of more than {MESSAGE_LIMIT // 1_000_000} MB"

FLOOD_MESSAGES, FLOOD_BYTES, FLOOD_WINDOW_S = 1000, 20_000_000, 5.0
"""More than this in the window is a flood."""


class Gone(Exception):
    """The connection is over; the message says why, for the owner."""


class Meter:
    """Ends the connection with a server that floods."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._messages = self._bytes = 0

    def count(self, size: int, messages: int = 1) -> None:
        now = time.monotonic()
        if now - self._since > FLOOD_WINDOW_S:
            self._since, self._messages, self._bytes = now, 0, 0
        self._messages += messages
        self._bytes += size
        if self._messages > FLOOD_MESSAGES or self._bytes > FLOOD_BYTES:
            raise Gone("it sends more than anybody asked for")


class MeasuredTransport(httpx2.AsyncHTTPTransport):
    """HTTP whose answers are counted."""

    def __init__(self, meter: Meter, end: Callable[[str], None]) -> None:
        super().__init__()
        self._meter = meter
        self._end = end

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if response.status_code in (401, 403):
            self._end("it refuses the token: set token_file or token_env")
        endless = response.headers.get("content-type", "").startswith("text/event-stream")
        response.stream = _MeasuredStream(response.stream, self._meter, self._end, endless=endless)
        return response


class _MeasuredStream(httpx2.AsyncByteStream):
    def __init__(self, inner: Any, meter: Meter, end: Callable[[str], None], *, endless: bool) -> None:
        self._inner = inner
        self._meter = meter
        self._end = end
        self._left = None if endless else MESSAGE_LIMIT

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            try:
                self._meter.count(len(chunk), messages=0)
                self._measure(len(chunk))
            except Gone as gone:
                self._end(str(gone))
                raise httpx2.ReadError(str(gone)) from None
            yield chunk

    def _measure(self, size: int) -> None:
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise Gone(TOO_LONG)

    async def aclose(self) -> None:
        await self._inner.aclose()
