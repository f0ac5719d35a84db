"""What the speaker plays next: one answer, effects (earcons, alerts) on top of it, and media below it.

Time is the *position*: the number of samples pulled since the beginning, silence included. The answer is a queue of
items that play one after another::

    append(a) append(a) append(b) finish(a) finish(b)
        |
        v          pull(480) pull(480) ...
    [ a a a | b b b ] --> + --> clip to 16 bit --> the device
    [ wake earcon   ] --> +
    [ alert, looped ] --> +
    [ media         ] --> +      softer while there is anything above it

An item begins with its first sample, and is over once it is finished and all of its samples were pulled; the next one
then follows without a gap. An item that was stopped or is over takes no more audio: late deltas must never be heard.

Nothing clicks: whenever the answer breaks off, a ramp of 5 ms leads down to silence, and after an underrun another one
leads up again. Apart from these ramps every appended sample is played once, in order and unchanged (at volume 1, and
not ducked: see :meth:`Playout.duck`). What is too loud together is clipped, and never wraps around.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from assistant.core.media import Media
from assistant.core.mixing import FADE_MS, Bus, Channel, Clip, Fade, Gain, Samples
from assistant.types import SPEAKER_RATE, ItemId, ms_to_samples

LIMIT_MS: Final = 600_000
"""Audio that may wait to be played. An answer of ten minutes is a mistake; the rest of it is dropped and counted."""

LIMIT_ITEMS: Final = 256
"""Items that may wait, and as many that are remembered after their end."""

LIMIT_EFFECTS: Final = 16

DUCK_MS: Final = 20
"""How long the answer takes to become softer. It is a suspicion's whole effect, so it is quick."""

UNDUCK_MS: Final = 250
"""... and to come back: slowly enough not to startle."""

_HISTORY: Final = 10 * SPEAKER_RATE  # for how far back `played` knows; longer than any device holds samples


@dataclass(frozen=True, slots=True)
class ItemStarted:
    """The item's first sample is the one at ``position``."""

    item: ItemId
    position: int


@dataclass(frozen=True, slots=True)
class ItemFinished:
    """The item is over, and ``position`` is one past its last sample. ``samples`` is its length."""

    item: ItemId
    position: int
    samples: int


Mark: TypeAlias = ItemStarted | ItemFinished


@dataclass(frozen=True, slots=True)
class Stopped:
    """The items that were cut off, in order; :meth:`Playout.played` tells how much of each was played."""

    items: tuple[ItemId, ...]


@dataclass(slots=True)
class _Segment:
    item: ItemId
    chunks: deque[Samples] = field(default_factory=deque)
    queued: int = 0  # samples in `chunks`
    pulled: int = 0
    end: int = 0  # position one past the last sample that was pulled
    finished: bool = False
    half: bytes = b""  # first byte of a sample whose second byte is still to come


@dataclass(slots=True)
class _Run:
    """Samples of one item that were pulled without a break; positions."""

    item: ItemId
    start: int
    end: int


class Playout:
    """See the module's docstring. All PCM is 24 kHz int16 little endian mono. Not thread-safe: the owner locks.

    position: samples pulled so far.
    underruns: how often an item ran dry before it was finished.
    dropped_samples: what was refused because of the limits.
    """

    def __init__(self, *, limit_ms: int = LIMIT_MS, fade_ms: float = FADE_MS) -> None:
        self.position = 0
        self.underruns = 0
        self.dropped_samples = 0
        self._limit = ms_to_samples(limit_ms, SPEAKER_RATE)
        self._fade = Fade(fade_ms)
        self.media = Media(fade_ms=fade_ms)
        self.attentive = False
        """Whether somebody is being listened to, or waited for: media are softer then, as below an answer."""
        self._segments: dict[ItemId, _Segment] = {}  # in the order of playing
        self._ended: OrderedDict[ItemId, int] = OrderedDict()  # samples pulled of items that take no more audio
        self._queued = 0
        self._runs: deque[_Run] = deque()
        self._marks: list[Mark] = []
        self._effects: dict[str, Clip] = {}
        self._fading: list[Clip] = []
        self._last: int | None = None  # the answer's last sample, while it sounds without a break
        self._rising = self._fade.length  # samples of the way up after an underrun that are done
        self._held = False
        self._duck = Gain(DUCK_MS, UNDUCK_MS)
        self._volume = Gain(fade_ms, fade_ms)
        self._volumes = {channel: Gain(fade_ms, fade_ms) for channel in Channel}

    # --- the answer -------------------------------------------------------------------------------------------------

    def append(self, item: ItemId, pcm: bytes) -> bool:
        """Add audio to ``item``, which joins the end of the queue if it is new. Chunks may split a sample.

        False if nothing of the chunk is kept: the item is over already, or a limit is reached. (Above the limit of
        audio a new item still joins the queue, and ends in its turn.)
        """
        segment = self._segments.get(item)
        if item in self._ended or (segment is not None and segment.finished):
            return False
        if segment is None and len(self._segments) < LIMIT_ITEMS:
            segment = self._segments[item] = _Segment(item)
        if segment is None or self._queued + len(pcm) // 2 > self._limit:
            self.dropped_samples += len(pcm) // 2
            return False
        pcm = segment.half + pcm
        whole = len(pcm) & ~1
        segment.half = pcm[whole:]
        if whole:
            segment.chunks.append(np.frombuffer(pcm, "<i2", count=whole // 2))
            segment.queued += whole // 2
            self._queued += whole // 2
        return True

    def finish(self, item: ItemId) -> None:
        """No more audio will come for ``item``. Ignored for an item that is unknown or over."""
        if segment := self._segments.get(item):
            segment.finished = True
            self._end_complete_items()

    def stop(self) -> Stopped | None:
        """Drop the whole answer; effects go on. None if there was nothing to drop."""
        self._held = False
        if not self._segments:
            return None
        if self._last is not None:
            self._fade_out_answer()
        stopped = Stopped(tuple(self._segments))
        for segment in self._segments.values():
            self._remember(segment)
        self._segments.clear()
        self._queued = 0
        self._last = None
        return stopped

    def hold(self) -> None:
        """Be silent and keep the answer, until :meth:`resume` or :meth:`stop`."""
        if self._last is not None:
            self._fade_out_answer()
            self._last = None
        self._held = True

    def resume(self) -> None:
        """Go on with the first sample that was not played. Ignored if the answer is not held."""
        if self._held:
            self._held = False
            self._rising = 0

    def duck(self, db: float) -> None:
        """Make the answer softer by ``db`` from now on, 0 for as it was; earcons and alerts stay as they are."""
        self._duck.move(10 ** (-db / 20))

    def __contains__(self, item: ItemId) -> bool:
        """The item waits or plays."""
        return item in self._segments

    def played(self, item: ItemId, before: int | None = None) -> int:
        """How many samples of ``item`` lie before position ``before`` (default: all that were pulled).

        ``before`` may reach back ten seconds. 0 for an item that is unknown or forgotten.
        """
        segment = self._segments.get(item)
        count = segment.pulled if segment else self._ended.get(item, 0)
        if before is not None:
            for run in reversed(self._runs):
                if run.end <= before:
                    break
                if run.item == item:
                    count -= run.end - max(run.start, before)
        return count

    # --- effects ----------------------------------------------------------------------------------------------------

    def play_effect(
        self, effect_id: str, pcm: bytes, *, loop: bool = False, channel: Channel = Channel.ANSWERS
    ) -> bool:
        """Mix ``pcm`` in from now on, once or until stopped. The same id again starts anew.

        False if too many effects sound already.
        """
        samples = np.frombuffer(pcm, "<i2", count=len(pcm) // 2)
        if not samples.size or (effect_id not in self._effects and len(self._effects) >= LIMIT_EFFECTS):
            return False
        self.stop_effect(effect_id)
        self._effects[effect_id] = Clip(samples, loop, channel)
        return True

    def stop_effect(self, effect_id: str) -> None:
        """Fade an effect out. Ignored if it does not sound."""
        if (clip := self._effects.pop(effect_id, None)) and clip.at:
            self._let_fade(Clip(self._fade.out(clip.samples[clip.at :]), channel=clip.channel))

    def set_volume(self, gain: float, channel: Channel | None = None) -> None:
        """Factor for one channel, or on top of that for everything: 0.0 to 1.0; reached within one fade."""
        (self._volume if channel is None else self._volumes[channel]).move(gain)

    # --- the device -------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing sounds and nothing waits."""
        return not (self._segments or self._effects or self._fading) and self.media.idle

    @property
    def available(self) -> int:
        """Samples that can be pulled before the sound pauses or ends. Looping effects do not count: they never end."""
        answer = 0
        for segment in () if self._held else self._segments.values():
            answer += segment.queued
            if not segment.finished:
                break
        clips = [*self._effects.values(), *self._fading]
        return max([answer, self.media.available, *(clip.left for clip in clips if not clip.loop)])

    def take_marks(self) -> list[Mark]:
        """What happened to items since the last call, in order."""
        marks, self._marks = self._marks, []
        return marks

    def pull(self, samples: int) -> bytes:
        """The next ``samples`` samples, silence where there is nothing to play."""
        if self.idle and self._last is None:
            return self._pull_silence(samples)
        answered = bool(self._segments)
        answer = np.zeros(samples, np.int16)
        filled = 0 if self._held else self._pull_answer(answer)
        voice = self._duck.apply(answer.astype(np.float64))
        if filled < samples and self._last is not None:
            self._run_dry(filled)
        self.position += samples
        while self._runs and self._runs[0].end < self.position - _HISTORY:
            self._runs.popleft()
        media = self.media.pull(samples, ducked=self.attentive or answered or bool(self._effects))
        mix = self._volume.apply(self._mix(voice, media))
        return np.clip(np.rint(mix), -32768, 32767).astype("<i2").tobytes()

    def _pull_silence(self, samples: int) -> bytes:
        """Nearly all of the day: nothing is mixed, and volumes that are on their way go on."""
        self.position += samples
        self.media.pull(samples, ducked=self.attentive)
        for gain in (self._duck, self._volume, *self._volumes.values()):
            gain.skip(samples)
        return bytes(2 * samples)

    def _pull_answer(self, out: Samples) -> int:
        """Fill ``out`` from the queue as far as it goes, and give the number of samples written."""
        done = 0
        while self._segments:
            segment = next(iter(self._segments.values()))
            if not segment.chunks or done == out.size:
                break
            chunk = segment.chunks.popleft()
            part, rest = chunk[: out.size - done], chunk[out.size - done :]
            if rest.size:
                segment.chunks.appendleft(rest)
            if not segment.pulled:
                self._marks.append(ItemStarted(segment.item, self.position + done))
            out[done : done + part.size] = self._rise(part)
            self._count(segment, self.position + done, part.size)
            done += part.size
            self._end_complete_items()
        if done:
            self._last = int(out[done - 1])
        return done

    def _count(self, segment: _Segment, position: int, samples: int) -> None:
        segment.queued -= samples
        self._queued -= samples
        segment.pulled += samples
        segment.end = position + samples
        last = self._runs[-1] if self._runs else None
        if last and last.item == segment.item and last.end == position:
            last.end += samples
        else:
            self._runs.append(_Run(segment.item, position, position + samples))

    def _end_complete_items(self) -> None:
        """Retire what is finished and played at the head of the queue."""
        while (segment := next(iter(self._segments.values()), None)) and segment.finished and not segment.queued:
            del self._segments[segment.item]
            self._remember(segment)
            self._rising = self._fade.length  # the next item begins as it was made
            end = segment.end if segment.pulled else max(self.position, self._runs[-1].end if self._runs else 0)
            self._marks.append(ItemFinished(segment.item, end, segment.pulled))

    def _remember(self, segment: _Segment) -> None:
        self._ended[segment.item] = segment.pulled
        while len(self._ended) > LIMIT_ITEMS:
            self._ended.popitem(last=False)

    # --- nothing clicks ---------------------------------------------------------------------------------------------

    def _run_dry(self, at: int) -> None:
        """The answer breaks off ``at`` samples into this pull: by an underrun, or because it is over."""
        assert self._last is not None
        self._let_fade(Clip(self._fade.after(self._last * self._duck.now), delay=at))
        self._last = None
        head = next(iter(self._segments.values()), None)
        if head is not None and head.pulled:
            self.underruns += 1
            self._rising = 0

    def _rise(self, part: Samples) -> Samples:
        """Lead up from silence after an underrun."""
        done = self._rising
        self._rising = min(done + part.size, self._fade.length)
        return self._fade.rise(part, done)

    def _fade_out_answer(self) -> None:
        assert self._last is not None
        head = next(iter(self._segments.values()))
        coming = np.concatenate([*head.chunks, np.zeros(0, np.int16)])
        faded = self._fade.out(coming) if coming.size else self._fade.after(self._last)
        self._let_fade(Clip(np.rint(faded * self._duck.now).astype(np.int16)))
        self._rising = self._fade.length

    def _let_fade(self, clip: Clip) -> None:
        if clip.samples.size:
            self._fading.append(clip)

    def _mix(self, voice: Bus, media: Bus | None) -> Bus:
        """All channels together, each at its volume."""
        silence = np.zeros_like(voice)
        buses = {
            Channel.ANSWERS: voice,
            Channel.ALERTS: silence.copy(),
            Channel.MEDIA: silence if media is None else media,
        }
        self._effects = {name: clip for name, clip in self._effects.items() if clip.add_to(buses[clip.channel])}
        self._fading = [clip for clip in self._fading if clip.add_to(buses[clip.channel])]
        mix = np.zeros_like(voice)
        for channel, bus in buses.items():
            mix += self._volumes[channel].apply(bus)
        return mix
