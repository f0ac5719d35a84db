"""The console: weight and readiness of the page, what pages cost the daemon, events held, latency of a browser's room.

``python -m bench.console`` takes about two minutes and needs Debian's chromium.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
from playwright.sync_api import expect
from websockets.asyncio.client import ClientConnection, connect

from assistant.audio.meter import Meter
from assistant.config.loading import parse
from assistant.console.server import STATIC, Shown, serve
from assistant.controls import Controls
from assistant.core.traces import span_of
from assistant.happenings import Happenings
from assistant.journal import Journal
from assistant.testing.scripted_server import Peer
from tests.console.browser import CHROMIUM, address, chromium
from tests.house import House, room, write_wav
from tests.test_daemon import TONE, base, serving

WATCH_S = 5.0
LOADS = 5
ROUNDS = 20
BURST = 400
SPANS = ("last voiced -> commit", "commit -> first audio", "first audio -> first sample", "last voiced -> first sample")


def main() -> int:
    if CHROMIUM is None:
        print("there is no chromium: apt-get install chromium")
        return 1
    for pages in (1, 10):
        print(f"events held with {pages:>2} pages    {asyncio.run(events_per_second(pages)):>8.0f} events/s to each")
    with tempfile.TemporaryDirectory() as folder:
        costs(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        latency(Path(folder))
    return 0


# --- events ----------------------------------------------------------------------------------------------------------


class Nobody:
    """Stands for Controls."""

    def status(self) -> dict[str, Any]:
        return {}


async def events_per_second(pages: int) -> float:
    """Bursts to all pages over real sockets, server and pages on one core; until every page has every event."""
    with tempfile.TemporaryDirectory() as folder:
        config = parse("console: {enabled: true, port: 0}", Path(folder) / "config.yaml")
        happenings = Happenings(Journal(), time.time)
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        shown = Shown(config, cast(Controls, Nobody()), happenings, Meter())
        server = asyncio.ensure_future(serve(shown, listening=ready.set_result))
        async with contextlib.AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(watching(await ready)) for _ in range(pages)]
            began = time.perf_counter()
            for _ in range(ROUNDS):
                for number in range(BURST):
                    happenings.tell("answer", delta=f"word {number} ")
                await asyncio.gather(*(_take(socket, BURST) for socket in sockets))
            seconds = time.perf_counter() - began
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
    return ROUNDS * BURST / seconds


@contextlib.asynccontextmanager
async def watching(where: str, level: bool = False) -> AsyncIterator[ClientConnection]:
    async with connect(f"{where.replace('http', 'ws')}api/events") as socket:
        await socket.recv()
        if level:
            await socket.send('{"want": ["level"]}')
        yield socket


async def _take(socket: ClientConnection, count: int) -> None:
    for _ in range(count):
        await socket.recv()


# --- what pages cost --------------------------------------------------------------------------------------------------


async def answer_at_length(peer: Peer) -> None:
    await peer.open_session()
    await peer.answer_everything("A long tone.", TONE * 30)


def costs(folder: Path) -> None:
    with serving(answer_at_length) as server, House(folder, base(server), "console: {enabled: true, port: 0}") as house:
        house.start(room(150.0))
        where = address(house)
        load(where)
        for doing in ("idle", "speaking"):
            for pages in (0, 1, 10):
                if doing == "speaking":
                    _ask(where, "talk")
                    time.sleep(1.0)
                assert house.process is not None
                share = asyncio.run(cpu(house.process.pid, where, pages))
                print(f"daemon, {doing:<8} {pages:>2} pages     {share * 100:>8.1f} % of a core")
                if doing == "speaking":
                    _ask(where, None)
        house.process.terminate()
        house.end()


async def cpu(pid: int, where: str, pages: int) -> float:
    """CPU seconds a second of the daemon while so many pages show the level."""
    process = psutil.Process(pid)
    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(watching(where, level=True)) for _ in range(pages)]
        readers = [asyncio.ensure_future(_take(socket, 1_000_000)) for socket in sockets]
        await asyncio.sleep(0.5)
        before, began = process.cpu_times(), time.perf_counter()
        await asyncio.sleep(WATCH_S)
        after, ended = process.cpu_times(), time.perf_counter()
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    return (after.user + after.system - before.user - before.system) / (ended - began)


def _ask(where: str, text: str | None) -> None:
    body = json.dumps({"do": "ask", "text": text} if text else {"do": "stop"}).encode()
    request = urllib.request.Request(f"{where}api/do", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).close()


def load(where: str) -> None:
    weight = sum(file.stat().st_size for file in STATIC.iterdir())
    ready: list[float] = []
    connected: list[float] = []
    requests = 0
    with chromium() as browser:
        for _ in range(LOADS):
            page = browser.new_context().new_page()  # with an empty cache
            page.goto(where)
            expect(page.locator("#state")).to_have_text("Ready")
            ready.append(page.evaluate("performance.getEntriesByName('interactive')[0].startTime"))
            connected.append(page.evaluate("performance.now()"))
            requests = page.evaluate("performance.getEntriesByType('resource').length") + 1
            page.context.close()
    print(f"all files of the console        {weight / 1000:>8.1f} kB, {requests} requests for the page")
    print(f"interactive, p50 of {LOADS}           {statistics.median(ready):>8.0f} ms, empty cache, loopback")
    print(f"shows the state, p50            {statistics.median(connected):>8.0f} ms")


# --- latency of the browser's room ------------------------------------------------------------------------------------


async def answer_shortly(peer: Peer) -> None:
    await peer.open_session()
    await peer.answer_everything("A tone.", TONE)


def latency(folder: Path) -> None:
    spoken = room(8.0, "hey jarvis", 0.6, "what time is it", 5.0)
    sound = np.concatenate([spoken, np.zeros(32_000, np.int16)])
    write_wav(folder / "microphone.wav", sound)
    with serving(answer_shortly) as server, House(folder, base(server), "console: {enabled: true, port: 0}") as house:
        house.start(np.concatenate([sound, room(30.0)]))
        where = address(house)
        with chromium(folder / "microphone.wav") as browser:
            page = browser.new_page()
            page.goto(f"{where}#talk")
            page.get_by_role("button", name="Talk here").click()
            expect(page.locator("#talk-captions .hearth")).to_be_visible(timeout=40_000)
            expect(page.locator("#talk-state")).to_have_text("Say the wake word", timeout=20_000)
            page.get_by_role("button", name="Hang up").click()
        assert house.process is not None
        house.process.terminate()
        house.end()
        lines = (folder / "state" / "turns.jsonl").read_text("utf-8").splitlines()
    turns = sorted((json.loads(line) for line in lines), key=lambda turn: turn["run"])
    if len(turns) < 2:
        print("latency of the browser's room: a turn is missing", file=sys.stderr)
        return
    print(f"{'latency, ms':<28} {'room':>8} {'browser':>8}")
    for name in SPANS:
        values = [span_of(turn["edges"], name) for turn in (turns[0], turns[-1])]
        print(f"{name:<28} " + " ".join("       -" if value is None else f"{value:>8.0f}" for value in values))
    print("the way of the sound to the daemon is not in it: 20 ms of a chunk, 35 ms of the resampler")


if __name__ == "__main__":
    sys.exit(main())
