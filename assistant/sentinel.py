"""Notices that the event loop stands still, from a thread of its own, and says where.

A plugin that blocks, a disk that hangs in a call that should not have been made here: nothing on the loop can report
it while it lasts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from assistant.errors import EXIT_RESTART

log = logging.getLogger(__name__)

BEAT_S: Final = 0.5
NOTICE_S: Final = 2.0
GIVE_UP_S: Final = 60.0
"""A loop that stands still for so long does not come back. Under systemd the watchdog is faster."""


class LoopSentinel:
    """Asks the loop for a sign of life twice a second. Start and stop it on the loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_stall: Callable[[float, str], None],
        *,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        """on_stall: told on the loop, when it moves again, for how many seconds it stood still, and where.
        leave: ends the process, from the thread."""
        self._loop = loop
        self._on_stall = on_stall
        self._leave = leave
        self._watched = threading.get_ident()
        self._beat = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sentinel", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._beat.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._over.wait(BEAT_S):
            self._beat.clear()
            try:
                self._loop.call_soon_threadsafe(self._beat.set)
            except RuntimeError:
                return  # the loop is closed
            if not self._beat.wait(NOTICE_S):
                self._wait_out()

    def _wait_out(self) -> None:
        """The loop stands still: say where once, and wait. A process that was stopped itself has noticed nothing."""
        where = self._place()
        log.error("the event loop stands still at %s", where)
        stood = NOTICE_S
        while not self._over.is_set():
            began = time.monotonic()
            if self._beat.wait(1.0):
                if not self._over.is_set():
                    self._loop.call_soon_threadsafe(self._on_stall, stood, where)
                return
            stood += min(time.monotonic() - began, 2.0)  # more than asked for: this thread stood still, too
            if stood > GIVE_UP_S:
                log.critical("the event loop has stood still for %.0f s at %s: leaving", stood, where)
                self._leave(EXIT_RESTART)
                return

    def _place(self) -> str:
        """The innermost lines of the loop's thread, without anything that somebody said."""
        frame: FrameType | None = sys._current_frames().get(self._watched)
        if frame is None:
            return "an unknown place"
        lines = [f"{Path(line.filename).name}:{line.lineno} {line.name}" for line in traceback.extract_stack(frame)]
        return " < ".join(reversed(lines[-4:]))
