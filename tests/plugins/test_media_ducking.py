"""When music is lowered and raised: the rules alone."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from plugins.media.ducking import Ducking, HandsOff, Lowered, Normal, choose, step, wanted

VOLUMES = st.integers(0, 100)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("busy"), st.booleans()),
        st.tuples(st.just("somebody"), VOLUMES),
        st.tuples(st.just("tool"), VOLUMES),
        st.tuples(st.just("away"), st.booleans()),
    ),
    max_size=20,
)


class Mixer:
    """MPD's volume, and the plugin that looks at it after each event."""

    def __init__(self, volume: int, percent: int) -> None:
        self.volume, self.percent = volume, percent
        self.chosen = volume
        self.busy, self.away, self.anew = False, False, False
        self.state: Ducking = Normal()

    def happens(self, kind: str, value: int) -> None:
        match kind:
            case "busy":
                self.busy = bool(value)
            case "away":
                self.anew |= self.away and not value
                self.away = bool(value)
            case "somebody" if not self.away and value != self.volume:
                self.volume = self.chosen = value
            case "tool" if not self.away:
                self.chosen = value
                self.state, self.volume = choose(self.state, value, busy=self.busy, percent=self.percent)
        self.look()

    def look(self) -> None:
        seen = None if self.away else self.volume
        self.state, new = step(self.state, busy=self.busy, volume=seen, percent=self.percent, anew=self.anew)
        if not self.away:
            self.anew = False
        if new is not None:
            self.volume = new


@given(VOLUMES, VOLUMES, EVENTS)
def test_the_volume_is_what_was_chosen_last_whenever_all_is_quiet(
    volume: int, percent: int, events: list[tuple[str, int]]
) -> None:
    mixer = Mixer(volume, percent)
    for kind, value in events:
        mixer.happens(kind, value)
        if not mixer.away and not mixer.busy:
            assert mixer.volume == mixer.chosen
        elif not mixer.away and isinstance(mixer.state, Lowered):
            assert mixer.volume == mixer.chosen * percent // 100
        assert mixer.away or wanted(mixer.state, mixer.volume) == mixer.chosen
    mixer.happens("away", False)
    mixer.happens("busy", False)
    assert mixer.volume == mixer.chosen


@given(VOLUMES, VOLUMES)
def test_an_mpd_that_remembers_only_the_volume_from_before_is_lowered_again(volume: int, percent: int) -> None:
    state, _ = step(Normal(), busy=True, volume=volume, percent=percent)
    state, new = step(state, busy=True, volume=volume, percent=percent, anew=True)
    assert wanted(state, volume if new is None else new) == volume
    assert new is None or new == volume * percent // 100


def test_an_mpd_that_comes_back_lowered_long_afterwards_is_raised() -> None:
    """It saves its state every two minutes, and then it was killed."""
    state, _ = step(Normal(), busy=True, volume=80, percent=50)
    state, new = step(state, busy=False, volume=40, percent=50)
    assert (state, new) == (Normal(Lowered(80, 40)), 80)
    assert step(state, busy=False, volume=40, percent=50, anew=True)[1] == 80
    # Somebody who has chosen another volume in between is believed.
    state, _ = step(state, busy=False, volume=60, percent=50)
    assert step(state, busy=False, volume=40, percent=50, anew=True) == (Normal(), None)


def test_who_sets_the_volume_meanwhile_is_left_alone() -> None:
    assert step(Lowered(80, 40), busy=True, volume=70, percent=50) == (HandsOff(), None)
    assert step(HandsOff(), busy=True, volume=10, percent=50) == (HandsOff(), None)
    assert step(HandsOff(), busy=False, volume=10, percent=50) == (Normal(), None)


def test_without_a_mixer_nothing_is_done() -> None:
    assert step(Lowered(80, 40), busy=False, volume=None, percent=50) == (Lowered(80, 40), None)
