"""Talk here: a browser as a room of the assistant, over one WebSocket.

The page first says what it hears with, ``{"rate": 48000}``. Then binary messages are sound, in both directions: int16
mono, at that rate from the page and at 24 kHz to it. Text from the page: ``{"played": samples, "latency": seconds}``,
``{"do": "listen"}`` and ``{"do": "stop"}``. Text to the page: the events of docs/control.md for this room, ``level``,
and ``{"event": "flush"}``, upon which it drops what it has not played yet.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from aiohttp import WSMsgType, web

from assistant.audio.meter import Meter
from assistant.audio.ports import Microphone, Speaker
from assistant.config import Config
from assistant.console.browser_devices import BrowserMicrophone, BrowserSpeaker
from assistant.errors import HearthError
from assistant.happenings import Happening, Happenings
from assistant.journal import Journal
from assistant.room import Room

log = logging.getLogger(__name__)

MAX_ROOMS: Final = 2
"""Each has wake-word models of its own, in memory and at work."""

MAX_WAITING: Final = 500
RATES: Final = range(8000, 192_001)
HELLO_S: Final = 10.0

MakeRoom = Callable[[Config, Journal, Microphone, Speaker], Room]


class TalkPart:
    """Answers for ``/api/room``."""

    def __init__(self, config: Callable[[], Config], make_room: MakeRoom, wall: Callable[[], float]) -> None:
        """config: the one in force. wall: the wall clock."""
        self._config = config
        self._make_room = make_room
        self._wall = wall
        self._open: set[Talk] = set()

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.get("/api/room", self._talk)]

    def close(self) -> None:
        """End all rooms, in order."""
        for talk in self._open:
            talk.end()

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        if len(self._open) >= MAX_ROOMS:
            raise web.HTTPServiceUnavailable(text="two browsers talk already: close one\n")
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=65_536, compress=False)
        talk = Talk(socket)
        self._open.add(talk)
        try:
            await socket.prepare(request)
            rate = await _rate_of(socket)
            if rate is not None:
                await talk.run(in_a_browser(self._config()), self._make_room, rate, self._wall)
        except (HearthError, ConnectionError, ExceptionGroup) as error:
            log.warning("console: a talk in the browser has ended: %s", error)
        finally:
            self._open.discard(talk)
            await socket.close()
        return socket


class Talk:
    """One browser that talks."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._messages: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def end(self) -> None:
        self._messages.put_nowait(None)

    async def run(self, config: Config, make_room: MakeRoom, rate: int, wall: Callable[[], float]) -> None:
        """Until the page closes. Raises what the room raises."""
        journal, meter = Journal(), Meter()
        Happenings(journal, wall).subscribe(self._happened)
        microphone, speaker = BrowserMicrophone(rate, self._loop.time), BrowserSpeaker(self._put, self._loop)
        room = make_room(config, journal, microphone, speaker)
        speaker.available = room.player.available
        meter.look(lambda level: self._put(json.dumps({"event": "level", **asdict(level)})))
        async with room.running(meter.hear), asyncio.TaskGroup() as group:
            self._put(json.dumps({"event": "ready"}))
            reader = group.create_task(self._read(room, microphone, speaker), name="talk")
            while (message := await self._messages.get()) is not None:
                if isinstance(message, bytes):
                    await self._socket.send_bytes(message)
                else:
                    await self._socket.send_str(message)
            reader.cancel()

    def _put(self, message: str | bytes) -> None:
        if self._messages.qsize() < MAX_WAITING:
            self._messages.put_nowait(message)
        else:
            self.end()

    def _happened(self, happening: Happening) -> None:
        if happening["event"] == "playback" and happening.get("interrupted"):
            self._put('{"event": "flush"}')
        self._put(json.dumps(happening, ensure_ascii=False))

    async def _read(self, room: Room, microphone: BrowserMicrophone, speaker: BrowserSpeaker) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                microphone.hear(message.data)
            elif message.type is WSMsgType.TEXT:
                match _object(message.data):
                    case {"played": int(samples), "latency": int() | float() as latency}:
                        speaker.played(samples, latency)
                    case {"do": "listen"}:
                        room.listen()
                    case {"do": "stop"}:
                        room.engine.end_turn()
        self.end()


def in_a_browser(config: Config) -> Config:
    """The same settings, for a browser: it cancels echo by itself, so that speech may interrupt an answer."""
    return config.model_copy(
        update={
            "echo": config.echo.model_copy(update={"canceller": "off"}),
            "barge_in": config.barge_in.model_copy(update={"mode": "speech"}),
        }
    )


async def _rate_of(socket: web.WebSocketResponse) -> int | None:
    try:
        hello = await socket.receive(timeout=HELLO_S)
    except TimeoutError:
        return None
    rate = _object(hello.data).get("rate") if hello.type is WSMsgType.TEXT else None
    return rate if isinstance(rate, int) and rate in RATES else None


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
