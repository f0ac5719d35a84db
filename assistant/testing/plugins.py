"""Run a plugin in a test: with a clock that you move and a ringer that only takes notes.

::

    async def check(tmp_path):
        async with PluginHarness("plugins/timers", tmp_path) as home:
            assert (await home.call("set_timer", amount=10, unit="minutes"))["say"] == "Timer set for 10 minutes."
            await home.advance(minutes=10)
            assert home.ringer.ringing == ["10 minute timer"]

Loading, the check of arguments, threads and time limits are the real ones.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final, TypeVar

from assistant.errors import ToolError
from assistant.local.brain import Brain, CallTool, Exchange, ToolAnswered
from assistant.local.brain import Said as Request
from assistant.local.brain import Say as Answer
from assistant.local.skills import read_tools
from assistant.plugin import Plugin
from assistant.plugin.long_work import QUICK_S
from assistant.tools import loading
from assistant.tools.consent import CONFIRM, ENTER_PIN, Consent
from assistant.tools.registry import PluginStatus, ToolRegistry
from assistant.tools.runner import ToolOutcome, ToolRunner
from assistant.types import AlertId

T = TypeVar("T")

FRIDAY_MORNING: Final = datetime(2025, 11, 21, 9, 30, tzinfo=timezone(timedelta(hours=1), "CET"))
"""The time at which a FakeClock begins, unless told otherwise."""

_SETTLE_ROUNDS: Final = 50


class FakeClock:
    """A wall clock that stands still until the test moves it."""

    def __init__(self, now: datetime = FRIDAY_MORNING) -> None:
        self._now = now
        self._monotonic = 1000.0
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + max(0.0, seconds), next(self._numbers), woken))
        await woken

    def set(self, now: datetime) -> None:
        """Somebody sets the clock: the wall time jumps, nobody is woken."""
        self._now = now

    async def advance(self, seconds: float) -> None:
        """Let time pass; everybody who sleeps wakes at the right moment and in the right order."""
        end = self._monotonic + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():  # done: its sleeper was cancelled
                self._move(at)
                woken.set_result(None)
                await settle()
        self._move(end)
        await settle()

    def _move(self, to: float) -> None:
        # Through the epoch: adding to a time with a zone ignores a change to summer time on the way.
        self._now = datetime.fromtimestamp(self._now.timestamp() + to - self._monotonic, self._now.tzinfo)
        self._monotonic = to


async def settle() -> None:
    """Let everything that can run now run, as far as it can without time passing."""
    for _ in range(_SETTLE_ROUNDS):
        await asyncio.sleep(0)


@dataclass(slots=True)
class _Sound:
    alert: AlertId
    title: str
    on_dismissed: Callable[[], None]


class RecordingRinger:
    """Notes what rings instead of playing it."""

    def __init__(self) -> None:
        self.history: list[str] = []
        """The titles of all rings so far."""
        self.announced: list[str] = []
        """What was announced, in order."""
        self._sounds: dict[AlertId, _Sound] = {}

    @property
    def ringing(self) -> list[str]:
        """The titles of what rings now, oldest first."""
        return [sound.title for sound in self._sounds.values()]

    def start(
        self, alert: AlertId, title: str, on_started: Callable[[], None], on_dismissed: Callable[[], None]
    ) -> None:
        assert alert not in self._sounds, f"{alert} rings already"
        self._sounds[alert] = _Sound(alert, title, on_dismissed)
        self.history.append(title)
        on_started()

    def stop(self, alert: AlertId) -> None:
        self._sounds.pop(alert, None)

    def announce(self, text: str) -> None:
        self.announced.append(text)

    def dismiss(self) -> None:
        """The user reacts: everything that rings ends."""
        sounds = list(self._sounds.values())
        self._sounds.clear()
        for sound in sounds:
            sound.on_dismissed()


class RecordingSounds:
    """Takes sounds as a speaker would, at the pace of the test's clock, and remembers what was played."""

    def __init__(self, clock: FakeClock) -> None:
        self.tracks: list[RecordedTrack] = []
        """All that were begun, oldest first."""
        self.files: dict[str, RecordedFile] = {}
        """What stands in for sound files, by path; any other file does not exist."""
        self._clock = clock

    @property
    def playing(self) -> list[RecordedTrack]:
        """What plays now, oldest first."""
        return [track for track in self.tracks if not track.over]

    def open(self, rate: int, on_dismissed: Callable[[], None]) -> RecordedTrack:
        track = RecordedTrack(rate, self._clock, on_dismissed)
        self.tracks.append(track)
        return track

    def open_file(self, path: str) -> RecordedFile:
        if (file := self.files.get(path)) is None:
            raise ToolError(f"{path}: cannot be read as sound")
        return file

    def dismiss(self) -> None:
        """The user says "stop": everything that plays ends."""
        for track in self.playing:
            track.stop()
            track.on_dismissed()


class RecordedTrack:
    """A sound as far as it was played."""

    def __init__(self, rate: int, clock: FakeClock, on_dismissed: Callable[[], None]) -> None:
        self.rate = rate
        self.pcm = bytearray()
        self.over = False
        self.on_dismissed = on_dismissed
        self._clock = clock

    async def put(self, pcm: bytes) -> None:
        self.pcm += pcm
        await self._clock.sleep(len(pcm) / 2 / self.rate)

    async def drain(self) -> None:
        self.over = True

    def stop(self) -> None:
        self.over = True


class RecordedFile:
    """A sound file in memory: int16 mono."""

    def __init__(self, pcm: bytes, rate: int = 24_000) -> None:
        self.rate = rate
        self.closed = False
        self._pcm = pcm

    def read(self) -> bytes:
        piece, self._pcm = self._pcm[: self.rate], self._pcm[self.rate :]
        return piece

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a sentence: the spoken answer, and the tool that was called, if any."""

    answer: str
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


class InlineThreads:
    """Runs ``Context.in_thread`` at once on the event loop, so that a test is the same each time."""

    async def run(self, function: Callable[[], T]) -> T:
        return function()


class PluginHarness:
    """One plugin, started, with fakes where it would meet the outside."""

    def __init__(
        self,
        plugin: str | Path | ModuleType | type[Plugin] | Callable[..., Any],
        folder: Path,
        *,
        settings: Mapping[str, Any] | None = None,
        now: datetime = FRIDAY_MORNING,
        pin: str = "4711",
    ) -> None:
        """
        plugin: a file or package folder, a module, a Plugin class, or a single tool function.
        folder: for the plugin's state. A second harness on the same folder is a restart of the daemon.
        settings: the plugin's section of the config.
        now: where the clock begins.
        pin: the PIN of the house, for tools of tier pin.
        """
        if isinstance(plugin, str | Path):
            path = Path(plugin)
            candidate = loading.from_file(path / "__init__.py" if path.is_dir() else path)
        else:
            candidate = loading.from_object(plugin.__name__.rpartition(".")[2].lower(), plugin)
        self._name = candidate.name
        self.clock = FakeClock(now)
        self.ringer = RecordingRinger()
        self.registry = ToolRegistry(folder, clock=self.clock, ringer=self.ringer, threads=InlineThreads())
        self.sounds = RecordingSounds(self.clock)
        self.registry.sounds = self.sounds
        self.registry.load_candidates([candidate], settings={self._name: settings} if settings is not None else {})
        self.runner = ToolRunner(self.registry, consent=Consent(lambda: pin))
        self._turn = 0
        self._history: list[Exchange] = []

    async def __aenter__(self) -> PluginHarness:
        """Raises AssertionError with the plugin's own reason if it cannot be loaded or started."""
        await self.registry.start()
        await settle()
        try:
            self._check()
        except BaseException:
            await self.registry.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.registry.stop()
        await self.runner.close()
        if error is None:
            self._check()

    async def call(self, tool: str, /, **arguments: Any) -> Any:
        """Call a tool as the model would, in a turn of its own; gives its result as the model gets it, decoded.

        A tool that needs consent gives its question, and is run by :meth:`agree`.

        Raises ToolError with the message for the model; AssertionError if the tool crashed or took too long.
        """
        outcome = await self.outcome(tool, json.dumps(arguments))
        result = json.loads(outcome.output)
        if outcome.status in ("ok", "asked"):
            return result
        if outcome.status in ("crashed", "timeout"):
            raise AssertionError(result["error"])
        raise ToolError(result["error"])

    async def say(self, text: str) -> Said:
        """Say a sentence, as the offline brain understands it: it calls the tool, if any, and speaks the answer.

        Each is a turn, so ``say("yes")`` or ``say("five minutes")`` answers the question of the one before.
        AssertionError if a sentence of the plugin cannot work, or if the tool crashed or took too long.
        """
        skills = read_tools(self.registry.specs(offline=True))
        assert not skills.problems, skills.problems
        brain = Brain(skills)
        decision = brain.decide(Request(text, typed=True), history=self._history)
        if not isinstance(decision, CallTool):
            return self._remember(text, Said(decision.text if isinstance(decision, Answer) else ""))
        outcome = await self.outcome(decision.tool, json.dumps(dict(decision.arguments)))
        assert outcome.status not in ("crashed", "timeout"), outcome.output
        answer = ToolAnswered(decision.tool, decision.arguments, outcome.output, decision.spoken)
        return self._remember(text, Said(brain.spoken_answer(answer), decision.tool, dict(decision.arguments)))

    def _remember(self, text: str, said: Said) -> Said:
        self._history.append(Exchange(text, said.answer))
        return said

    async def outcome(self, tool: str, arguments_json: str) -> ToolOutcome:
        """Call a tool with arguments as text, and give the whole outcome."""
        self._turn += 1
        call = asyncio.create_task(self.runner.call(tool, arguments_json, turn=self._turn))
        await settle()
        if not call.done() and self.registry.long_tasks.running:
            await self.clock.advance(QUICK_S)  # what takes longer goes on without the turn
        outcome = await call
        await settle()
        return outcome

    async def agree(self, pin: str | None = None) -> Any:
        """The user says yes, or the PIN, to the question of the last call; gives the result of what was asked."""
        return await (self.call(CONFIRM) if pin is None else self.call(ENTER_PIN, pin=pin))

    async def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0) -> None:
        """Let time pass."""
        await self.clock.advance(seconds + 60 * minutes + 3600 * hours)

    def _check(self) -> None:
        for info in self.registry.plugins:
            assert info.status is PluginStatus.ENABLED, f"plugin {info.name}: {info.status}: {info.reason}"
