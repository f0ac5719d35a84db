"""What plugins that do everything they must not cost a real daemon: ``python -m bench.hostile [HABIT ...]``.

The whole daemon as a process, with a room as its microphone and a private PulseAudio as its speaker. For each habit of
tests/hostile.py:

* wake words: while it goes on, somebody says the wake word. How many were noticed, and how long after its end.
* answer: while an answer of 4 s plays, it is let loose. The longest gap in what was heard, in ms.
* good tool: how long a tool of another plugin takes meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from assistant.control import client, socket_path
from assistant.demo.kitchen import Kitchen, Person, Utterance
from assistant.testing.scripted_server import Peer
from assistant.types import SPEAKER_RATE
from tests import hostile
from tests.house import CONFIG, House
from tests.test_daemon import TONE, base, serving
from tests.test_hostile import wait_for_door
from tests.vsound import virtual_sound

WAKES = 3
ANSWER_S = 4
NOTICED_WITHIN_S = 5.0
KIND = 'from assistant.plugin import tool\n\n\n@tool\nasync def kind() -> str:\n    """Answer."""\n    return "ok"\n'
MORE = "tools: {folders: [plugins], time_limit_s: 3}\nendpointing: {no_speech_timeout_s: 1}"


async def script(peer: Peer) -> None:
    await peer.open_session()
    await peer.answer_everything("A long tone.", TONE * ANSWER_S)


class Trial:
    """One daemon, and one habit."""

    def __init__(self, house: House, kitchen: Kitchen, habit: str) -> None:
        self.house = house
        self.kitchen = kitchen
        self.habit = habit
        self.path = socket_path(house.folder / "state")
        self.threads: list[threading.Thread] = []

    def let_loose(self) -> None:
        def call() -> None:
            with contextlib.suppress(client.Refused, client.NotRunning):
                client.request(self.path, "call", tool=self.habit, timeout=60)

        self.threads.append(threading.Thread(target=call, daemon=True))
        self.threads[-1].start()

    def good_tool(self) -> float:
        """Milliseconds of a good tool, told by its own process or by how long the daemon takes to turn to it."""
        began = time.perf_counter()
        answer = client.request(self.path, "call", tool="kind", timeout=60)
        assert answer["status"] == "ok"
        return (time.perf_counter() - began) * 1000

    def settle(self) -> None:
        """Until the habit has passed and nobody talks."""
        for thread in self.threads:
            thread.join(60)
        self.wait(lambda: client.request(self.path, "status", timeout=60)["status"]["state"] == "idle")

    def wait(self, true: Callable[[], bool], within: float = 30.0) -> bool:
        deadline = time.monotonic() + within
        while not true():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def say(self, words: Utterance) -> Utterance:
        return asyncio.run(self.kitchen.say(words))

    def wake(self, words: Utterance) -> float | None:
        """Milliseconds from the end of the wake word to the daemon's notice; None if it never came."""
        before = len(self.house.entries("woken"))
        self.let_loose()
        said = self.say(words)
        if not self.wait(lambda: len(self.house.entries("woken")) > before, NOTICED_WITHIN_S):
            return None
        return max(0.0, time.monotonic() - said.ends) * 1000

    def answer(self, request: Utterance, record: Path) -> float:
        """The longest gap in an answer, in ms."""
        begin = record.stat().st_size
        self.say(request)
        self.house.wait_for("playback_started")
        time.sleep(0.5)
        self.let_loose()
        time.sleep(ANSWER_S + 1)
        self.settle()
        return longest_gap_ms(np.frombuffer(record.read_bytes()[begin // 2 * 2 :], "<i2"))


def longest_gap_ms(heard: np.ndarray) -> float:
    """The longest silence inside of a tone, to 5 ms."""
    window = SPEAKER_RATE // 200
    loud = np.abs(heard[: heard.size // window * window].reshape(-1, window)).max(axis=1) > 500
    places = np.flatnonzero(loud)
    return float((np.diff(places).max() - 1) * 5) if places.size > 1 else float("nan")


@contextlib.contextmanager
def daemon(folder: Path, environment: dict[str, str], url: str) -> Iterator[tuple[House, Kitchen]]:
    plugins = folder / "plugins"
    plugins.mkdir()
    (plugins / "hostile.py").write_text(Path(hostile.__file__).read_text("utf-8"))
    (plugins / "kind.py").write_text(KIND)
    config = CONFIG.replace("wav:room.wav", "wav:room.fifo").replace('  output: {{device: "wav:speaker.wav"}}\n', "")
    with Kitchen(folder / "room.fifo", folder / "room.wav") as kitchen, House(folder, url, MORE, config) as house:
        house.start(**environment)
        house.wait_for("ready", within=60)
        wait_for_door(socket_path(folder / "state"))
        time.sleep(1.0)  # the ears learn what quiet is here
        yield house, kitchen


def measure(habit: str) -> str:
    person = Person()
    wake, request = person.utter("hey jarvis"), person.utter("hey jarvis what time is it")
    with (
        tempfile.TemporaryDirectory() as folder,
        virtual_sound() as sound,
        serving(script) as server,
        sound.record() as record,
        daemon(Path(folder), sound.changed_env, base(server)) as (house, kitchen),
    ):
        trial = Trial(house, kitchen, habit)
        gap = trial.answer(request, record)
        delays = []
        for _ in range(WAKES):
            delays.append(trial.wake(wake))
            trial.settle()
        trial.let_loose()
        time.sleep(0.2)
        good = trial.good_tool()
        noticed = [delay for delay in delays if delay is not None]
        shown = f"{np.median(noticed):6.0f} ms, at most {max(noticed):5.0f} ms" if noticed else "-"
        return f"{habit:<24}{len(noticed)} of {WAKES}   {shown:<28}{gap:8.0f} ms{good:12.0f} ms"


def main() -> int:
    names = [function.__name__ for function in hostile.HABITS]
    wanted = sys.argv[1:] if __name__ == "__main__" else []
    print(f"{'plugin':<24}{'wake words':<10} {'noticed after':<28}{'gap in answer':>11}{'good tool':>14}", flush=True)
    for name in wanted or names:
        print(measure(name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
