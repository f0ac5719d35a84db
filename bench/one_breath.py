"""One breath at slow connections: does every sample after the wake word arrive? ``python -m bench.one_breath``.

The real daemon hears "hey jarvis, turn on the kitchen light" without a pause, while its connection takes 0, 0.3, 1 and
3 s. What the server got is compared, sample by sample, with what the room held.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from assistant.audio.resample import StreamResampler
from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.types import MIC_RATE, SPEAKER_RATE
from tests.house import CONFIG, read_wav, room, write_wav

DELAYS = (0.0, 0.3, 1.0, 3.0)
SILENCE_S = 6.0
DITHER = 8
"""The resampler dithers the last bits."""


def _script(delay: float) -> object:
    async def script(peer: Peer) -> None:
        await asyncio.sleep(delay)
        await peer.open_session()
        await peer.answer_everything("Yes.", bytes(4800))

    return script


async def _measure(delay: float, folder: Path) -> tuple[float, float, float]:
    """Percent of the samples after the wake word that arrived; ms from last voiced frame to commit, and to answer."""
    sound = room(1.0, "hey jarvis, turn on the kitchen light", SILENCE_S)
    write_wav(folder / "room.wav", sound)
    async with ScriptedServer(_script(delay)) as server:  # type: ignore[arg-type]
        url = server.url.removesuffix("/realtime")
        config = CONFIG.replace("connect_timeout_s: 3", "connect_timeout_s: 6").format(url=url, more="")
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "assistant", "run", "--config", str(folder / "config.yaml")),
            stderr=subprocess.DEVNULL,
        )
        if await process.wait():
            raise SystemExit("bench.one_breath: the daemon failed")
        got = np.frombuffer(server.peers[0].audio, "<i2").astype(int)
    entries = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]

    def first(name: str) -> dict[str, float]:
        return next(entry for entry in entries if entry["name"] == name)

    start, woken, stopped = first("open_uplink")["from_sample"], first("woken")["sample"], first("speech_stopped")
    begin, end = max(0, woken - start), stopped["last_voiced"] - start  # in 16 kHz samples of the uplink
    heard = read_wav(folder / "room.wav")[int(start) :]
    wanted = np.frombuffer(StreamResampler(MIC_RATE, SPEAKER_RATE).feed(heard.tobytes()), "<i2").astype(int)
    part = slice(int(begin * 1.5), int(end * 1.5))
    same = np.abs(got[part] - wanted[part][: got[part].size]) < DITHER
    share = 100 * np.count_nonzero(same) / wanted[part].size
    voiced_until = stopped["at"] - (stopped["sample"] - stopped["last_voiced"]) / MIC_RATE
    commit, answer = first("commit_input")["at"] - voiced_until, first("answer_audio")["at"] - voiced_until
    return share, commit * 1000, answer * 1000


def main() -> int:
    print(f"{'connection takes':<18}{'samples arrived':>17}{'voiced to commit':>18}{'voiced to answer':>18}")
    complete = True
    for delay in DELAYS:
        with tempfile.TemporaryDirectory() as folder:
            share, commit, answer = asyncio.run(_measure(delay, Path(folder)))
        print(f"{delay:>14.1f} s {share:>16.2f} %{commit:>15.0f} ms{answer:>15.0f} ms", flush=True)
        complete = complete and share == 100
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
