"""Writing to disk beside the event loop: one daemon thread that does small jobs in order.

A card that is full, slow or gone must never hold up a turn. So jobs are handed over without waiting, the queue is
bounded (the newest job is dropped when it is full, with one line in the log), and a stuck thread is left behind at the
end of the process.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_WAITING: Final = 256


class ScribeBusy(Exception):
    """Too much waits to be written already, or the scribe is closed."""


class Scribe:
    """Owns the thread. Everything but :meth:`close` may be called from any thread, and none of it blocks."""

    def __init__(self, name: str = "scribe") -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(MAX_WAITING)
        self._closed = False
        self._complained = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], object]) -> None:
        """Do it later. What it raises is logged; it must not be what somebody said."""
        future = self._submit(job)
        if future is not None:
            future.add_done_callback(_log_error)

    def call(self, job: Callable[[], T]) -> Future[T]:
        """Do it later, and give its result. A job that is cancelled before it began is never done."""
        future = self._submit(job)
        if future is None:
            future = Future()
            future.set_exception(ScribeBusy("the disk does not keep up"))
        return future

    def close(self, timeout: float = 2.0) -> bool:
        """Finish what waits, for ``timeout`` seconds at most. Says whether all of it was done."""
        if not self._closed:
            self._closed = True
            try:
                self._jobs.put(None, timeout=timeout)
            except queue.Full:
                return False
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _submit(self, job: Callable[[], T]) -> Future[T] | None:
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(job())
            except Exception as error:
                future.set_exception(error)

        try:
            if self._closed:
                return None
            self._jobs.put_nowait(run)
        except queue.Full:
            if not self._complained:
                log.error("the disk does not keep up: some records of turns and costs are lost")
                self._complained = True
            return None
        return future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            if self._closed and self._jobs.empty():
                return  # the queue was too full for the last word


def _log_error(future: Future[object]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("a record could not be written: %s: %s", type(error).__name__, error)
