"""Hearth's realtime session beside two other clients, on one scripted server: ``python -m bench.clients``.

Each client is a process of its own. It sends spoken requests (2 s of audio in 20 ms pieces), takes answers (3 s of
audio), and notes how long the first piece of each answer took from the server's send to the application's hands.
``openai`` comes with the development tools; ``openai-agents`` is left out, with a word, where it is not installed.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from assistant.testing.scripted_server import Peer, ScriptedServer

TURNS = 30
ROUNDS = 3
PIECE = bytes(960)
PIECES = 100
ANSWER = bytes(3 * 48_000)
SPOKEN_S = TURNS * (len(PIECE) * PIECES + len(ANSWER)) / 48_000

IMPORTS = {
    "hearth": "from assistant.realtime.session import RealtimeSession",
    "openai": "from openai import AsyncOpenAI; from openai.resources.realtime.realtime import AsyncRealtimeConnection",
    "openai-agents": "from agents.realtime import RealtimeAgent, RealtimeRunner",
}
MODULES = {"hearth": "assistant", "openai": "openai", "openai-agents": "agents"}


# --- the server ------------------------------------------------------------------------------------------------------


async def _answer(peer: Peer) -> None:
    """Answer every response.create; the transcript says when its first audio was sent."""
    settings = None
    number = 0
    await peer.send("session.created", session={"type": "realtime", "model": "scripted"})
    while True:
        event = await peer.receive()
        if event["type"] == "session.update":
            settings = event["session"]
            await peer.send("session.updated", session=settings)
        elif event["type"] == "input_audio_buffer.commit":
            await peer.send("input_audio_buffer.committed", item_id=f"u{number}", previous_item_id=None)
        elif event["type"] == "response.create":
            number += 1
            await _respond(peer, f"r{number}", f"i{number}")


async def _respond(peer: Peer, response: str, item: str) -> None:
    ids = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
    message = {"id": item, "object": "realtime.item", "type": "message", "role": "assistant", "content": []}
    part = {"type": "audio", "transcript": ""}
    whole = {"id": response, "object": "realtime.response", "status": "in_progress", "output": []}
    await peer.send("response.created", response=whole)
    await peer.send("response.output_item.added", response_id=response, output_index=0, item=message)
    await peer.send("response.content_part.added", **ids, part=part)
    await peer.send("response.output_audio_transcript.delta", **ids, delta=f"{time.monotonic():.6f}")
    for start in range(0, len(ANSWER), 4800):
        await peer.send(
            "response.output_audio.delta", **ids, delta=base64.b64encode(ANSWER[start : start + 4800]).decode()
        )
    await peer.send("response.output_audio.done", **ids)
    await peer.send("response.content_part.done", **ids, part=part)
    await peer.send("response.output_item.done", response_id=response, output_index=0, item=message)
    await peer.send("response.done", response={**whole, "status": "completed"})


# --- the clients -----------------------------------------------------------------------------------------------------


class Turns:
    """What a client's application notes: the first audio of each answer, and its end."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self._sent_at: float | None = None
        self._audio = 0
        self._done = asyncio.Event()

    def text(self, delta: str) -> None:
        self._sent_at = float(delta)

    def audio(self, pcm: bytes) -> None:
        if self._sent_at is not None:
            self.latencies.append((time.monotonic() - self._sent_at) * 1000)
            self._sent_at = None
        self._audio += len(pcm)

    def done(self) -> None:
        assert self._audio == len(ANSWER), f"{self._audio} bytes arrived"
        self._audio = 0
        self._done.set()

    async def wait(self) -> None:
        await self._done.wait()
        self._done.clear()


async def _hearth(url: str, turns: Turns) -> None:
    from assistant.core import events as ev
    from assistant.realtime.session import Endpoint, RealtimeSession
    from assistant.realtime.settings import SessionSettings

    def take(event: ev.Event) -> None:
        match event:
            case ev.AnswerText(delta=delta):
                turns.text(delta)
            case ev.AnswerAudio(pcm=pcm):
                turns.audio(pcm)
            case ev.ResponseDone():
                turns.done()
            case _:
                pass

    async def endpoint() -> Endpoint:
        return Endpoint(f"{url}?model=scripted")

    session = RealtimeSession(1, endpoint, SessionSettings(), take, ready_timeout=10)
    async with asyncio.TaskGroup() as group:
        group.create_task(session.run())
        for _ in range(TURNS):
            for _ in range(PIECES):
                session.append(PIECE)
                await asyncio.sleep(0)
            session.commit()
            session.create_response()
            await turns.wait()
        session.close()


async def _openai(url: str, turns: Turns) -> None:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(api_key="none", websocket_base_url=url.removesuffix("/realtime"))
    async with client.realtime.connect(model="scripted") as connection:
        await connection.session.update(session={"type": "realtime"})

        async def receive() -> None:
            async for event in connection:
                if event.type == "response.output_audio_transcript.delta":
                    turns.text(event.delta)
                elif event.type == "response.output_audio.delta":
                    turns.audio(base64.b64decode(event.delta))
                elif event.type == "response.done":
                    turns.done()

        receiver = asyncio.create_task(receive())
        for _ in range(TURNS):
            for _ in range(PIECES):
                await connection.input_audio_buffer.append(audio=base64.b64encode(PIECE).decode())
            await connection.input_audio_buffer.commit()
            await connection.response.create()
            await turns.wait()
        receiver.cancel()
        await asyncio.gather(receiver, return_exceptions=True)


async def _agents(url: str, turns: Turns) -> None:
    from agents.realtime import RealtimeAgent, RealtimeModelSendRawMessage, RealtimeRunner
    from agents.tracing import set_tracing_disabled

    set_tracing_disabled(True)
    runner = RealtimeRunner(starting_agent=RealtimeAgent(name="bench", instructions="none"))
    config = {"url": f"{url}?model=scripted", "api_key": "none"}
    async with await runner.run(model_config=config) as session:  # type: ignore[arg-type]

        async def receive() -> None:
            async for event in session:
                if event.type == "raw_model_event" and event.data.type == "transcript_delta":
                    turns.text(event.data.delta)
                elif event.type == "audio":
                    turns.audio(event.audio.data)
                elif event.type == "raw_model_event" and event.data.type == "turn_ended":
                    turns.done()

        receiver = asyncio.create_task(receive())
        for _ in range(TURNS):
            for _ in range(PIECES):
                await session.send_audio(PIECE)
            await session.send_audio(b"", commit=True)
            await session.model.send_event(RealtimeModelSendRawMessage(message={"type": "response.create"}))
            await turns.wait()
        receiver.cancel()
        await asyncio.gather(receiver, return_exceptions=True)


CLIENTS: dict[str, Callable[[str, Turns], Awaitable[None]]] = {
    "hearth": _hearth,
    "openai": _openai,
    "openai-agents": _agents,
}


def _client(name: str, url: str) -> None:
    """One client in this process; prints what it found as JSON."""
    exec(IMPORTS[name])
    turns = Turns()
    before = time.process_time()
    asyncio.run(CLIENTS[name](url, turns))  # type: ignore[arg-type]
    cpu = time.process_time() - before
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"latency": statistics.median(turns.latencies), "cpu": cpu / SPOKEN_S * 1000, "rss": rss}))


# --- side by side ----------------------------------------------------------------------------------------------------


async def _run(name: str) -> dict[str, float]:
    async with ScriptedServer(_answer) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.clients", name, server.url), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        if process.returncode:
            raise SystemExit(f"bench.clients: {name} failed")
        found: dict[str, float] = json.loads(out.decode().strip().splitlines()[-1])
        return found


def _import_time(name: str) -> float:
    """Seconds of the import alone, in a fresh interpreter."""
    code = f"import time; began = time.perf_counter(); {IMPORTS[name]}; print(time.perf_counter() - began)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> int:
    if len(sys.argv) == 3 and sys.argv[1] in CLIENTS:
        _client(sys.argv[1], sys.argv[2])
        return 0
    names = [name for name in CLIENTS if importlib.util.find_spec(MODULES[name])]
    for name in CLIENTS:
        if name not in names:
            print(f"{name}: not installed, left out (pip install {name})")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(ROUNDS):  # in turn, so that a noisy moment hits all of them
        for name in names:
            found[name].append({**asyncio.run(_run(name)), "import": _import_time(name) * 1000})
    print(f"{'median of ' + str(ROUNDS):<16}{'first audio ms':>16}{'CPU ms per s':>14}{'peak MB':>10}{'import ms':>12}")
    for name in names:
        row = [statistics.median(entry[key] for entry in found[name]) for key in ("latency", "cpu", "rss", "import")]
        print(f"{name:<16}{row[0]:>16.2f}{row[1]:>14.2f}{row[2]:>10.0f}{row[3]:>12.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
