"""Sounds of plugins under the conversation: music, recordings, a stream that is made while it plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from enum import Enum
from logging import Logger
from typing import Any, Protocol

from assistant.errors import HearthError


class SoundEnd(Enum):
    """Why a sound is over."""

    FINISHED = "finished"  # it was played to its end
    STOPPED = "stopped"  # the plugin stopped it, or the daemon ends
    DISMISSED = "dismissed"  # the user wants quiet
    FAILED = "failed"  # the file or the stream broke; the log says how


class Track(Protocol):
    """A sound's place in the mix. Belongs to the event loop."""

    async def put(self, pcm: bytes) -> None:
        """Add int16 mono of the track's rate; waits while two seconds are waiting to be played."""
        ...

    async def drain(self) -> None:
        """No more comes: wait until the last sample was played."""
        ...

    def stop(self) -> None:
        """Silence it at once. Harmless when it is over."""
        ...


class SoundFile(Protocol):
    """A sound file that is read piece by piece. It blocks, so it belongs on a thread."""

    @property
    def rate(self) -> int:
        """Samples per second."""
        ...

    def read(self) -> bytes:
        """The next half second or less as int16 mono; nothing at the end. Raises HearthError if the file is damaged."""
        ...

    def close(self) -> None: ...


class Sounds(Protocol):
    """Plays what plugins give it. Belongs to the event loop, but for ``open_file``."""

    def open(self, rate: int, on_dismissed: Callable[[], None]) -> Track:
        """A new track. Raises ToolError if too many play already.

        on_dismissed: the user wants quiet; the track is silent already.
        """
        ...

    def open_file(self, path: str) -> SoundFile:
        """Blocks, on any thread. Raises ToolError, in one line, if it is no sound file."""
        ...


class Sound:
    """A sound that plays, made by :meth:`Context.play`."""

    def __init__(self, stream: AsyncIterator[bytes], sounds: Sounds, rate: int) -> None:
        """For the context. Raises ToolError if there is no place for it."""
        self.ended: SoundEnd | None = None
        """None while it plays."""
        self._stream = stream
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._track = sounds.open(rate, lambda: self._cut(SoundEnd.DISMISSED))

    @property
    def done(self) -> bool:
        """It is over: :attr:`ended` says why."""
        return self.ended is not None

    def stop(self) -> None:
        """End the sound. On the event loop; harmless when it is over."""
        self._cut(SoundEnd.STOPPED)

    async def wait(self) -> SoundEnd:
        """Wait until it is over, and say why. Cancelling the wait does not stop the sound."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    def begin(self, spawn: Callable[[Coroutine[Any, Any, object], str], asyncio.Task[None]], log: Logger) -> None:
        """For the context: play it in a task."""
        try:
            self._task = spawn(self._run(log), "playing a sound")
        except RuntimeError:  # the plugin has stopped meanwhile
            self._end(SoundEnd.STOPPED)
            raise
        self._task.add_done_callback(lambda _: self._end(SoundEnd.STOPPED))  # cancelled before its first step

    async def _run(self, log: Logger) -> None:
        why = SoundEnd.FAILED
        try:
            async for pcm in self._stream:
                await self._track.put(pcm)
            await self._track.drain()
            why = SoundEnd.FINISHED
        except asyncio.CancelledError:
            why = SoundEnd.STOPPED
            raise
        except HearthError as error:  # one line that says what to do, as of a damaged file
            log.error("a sound broke off: %s", error)
        finally:
            self._end(why)
            if (close := getattr(self._stream, "aclose", None)) is not None:
                await close()

    def _cut(self, why: SoundEnd) -> None:
        self._end(why)
        if self._task is not None:
            self._task.cancel()

    def _end(self, why: SoundEnd) -> None:
        if self.ended is None:
            self.ended = why
            self._over.set()
            self._track.stop()
