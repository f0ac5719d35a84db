from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from assistant.core.mixing import Channel
from assistant.core.playout import LIMIT_EFFECTS, LIMIT_ITEMS, ItemFinished, ItemStarted, Mark, Playout, Stopped
from assistant.types import ItemId

A, B, C = ItemId("a"), ItemId("b"), ItemId("c")
ITEMS = st.sampled_from([ItemId(name) for name in "abcdefgh"])


def pcm(*samples: int) -> bytes:
    return np.array(samples, dtype="<i2").tobytes()


def steady(value: int, count: int) -> bytes:
    return np.full(count, value, dtype="<i2").tobytes()


def samples(data: bytes) -> list[int]:
    return np.frombuffer(data, "<i2").tolist()


class Exactness(RuleBasedStateMachine):
    """Without fades, what is pulled is what was appended, and the books balance."""

    def __init__(self) -> None:
        super().__init__()
        self.playout = Playout(fade_ms=0)
        self.value = 0
        self.waiting: dict[ItemId, list[int]] = {}
        self.finished: set[ItemId] = set()
        self.over: set[ItemId] = set()
        self.pulled: dict[ItemId, list[int]] = {}  # item -> positions of its samples
        self.position = 0
        self.marks: list[Mark] = []
        self.effect: list[int] = []

    @rule(item=ITEMS, count=st.integers(0, 700))
    def append(self, item: ItemId, count: int) -> None:
        new = [(self.value + n) % 20_000 - 10_000 for n in range(count)]
        self.value += count
        welcome = item not in self.over and item not in self.finished
        assert self.playout.append(item, pcm(*new)) is welcome
        if welcome:
            self.waiting.setdefault(item, []).extend(new)

    @rule(item=ITEMS)
    def finish(self, item: ItemId) -> None:
        self.playout.finish(item)
        if item in self.waiting:
            self.finished.add(item)
            self.retire()

    @rule()
    def stop(self) -> None:
        stopped = self.playout.stop()
        assert stopped == (Stopped(tuple(self.waiting)) if self.waiting else None)
        self.over |= self.waiting.keys()
        self.waiting.clear()

    @precondition(lambda self: not self.effect)
    @rule(count=st.integers(1, 600))
    def play_effect(self, count: int) -> None:
        self.effect = [(7 * n) % 500 for n in range(count)]
        assert self.playout.play_effect("beep", pcm(*self.effect))

    @rule(count=st.integers(0, 1000))
    def pull(self, count: int) -> None:
        before = self.playout.available
        expected: list[int] = []
        while self.waiting and len(expected) < count:
            item, queue = next(iter(self.waiting.items()))
            if not queue:
                break
            take = queue[: count - len(expected)]
            del queue[: len(take)]
            start = self.position + len(expected)
            self.pulled.setdefault(item, []).extend(range(start, start + len(take)))
            expected += take
            self.retire()
        assert min(before, count) >= len(expected)
        expected += [0] * (count - len(expected))
        for n, value in enumerate(self.effect[:count]):
            expected[n] += value
        self.effect = self.effect[count:]
        assert samples(self.playout.pull(count)) == expected
        self.position += count

    @rule(back=st.integers(0, 3000))
    def ask_what_was_heard(self, back: int) -> None:
        before = self.position - back
        for item, positions in self.pulled.items():
            assert self.playout.played(item, before) == sum(position < before for position in positions)

    def retire(self) -> None:
        while self.waiting:
            item, queue = next(iter(self.waiting.items()))
            if queue or item not in self.finished:
                break
            del self.waiting[item]
            self.over.add(item)

    @invariant()
    def books_balance(self) -> None:
        self.marks += self.playout.take_marks()
        assert self.playout.position == self.position
        assert self.playout.idle == (not self.waiting and not self.effect)
        assert self.playout.dropped_samples == 0
        for item, positions in self.pulled.items():
            assert self.playout.played(item) == len(positions)
        started = {mark.item: mark.position for mark in self.marks if isinstance(mark, ItemStarted)}
        assert started == {item: positions[0] for item, positions in self.pulled.items()}
        ended = [mark for mark in self.marks if isinstance(mark, ItemFinished)]
        assert len({mark.item for mark in ended}) == len(ended)
        for mark in ended:
            positions = self.pulled.get(mark.item, [])
            assert mark.samples == len(positions)
            assert mark.position == positions[-1] + 1 if positions else mark.position <= self.position


TestExactness = Exactness.TestCase


def largest_step(*pulls: bytes) -> int:
    sound = np.frombuffer(b"".join(pulls), "<i2").astype(int)
    return int(np.abs(np.diff(np.concatenate((sound, [0])))).max())


def test_items_follow_each_other_without_a_gap_even_within_one_pull() -> None:
    playout = Playout()
    playout.append(A, pcm(1, 2, 3))
    playout.append(B, pcm(4, 5))
    playout.finish(A)
    assert samples(playout.pull(5)) == [1, 2, 3, 4, 5]
    assert playout.take_marks() == [ItemStarted(A, 0), ItemFinished(A, 3, 3), ItemStarted(B, 3)]
    assert playout.take_marks() == []


def test_an_item_waits_for_the_one_before_it_to_be_finished() -> None:
    playout = Playout()
    playout.append(A, pcm(1))
    playout.append(B, pcm(9))
    playout.pull(1000)
    assert playout.played(B) == 0
    playout.finish(A)
    assert samples(playout.pull(1)) == [9]


def test_a_stop_is_a_short_fade_and_then_silence() -> None:
    playout = Playout()
    playout.append(A, steady(10_000, 24_000))
    first = playout.pull(480)
    assert playout.stop() == Stopped((A,))
    rest = playout.pull(480)
    assert largest_step(first, rest) < 200
    assert not any(samples(rest)[120:])
    assert any(samples(rest)[:100])
    assert playout.played(A) == 480  # the fade is a courtesy, not a part of the answer
    assert not playout.append(A, steady(1, 10))
    assert not any(samples(playout.pull(480)))


@pytest.mark.parametrize("count", [480, 300])  # the answer ends at the edge of a pull, and within one
def test_an_underrun_does_not_click_and_is_counted_once(count: int) -> None:
    playout = Playout()
    playout.append(A, steady(10_000, count))
    pulls = [playout.pull(480) for _ in range(3)]
    assert playout.underruns == 1
    playout.append(A, steady(10_000, 480))
    pulls += [playout.pull(480), playout.pull(480)]
    assert largest_step(*pulls) < 200
    assert playout.underruns == 2
    assert samples(pulls[3])[120:] == [10_000] * 360  # risen again; the rest is untouched


def test_waiting_for_the_first_sample_and_a_natural_end_are_no_underruns() -> None:
    playout = Playout()
    playout.append(A, b"")
    playout.pull(480)
    playout.append(A, steady(10_000, 500))
    playout.finish(A)
    pulls = [playout.pull(480), playout.pull(480)]
    assert playout.underruns == 0
    assert samples(b"".join(pulls))[:500] == [10_000] * 500
    assert largest_step(*pulls) < 200


def test_an_item_that_is_finished_late_ends_where_its_last_sample_was() -> None:
    playout = Playout()
    playout.append(A, pcm(1, 2, 3))
    for _ in range(60 * 50):  # a minute
        playout.pull(480)
    playout.take_marks()
    playout.finish(A)
    assert playout.take_marks() == [ItemFinished(A, 3, 3)]


def test_an_item_without_audio_ends_when_its_turn_comes() -> None:
    playout = Playout()
    playout.append(A, pcm(1, 2))
    playout.append(B, b"")
    playout.finish(B)
    playout.finish(A)
    assert playout.take_marks() == []
    playout.pull(10)
    assert playout.take_marks() == [ItemStarted(A, 0), ItemFinished(A, 2, 2), ItemFinished(B, 2, 0)]


def test_a_chunk_may_end_in_the_middle_of_a_sample() -> None:
    playout = Playout()
    sound = pcm(258, 772, 1286)
    for byte in range(6):
        playout.append(A, sound[byte : byte + 1])
    assert samples(playout.pull(3)) == [258, 772, 1286]


def test_mixing_saturates_instead_of_wrapping_around() -> None:
    playout = Playout()
    playout.append(A, pcm(30_000, -30_000, 5))
    playout.play_effect("beep", pcm(10_000, -10_000, 6))
    assert samples(playout.pull(3)) == [32_767, -32_768, 11]


def test_a_looped_effect_goes_on_through_a_stop_and_fades_when_stopped_itself() -> None:
    playout = Playout()
    playout.play_effect("alert", steady(8_000, 100), loop=True)
    playout.append(A, pcm(1))
    playout.stop()
    before = playout.pull(250)
    assert samples(before) == [8_000] * 250
    playout.stop_effect("alert")
    playout.stop_effect("alert")
    after = playout.pull(480)
    assert largest_step(before, after) < 400
    assert playout.idle
    assert playout.available == 0


def test_the_same_effect_again_starts_anew() -> None:
    playout = Playout(fade_ms=0)
    playout.play_effect("beep", pcm(1, 2, 3, 4))
    assert samples(playout.pull(2)) == [1, 2]
    playout.play_effect("beep", pcm(5, 6))
    assert samples(playout.pull(4)) == [5, 6, 0, 0]


def test_absurd_amounts_are_refused_and_counted() -> None:
    playout = Playout(limit_ms=1000)
    assert playout.append(A, steady(1, 24_000))
    assert not playout.append(A, steady(1, 10))
    assert not playout.append(B, steady(1, 5))
    assert playout.dropped_samples == 15
    assert B in playout  # without audio, but it will end in its turn like any other
    playout.pull(480)
    assert playout.append(A, steady(1, 480))
    for n in range(LIMIT_ITEMS + 10):
        playout.append(ItemId(f"item {n}"), b"")
    stopped = playout.stop()
    assert stopped is not None
    assert len(stopped.items) == LIMIT_ITEMS
    assert [playout.play_effect(str(n), pcm(1)) for n in range(LIMIT_EFFECTS + 1)].count(False) == 1


def test_volume_changes_without_a_click() -> None:
    playout = Playout()
    playout.append(A, steady(10_000, 2_000))
    first = playout.pull(480)
    playout.set_volume(0.25)
    second = playout.pull(480)
    assert samples(second)[-1] == 2_500
    assert largest_step(first, second, playout.pull(1040), playout.pull(200)) < 200


@pytest.mark.parametrize(("channel", "expected"), [(Channel.ANSWERS, 510), (Channel.ALERTS, 1005)])
def test_answers_and_alerts_have_volumes_of_their_own_below_the_one_of_all(channel: Channel, expected: int) -> None:
    playout = Playout(fade_ms=0)
    playout.append(A, steady(1000, 100))
    playout.play_effect("alert", steady(10, 100), loop=True, channel=Channel.ALERTS)
    playout.set_volume(0.5, channel)
    assert samples(playout.pull(50)) == [expected] * 50
    playout.set_volume(0.2)
    assert samples(playout.pull(50)) == [expected // 5] * 50


@pytest.mark.parametrize("channel", list(Channel))
def test_a_channel_changes_its_volume_without_a_click(channel: Channel) -> None:
    playout = Playout()
    playout.play_effect("tone", steady(10_000, 100), loop=True, channel=channel)
    first = playout.pull(480)
    playout.set_volume(0.0, channel)
    rest = [playout.pull(50) for _ in range(10)]
    assert largest_step(first, *rest) < 200
    assert not any(samples(rest[-1]))


def test_what_an_alert_leaves_behind_keeps_its_volume() -> None:
    playout = Playout()
    playout.set_volume(0.1, Channel.ALERTS)
    playout.play_effect("alert", steady(10_000, 100), loop=True, channel=Channel.ALERTS)
    playout.pull(480)
    playout.stop_effect("alert")
    assert max(samples(playout.pull(480))) <= 1000


def test_the_volume_of_all_comes_before_clipping() -> None:
    """Two loud sounds that fit at the volume of the moment are not distorted."""
    playout = Playout(fade_ms=0)
    playout.set_volume(0.5)
    playout.append(A, steady(30_000, 10))
    playout.play_effect("beep", steady(20_000, 10))
    assert samples(playout.pull(10)) == [25_000] * 10


# --- ducking ---------------------------------------------------------------------------------------------------------


def test_ducking_makes_the_answer_softer_without_a_click_and_brings_it_back() -> None:
    playout = Playout()
    playout.append(A, steady(10_000, 48_000))
    playout.pull(480)
    playout.duck(20.0)
    down = samples(playout.pull(960))
    assert down[479] == down[-1] == 1000  # after 20 ms
    assert 0 < max(np.abs(np.diff([10_000, *down]))) <= 20
    playout.duck(0.0)
    up = samples(playout.pull(6480))
    assert max(np.abs(np.diff([1000, *up]))) <= 2
    assert up[5998] < 10_000 == up[6000]  # after 250 ms
    assert playout.played(A) == 480 + 960 + 6480


def test_an_answer_that_is_held_goes_on_where_it_was_without_a_click() -> None:
    playout = Playout()
    playout.append(A, steady(10_000, 4800))
    playout.finish(A)
    playout.pull(960)
    playout.hold()
    fading = samples(playout.pull(960))
    assert max(np.abs(np.diff([10_000, *fading]))) < 200 and fading[-1] == 0
    assert playout.available == 0 and not playout.idle
    assert samples(playout.pull(2400)) == [0] * 2400
    assert playout.played(A) == 960, "what faded away is not counted as heard"
    playout.resume()
    rising = samples(playout.pull(960))
    assert max(np.abs(np.diff([0, *rising]))) < 200 and rising[-1] == 10_000
    playout.pull(4800)
    assert playout.played(A) == 4800 and playout.underruns == 0


def test_audio_that_comes_while_the_answer_is_held_waits() -> None:
    playout = Playout()
    playout.append(A, steady(1000, 480))
    playout.hold()
    playout.append(A, steady(2000, 480))
    playout.finish(A)
    assert samples(playout.pull(960)) == [0] * 960 and playout.take_marks() == []
    playout.resume()
    assert samples(playout.pull(960))[-480:] == [2000] * 480


def test_what_is_stopped_while_it_is_held_holds_nothing_back_later() -> None:
    playout = Playout()
    playout.append(A, steady(1000, 960))
    playout.pull(480)
    playout.hold()
    playout.stop()
    playout.append(B, steady(2000, 480))
    assert samples(playout.pull(480))[-1] == 2000


def test_resuming_what_is_not_held_changes_nothing() -> None:
    playout = Playout()
    playout.append(A, steady(1000, 960))
    playout.pull(480)
    playout.resume()
    assert samples(playout.pull(480)) == [1000] * 480


def test_ducking_leaves_earcons_alone() -> None:
    playout = Playout()
    playout.duck(20.0)
    playout.pull(960)
    playout.append(A, steady(1000, 4800))
    playout.play_effect("beep", steady(5000, 4800))
    assert samples(playout.pull(480)) == [5100] * 480


@pytest.mark.parametrize("end", ["stop", "run dry"])
def test_an_answer_that_ends_while_it_is_ducked_does_not_get_louder_first(end: str) -> None:
    playout = Playout()
    playout.duck(20.0)
    playout.pull(960)
    playout.append(A, steady(10_000, 960 if end == "run dry" else 4800))
    assert samples(playout.pull(960))[-1] == 1000
    if end == "stop":
        playout.stop()
    tail = samples(playout.pull(480))
    assert 900 <= tail[0] <= 1000
    assert tail == sorted(tail, reverse=True)
    assert tail[-1] == 0


def test_a_suspicion_that_changes_halfway_goes_on_from_where_it_is() -> None:
    playout = Playout()
    playout.append(A, steady(10_000, 48_000))
    playout.duck(20.0)
    halfway = samples(playout.pull(240))[-1]
    playout.duck(0.0)
    assert abs(samples(playout.pull(1))[0] - halfway) <= 20
