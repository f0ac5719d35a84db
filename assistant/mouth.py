"""The speaker over months: opened again whenever it is lost, or takes nothing any more."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Final

from assistant.audio.player import Player
from assistant.core.backoff import reopen_delay
from assistant.errors import EXIT_RESTART, DeviceError, HearthError
from assistant.health import Health

PART: Final = "speaker"

STALL_S: Final = 3.0
"""A speaker that is open and asks for no samples for so long is opened again."""

STALLS: Final = 3
"""So many times in a row; then only a new process can help."""


class StandsStill(HearthError):
    """The speaker can be opened, and takes nothing, over and over."""

    exit_status = EXIT_RESTART


class Mouth:
    """Keeps a player's device open. Belongs to the event loop; the device is opened on threads."""

    def __init__(self, player: Player, lost: asyncio.Event, health: Health) -> None:
        """lost: set by whoever hears that the device has gone."""
        self._player = player
        self._lost = lost
        self._health = health
        self._loop = asyncio.get_running_loop()

    async def keep(self) -> None:
        """Open the speaker again whenever it is needed, until cancelled. Raises DeviceError or StandsStill when only a
        new process can help."""
        stalls = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STALL_S / 3):
                    await self._lost.wait()
            if self._lost.is_set():
                self._lost.clear()
                self._health.trouble(PART, "lost")
            elif self._stands_still():
                stalls += 1
                if stalls >= STALLS:
                    raise StandsStill("the speaker is open, and takes no sound: leaving, so that it is tried afresh")
                self._health.trouble(PART, f"took no sound for {STALL_S:.0f} s")
            else:
                continue
            opened_at = self._loop.time()
            await self._open_again()
            if self._loop.time() - opened_at > STALL_S * 3:
                stalls = 0

    def _stands_still(self) -> bool:
        since = self._player.waits_since()
        return since is not None and self._loop.time() - since > STALL_S

    async def _open_again(self) -> None:
        for attempt in itertools.count(1):
            await asyncio.sleep(reopen_delay(attempt))
            try:
                await asyncio.to_thread(self._player.start)
            except DeviceError as error:
                if error.exit_status == EXIT_RESTART:
                    raise  # the sound system hangs
                self._health.trouble(PART, f"cannot be opened: {error}")
            else:
                self._health.well(PART)
                return
