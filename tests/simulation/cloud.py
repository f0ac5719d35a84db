"""A realtime server on loopback that understands labelled speech, answers in time, and fails when it is told to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from assistant.testing.scripted_server import Peer
from tests.simulation.world import SPEECH, WAKE

STEP: Final = 100
"""Between the labels of two requests: more than resampling can blur."""

REQUESTS: Final = (
    "television",
    "time",
    "list",
    "timer",
    "chat",
    "question",
    "answer",
    "goodbye",
    "crash",
    "hang",
    "slow",
)

TOKENS: Final = {
    "total_tokens": 1500,
    "input_tokens": 1000,
    "output_tokens": 500,
    "input_token_details": {"text_tokens": 800, "audio_tokens": 200, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 100, "audio_tokens": 400},
}
PRICE: Final = 800 * 4e-6 + 200 * 32e-6 + 100 * 16e-6 + 400 * 64e-6
"""Of one response, by the prices in the simulation's config."""

_ANSWER: Final = 4000
_PIECE_S: Final = 0.2


def label_of(request: str) -> int:
    """How the request sounds."""
    return SPEECH + STEP * (1 + REQUESTS.index(request))


def request_in(pcm: bytes) -> str | None:
    """What was said in the audio, by the label that most of its loud samples have; None if nothing was.

    What comes before the wake word is not meant for us: it belongs to the same run of speech, as from a television.
    """
    samples = np.frombuffer(pcm, "<i2")
    words = np.flatnonzero(samples > WAKE // 2)
    if words.size:
        samples = samples[words[-1] + 1 :]
    loud = samples[samples > SPEECH // 2]
    if not loud.size:
        return None
    index = round((float(np.median(loud)) - SPEECH) / STEP) - 1
    return REQUESTS[index] if 0 <= index < len(REQUESTS) else None


class Cloud:
    """Serves until closed. ``troubles``: what goes wrong, until which time on the loop's clock."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server: Server | None = None
        self.on_response: Callable[[], None] = lambda: None
        """Told that a response was billed."""
        self.on_tool: Callable[[str, Any], None] = lambda name, output: None
        """Told that the assistant has run this tool, and its output."""
        self.troubles: dict[str, float] = {}
        self.understood: list[str] = []
        self.audio_bytes = 0
        self.minutes = 1.0
        """Of the next timer."""
        self.seconds = 5.0
        """Of the next long answer."""
        self._numbers = iter(range(1, 1_000_000_000))

    def trouble(self, kind: str, seconds: float) -> None:
        self.troubles[kind] = self._loop.time() + seconds

    def has(self, kind: str) -> bool:
        return self._loop.time() < self.troubles.get(kind, 0.0)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}/v1"

    async def __aenter__(self) -> Cloud:
        self._server = await serve(
            self._serve, "127.0.0.1", 0, process_request=self._process, compression=None, close_timeout=1
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _process(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.has("late"):
            await asyncio.sleep(2.5)
        if self.has("aborted"):
            connection.transport.abort()
            return None
        if self.has("rate_limited"):
            response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "slow down\n")
            response.headers["Retry-After"] = "3"
            return response
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no\n") if self.has("refused") else None

    async def _serve(self, socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await _Conversation(self, Peer(socket, 0)).run()

    # --- for the conversations ---

    def number(self) -> int:
        return next(self._numbers)

    def bill(self) -> dict[str, Any]:
        self.on_response()
        return dict(TOKENS)


class _Conversation:
    """One connection."""

    def __init__(self, cloud: Cloud, peer: Peer) -> None:
        self._cloud = cloud
        self._peer = peer
        self._request: str | None = None
        self._outputs: list[str] = []
        self._calls: dict[str, str] = {}
        self._answering: asyncio.Task[None] | None = None
        self._response = ""

    async def run(self) -> None:
        await asyncio.sleep(0.12)
        if self._cloud.has("silent"):
            await asyncio.sleep(3600)
        await self._peer.send("session.created", session={"type": "realtime", "expires_at": int(time.time()) + 1800})
        try:
            while True:
                await self._take(await self._peer.receive())
        finally:
            if self._answering is not None:
                self._answering.cancel()

    async def _take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                await self._peer.send("session.updated", session=event["session"])
            case "input_audio_buffer.append":
                self._cloud.audio_bytes += len(event["audio"])
            case "input_audio_buffer.clear":
                self._peer.audio = b""
            case "input_audio_buffer.commit":
                self._request = request_in(self._peer.audio) or "silence"
                self._peer.audio = b""
                self._outputs = []  # those of a turn that was interrupted
                self._cloud.understood.append(self._request)
            case "conversation.item.create":
                self._item(event["item"])
            case "response.create":
                await self._create(event)
            case "response.cancel":
                await self._cancel()

    def _item(self, item: dict[str, Any]) -> None:
        if item["type"] == "function_call_output":
            self._outputs.append(item["output"])
            name = self._calls.get(item["call_id"])
            if name is not None:
                self._cloud.on_tool(name, json.loads(item["output"]))
        elif item.get("role") == "user":
            self._request = item["content"][0]["text"]
            self._outputs = []

    async def _create(self, event: dict[str, Any]) -> None:
        if self._answering is not None and not self._answering.done():
            error = {"type": "invalid_request_error", "code": "conversation_already_has_active_response"}
            await self._peer.send("error", error={**error, "message": "busy", "event_id": event["event_id"]})
            return
        announced = event.get("response", {}).get("conversation") == "none"
        request = "announcement" if announced else "done" if self._outputs else self._request
        self._outputs = []
        self._response = f"r{self._cloud.number()}"
        self._answering = asyncio.ensure_future(self._answer(request or "silence"))

    async def _cancel(self) -> None:
        if self._answering is not None and not self._answering.done():
            self._answering.cancel()
            await asyncio.gather(self._answering, return_exceptions=True)
            await self._done("cancelled")

    async def _answer(self, request: str) -> None:
        with contextlib.suppress(ConnectionClosed):
            await asyncio.sleep(2.0 if self._cloud.has("late") else 0.3)
            await self._peer.send("response.created", response={"id": self._response, "status": "in_progress"})
            if self._cloud.has("stalled"):
                await asyncio.sleep(3600)
            if self._cloud.has("expired"):
                error = {"type": "invalid_request_error", "code": "session_expired", "message": "too old"}
                await self._peer.send("error", error=error)
                await self._peer.close(1001)
                return
            if self._cloud.has("failed"):
                await self._done("failed")
                return
            if self._cloud.has("garbage"):
                await self._peer.send_raw('{"type": "response.output_audio.delta", "delta": 5}')
                await self._peer.send_raw("no json at all")
            await self._reply(request)

    async def _reply(self, request: str) -> None:
        match request:
            case "timer":
                minutes = round(self._cloud.minutes)
                await self._call("set_timer", {"amount": minutes, "unit": "minutes"})
            case "list":
                await self._call("add_to_list", {"item": "milk"})
            case "time":
                await self._call("current_time", {})
            case "crash" | "hang" | "slow":
                await self._call(f"gremlin_{request}", {})
            case "goodbye":
                await self._speak("Goodbye.", 0.8, end=True)
            case "chat":
                await self._speak("A long story.", self._cloud.seconds)
            case "question":
                await self._speak("Which one?", 1.0)
            case "silence" | "television":
                await self._done("completed")
            case _:
                await self._speak("Very well.", 1.2)

    async def _call(self, name: str, arguments: dict[str, Any]) -> None:
        call = f"c{self._cloud.number()}"
        self._calls[call] = name
        item = {"type": "function_call", "status": "completed", "call_id": call, "name": name}
        await self._peer.send(
            "response.output_item.done", response_id=self._response, item={**item, "arguments": json.dumps(arguments)}
        )
        await self._done("completed")

    async def _speak(self, text: str, seconds: float, *, end: bool = False) -> None:
        item = f"i{self._cloud.number()}"
        ids = {"response_id": self._response, "item_id": item, "output_index": 0, "content_index": 0}
        await self._peer.send("response.output_audio_transcript.delta", **ids, delta=text)
        piece = base64.b64encode(_ANSWER.to_bytes(2, "little") * int(_PIECE_S * 24_000)).decode()
        for number in range(max(1, round(seconds / _PIECE_S))):
            if number == 3 and self._cloud.has("broken"):
                self._peer.abort()
                return
            await self._peer.send("response.output_audio.delta", **ids, delta=piece)
            await asyncio.sleep(_PIECE_S / 4)  # faster than it is heard
        await self._peer.send("response.output_audio.done", **ids)
        if end:
            await self._call("end_conversation", {})
        else:
            await self._done("completed")

    async def _done(self, status: str) -> None:
        response = {"id": self._response, "status": status, "output": [], "usage": self._cloud.bill()}
        await self._peer.send("response.done", response=response)
