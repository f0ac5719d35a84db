"""What a plugin wants done later: jobs that survive restarts, crashes, and somebody setting the clock.

The database is the truth. A job goes through it like this::

    add ──> waiting ──due: committed as begun──> handler runs ──committed as done──> deleted, or waiting again
               └── cancelled ──> deleted            └── the daemon dies: at the next start, see ``handle``

Since "begun" is on the disk before the handler is called, a job is never done twice without its handler having agreed
to that; since it is deleted only after, a handler that has agreed never misses one.

Times are kept as those of the wall clock, the only ones that survive a restart. A moment and a :class:`Daily` mean that
clock, whatever it is set to. A delay means time that passes: it is moved along when the clock is set.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol, TypeAlias

from assistant.plugin.jobs import Job, JobStore, When

LOOK_S: Final = 30.0
"""How long a set clock may go unnoticed."""

RETRY_S: Final = 5.0

Handler: TypeAlias = Callable[[Job], Awaitable[object]]


class Work(Protocol):
    """What the schedule needs of its plugin's context."""

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> object: ...

    async def sleep(self, seconds: float, interrupt: asyncio.Event | None = None) -> bool: ...

    async def in_thread(self, function: Callable[[], Any]) -> Any: ...


class Schedule:
    """A plugin's jobs; ``context.schedule``.

    Every method but ``handle`` may be used from any thread. They write to the disk, so in an ``async def`` use
    ``context.in_thread`` where that could take long.
    """

    def __init__(self, work: Work, open_store: Callable[[], JobStore], complain: Callable[[str], None]) -> None:
        """
        open_store: called at first use. complain: told in one line what went wrong.
        """
        self._work = work
        self._open_store = open_store
        self._complain = complain
        self._store: JobStore | None = None
        self._opening = threading.Lock()
        self._closed = False
        self._handlers: dict[str, Handler] = {}
        self._repeatable: set[str] = set()
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle(self, kind: str, handler: Handler, *, repeatable: bool = False) -> None:
        """Say what is done with the jobs of a kind. Belongs into ``start``; what is due already comes right after.

        handler: an ``async def``; it may take its time. A job by a rule does not come again before it has returned.
            If it raises, the plugin's status shows that, and the job counts as done.
        repeatable: a job during which the assistant ended is begun again, three times at most, because done twice is
            better than half done (an alarm). Otherwise it is given up (a payment).
        """
        self._handlers[kind] = handler
        (self._repeatable.add if repeatable else self._repeatable.discard)(kind)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._work.spawn(self._watch(), "the schedule")
        self._changed.set()

    def add(self, kind: str, when: When, data: Mapping[str, Any] | None = None, *, key: str | None = None) -> Job:
        """Have something done: at a moment, after a delay, or by a rule again and again.

        data: for the handler; what JSON can hold.
        key: only one job of a kind can have it. If that is the same already it stays as it is, so that what a config
            says can be added at each start; otherwise it is replaced.
        Raises ValueError for a moment without a zone, and when there are a thousand jobs.
        """
        job = self._jobs.add(kind, when, dict(data or {}), key)
        self._look()
        return job

    def jobs(self, kind: str | None = None) -> list[Job]:
        """What waits, the next one first. What is being done is not among it, unless it comes again."""
        return self._jobs.waiting(kind)

    def cancel(self, job: Job) -> bool:
        """Forget a job; whether there was one. If it is being done that goes on, but does not come again."""
        found = self._jobs.forget(job.id)
        self._look()
        return found

    def close(self) -> None:
        """For the context."""
        with self._opening:
            self._closed = True
            if self._store is not None:
                self._store.close()

    @property
    def _jobs(self) -> JobStore:
        with self._opening:
            if self._closed:
                raise RuntimeError("the plugin has stopped: its schedule is closed")
            if self._store is None:
                self._store = self._open_store()
            return self._store

    def _look(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def _watch(self) -> None:
        while True:
            self._changed.clear()
            try:
                found = await self._work.in_thread(lambda: self._jobs.take(set(self._handlers), self._repeatable))
            except sqlite3.Error as error:  # a full disk, say: the jobs must be done once it is over
                self._complain(f"the schedule cannot be read: {error}; trying again")
                await self._work.sleep(RETRY_S)
                continue
            for job in found.given_up:
                self._complain(f"{job.kind} of {job.due:%Y-%m-%d %H:%M} was given up: the assistant ended during it")
            for job in found.begun:
                self._work.spawn(self._do(job), f"{job.kind} of {job.due:%H:%M}")
            if found.wait_s is None:
                await self._changed.wait()
            else:
                await self._work.sleep(min(max(found.wait_s, 0.0), LOOK_S), self._changed)

    async def _do(self, job: Job) -> None:
        """Cancelled, a job stays begun, as if the power had failed."""
        try:
            await self._handlers[job.kind](job)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            await self._done(job)
            raise
        await self._done(job)

    async def _done(self, job: Job) -> None:
        while True:
            try:
                await self._work.in_thread(lambda: self._jobs.finish(job.id))
            except sqlite3.Error as error:
                self._complain(f"{job.kind} cannot be written down as done: {error}; trying again")
                await self._work.sleep(RETRY_S)
            else:
                self._changed.set()
                return
