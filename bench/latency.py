"""How late everything is: the real daemon, a simulated kitchen, and a server that answers at once.

``python -m bench.latency``
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from assistant.demo.kitchen import Kitchen, Person
from assistant.demo.stage import Stage
from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.types import SPEAKER_RATE

TURNS = 10
ANSWER_S = 1.6

INTERRUPTIONS = ("wait a moment", "no not that", "okay thanks", "stop it now please", "never mind")
""""stop" begins with a hiss, which a VAD hears some 100 ms later than a vowel."""

CONFIG = """\
provider: custom
custom: {{url: "{url}", model: scripted}}
barge_in: {{mode: speech}}
audio:
  input: {{device: "wav:room.pipe"}}
  output: {{device: "wav:speaker.wav"}}
follow_up: {{mode: never}}
log: {{level: warning, events_file: events.jsonl}}
state_dir: state
"""


async def _answer(peer: Peer) -> None:
    """Answer every request at once, with a tone that arrives in one burst."""
    time = np.arange(int(SPEAKER_RATE * ANSWER_S)) / SPEAKER_RATE
    tone = (np.sin(2 * np.pi * 330 * time) * 3000).astype("<i2").tobytes()
    await peer.open_session()
    await peer.answer_everything("A tone.", tone)


async def measure() -> dict[str, list[float]]:
    """Milliseconds, by what was measured."""
    found: dict[str, list[float]] = {
        "last voiced frame to commit": [],
        "first audio received to first sample at the speaker": [],
        "user speech over playback to silence": [],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Kitchen(folder / "room.pipe", folder / "room.wav") as kitchen:
            async with ScriptedServer(_answer) as server:
                url = server.url.removesuffix("/realtime")
                stage = Stage(folder, kitchen, CONFIG.format(url=url), quiet=True)
                async with stage.daemon():
                    await stage.wait("the daemon", 30, name="ready")
                    await asyncio.sleep(0.5)
                    for turn in range(TURNS):
                        await _one_turn(stage, found, INTERRUPTIONS[turn % len(INTERRUPTIONS)])
    return found


async def _one_turn(stage: Stage, found: dict[str, list[float]], interruption: str) -> None:
    """A request, its answer, and an interruption that is a request of its own."""
    person = Person()
    await stage.say(person, "hey jarvis")
    await stage.wait("the wake word", 3, name="woken")
    await asyncio.sleep(0.5)
    request = await stage.say(person, "what is the weather like today")
    commit = await stage.wait("the commit", 5, name="commit_input")
    received = await stage.wait("the answer", 5, name="answer_audio")
    pulled = await stage.wait("the first sample", 5, name="first_sample")
    found["last voiced frame to commit"].append((commit["at"] - request.ends) * 1000)
    found["first audio received to first sample at the speaker"].append((pulled["at"] - received["at"]) * 1000)
    await asyncio.sleep(0.3)
    over_it = await stage.say(person, interruption)
    stopped = await stage.wait("silence", 3, name="playback_stopped", interrupted=True)
    found["user speech over playback to silence"].append((stopped["at"] - over_it.begins) * 1000)
    await stage.wait("rest", 20, kind="state", name="idle")


def main() -> int:
    found = asyncio.run(measure())
    print("latency of the daemon, in ms (server answers at once; end_silence_ms is 500)")
    print(f"{'':<54}{'median':>8}{'p95':>8}{'max':>8}{'n':>5}")
    for what, values in found.items():
        ordered = sorted(values)
        p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
        print(f"{what:<54}{statistics.median(values):>8.0f}{p95:>8.0f}{ordered[-1]:>8.0f}{len(values):>5}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
