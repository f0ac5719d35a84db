"""The board on which plugins' sounds lie: under the conversation, softer while it goes on, silent when "stop" is said.

::

    Context.play ── put ──> SoundTrack ── feed_track ──> Player
    Journal ── state ──> Player.attend            ── stop ──> every track ends

A track holds two seconds of audio in the player; whoever puts more waits. A stream that stalls is silent meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from assistant.adapters.sound_files import open_sound
from assistant.audio.player import Player
from assistant.audio.resample import StreamResampler
from assistant.core.media import LIMIT_TRACKS, TrackId
from assistant.core.policy import State
from assistant.errors import HearthError, ToolError
from assistant.plugin.sounds import SoundFile
from assistant.types import SPEAKER_RATE

LOOK_S: Final = 0.1
"""How often somebody who waits looks for room: cheaper than a call from the device's thread at every buffer."""

PIECE_MS: Final = 200
"""What is given to the player at once."""

RATES: Final = range(4000, 192_001)


class SoundBoard:
    """The ``Sounds`` that plugins get. Subscribe :meth:`hear` to the journal."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._numbers = itertools.count(1)
        self._tracks: dict[TrackId, SoundTrack] = {}

    # --- what plugins call ---

    def open(self, rate: int, on_dismissed: Callable[[], None]) -> SoundTrack:
        """A new track. Raises ToolError if too many play already, or if no sound has such a rate."""
        if rate not in RATES:
            raise ToolError(f"a sound has {RATES.start} to {RATES.stop - 1} samples per second, not {rate}")
        number = TrackId(next(self._numbers))
        if not self._player.open_track(number):
            raise ToolError(f"{LIMIT_TRACKS} sounds play already: stop one of them first")
        track = SoundTrack(number, rate, self._player, on_dismissed, self._forget)
        self._tracks[number] = track
        return track

    def open_file(self, path: str) -> SoundFile:
        """Blocks, on any thread. Raises ToolError, in one line, if it is no sound file."""
        try:
            return open_sound(Path(path))
        except HearthError as error:
            raise ToolError(str(error)) from error

    # --- what the house tells ---

    def hear(self, entry: Mapping[str, Any]) -> None:
        """For the journal: media are softer while there is a conversation, and end when the user wants quiet."""
        match entry:
            case {"kind": "state", "name": state}:
                self._player.attend(state != State.IDLE.value)
            case {"kind": "event", "name": "stop_requested"} | {"kind": "note", "name": "hush"}:
                self.stop()

    def stop(self) -> None:
        """End every sound: the user wants quiet."""
        for track in tuple(self._tracks.values()):
            track.stop()
            track.on_dismissed()

    def _forget(self, number: TrackId) -> None:
        self._tracks.pop(number, None)


class SoundTrack:
    """One sound's place in the mix."""

    def __init__(
        self,
        number: TrackId,
        rate: int,
        player: Player,
        on_dismissed: Callable[[], None],
        on_over: Callable[[TrackId], None],
    ) -> None:
        self.on_dismissed = on_dismissed
        self._number = number
        self._player = player
        self._on_over = on_over
        self._resampler = StreamResampler(rate, SPEAKER_RATE)
        self._piece = 2 * rate * PIECE_MS // 1000  # bytes

    async def put(self, pcm: bytes) -> None:
        """Add int16 mono; waits while the player holds enough. Cancelled half-way, a part of it will play."""
        for start in range(0, len(pcm), self._piece):
            await self._feed(self._resampler.feed(pcm[start : start + self._piece]))

    async def drain(self) -> None:
        """No more comes: wait until the last sample was played."""
        await self._feed(self._resampler.flush())
        self._player.finish_track(self._number)
        while self._player.has_track(self._number):  # noqa: ASYNC110  see LOOK_S
            await asyncio.sleep(LOOK_S)
        self._on_over(self._number)

    def stop(self) -> None:
        """Silence it at once. Harmless when it is over."""
        self._player.stop_track(self._number)
        self._on_over(self._number)

    async def _feed(self, pcm: bytes) -> None:
        while pcm and self._player.has_track(self._number):
            if self._player.feed_track(self._number, pcm):
                break
            await asyncio.sleep(LOOK_S)
