"""Blocking functions on daemon threads of our own.

Not on asyncio's default executor: ending the process waits for that one, so a stuck tool would block shutdown.
Daemon threads are simply left behind.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from assistant.errors import ToolError

T = TypeVar("T")


class ThreadsBusy(ToolError):
    """All threads are taken, probably by functions that never return."""


class ForeignExit(Exception):
    """A SystemExit, KeyboardInterrupt or the like was raised on a thread; the original is the cause.

    asyncio lets those pass through every task up to ``asyncio.run`` (and refuses StopIteration in a future), so
    they travel wrapped.
    """


class DaemonThreads:
    """Runs each function on a daemon thread; at most ``limit`` at a time, counting those that are stuck."""

    def __init__(self, limit: int, name: str = "tool") -> None:
        self._limit = limit
        self._name = name
        self._running = 0
        self._lock = threading.Lock()

    @property
    def running(self) -> int:
        """Threads in use now."""
        return self._running

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result or exception. Cancelling gives up the wait; the function runs to its end and keeps
        its thread until then. Raises ThreadsBusy at once when no thread is free."""
        return await self.submit(function)

    def submit(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """As ``run``, as a future. Call it on the event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            settle: tuple[Callable[[Any], None], Any]
            try:
                settle = future.set_result, context.run(function)
            except BaseException as error:
                settle = future.set_exception, _portable(error)
            finally:
                with self._lock:
                    self._running -= 1
            try:
                loop.call_soon_threadsafe(_settle, future, *settle)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

        with self._lock:
            if self._running >= self._limit:
                raise ThreadsBusy(f"all {self._limit} threads for tools are busy: try again later")
            self._running += 1
        try:
            threading.Thread(target=work, name=f"{self._name} thread", daemon=True).start()
        except BaseException:
            with self._lock:
                self._running -= 1
            raise
        return future


class Places:
    """Counts what runs for each plugin, also what is stuck, so that one plugin cannot take everybody's threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, plugin: str) -> Callable[[], None]:
        """Take a place; gives the function that gives it back, from any thread. Raises ThreadsBusy at once."""
        with self._lock:
            if self._taken[plugin] >= self._limit:
                raise ThreadsBusy(f"{self._limit} calls of {plugin} are still running: try again later")
            self._taken[plugin] += 1
        return partial(self._give, plugin)

    def _give(self, plugin: str) -> None:
        with self._lock:
            self._taken[plugin] -= 1


def _settle(future: asyncio.Future[Any], settle: Callable[[Any], None], value: Any) -> None:
    if not future.done():
        settle(value)


def _portable(error: BaseException) -> Exception:
    """The error itself, or wrapped if it may not travel through a future."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = ForeignExit(type(error).__name__)
    wrapped.__cause__ = error
    return wrapped
