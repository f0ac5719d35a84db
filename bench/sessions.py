"""What a session of the embedded server costs, and how many conversations it can hold at once.

``python -m bench.sessions``; ``--full`` for longer runs and finer steps.

Every conversation is in real time: a client that sends 40 ms of a quiet room at a time, in which somebody asks for
something every four seconds; the server finds the end of speech, calls a tool, is answered at once, and speaks. What is
measured is the time from the last sample of speech to the first sample of the answer. An answer is late when it takes
300 ms longer than a single conversation does. Clients and server share the machine, the load of the clients is printed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil
import soxr
from websockets.asyncio.client import ClientConnection, connect

from assistant.realtime.codec import ANNOUNCEMENT
from tests.local.household import TOOLS
from tests.speech import RATE, in_room, say

SENTENCES = (
    "turn on the kitchen light",
    "what time is it",
    "set a timer for five minutes",
    "turn the bedroom light off",
)
STEP_MS = 40
CYCLE_S = 4.0
LEAD_S = 0.4
LATE_MS = 300.0
IDLE_SESSIONS = 8
IDLE_S = 4.0


@dataclass(frozen=True, slots=True)
class Clip:
    """One cycle: messages of 40 ms each, and after which of them nobody speaks any more."""

    messages: Sequence[str]
    spoken: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Of the server and its recogniser: megabytes, and CPU seconds so far."""

    megabytes: float
    cpu_s: float


def clip(text: str) -> Clip:
    speech = say(text, "en-us", 165)
    rest = CYCLE_S - LEAD_S - len(speech) / RATE
    pcm = soxr.resample(in_room(speech, before=LEAD_S, after=rest), RATE, 24_000).astype("<i2").tobytes()
    size = STEP_MS * 48
    pieces = [pcm[start : start + size] for start in range(0, len(pcm), size)]
    messages = [
        json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}) for piece in pieces
    ]
    return Clip(messages, round((LEAD_S + len(speech) / RATE) * 1000 / STEP_MS))


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[str, psutil.Process]]:
    """A server of its own, as people run it."""
    command = (
        "-m",
        "assistant",
        "serve",
        "--port",
        "0",
        "--max-sessions",
        "100",
        "--log-level",
        "error",
        "--until-eof",
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode().strip()
        yield f"{line.rpartition(' ')[2]}/realtime", psutil.Process(process.pid)
    finally:
        process.stdin.close()
        await process.wait()


def usage(server: psutil.Process) -> Usage:
    """Memory is what belongs to these processes alone, so that shared pages do not count for each."""
    family = [server, *server.children(recursive=True)]
    times = [process.cpu_times() for process in family]
    return Usage(sum(process.memory_full_info().uss for process in family) / 1e6, sum(t.user + t.system for t in times))


async def open_session(url: str, warm_up: Clip) -> ClientConnection:
    """A session that has heard one sentence already, so that its recogniser is ready and knows the microphone."""
    connection = await connect(url, max_size=None, compression=None)
    settings = {"type": "realtime", "tools": TOOLS, "audio": {"input": {"transcription": {"model": "local"}}}}
    await connection.send(json.dumps({"type": "session.update", "session": settings}))
    for message in warm_up.messages[: warm_up.spoken]:
        await connection.send(message)
    await connection.send('{"type": "input_audio_buffer.commit"}')
    while not json.loads(await connection.recv())["type"].endswith("transcription.completed"):
        pass
    return connection


async def converse(
    connection: ClientConnection, clips: Sequence[Clip], cycles: int, delay: float
) -> list[float | None]:
    """One conversation; gives the milliseconds from the end of speech to each answer, None where there was none."""
    found: list[float | None] = []
    quiet_at: list[float] = []
    async with connection, asyncio.TaskGroup() as group:
        listener = group.create_task(listen(connection, quiet_at, found))
        begin = time.monotonic() + delay
        for cycle in range(cycles):
            current = clips[cycle % len(clips)]
            for index, message in enumerate(current.messages):
                due = begin + cycle * CYCLE_S + (index + 1) * STEP_MS / 1000  # when its last sample was captured
                await asyncio.sleep(due - time.monotonic())
                await connection.send(message)
                if index + 1 == current.spoken:
                    found.append(None)
                    quiet_at.append(due)
        listener.cancel()
    return found


async def listen(connection: ClientConnection, quiet_at: list[float], found: list[float | None]) -> None:
    """Answer calls at once, and note when the first sample of each answer comes."""
    async for message in connection:
        event = json.loads(message)
        if event["type"] == "response.output_item.done" and event["item"]["type"] == "function_call":
            output = {"type": "function_call_output", "call_id": event["item"]["call_id"], "output": '"Done."'}
            await connection.send(json.dumps({"type": "conversation.item.create", "item": output}))
        elif event["type"] == "response.done" and event["response"]["output"][-1:]:
            if event["response"]["output"][-1]["type"] == "function_call":
                await connection.send('{"type":"response.create"}')
        elif event["type"] == "response.output_audio.delta" and found and found[-1] is None:
            found[-1] = (time.monotonic() - quiet_at[-1]) * 1000


async def idle(url: str, server: psutil.Process, warm_up: Clip) -> None:
    before = usage(server)
    started = time.monotonic()
    connections = [await open_session(url, warm_up) for _ in range(IDLE_SESSIONS)]
    opening = (time.monotonic() - started) / IDLE_SESSIONS
    begun = usage(server)
    await asyncio.sleep(IDLE_S)
    after = usage(server)
    for connection in connections:
        await connection.close()
    print(f"  server and recogniser, no session     {before.megabytes:7.1f} MB")
    print(f"  opening one, and its first sentence   {opening * 1000:7.0f} ms")
    print(f"  an idle session adds                  {(begun.megabytes - before.megabytes) / IDLE_SESSIONS:7.1f} MB")
    print(
        f"  CPU of an idle session                {(after.cpu_s - begun.cpu_s) / IDLE_S / IDLE_SESSIONS * 100:7.2f} %"
    )


async def ramp(url: str, server: psutil.Process, clips: Sequence[Clip], steps: Sequence[int], cycles: int) -> None:
    me = psutil.Process()
    usual, most = 0.0, 0
    for count in steps:
        connections = [await open_session(url, clips[0]) for _ in range(count)]
        before, mine, began = usage(server), me.cpu_times(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(converse(connection, clips, cycles, CYCLE_S * index / count))
                for index, connection in enumerate(connections)
            ]
        after, took = usage(server), time.monotonic() - began
        answers = [answer for task in tasks for answer in task.result()]
        heard = [answer for answer in answers if answer is not None]
        if not heard:
            print(f"  {count:3} conversations: no answer at all")
            break
        usual = usual or statistics.median(heard)
        late = len(answers) - len(heard) + sum(answer > usual + LATE_MS for answer in heard)
        clients = me.cpu_times().user + me.cpu_times().system - mine.user - mine.system
        print(
            f"  {count:3} conversations: first sample after {statistics.median(heard):4.0f} ms (median), "
            f"{max(heard):5.0f} ms (worst); {late} of {len(answers)} late; "
            f"server {(after.cpu_s - before.cpu_s) / took / count * 100:4.1f} % CPU each, "
            f"{after.megabytes:4.0f} MB; clients {clients / took * 100:3.0f} %"
        )
        if late:
            break
        most = count
    print(f"  none late with {most} conversations at once, on {os.cpu_count()} cores")


async def first_sound(url: str) -> None:
    """From the text of an answer to its first sample, through the server: announcements of one sentence and of ten."""
    connection = await open_session(url, clip(SENTENCES[0]))
    for sentences in (1, 10):
        found = []
        for _ in range(10):
            text = "The kitchen light is on, and the timer is set for five minutes. " * sentences
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
            response = {"conversation": "none", "metadata": {"purpose": ANNOUNCEMENT}, "input": [item]}
            began = time.monotonic()
            await connection.send(json.dumps({"type": "response.create", "response": response}))
            while (kind := json.loads(await connection.recv())["type"]) != "response.done":
                if kind == "response.output_audio.delta" and began:
                    found.append((time.monotonic() - began) * 1000)
                    began = 0.0
        print(
            f"  text of {sentences:2} sentences, first sample   {statistics.median(found):7.1f} ms (median), "
            f"{max(found):.1f} ms (worst)"
        )
    await connection.close()


async def measure(full: bool) -> None:
    steps = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48) if full else (1, 8, 16, 24, 32)
    async with serving() as (url, server):
        print(f"sessions (load of this machine: {os.getloadavg()[0]:.1f})")
        clips = [clip(text) for text in SENTENCES]
        await idle(url, server, clips[0])
        await first_sound(url)
        await ramp(url, server, clips, steps, 5 if full else 2)


def main() -> int:
    asyncio.run(measure("--full" in sys.argv[1:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
