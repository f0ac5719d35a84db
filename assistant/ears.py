"""The microphone over months: opened, opened again when it is lost, and closed while the user wants it muted.

::

                 open                      lost, mute
      CLOSED ───────────────> OPEN ─────────────────────> CLOSED
         ^   fails: wait, try again, for ever │ a recording has ended
         └── while muted it stays closed      v
                                             OVER

:class:`Ears` owns the device: nobody else opens or closes it. Mute closes the device itself, so that no program error
can make it listen, and is kept in a file, so that a restart does not open it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from assistant.audio.ports import FrameSink, Microphone
from assistant.core.backoff import reopen_delay
from assistant.errors import EXIT_RESTART, DeviceError, HearthError
from assistant.health import Health
from assistant.types import AudioFrame

log = logging.getLogger(__name__)

PART: Final = "microphone"
CHANNEL_PART: Final = "microphone channel"

STALL_S: Final = 3.0
"""A microphone that is open and gives no frame for so long is opened again."""

STALLS: Final = 3
"""So many times in a row, without a frame in between; then only a new process can help."""


class StandsStill(HearthError):
    """The microphone can be opened, and gives nothing, over and over."""

    exit_status = EXIT_RESTART


class MuteFile:
    """Whether the microphone is muted, kept over restarts: muted as long as the file exists."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bool:
        return self._path.exists()

    def write(self, muted: bool) -> None:
        """Raises OSError. When it returns, a power failure does not undo it."""
        if muted:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        else:
            self._path.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


class Ears:
    """Owns one microphone. Everything here belongs to the event loop; the device is opened and closed on threads."""

    def __init__(
        self, microphone: Microphone, mute_file: MuteFile, health: Health, on_mute: Callable[[bool], None]
    ) -> None:
        """on_mute: told before the microphone is closed because of mute, and before it is opened again after it."""
        self._microphone = microphone
        self._mute_file = mute_file
        self._health = health
        self._on_mute = on_mute
        self._loop = asyncio.get_running_loop()
        self._take: FrameSink | None = None
        self._muted = mute_file.read()
        self._open = False
        self._opening = 0  # counts, so that the end of an earlier stream is not taken for this one's
        self._lost: DeviceError | None = None
        self._over = False
        self._writing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._frame_at = 0.0  # when the last frame came, or the stream was opened
        self._stalls = 0
        self._barren = 0  # times in a row that it was lost before it gave a frame, such as a pipe that nobody writes to
        self._settled = asyncio.Event()  # the device is as it is wanted, or could not be brought there just now
        self.captured = 0
        """One past the last sample that the microphone gave, over all its openings."""

    @property
    def description(self) -> str:
        """The microphone as a person would name it."""
        return self._microphone.description

    @property
    def muted(self) -> bool:
        return self._muted

    @property
    def open(self) -> bool:
        """Whether the device is open at this moment."""
        return self._open

    @property
    def delivers(self) -> bool:
        """Whether frames are coming."""
        return self._open and self._loop.time() - self._frame_at < STALL_S

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self, take: FrameSink) -> None:
        """Open the microphone, unless it is muted; its frames go to ``take``, on the microphone's thread.

        Raises DeviceError if it cannot be opened.
        """
        self._take = take
        if self._muted:
            self._on_mute(True)
        else:
            await self._open_device()

    async def keep(self) -> None:
        """Keep the device as it is wanted until :meth:`stop`; returns early when a recording has ended.

        Raises DeviceError when only a new process can help.
        """
        attempt = 0
        while not self._over:
            if self._open and (self._lost is not None or self._muted):
                attempt = await self._let_go()
            if not self._open and not self._muted:
                if attempt:
                    await self._wait(reopen_delay(attempt))
                attempt = await self._try_to_open(attempt)
            else:
                self._settled.set()
                await self._wait(STALL_S / 3 if self._open else None)
                self._notice_stall()
                self._notice_fault()
                if self._open and not self._barren and self._lost is None:
                    self._health.well(PART)

    def reopen(self, why: str) -> None:
        """Take the microphone for lost, and open it again; but not one that is no device, such as a recording, which
        would begin anew."""
        if self._open and self._lost is None and self._microphone.steady:
            self._lost = DeviceError(why)
            self._changed.set()

    def stop(self) -> None:
        """Close the device for good. Safe to call twice."""
        self._opening += 1
        self._open = False
        self._microphone.stop()

    # --- mute -------------------------------------------------------------------------------------------------------

    async def mute(self, muted: bool) -> None:
        """Close the microphone until it is wanted again, also over restarts. Returns when the device is closed; or
        when it is open, or could not be opened at the first attempt.

        If this cannot be written down it holds all the same, and an error in the log says so.
        """
        if muted != self._muted:
            self._muted = muted
            self._on_mute(muted)
            self._settled.clear()
            self._changed.set()
            await self._write_down()
        await self._settled.wait()

    async def _write_down(self) -> None:
        async with self._writing:
            try:
                await asyncio.to_thread(self._mute_file.write, self._muted)  # as it is wanted by now
            except OSError as error:
                log.error("mute: a restart will not know of it: %s: check the disk and the state folder", error)

    # --- the device -------------------------------------------------------------------------------------------------

    def _notice_stall(self) -> None:
        wanted = self._open and not self._muted and self._microphone.steady
        if not wanted or self._lost is not None or self.delivers:
            return
        self._stalls += 1
        if self._stalls >= STALLS:
            raise StandsStill(f"{self.description} is open, and gives no sound: leaving, so that it is tried afresh")
        self._lost = DeviceError(f"no sound for {STALL_S:.0f} s")

    def _notice_fault(self) -> None:
        if (fault := self._microphone.fault) is not None:
            self._health.trouble(CHANNEL_PART, fault)
        elif self._open:
            self._health.well(CHANNEL_PART)

    async def _let_go(self) -> int:
        """Close the device; gives the number of the attempt that comes next: 0 is at once."""
        lost, self._lost = self._lost, None
        self._open = False
        self._opening += 1
        if lost is not None:
            self._health.trouble(PART, f"lost: {lost}")
        await asyncio.to_thread(self._microphone.stop)
        self._barren += lost is not None
        return 0 if lost is None else max(1, self._barren)

    async def _try_to_open(self, attempt: int) -> int:
        if self._muted:  # meanwhile
            return 0
        try:
            await self._open_device()
        except DeviceError as error:
            if error.exit_status == EXIT_RESTART:
                raise  # the sound system hangs, and only a new process gets out of it
            self._health.trouble(PART, f"cannot be opened: {error}")
            self._settled.set()
            return attempt + 1
        if self._barren < 2:
            self._health.well(PART)
        return 0

    async def _open_device(self) -> None:
        assert self._take is not None
        take = self._take
        self._opening += 1
        opening = self._opening
        offset = self.captured  # a stream that is opened again counts from 0; for everybody else the samples go on

        def on_frame(frame: AudioFrame) -> None:
            self._frame_at = self._loop.time()
            self._stalls = self._barren = 0
            frame = replace(frame, start=frame.start + offset) if offset else frame
            self.captured = frame.end
            take(frame)

        def on_end(error: DeviceError | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._ended, opening, error)

        await asyncio.to_thread(self._microphone.start, on_frame, on_end)
        self._frame_at = self._loop.time()
        self._open = True

    def _ended(self, opening: int, error: DeviceError | None) -> None:
        if opening != self._opening:
            return  # it was closed meanwhile
        if error is None:
            self._over = True
        else:
            self._lost = error
        self._changed.set()

    async def _wait(self, seconds: float | None) -> None:
        """Until something is wanted of the device, or for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()
