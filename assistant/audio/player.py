"""Plays the answer, earcons, alerts and media on a speaker, and reports what was *heard*.

::

    event loop                              lock               device thread
    play / finish / interrupt / earcon ──> Playout <── pull ── Speaker
    PlaybackStarted, PlaybackStopped  <── positions and times

A sample is heard ``Speaker.latency`` after it was pulled. Every item that was given to :meth:`Player.play` gets exactly
one PlaybackStopped: when its last sample has been heard, or when it is interrupted. Events arrive on the event loop,
in order, and never from within a call to the player, so a handler may call the player.

The player owns its speaker's device: ``start`` opens it, ``stop`` closes it; a start that fails leaves it closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from assistant.audio.ports import Speaker
from assistant.audio.reference import ReferenceBuffer
from assistant.core.media import TrackId
from assistant.core.mixing import Channel
from assistant.core.playout import ItemFinished, ItemStarted, Mark, Playout
from assistant.errors import DeviceError
from assistant.types import SPEAKER_RATE, AlertId, ItemId, Milliseconds, samples_to_ms

_PULLS: Final = 256  # remembered pulls: 5 s of 20 ms buffers, more than any device's latency
_EARCON: Final = "earcon"


@dataclass(frozen=True, slots=True)
class PlaybackStarted:
    """The first sample of an item is heard.

    at, asked_at, first_pull_at: seconds on the loop's clock: when it was heard, when its first chunk came to
        :meth:`Player.play`, and when its first sample was handed to the device.
    """

    item: ItemId
    at: float
    asked_at: float
    first_pull_at: float


@dataclass(frozen=True, slots=True)
class PlaybackStopped:
    """Nothing more of an item will be heard. ``played_ms`` is how much of it was."""

    item: ItemId
    played_ms: Milliseconds
    interrupted: bool
    at: float


@dataclass(frozen=True, slots=True)
class SpeakerLost:
    """The device is gone. Its items have been reported as interrupted; alerts ring on after the next ``start``."""

    error: DeviceError
    at: float


PlayerEvent: TypeAlias = PlaybackStarted | PlaybackStopped | SpeakerLost


@dataclass(frozen=True, slots=True)
class PlayerStats:
    """Since the player was made. underruns: how often an answer ran dry before its end."""

    underruns: int
    dropped_samples: int


@dataclass(slots=True)
class _Item:
    """An item whose PlaybackStopped is still to come."""

    asked_at: float
    first_pull_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Pull:
    position: int
    samples: int
    heard_at: float  # its first sample


@dataclass(frozen=True, slots=True)
class _Heard:
    """When a mark is heard, and when it was noticed on its way to the device."""

    at: float
    mark: Mark
    pulled_at: float


class Player:
    """See the module's docstring. All methods but start, stop and stats belong to the event loop's thread."""

    def __init__(
        self,
        speaker: Speaker,
        emit: Callable[[PlayerEvent], None],
        loop: asyncio.AbstractEventLoop,
        reference: ReferenceBuffer | None = None,
    ) -> None:
        """reference: is told everything that the device is handed, for echo cancellation."""
        self._speaker = speaker
        self._emit = emit
        self._loop = loop
        self._reference = reference
        self._lock = threading.Lock()  # around the playout and the pulls, for microseconds
        self._playout = Playout()
        self._pulls: deque[_Pull] = deque(maxlen=_PULLS)
        self._heard: list[_Heard] = []  # on its way from the device's thread to the loop's; under the lock
        self._items: dict[ItemId, _Item] = {}
        self._due: deque[_Heard] = deque()  # in the order of hearing
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        self._asked_at = 0.0  # when the device asked for samples, or was opened
        self._opening = 0  # counts starts, so that the end of an earlier stream is not taken for this one's

    # --- the device: may take seconds, so usable on any thread ------------------------------------------------------

    def start(self) -> None:
        """Open the speaker, also again after it was lost. Raises DeviceError if it cannot be opened."""
        self._speaker.stop()
        self._opening += 1
        opening = self._opening
        self._running = True
        self._asked_at = self._loop.time()
        try:
            self._speaker.start(self._pull, lambda error: self._call_on_loop(lambda: self._lost(opening, error)))
        except BaseException:
            self._running = False
            raise

    def stop(self) -> None:
        """Close the speaker. Items that were playing are reported as interrupted. Safe to call twice."""
        self._running = False
        self._opening += 1
        self._speaker.stop()
        try:
            on_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            on_loop = False
        if on_loop:
            self.interrupt()
        else:
            self._call_on_loop(self.interrupt)

    def waits_since(self) -> float | None:
        """When an open device asked for samples last, on the loop's clock; None while it is closed."""
        return self._asked_at if self._running else None

    @property
    def stats(self) -> PlayerStats:
        with self._lock:
            return PlayerStats(self._playout.underruns, self._playout.dropped_samples)

    # --- the answer -------------------------------------------------------------------------------------------------

    def play(self, item: ItemId, pcm: bytes) -> None:
        """Add audio to an item; a new item joins the end of the queue.

        Audio for an item that was stopped or is over is dropped. Without a running speaker the item ends at once.
        """
        with self._lock:
            self._playout.append(item, pcm)
            known = item in self._playout
        if known and item not in self._items:
            self._items[item] = _Item(asked_at=self._loop.time())
        if not self._running:
            self.interrupt()

    def finish(self, item: ItemId) -> None:
        """No more audio comes for this item; it ends when its last sample has been heard."""
        with self._lock:
            self._playout.finish(item)
            self._note_marks(self._loop.time())
        self._collect()

    def interrupt(self) -> None:
        """Silence the answer at once; effects go on. Every item that was not heard to its end is interrupted."""
        now = self._loop.time()
        while event := self._next_event(now):
            self._loop.call_soon(self._emit, event)
        with self._lock:
            self._playout.stop()
            heard = self._heard_position(now)
            played = {item: samples_to_ms(self._playout.played(item, heard), SPEAKER_RATE) for item in self._items}
        self._items.clear()
        self._due.clear()
        for item, played_ms in played.items():
            self._loop.call_soon(self._emit, PlaybackStopped(item, played_ms, True, now))

    def hold(self) -> None:
        """Silence the answer at once and keep the rest of it, for :meth:`resume` or :meth:`interrupt`."""
        with self._lock:
            self._playout.hold()

    def resume(self) -> None:
        """Go on where the answer was held."""
        with self._lock:
            self._playout.resume()

    def duck(self, db: float) -> None:
        """Make the answer softer by ``db``, smoothly; 0 for as it was. Earcons and alerts stay as they are."""
        with self._lock:
            self._playout.duck(db)

    # --- effects ----------------------------------------------------------------------------------------------------

    def earcon(self, pcm: bytes) -> None:
        """Play a short sound now, over whatever plays. It replaces an earcon that still sounds."""
        if self._running:
            with self._lock:
                self._playout.play_effect(_EARCON, pcm)

    def start_alert(self, alert: AlertId, pcm: bytes) -> None:
        """Repeat ``pcm`` until :meth:`stop_alert`."""
        with self._lock:
            self._playout.play_effect(f"alert {alert}", pcm, loop=True, channel=Channel.ALERTS)

    def stop_alert(self, alert: AlertId) -> None:
        with self._lock:
            self._playout.stop_effect(f"alert {alert}")

    # --- media: tracks of plugins, under everything else ------------------------------------------------------------

    def open_track(self, track: TrackId) -> bool:
        """Begin a track. It goes on where it was when a speaker that was lost is back. False if too many play."""
        with self._lock:
            return self._playout.media.open(track)

    def feed_track(self, track: TrackId, pcm: bytes) -> bool:
        """Add audio to a track. False, and nothing is kept, if there is no room for all of it; try again later."""
        with self._lock:
            return self._playout.media.append(track, pcm)

    def finish_track(self, track: TrackId) -> None:
        """No more audio comes; the track is over when its last sample was pulled."""
        with self._lock:
            self._playout.media.finish(track)

    def stop_track(self, track: TrackId) -> None:
        """Silence a track at once. Ignored if it is over."""
        with self._lock:
            self._playout.media.stop(track)

    def has_track(self, track: TrackId) -> bool:
        """Whether it plays, or would if it had something."""
        with self._lock:
            return track in self._playout.media

    def attend(self, attentive: bool) -> None:
        """Make media softer while somebody is listened to or waited for, as they are below an answer or an alert."""
        with self._lock:
            self._playout.attentive = attentive

    # --- all of it --------------------------------------------------------------------------------------------------

    def set_volume(self, gain: float, channel: Channel | None = None) -> None:
        """Factor for one channel, or on top of that for everything that plays: 0.0 to 1.0."""
        with self._lock:
            self._playout.set_volume(gain, channel)

    def available(self) -> int:
        """Samples that can be pulled before the sound pauses or ends; for a speaker that writes no silence."""
        with self._lock:
            return self._playout.available

    # --- on the device's thread -------------------------------------------------------------------------------------

    def _pull(self, samples: int) -> bytes:
        now = self._asked_at = self._loop.time()
        with self._lock:
            latency = self._speaker.latency
            self._pulls.append(_Pull(self._playout.position, samples, now + latency))
            pcm = self._playout.pull(samples)
            noted = self._note_marks(now)
        if self._reference is not None:
            self._reference.played(pcm, now, latency)
        if noted:
            self._call_on_loop(self._collect)
        return pcm

    def _note_marks(self, now: float) -> bool:
        """Work out when the new marks are heard; under the lock."""
        marks = self._playout.take_marks()
        self._heard += [_Heard(self._heard_at(mark), mark, now) for mark in marks]
        return bool(marks)

    def _call_on_loop(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(function)

    # --- when a sample is heard -------------------------------------------------------------------------------------

    def _heard_at(self, mark: Mark) -> float:
        """The time at which the mark's position is heard; long ago if it was pulled too long ago to tell."""
        first = mark.position if isinstance(mark, ItemStarted) else mark.position - 1  # an end is one past a sample
        for pull in reversed(self._pulls):
            if pull.position <= first:
                return pull.heard_at + (mark.position - pull.position) / SPEAKER_RATE
        return 0.0

    def _heard_position(self, now: float) -> int:
        """All samples before this position have been heard."""
        for pull in reversed(self._pulls):
            if now >= pull.heard_at:
                return pull.position + min(pull.samples, round((now - pull.heard_at) * SPEAKER_RATE))
        return 0

    # --- on the loop's thread ---------------------------------------------------------------------------------------

    def _collect(self) -> None:
        with self._lock:
            noted, self._heard = self._heard, []
        for heard in noted:
            item = self._items.get(heard.mark.item)
            if item is None:
                continue  # interrupted meanwhile
            if isinstance(heard.mark, ItemStarted):
                item.first_pull_at = heard.pulled_at
            self._due.append(heard)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            self._timer = self._loop.call_at(self._due[0].at, self._report)

    def _report(self) -> None:
        self._timer = None
        while event := self._next_event(self._loop.time()):
            self._emit(event)
        self._arm()

    def _next_event(self, now: float) -> PlaybackStarted | PlaybackStopped | None:
        """Take the next event that is due."""
        if not self._due or self._due[0].at > now + 1e-6:  # timers may fire a little early
            return None
        mark = self._due.popleft().mark
        if isinstance(mark, ItemFinished):
            del self._items[mark.item]
            return PlaybackStopped(mark.item, samples_to_ms(mark.samples, SPEAKER_RATE), False, now)
        item = self._items[mark.item]
        return PlaybackStarted(mark.item, now, item.asked_at, item.first_pull_at)

    def _lost(self, opening: int, error: DeviceError | None) -> None:
        if opening != self._opening:
            return  # the end of a stream that was stopped on purpose
        self._running = False
        self._opening += 1
        self.interrupt()
        lost = SpeakerLost(error or DeviceError("the speaker ended its stream"), self._loop.time())
        self._loop.call_soon(self._emit, lost)
