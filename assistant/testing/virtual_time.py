"""An asyncio event loop whose clock jumps instead of sleeping: hours of household life in seconds.

``loop.time()`` starts at 1000.0 and stands still while callbacks run. When nothing is ready, the loop first polls
real I/O (data sent over loopback sockets by this process is there at once), and if there is none it jumps to the next
timer.

The real world is waited for, without moving the virtual clock, while something that takes real time is under way:

- a job in an executor (``run_in_executor``, ``asyncio.to_thread``, name look-ups), known by itself;
- anything inside ``with loop.hold():``, such as a reply from another process or from a thread of one's own.

If such a wait lasts as long in real time as the next timer is away in virtual time, that timer fires: a timeout around
a stuck job still ends it. A test whose jobs are quick therefore sees the same virtual times in every run.

When nothing can ever happen again the loop raises :class:`VirtualTimeError`, which lists the tasks that wait, instead
of hanging.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START: Final = 1000.0
"""First ``loop.time()``. Not 0, so that code which takes a time for a truth value is found out."""


class VirtualTimeError(RuntimeError):
    """The program under test can make no progress, or lives longer than the test allows."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the module's docstring.

    patience_s: real seconds to wait for the real world (an executor job, a held section, or open sockets when no timer
        is left) before that counts as a hang.
    """

    def __init__(self, *, patience_s: float = 30.0) -> None:
        self._clock = _JumpingSelector(patience_s, self._describe_tasks)
        super().__init__(self._clock)
        self._clock.own_files = len(self._clock.get_map())

    def time(self) -> float:
        return self._clock.now

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """While inside, time does not jump: something outside the loop is at work. Usable from any thread; nests."""
        self._clock.hold(+1)
        try:
            yield
        finally:
            self._release()

    def advance(self, seconds: float) -> None:
        """Let time pass within a callback, as when the loop is blocked: timers that become due have to wait."""
        self._clock.now += seconds

    def limit(self, at: float) -> None:
        """Raise :class:`VirtualTimeError` rather than let the clock pass ``at``."""
        self._clock.limit = at

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        self._clock.hold(+1)
        try:
            future = super().run_in_executor(executor, func, *args)
        except BaseException:
            self._release()
            raise
        # A cancelled future lets go at once: nobody waits for that job any more, though its thread may still run.
        future.add_done_callback(lambda _: self._release())
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as in asyncio
        with self.hold():
            if sys.version_info >= (3, 12):
                await super().shutdown_default_executor(timeout)
            else:
                await super().shutdown_default_executor()

    def _release(self) -> None:
        self._clock.hold(-1)
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            self.call_soon_threadsafe(lambda: None)  # wakes the loop if it is waiting for the real world

    def _describe_tasks(self) -> str:
        return "; ".join(sorted(_where(task) for task in asyncio.all_tasks(self))) or "no task is left"


class _JumpingSelector(selectors.DefaultSelector):
    """Polls real files, and owns the virtual clock because only ``select`` knows that there is nothing else to do."""

    def __init__(self, patience_s: float, describe: Callable[[], str]) -> None:
        super().__init__()
        self.now = START
        self.limit = math.inf
        self.own_files = 0  # the loop's self-pipe
        self._patience_s = patience_s
        self._describe = describe
        self._holds = 0
        self._lock = threading.Lock()

    def hold(self, change: int) -> None:
        with self._lock:
            self._holds += change

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Read before the poll: whoever lets go counts down first and wakes the loop after, so no wake-up is missed.
        with self._lock:
            held = self._holds > 0
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if held:
            return self._wait_for_real(timeout)
        if timeout is not None:
            self._jump(timeout)
            return []
        if len(self.get_map()) > self.own_files:
            return self._wait_for_real(None)
        raise VirtualTimeError(f"deadlock: no timer, no I/O and nothing held can wake this loop: {self._describe()}")

    def _wait_for_real(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        patience = self._patience_s if timeout is None else min(timeout, self._patience_s)
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            if events := super().select(left):
                return events
        if timeout is None or timeout > patience:
            raise VirtualTimeError(f"nothing happened for {patience:g} real seconds: {self._describe()}")
        self._jump(timeout)
        return []

    def _jump(self, seconds: float) -> None:
        if self.now + seconds > self.limit:
            raise VirtualTimeError(f"still running at the limit of virtual time: {self._describe()}")
        self.now += seconds


def run(main: Coroutine[Any, Any, T], *, limit_s: float = 3600.0) -> T:
    """Run ``main`` on a fresh :class:`VirtualTimeLoop` and give its result; like ``asyncio.run``.

    limit_s: virtual seconds after which :class:`VirtualTimeError` is raised; cleaning up afterwards is not limited.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.limit(loop.time() + limit_s)
        try:
            return runner.run(main)
        finally:
            loop.limit(math.inf)


def _where(task: asyncio.Task[Any]) -> str:
    """One task and the innermost line where it waits."""
    inner: Any = task.get_coro()
    while (awaited := getattr(inner, "cr_await", None)) is not None and hasattr(awaited, "cr_frame"):
        inner = awaited
    frame = getattr(inner, "cr_frame", None)
    place = f" at {frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
    return f"{task.get_name()} ({getattr(inner, '__qualname__', 'unknown')}{place})"
