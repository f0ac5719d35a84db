"""Music that gets softer for the assistant, with a real MPD: ``python -m bench.media``.

Prints the time from what the plugin is told (the assistant listens, the assistant is idle) until MPD has the new
volume, as another client of MPD sees it; the time until a station's music is found and plays; and what the plugin adds
to a start, switched off and set up. Needs mpd (apt install mpd) and the development tools.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from assistant.testing.plugins import PluginHarness
from tests.real_mpd import RealMpd, real_mpd

PLUGIN = Path(__file__).resolve().parents[1] / "plugins" / "media"
TURNS = 40
STARTS = 5
START = """
import sys, time
from pathlib import Path
from assistant.testing.plugins import PluginHarness
began = time.perf_counter()
PluginHarness(Path(sys.argv[1]), Path(sys.argv[2]), settings={"host": sys.argv[3]})
print(1000 * (time.perf_counter() - began))
"""


def main() -> int:
    try:
        with real_mpd() as mpd:
            asyncio.run(_measure(mpd))
    except BaseException as error:
        if type(error).__name__ != "Skipped":
            raise
        print(f"bench.media: {error}", file=sys.stderr)
        return 0
    for label, host in (("switched off", ""), ("set up", "127.0.0.1")):
        print(f"loading the plugin, {label}: {_load_ms(host):.0f} ms (median of {STARTS} processes)")
    return 0


async def _measure(mpd: RealMpd) -> None:
    settings = {"host": "127.0.0.1", "port": mpd.port}
    with tempfile.TemporaryDirectory() as folder:
        async with PluginHarness(PLUGIN, Path(folder), settings=settings) as home:
            await home.registry._entries["media"].instance.link.ready(20)  # type: ignore[union-attr]
            began = time.perf_counter()
            await home.call("play_music", album="First Light")
            print(f"an album is found and plays: {1000 * (time.perf_counter() - began):.0f} ms")
            softer, louder = [], []
            with socket.create_connection(("127.0.0.1", mpd.port)) as observer:
                stream = observer.makefile("rwb")
                with stream:
                    stream.readline()
                    for _ in range(TURNS):
                        softer.append(await _until(home, "listening", stream, 50))
                        louder.append(await _until(home, "idle", stream, 100))
    _print("softer after the assistant listens", softer)
    _print("as before after it is idle", louder)


async def _until(home: PluginHarness, state: str, stream, volume: int) -> float:  # type: ignore[no-untyped-def]
    """Milliseconds until MPD has the volume."""
    wanted = f"volume: {volume}\n".encode()

    def wait() -> None:
        while True:
            stream.write(b"getvol\n")
            stream.flush()
            lines = []
            while not lines or not lines[-1].startswith((b"OK", b"ACK")):
                lines.append(stream.readline())
            if wanted in lines:
                return
            time.sleep(0.0005)

    await asyncio.sleep(0.15)  # the link is idle again, as in a quiet room
    began = time.perf_counter()
    watching = asyncio.create_task(asyncio.to_thread(wait))
    home.registry.tell("state", {"state": state})
    await watching
    return 1000 * (time.perf_counter() - began)


def _print(what: str, values: list[float]) -> None:
    values.sort()
    p95 = values[int(0.95 * len(values))]
    print(f"{what}: {statistics.median(values):.1f} ms at p50, {p95:.1f} ms at p95, {values[-1]:.1f} ms at most")


def _load_ms(host: str) -> float:
    found = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", START, str(PLUGIN), folder, host]
            found.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return statistics.median(found)


if __name__ == "__main__":
    sys.exit(main())
