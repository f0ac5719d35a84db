"""Work that takes longer than a turn: it is told of, goes on while the house goes on, and can be cancelled by voice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from assistant.errors import ToolError

QUICK_S: Final = 2.0
"""What is done by then is answered in the turn, like any other call."""

PROGRESS_EVERY_S: Final = 30.0
"""How often progress is announced at most."""

MAX_RUNNING: Final = 16

TaskEnd: TypeAlias = Literal["ok", "error", "crashed", "cancelled"]


@dataclass(eq=False, slots=True)
class LongTask:
    """Something that a plugin is at. ``began``: by ``WallClock.monotonic``. ``progress``: the last that was told."""

    plugin: str
    title: str
    began: float
    cancel: Callable[[], object]
    progress: str | None = None
    said_at: float = 0.0
    aloud: bool = False
    """The turn has gone on without it, so how it ends is announced."""


class Progress:
    """Given to the work of :meth:`Context.task`. On the event loop only."""

    def __init__(self, task: LongTask, now: Callable[[], float], announce: Callable[[str], None]) -> None:
        self._task = task
        self._now = now
        self._announce = announce

    def say(self, text: str) -> None:
        """How far it is, in one sentence: what is told when somebody asks, and announced every 30 s at most."""
        task, now = self._task, self._now()
        task.progress = text
        if task.aloud and now - task.said_at >= PROGRESS_EVERY_S:
            task.said_at = now
            self._announce(text)


class LongTasks:
    """All long work of the house; one for all plugins. On the event loop only."""

    def __init__(self) -> None:
        self._running: list[LongTask] = []
        self.on_end: Callable[[LongTask, TaskEnd, float], None] = lambda task, how, duration_s: None
        """Told of each end, and how long it took; for the audit log."""

    @property
    def running(self) -> tuple[LongTask, ...]:
        """The oldest first."""
        return tuple(self._running)

    def begin(self, task: LongTask) -> None:
        """Raises ToolError if that is going on already, or too much is."""
        if any(other.title == task.title for other in self._running):
            raise ToolError(f"I am at it already: {task.title}.")
        if len(self._running) >= MAX_RUNNING:
            raise ToolError(f"{MAX_RUNNING} long tasks are running already. Cancel some first.")
        self._running.append(task)

    def end(self, task: LongTask, how: TaskEnd, now: float) -> None:
        self._running.remove(task)
        self.on_end(task, how, now - task.began)

    def cancel(self, words: str | None = None) -> LongTask:
        """Cancel the one whose title holds the words; without words, the only one. Raises ToolError."""
        fitting = [task for task in self._running if words is None or words.casefold() in task.title.casefold()]
        if not fitting:
            raise ToolError("Nothing is running." if not self._running else f"Nothing like {words} is running.")
        if len(fitting) > 1:
            raise ToolError(f"Which one? {' or '.join(task.title for task in fitting)}?")
        fitting[0].cancel()
        return fitting[0]


class Outcome:
    """How the work has ended, for the call that waits for it and the announcement."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.how: TaskEnd = "cancelled"
        self.result: object = None

    def end(self, how: TaskEnd, result: object) -> None:
        self.how, self.result = how, result
        self.over.set()

    def spoken(self, title: str) -> str:
        """What is announced."""
        if self.how == "ok":
            say = self.result.get("say") if isinstance(self.result, dict) else self.result
            return say if isinstance(say, str) and say.strip() else f"I am done with {title}."
        return f"I could not finish {title}" + (f": {self.result}" if self.how == "error" else ".")
