"""Music under the conversation: exact to the sample, without a click, softer while somebody talks."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from assistant.core.media import LIMIT_TRACKS, Media, TrackId
from assistant.core.mixing import Channel
from assistant.core.playout import Playout
from assistant.types import ItemId

ANSWER = ItemId("answer")
MUSIC = TrackId(1)
NAMES = st.integers(1, LIMIT_TRACKS + 1).map(TrackId)


def steady(value: int, count: int) -> bytes:
    return np.full(count, value, dtype="<i2").tobytes()


def samples(data: bytes) -> list[int]:
    return np.frombuffer(data, "<i2").tolist()


def largest_step(*pulls: bytes) -> int:
    sound = np.frombuffer(b"".join(pulls), "<i2").astype(int)
    return int(np.abs(np.diff(np.concatenate(([0], sound)))).max())


class Exactness(RuleBasedStateMachine):
    """Without fades, what is pulled is the sum of what was appended, and no track holds more than it may."""

    LIMIT = 1200

    def __init__(self) -> None:
        super().__init__()
        self.media = Media(buffer_ms=self.LIMIT / 24, fade_ms=0)
        self.value = 0
        self.open: dict[TrackId, deque[int]] = {}
        self.finished: set[TrackId] = set()

    @rule(track=NAMES)
    def begin(self, track: TrackId) -> None:
        if track not in self.open:
            assert self.media.open(track) is (len(self.open) < LIMIT_TRACKS)
            if len(self.open) < LIMIT_TRACKS:
                self.open[track] = deque()

    @rule(track=NAMES, count=st.integers(0, 700))
    def append(self, track: TrackId, count: int) -> None:
        new = [(self.value + n) % 8000 - 4000 for n in range(count)]
        self.value += count
        fits = track in self.open and track not in self.finished and len(self.open[track]) + count <= self.LIMIT
        taken = self.media.append(track, np.array(new, "<i2").tobytes())
        if count:
            assert taken is fits
        if taken:
            self.open[track].extend(new)

    @rule(track=NAMES)
    def finish(self, track: TrackId) -> None:
        self.media.finish(track)
        if track in self.open:
            self.finished.add(track)
            self.retire()

    @rule(track=NAMES)
    def stop(self, track: TrackId) -> None:
        self.media.stop(track)
        self.open.pop(track, None)
        self.finished.discard(track)

    @rule(count=st.integers(0, 1000))
    def pull(self, count: int) -> None:
        expected = [0] * count
        for queue in self.open.values():
            for n in range(min(count, len(queue))):
                expected[n] += queue.popleft()
        pulled = self.media.pull(count, ducked=False)
        assert ([0] * count if pulled is None else pulled.tolist()) == expected
        self.retire()

    def retire(self) -> None:
        for track in [name for name in self.finished if not self.open[name]]:
            del self.open[track]
            self.finished.discard(track)

    @invariant()
    def books_balance(self) -> None:
        assert self.media.idle == (not self.open)
        assert self.media.available == max(map(len, self.open.values()), default=0)
        for track in map(TrackId, range(1, LIMIT_TRACKS + 2)):
            assert (track in self.media) == (track in self.open)
            playing = track in self.open and track not in self.finished
            assert self.media.room(track) == (self.LIMIT - len(self.open[track]) if playing else 0)


TestExactness = Exactness.TestCase


@given(
    st.lists(st.lists(st.integers(-32768, 32767), min_size=1, max_size=300), min_size=1, max_size=LIMIT_TRACKS),
    st.integers(-32768, 32767),
)
def test_what_is_too_loud_together_is_clipped_and_never_wraps(tracks: list[list[int]], answer: int) -> None:
    playout = Playout(fade_ms=0)
    playout.media.duck_db = 0.0
    playout.append(ANSWER, steady(answer, 300))
    sums = np.full(300, answer)
    for number, values in enumerate(tracks):
        playout.media.open(TrackId(number))
        playout.media.append(TrackId(number), np.array(values, "<i2").tobytes())
        sums[: len(values)] += values
    assert samples(playout.pull(300)) == np.clip(sums, -32768, 32767).tolist()


@given(
    pulls=st.lists(st.integers(1, 900), min_size=3, max_size=30),
    talks=st.lists(st.booleans(), min_size=30, max_size=30),
    feeds=st.lists(st.integers(0, 700), min_size=30, max_size=30),
    volumes=st.lists(st.sampled_from([None, 0.0, 0.3, 1.0]), min_size=30, max_size=30),
    end=st.sampled_from(["stop", "finish", "go on"]),
)
def test_nothing_clicks_whatever_happens_to_a_steady_sound(
    pulls: list[int], talks: list[bool], feeds: list[int], volumes: list[float | None], end: str
) -> None:
    """A steady sound moves only along ramps: 5 ms from 10000 to 0 is 130 a sample at its steepest."""
    playout = Playout()
    playout.media.open(MUSIC)
    heard, fed = [], False
    for pull, talk, feed, volume in zip(pulls, talks, feeds, volumes, strict=False):
        if feed > 120:  # a shorter piece falls before it has risen
            ramp = np.minimum(np.arange(feed) * 80, 10_000) if not fed else np.full(feed, 10_000)
            fed = True
            playout.media.append(MUSIC, ramp.astype("<i2").tobytes())
        playout.attentive = talk
        if volume is not None:
            playout.set_volume(volume, Channel.MEDIA)
        heard.append(playout.pull(pull))
    if end == "stop":
        playout.media.stop(MUSIC)
    elif end == "finish":
        playout.media.finish(MUSIC)
    heard += [playout.pull(3000) for _ in range(20)]
    assert largest_step(*heard) < 600  # several ramps may add up; a click is 10000
    assert playout.media.idle == (end != "go on")


def test_it_is_softer_while_somebody_is_listened_to_and_comes_back() -> None:
    playout = Playout()
    playout.media.duck_db = 20.0
    playout.media.open(MUSIC)
    playout.media.append(MUSIC, steady(10_000, 48_000))
    assert samples(playout.pull(480)) == [10_000] * 480
    playout.attentive = True
    down = samples(playout.pull(1200))
    assert down[-1] == 1000  # after 50 ms
    playout.attentive = False
    up = samples(playout.pull(12_001))
    assert up[11_900] < 10_000 == up[-1]  # after 500 ms
    assert max(np.abs(np.diff([10_000, *down, *up]))) <= 8


def test_an_answer_and_an_alert_go_over_it() -> None:
    playout = Playout(fade_ms=0)
    playout.media.duck_db = 20.0
    playout.media.open(MUSIC)
    playout.media.append(MUSIC, steady(10_000, 48_000))
    playout.append(ANSWER, steady(5_000, 2400))
    assert samples(playout.pull(2400))[-1] == 6_000
    playout.finish(ANSWER)
    playout.pull(12_000)
    assert samples(playout.pull(1)) == [10_000]
    playout.play_effect("alert", steady(2_000, 100), loop=True, channel=Channel.ALERTS)
    assert samples(playout.pull(2400))[-1] == 3_000


def test_a_track_that_stalls_is_silent_and_comes_back_without_a_click() -> None:
    playout = Playout()
    playout.media.open(MUSIC)
    playout.media.append(MUSIC, steady(10_000, 700))
    first = [playout.pull(480) for _ in range(3)]
    assert not any(samples(first[2]))
    assert playout.media.underruns == 1
    playout.media.append(MUSIC, steady(10_000, 480))
    playout.media.finish(MUSIC)
    rest = [playout.pull(480) for _ in range(2)]
    assert np.abs(np.diff([*samples(b"".join(first)), *samples(b"".join(rest))])).max() < 200
    assert samples(rest[0])[120:] == [10_000] * 360
    assert playout.media.underruns == 1, "an end is no underrun"
    assert playout.idle


@pytest.mark.parametrize("channel", list(Channel))
def test_each_channel_has_a_volume_of_its_own(channel: Channel) -> None:
    playout = Playout(fade_ms=0)
    playout.media.duck_db = 0.0
    playout.media.open(MUSIC)
    playout.media.append(MUSIC, steady(1000, 100))
    playout.append(ANSWER, steady(100, 100))
    playout.play_effect("alert", steady(10, 100), loop=True, channel=Channel.ALERTS)
    playout.set_volume(0.5, channel)
    expected = 1110 - {Channel.MEDIA: 500, Channel.ANSWERS: 50, Channel.ALERTS: 5}[channel]
    assert samples(playout.pull(50)) == [expected] * 50
    playout.set_volume(0.2)
    assert samples(playout.pull(50)) == [round(expected * 0.2)] * 50


def test_a_chunk_may_end_in_the_middle_of_a_sample() -> None:
    media = Media()
    media.open(MUSIC)
    for byte in np.array([258, 772], "<i2").tobytes():
        assert media.append(MUSIC, bytes([byte]))
    pulled = media.pull(2, ducked=False)
    assert pulled is not None
    assert pulled.tolist() == [258, 772]
