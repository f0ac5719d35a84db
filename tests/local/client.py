"""A server for one test, and the ``openai`` package's realtime client to talk to it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from assistant.local.server import LocalServerSettings, serve
from tests.local.household import TOOLS
from tests.speech import in_room, say

T = TypeVar("T")
_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a test; a server that hangs fails it instead of the whole run."""

    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await main()

    return asyncio.run(bounded())


@contextlib.asynccontextmanager
async def server(**settings: Any) -> AsyncIterator[int]:
    """A running server; gives its port. Stopping it is part of every test."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    options = LocalServerSettings(**({"wake_phrases": ("hey jarvis",)} | settings))
    task = asyncio.create_task(serve(options, ready=port.set_result))
    try:
        await asyncio.wait({task, port}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield await port
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Client:
    """One session. Every event that arrives is checked against the types of the ``openai`` package and kept."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def next(self) -> Any:
        raw = json.loads(await self.connection.recv_bytes())
        if raw["type"].startswith("hearth."):  # what the protocol does not have
            event = SimpleNamespace(**raw)
        else:
            event = _EVENT.validate_python(raw)
            assert event.type == raw["type"], f"{raw['type']} is none of the known events"
        self.events.append(event)
        return event

    async def until(self, event_type: str) -> Any:
        while True:
            event = await self.next()
            if event.type == event_type:
                return event

    async def send(self, event_type: str, **fields: Any) -> None:
        await self.connection.send({"type": event_type, **fields})  # type: ignore[misc, arg-type]

    async def update(self, **session: Any) -> Any:
        await self.send("session.update", session={"type": "realtime", **session})
        return await self.until("session.updated")

    async def manual(self, **session: Any) -> None:
        """The usual session: the household's tools, turns ended by the client, transcription on."""
        audio = {"input": {"turn_detection": None, "transcription": {"model": "local"}}}
        await self.update(**({"tools": TOOLS, "audio": audio} | session))

    async def type(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        await self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    async def answer(self, call_id: str, output: str) -> None:
        item = {"type": "function_call_output", "call_id": call_id, "output": output}
        await self.send("conversation.item.create", item=item)

    async def speak(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), 9600):
            await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm[start : start + 9600]).decode())

    async def respond(self, **response: Any) -> Any:
        """Ask for a response and wait for its end; gives the response."""
        await self.send("response.create", **({"response": response} if response else {}))
        return (await self.until("response.done")).response

    async def error(self, event_type: str, **fields: Any) -> Any:
        """Send something wrong; gives the error, whose event id must be ours."""
        await self.send(event_type, event_id="mine", **fields)
        error = (await self.until("error")).error
        assert error.event_id == "mine"
        return error

    def types(self, *, since: int = 0) -> list[str]:
        """The types of the events so far, repeated ones once."""
        kept: list[str] = []
        for event in self.events[since:]:
            if kept[-1:] != [event.type]:
                kept.append(event.type)
        return kept

    def audio(self, response_id: str) -> bytes:
        deltas = [e for e in self.events if e.type == "response.output_audio.delta" and e.response_id == response_id]
        return b"".join(base64.b64decode(event.delta) for event in deltas)


@contextlib.asynccontextmanager
async def client(port: int, *, key: str = "none", path: str = "/v1", **connect: Any) -> AsyncIterator[Client]:
    url = f"127.0.0.1:{port}{path}"
    api = AsyncOpenAI(api_key=key, base_url=f"http://{url}", websocket_base_url=f"ws://{url}")
    async with api, api.realtime.connect(**({"model": "kitchen"} | connect)) as connection:
        session = Client(connection)
        assert (await session.next()).type == "session.created"
        yield session


@contextlib.asynccontextmanager
async def household(**settings: Any) -> AsyncIterator[Client]:
    """A server and one client with the usual session."""
    async with server(**settings) as port, client(port) as session:
        await session.manual()
        yield session


def spoken(text: str, voice: str = "en-us") -> bytes:
    """A sentence in a quiet room, at 24 kHz."""
    import soxr

    samples = in_room(say(text, voice, 165), before=0.4, after=0.4)
    return bytes(soxr.resample(samples, 16_000, 24_000).tobytes())
