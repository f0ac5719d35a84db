"""What a plugin gets from the daemon."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec, TypeAlias, TypeVar

from pydantic import BaseModel

from assistant.errors import ToolError
from assistant.plugin.database import Database
from assistant.plugin.jobs import JobStore
from assistant.plugin.long_work import QUICK_S, LongTask, LongTasks, Outcome, Progress
from assistant.plugin.rings import Ring, RingEnd
from assistant.plugin.schedule import Schedule
from assistant.plugin.services import House, Ringer, SilentRinger, SystemClock, Threads, WallClock
from assistant.plugin.sounds import Sound, SoundFile, Sounds
from assistant.plugin.tasks import end_tasks, fault
from assistant.types import SPEAKER_RATE, AlertId

P = ParamSpec("P")
T = TypeVar("T")

HomeEvent: TypeAlias = Literal["wake", "turn", "playback", "mute", "link", "state", "alert", "stop", "volume"]
ToolCaller: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Any]]

RECHECK_S: Final = 30.0
"""How often a sleep until a time of day looks at the wall clock again: somebody may have set it."""

ANNOUNCEMENT_LIMIT: Final = 500
"""Characters of an announcement: half a minute of speech."""

UNHEARD_LIMIT_S: Final = 600.0
"""How long a ring may wait for its first sound (behind a conversation, say) before it is given up."""


class Context:
    """A plugin's access to the daemon. Unless a method says otherwise, use it on the event loop only."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        threads: Threads,
        config: BaseModel | None = None,
        clock: WallClock | None = None,
        ringer: Ringer | None = None,
        on_crash: Callable[[str], None] = lambda reason: None,
        call_tool: ToolCaller | None = None,
        house: House | None = None,
        sounds: Sounds | None = None,
        on_offer: Callable[[Sequence[Callable[..., Any]]], list[str]] = lambda functions: [],
        on_report: Callable[[str | None], None] = lambda problem: None,
        tasks: LongTasks | None = None,
    ) -> None:
        """
        on_crash: told in one line when a spawned task or a callback has crashed.
        call_tool: how :meth:`call_tool` reaches the other tools.
        on_offer, on_report: what :meth:`offer` and :meth:`report` pass on.
        """
        self.name = name
        self.config = config
        self.clock: WallClock = clock or SystemClock()
        self.logger = logging.getLogger(f"hearth.plugin.{name}")
        self._folder = folder
        self._ringer: Ringer = ringer or SilentRinger()
        self._threads = threads
        self._on_crash = on_crash
        self._tasks: set[asyncio.Task[None]] = set()
        self._rings: dict[AlertId, Ring] = {}
        self._ring_numbers = itertools.count(1)
        self._database: Database | None = None
        self._database_lock = threading.Lock()
        self._closed = False
        self._call_tool = call_tool
        self._on_offer = on_offer
        self._on_report = on_report
        self.house = house
        """The running assistant; None where tools run without it, such as in ``assistant tools call``."""
        self._sounds = sounds
        self._listeners: dict[HomeEvent, list[Callable[[Mapping[str, Any]], object]]] = {}
        self.entity_lists: dict[str, dict[str, str | Sequence[str]]] = {}
        """For the registry: what :meth:`entities` was given."""
        self.tasks = tasks or LongTasks()
        """The long work of all plugins."""
        self.schedule = Schedule(self, lambda: JobStore(self.folder / "schedule.sqlite3", self.clock), self._complain)
        """What shall be done later, also after a restart."""

    # time

    def now(self) -> datetime:
        """The local time, with its zone. From any thread."""
        return self.clock.now()

    async def sleep(self, seconds: float, interrupt: asyncio.Event | None = None) -> bool:
        """Wait. True when the time is over, False as soon as ``interrupt`` is set."""
        if interrupt is None:
            await self.clock.sleep(seconds)
            return True
        waits = {asyncio.ensure_future(self.clock.sleep(seconds)), asyncio.ensure_future(interrupt.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return not interrupt.is_set()

    async def sleep_until(self, when: datetime) -> None:
        """Wait for a time of day. Looks at the wall clock every 30 s, so it stays right when the clock is set.

        Raises ValueError if ``when`` has no time zone.
        """
        if when.tzinfo is None:
            raise ValueError("sleep_until needs a time with a zone: build it from context.now()")
        # Timestamps, since subtracting two times of one zone ignores a change to summer time between them.
        while (left := when.timestamp() - self.clock.now().timestamp()) > 0:
            await self.clock.sleep(min(left, RECHECK_S))

    # work

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[None]:
        """Run a coroutine in the background until the plugin stops, which cancels it.

        If it crashes, that is logged and shown in the plugin's status; the daemon goes on.
        """
        if self._closed:
            work.close()
            raise RuntimeError(f"plugin {self.name} has stopped: it cannot spawn {name}")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            work.close()
            raise RuntimeError("spawn needs the event loop: call it from an async function") from None
        task = loop.create_task(self._guard(work, name), name=f"{self.name}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before its first step: it was never awaited
        return task

    async def task(self, title: str, work: Callable[[Progress], Awaitable[object]]) -> object:
        """Do work that may take long, in a tool: ``return await self.context.task("copying photos", self._copy)``.

        title: what is being done, as in "copying photos"; the user asks for it and cancels it by these words.
        work: an ``async def``; it tells of its progress by the argument. Its result is a tool's.

        What is done within two seconds is answered at once. Otherwise the user hears that it has begun; the work goes
        on without a time limit, and its end is announced. The plugin's end cancels it. Cancelling this call, as an
        interruption within the first two seconds does, cancels the work.
        Raises ToolError if that is going on already.
        """
        outcome = Outcome()
        task = LongTask(self.name, title, self.clock.monotonic(), lambda: job.cancel())
        self.tasks.begin(task)
        job = self.spawn(self._do_task(task, work, outcome), title)
        job.add_done_callback(lambda _: self.tasks.end(task, outcome.how, self.clock.monotonic()))
        try:
            await self.sleep(QUICK_S, outcome.over)
        except BaseException:
            job.cancel()
            raise
        if not outcome.over.is_set():
            task.aloud, task.said_at = True, self.clock.monotonic()
            return {
                "say": f"I have begun {title}, and tell you when I am done.",
                "note": "It is still running, and its end will be announced. Tell only that it has begun.",
            }
        if outcome.how == "ok":
            return outcome.result
        raise ToolError(str(outcome.result) if outcome.how == "error" else f"{title} failed")

    async def _do_task(self, task: LongTask, work: Callable[[Progress], Awaitable[object]], outcome: Outcome) -> None:
        try:
            outcome.end("ok", await work(Progress(task, self.clock.monotonic, self.announce)))
        except ToolError as error:
            outcome.end("error", error)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            outcome.end("crashed", None)
            raise
        finally:
            if task.aloud and outcome.over.is_set():
                self.announce(outcome.spoken(task.title))

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function on a thread and give its result. Cancelling gives up the wait, not the function."""
        return await self._threads.run(partial(function, *args, **kwargs))

    def offer(self, functions: Sequence[Callable[..., Any]]) -> list[str]:
        """Offer tools that are known only now, such as those of a device that was found, in place of those before.

        functions: they went through ``tool()``, and are called as they are, without the plugin as first argument.
        Gives one line for each that cannot be offered, and why. Sessions that begin afterwards know of the tools.
        Set ``tools_come_later`` in the plugin's class.
        """
        return [] if self._closed else self._on_offer(functions)

    def report(self, problem: str | None) -> None:
        """What is wrong right now, in one line that says what to do, for the plugin's status; None if all is well."""
        if not self._closed:
            self._on_report(problem)

    async def call_tool(self, name: str, **arguments: Any) -> Any:
        """Call any tool of the house, as the model would; gives its result, decoded.

        It runs only if it needs no more consent than was given for the tool call in which this happens.
        Raises ToolError when that tool fails, refuses, or does not exist.
        """
        if self._call_tool is None:
            raise ToolError(f"{name} cannot be called from here")
        return await self._call_tool(name, arguments)

    def on(self, event: HomeEvent, callback: Callable[[Mapping[str, Any]], object]) -> None:
        """Call back, on the event loop and until the plugin stops, whenever something happens in the house.

        ``wake``: a wake word was heard (``word``). ``turn``: a turn has begun or ended (``turn``, ``state``, and at
        the end ``outcome``). ``playback``: an answer has begun or stopped to sound (``state``). ``mute``: the
        microphone was closed or opened (``muted``). ``link``: the one to the brain is ``down``, ``connecting`` or
        ``ready`` (``state``, ``persona``). ``state``: what the assistant is about, such as ``idle`` (``state``).
        ``alert``: something begins or stops to ring (``alert``, ``state``: ``started`` or ``stopped``, and then
        ``dismissed`` if the user has reacted to it).
        ``stop``: the user wants quiet, so whatever the plugin plays elsewhere should end. ``volume``: it was set for
        a channel, or for all (``percent``, ``channel``: ``answers``, ``alerts``, ``media`` or None).
        Nothing that was said is told. The callback must return at once: ``spawn`` what takes time. If it raises, the
        status shows it.
        """
        self._listeners.setdefault(event, []).append(callback)

    def tell(self, event: HomeEvent, facts: Mapping[str, Any]) -> None:
        """For the registry: something has happened."""
        for callback in tuple(self._listeners.get(event, ())):
            try:
                # A context of its own: a tool that brings an event about does not lend it the user's consent.
                contextvars.Context().run(callback, facts)
            except BaseException as error:  # a plugin's SystemExit must not end the daemon
                self._crashed(f"on {event}", error)

    # words

    def entities(self, name: str, forms: Mapping[str, str | Sequence[str]]) -> None:
        """Set a list of things that the house has, such as its rooms: each value, and how people say it.

        ``@tool(lists={"room": "rooms"})`` lets the parameter ``room`` be any value of the list ``rooms``, for cloud
        models and offline sentences alike. A later call replaces it; sessions that begin afterwards know of it.
        """
        self.entity_lists[name] = {
            value: spoken if isinstance(spoken, str) else tuple(spoken) for value, spoken in forms.items()
        }

    # state

    @property
    def folder(self) -> Path:
        """A folder for the plugin's own files, made at first use, closed to other users. From any thread."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder

    def database(self) -> Database:
        """The plugin's own database, opened at first use; see :class:`Database` for the rule. From any thread."""
        with self._database_lock:
            if self._closed:
                raise RuntimeError(f"plugin {self.name} has stopped: its database is closed")
            if self._database is None:
                self._database = Database(self.folder / "plugin.sqlite3")
            return self._database

    # sound

    def ring(self, title: str, on_dismissed: Callable[[], object] | None = None, *, limit_s: float = 60.0) -> Ring:
        """Play the alert sound until the user reacts, :meth:`Ring.stop`, or the limit.

        title: what rings, for the screen and the log, such as "pasta timer".
        on_dismissed: called on the event loop when the user has reacted.
        limit_s: seconds of sound; counted from the first, which waits for a conversation to end.
        """
        ring = Ring(
            AlertId(f"{self.name}-{next(self._ring_numbers)}"),
            title,
            asyncio.get_running_loop(),
            partial(self._ring_ended, on_dismissed=on_dismissed),
        )
        self.spawn(self._limit(ring, limit_s), f"limit of the {title} ring")
        self._rings[ring.alert] = ring
        self._ringer.start(ring.alert, title, ring._begun.set, partial(ring._end, RingEnd.DISMISSED))
        return ring

    async def play(self, source: str | Path | AsyncIterator[bytes], *, rate: int = SPEAKER_RATE) -> Sound:
        """Play a sound under the conversation, until its end, :meth:`Sound.stop`, or the user's "stop".

        source: a sound file (WAV, FLAC, OGG, MP3 ...), or a stream of int16 little endian mono in chunks of any size.
            A stream is asked for more once less than two seconds wait to be played; where it stalls, it is silent.
        rate: samples per second of a stream; a file has its own.

        It is 15 dB softer while the assistant listens, thinks, speaks or rings, and goes on meanwhile.
        Returns when it has begun. Raises ToolError if the file cannot be read, if four sounds play already, or where
        there is no speaker, as in ``assistant tools call``.
        """
        if self._sounds is None:
            raise ToolError("nothing can be played here: the assistant is not running")
        if isinstance(source, str | Path):
            file = await self.in_thread(partial(self._sounds.open_file, str(source)))
            try:
                sound = Sound(self._pieces(file), self._sounds, file.rate)
            except ToolError:
                file.close()
                raise
        else:
            sound = Sound(source, self._sounds, rate)
        sound.begin(self.spawn, self.logger)
        return sound

    async def _pieces(self, file: SoundFile) -> AsyncIterator[bytes]:
        try:
            while piece := await self.in_thread(file.read):
                yield piece
        finally:
            file.close()

    def announce(self, text: str) -> None:
        """Say a sentence to the room, as soon as nobody talks and nothing rings.

        Nobody asked for it, so keep it short and rare. Of more than a few that wait, the oldest are forgotten; and
        where no brain can be reached, it is not said at all.
        """
        text = " ".join(text.split())
        if not text:
            raise ValueError("there is nothing to announce")
        self._ringer.announce(text[:ANNOUNCEMENT_LIMIT])

    async def _limit(self, ring: Ring, limit_s: float) -> None:
        await self.sleep(UNHEARD_LIMIT_S, ring._begun)
        if ring._begun.is_set():
            await self.sleep(limit_s, ring._over)
        ring._end(RingEnd.LIMIT)

    def _ring_ended(self, ring: Ring, on_dismissed: Callable[[], object] | None) -> None:
        self._rings.pop(ring.alert, None)
        if ring.ended is not RingEnd.DISMISSED:
            self._ringer.stop(ring.alert)
        elif on_dismissed is not None:
            try:
                on_dismissed()
            except BaseException as error:  # a plugin's SystemExit must not end the daemon
                self._crashed("on_dismissed", error)

    # end

    async def close(self, limit_s: float) -> None:
        """For the registry: end tasks, rings and database. Returns after about ``limit_s``, whatever the tasks do."""
        with self._database_lock:
            self._closed = True
        self._listeners.clear()
        for ring in tuple(self._rings.values()):
            ring._end(RingEnd.STOPPED)
        for task in await end_tasks(self._tasks, limit_s):
            self.logger.error("%s does not end; left behind", task.get_name())
        if self._database is not None:
            self._database.close()
        self.schedule.close()

    async def _guard(self, work: Coroutine[Any, Any, object], name: str) -> None:
        try:
            await work
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # a plugin's SystemExit must not end the daemon
            self._crashed(name, error)

    def _complain(self, problem: str) -> None:
        self.logger.error("%s", problem)

    def _crashed(self, what: str, error: BaseException) -> None:
        reason = f"{what} crashed: {fault(error)}"
        self.logger.error("%s", reason)
        self.logger.debug("%s", reason, exc_info=error)
        self._on_crash(reason)
