"""What plays under the conversation: tracks of music and sounds, mixed, and softer while somebody talks. PURE.

A track is filled from one side and pulled from the other, and holds two seconds at most::

    append ──> [ t t t ] ──┐
    append ──> [ u u   ] ──┴─> + ──> duck ──> volume ──> the mix

A track that runs dry is silent until more comes; nothing else waits for it. Nothing clicks: wherever a track breaks
off, a ramp of 5 ms leads down, and after a pause another one leads up. Apart from these ramps every sample that was
appended is played once, in order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NewType

import numpy as np

from assistant.core.mixing import FADE_MS, Bus, Clip, Fade, Gain, Samples
from assistant.types import SPEAKER_RATE, ms_to_samples

TrackId = NewType("TrackId", int)

LIMIT_TRACKS: Final = 4

BUFFER_MS: Final = 2000
"""What a track holds at most: enough for a stream with hiccups and a busy machine, little enough to forget."""

DUCK_DB: Final = 15.0
"""How much softer media are while the assistant listens or speaks, unless told otherwise."""

DUCK_MS: Final = 50
UNDUCK_MS: Final = 500


@dataclass(slots=True)
class _Track:
    chunks: deque[Samples] = field(default_factory=deque)
    queued: int = 0
    finished: bool = False
    last: int | None = None  # its last sample, while it sounds without a break
    rising: int | None = None  # samples of the way up after a pause that are done; None at its beginning
    half: bytes = b""  # first byte of a sample whose second byte is still to come


class Media:
    """See the module's docstring. All PCM is 24 kHz int16 little endian mono. Not thread-safe: the owner locks."""

    def __init__(self, *, buffer_ms: float = BUFFER_MS, fade_ms: float = FADE_MS) -> None:
        self.underruns = 0
        """How often a track ran dry before it was finished."""
        self.duck_db = DUCK_DB
        self._limit = ms_to_samples(buffer_ms, SPEAKER_RATE)
        self._fade = Fade(fade_ms)
        self._tracks: dict[TrackId, _Track] = {}
        self._fading: list[Clip] = []
        self._duck = Gain(DUCK_MS, UNDUCK_MS)

    def open(self, track: TrackId) -> bool:
        """Begin a track. False if too many play already."""
        if len(self._tracks) >= LIMIT_TRACKS:
            return False
        self._tracks[track] = _Track()
        return True

    def __contains__(self, track: TrackId) -> bool:
        """The track plays, or would if it had something."""
        return track in self._tracks

    def room(self, track: TrackId) -> int:
        """Samples that the track still takes; 0 also when it is over."""
        found = self._tracks.get(track)
        return self._limit - found.queued if found and not found.finished else 0

    def append(self, track: TrackId, pcm: bytes) -> bool:
        """Add audio. Chunks may split a sample. False, and nothing is kept, if there is no room for all of it."""
        found = self._tracks.get(track)
        if found is None or len(pcm) // 2 > self.room(track):
            return False
        pcm = found.half + pcm
        whole = len(pcm) & ~1
        found.half = pcm[whole:]
        if whole:
            found.chunks.append(np.frombuffer(pcm, "<i2", count=whole // 2))
            found.queued += whole // 2
        return True

    def finish(self, track: TrackId) -> None:
        """No more comes; the track is over when its last sample was pulled. Ignored if it is over."""
        if found := self._tracks.get(track):
            found.finished = True
            if not found.queued:
                self.stop(track)

    def stop(self, track: TrackId) -> None:
        """Silence a track at once and forget it. Ignored if it is over."""
        found = self._tracks.pop(track, None)
        if found is None or found.last is None:
            return
        coming = np.concatenate([np.zeros(0, np.int16), *found.chunks])[: self._fade.length]
        if found.rising is not None:  # it is still on its way up, and turns round there
            coming = self._fade.rise(coming, found.rising)
        # Where little is left its last sample is held, or the way down would be steep.
        held = np.full(self._fade.length - coming.size, coming[-1] if coming.size else found.last, np.int16)
        self._let_fade(self._fade.out(np.concatenate((coming, held))))

    @property
    def idle(self) -> bool:
        """Nothing sounds and nothing waits."""
        return not (self._tracks or self._fading)

    @property
    def available(self) -> int:
        """Samples that can be pulled before all of it pauses or ends."""
        return max([0, *(track.queued for track in self._tracks.values()), *(clip.left for clip in self._fading)])

    def pull(self, samples: int, *, ducked: bool) -> Bus | None:
        """The next ``samples`` samples of all tracks together; None for silence.

        ducked: whether somebody listens or speaks.
        """
        self._duck.move(10 ** (-self.duck_db / 20) if ducked else 1.0)
        if self.idle:
            self._duck.skip(samples)
            return None
        bus = np.zeros(samples)
        for name, track in tuple(self._tracks.items()):
            self._pull_track(track, bus)
            if track.finished and not track.queued:
                del self._tracks[name]
        self._fading = [clip for clip in self._fading if clip.add_to(bus)]
        return self._duck.apply(bus)

    def _pull_track(self, track: _Track, bus: Bus) -> None:
        done = 0
        while track.chunks and done < bus.size:
            chunk = track.chunks.popleft()
            part, rest = chunk[: bus.size - done], chunk[bus.size - done :]
            if rest.size:
                track.chunks.appendleft(rest)
            track.queued -= part.size
            if track.rising is not None:
                part, track.rising = self._fade.rise(part, track.rising), track.rising + part.size
            track.last = int(part[-1])
            bus[done : done + part.size] += part
            done += part.size
        over = track.finished and not track.queued
        if track.last is not None and (done < bus.size or over):
            self._let_fade(self._fade.after(track.last), done)
            track.last, track.rising = None, 0
            self.underruns += not over

    def _let_fade(self, samples: Samples, delay: int = 0) -> None:
        if samples.size:
            self._fading.append(Clip(samples, delay=delay))
