"""Scenes are drawn as strings, one character a frame of 20 ms: ``#`` speech, ``.`` none, ``x`` lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.core.completeness import Completeness, Patience
from assistant.core.endpointing import (
    HISTORY_MS,
    Decision,
    Endpointer,
    EndpointingSettings,
    Expect,
    SpeechStart,
    SpeechStop,
)

FRAME = 320
DEFAULT = EndpointingSettings()


def ms(milliseconds: int) -> int:
    return milliseconds * 16


def frames(count: int) -> int:
    return count * FRAME


@dataclass
class Scene:
    """Feeds drawn frames, and collects what is decided."""

    endpointer: Endpointer
    position: int = 0

    def play(self, drawn: str) -> list[Decision]:
        decisions = []
        for flag in drawn.replace(" ", ""):
            if flag != "x":
                decision = self.endpointer.hear(self.position, flag == "#")
                if decision is not None:
                    decisions.append(decision)
            self.position += FRAME
        return decisions


def scene(**changes: int) -> Scene:
    return Scene(Endpointer(replace(DEFAULT, **changes)))


QUIET = "." * 50
SILENCE_THAT_ENDS = "." * 25  # 500 ms


# --- start -----------------------------------------------------------------------------------------------------------


def test_nothing_is_decided_while_nothing_is_expected() -> None:
    room = scene()
    assert room.play(QUIET + "#" * 200 + QUIET) == []
    assert not room.endpointer.in_speech


def test_an_utterance_starts_with_pre_roll_and_ends_after_silence() -> None:
    room = scene()
    room.play(QUIET)
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    begin = room.position + frames(20)
    assert room.play("." * 20 + "#" * 9) == []
    assert room.play("#") == [SpeechStart(begin - ms(300), decided_at=begin + frames(10))]
    assert room.endpointer.in_speech
    assert room.play("#" * 40 + "." * 24) == []
    last_voiced = begin + frames(50)
    assert room.play(".") == [SpeechStop(last_voiced + ms(500), last_voiced, last_voiced + ms(500), "silence")]
    assert not room.endpointer.in_speech
    assert room.play("#" * 50 + QUIET) == [], "after a stop nothing is expected"


@pytest.mark.parametrize(
    ("drawn", "starts"),
    [
        ("#" * 10, True),
        ("#" * 9 + "." * 6 + "#", False),  # 9 + 1, but 16 frames apart
        ("##." * 5, True),  # 10 of 15
        ("#." * 30, False),  # never more than 8 of 15
        ("####x#x#####", True),  # 10 that were heard, in 12 frames of time
        ("#####" + "x" * 10 + "#####", False),  # 20 frames of time
    ],
)
def test_an_utterance_takes_10_voiced_frames_of_15(drawn: str, starts: bool) -> None:
    room = scene()
    room.play(QUIET)
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    assert bool(room.play(drawn)) is starts


def test_barge_in_starts_sooner_and_takes_nothing_from_before_the_playback() -> None:
    room = scene()
    room.play(QUIET + "#" * 60)  # somebody has been speaking for 1.2 s when the answer begins
    since = room.position
    room.endpointer.expect(Expect.BARGE_IN, since)
    assert room.play("##.#") == []
    assert room.play("#") == [SpeechStart(since - ms(300), decided_at=since + frames(5))]


def test_a_follow_up_takes_nothing_of_the_answer_s_echo() -> None:
    room = scene()
    room.play(QUIET + "#" * 40)  # the answer dies away in the room, and is speech to a VAD
    since = room.position
    room.endpointer.expect(Expect.FOLLOW_UP, since)
    [start] = room.play("#" * 15)
    assert isinstance(start, SpeechStart)
    assert start.sample == since


def test_a_window_that_is_no_multiple_of_a_frame_can_be_filled() -> None:
    room = scene(start_ms=210, start_window_ms=210)
    room.endpointer.expect(Expect.UTTERANCE, 0)
    (start,) = room.play("#" * 11)
    assert start.decided_at == frames(11)


# --- where the uplink begins -----------------------------------------------------------------------------------------


def test_after_a_pause_no_fragment_of_the_wake_phrase_is_sent() -> None:
    room = scene()
    room.play(QUIET + "#" * 40)
    phrase_end = room.position
    room.play("..")
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    (start,) = room.play("." * 9 + "#" * 30)  # 220 ms of pause are less than the pre-roll
    assert start.sample == phrase_end


def test_a_phrase_that_dies_away_after_the_hit_is_no_start_and_no_fragment() -> None:
    room = scene()
    room.play(QUIET + "#" * 35)
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    assert room.play("#" * 6 + "." * 14) == []
    begin = room.position
    (start,) = room.play("#" * 20)
    assert start.sample == max(begin - ms(300), begin - frames(14))


def test_in_one_breath_the_wake_phrase_goes_along_and_no_sample_is_lost() -> None:
    room = scene()
    room.play(QUIET)
    phrase = room.position
    room.play("#" * 38 + "." * 5)  # hey jarvis
    since = room.position
    room.endpointer.expect(Expect.UTTERANCE, since)
    (start,) = room.play("." * 4 + "#" * 40)  # 180 ms between the words: less than a pause
    assert start.sample == phrase - ms(300)


def test_a_silence_of_run_gap_ends_a_run_and_a_shorter_one_does_not() -> None:
    for gap, expected in ((10, frames(50 + 20 + 10) - frames(10)), (9, frames(50) - ms(300))):
        room = scene()
        room.play(QUIET + "#" * 20)
        room.endpointer.expect(Expect.UTTERANCE, room.position)
        (start,) = room.play("." * gap + "#" * 10)
        assert start.sample == expected


def test_speech_without_end_is_bounded_before_since() -> None:
    room = scene()
    room.play("#" * 1000)
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    (start,) = room.play("#" * 10)
    assert start.sample == frames(1000) - ms(2000)


def test_nothing_is_asked_for_from_before_the_stream() -> None:
    room = scene()
    room.position = frames(7)
    room.endpointer.expect(Expect.UTTERANCE, 0)
    assert room.play("#" * 10) == [SpeechStart(frames(7), decided_at=frames(17))]


def test_mumbling_does_not_reach_back_further_than_the_history() -> None:
    room = scene()
    room.play(QUIET)
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    assert room.play("#...." * 100) == []  # 10 s of one run that is no speech
    (start,) = room.play("#" * 10)
    assert start.sample == start.decided_at - ms(HISTORY_MS)


# --- expecting late, ahead, twice ------------------------------------------------------------------------------------


def test_frames_since_the_hit_count_when_the_request_comes_late() -> None:
    room = scene()
    room.play(QUIET)
    since = room.position
    assert room.play("#" * 30 + "." * 30) == []
    room.endpointer.expect(Expect.UTTERANCE, since)
    assert not room.endpointer.in_speech, "nothing has been told yet"
    assert room.play(".") == [SpeechStart(since - ms(300), decided_at=since + frames(10))]
    assert room.endpointer.in_speech
    last_voiced = since + frames(30)
    assert room.play(".") == [SpeechStop(last_voiced + ms(500), last_voiced, last_voiced + ms(500), "silence")]
    assert room.play("#" * 30) == []


def test_a_request_for_later_ignores_what_comes_before_it() -> None:
    room = scene()
    room.play(QUIET)
    since = room.position + frames(20) + 7  # not on a frame's edge
    room.endpointer.expect(Expect.UTTERANCE, since)
    assert room.play("#" * 15 + "." * 6) == []
    (start,) = room.play("#" * 10)
    assert start.decided_at == frames(50 + 21 + 10)


def test_to_repeat_a_request_changes_nothing() -> None:
    room = scene()
    room.play(QUIET)
    since = room.position
    room.endpointer.expect(Expect.UTTERANCE, since)
    assert len(room.play("#" * 20)) == 1
    room.endpointer.expect(Expect.UTTERANCE, since)
    assert room.endpointer.in_speech
    (stop,) = room.play(QUIET)
    assert isinstance(stop, SpeechStop)


def test_to_repeat_a_late_request_does_not_lose_what_it_has_found() -> None:
    room = scene()
    room.play(QUIET)
    since = room.position
    room.play("#" * 30 + "." * 30)
    room.endpointer.expect(Expect.UTTERANCE, since)
    room.endpointer.expect(Expect.UTTERANCE, since)
    assert [type(decision) for decision in room.play("....")] == [SpeechStart, SpeechStop]


def test_a_new_wake_word_in_an_utterance_begins_afresh() -> None:
    room = scene()
    room.play(QUIET)
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    assert len(room.play("#" * 60)) == 1
    since = room.position
    room.endpointer.expect(Expect.UTTERANCE, since)
    assert not room.endpointer.in_speech
    (start,) = room.play("#" * 20)
    assert start == SpeechStart(since - frames(60) - ms(300), decided_at=since + frames(10))


@pytest.mark.parametrize("told", [True, False])
def test_to_expect_nothing_abandons_an_utterance_without_a_stop(told: bool) -> None:
    room = scene()
    room.play(QUIET)
    since = room.position
    if told:
        room.endpointer.expect(Expect.UTTERANCE, since)
        assert len(room.play("#" * 20)) == 1
    else:
        room.play("#" * 30 + QUIET)
        room.endpointer.expect(Expect.UTTERANCE, since)  # has found start and stop, and told neither
    room.endpointer.expect(Expect.NOTHING, room.position)
    assert not room.endpointer.in_speech
    assert room.play(QUIET + "#" * 20) == []


def test_what_one_utterance_has_used_is_not_used_again() -> None:
    room = scene(max_utterance_ms=2000)
    room.play(QUIET)
    since = room.position
    room.endpointer.expect(Expect.UTTERANCE, since)
    start, stop = room.play("#" * 90)
    assert isinstance(stop, SpeechStop) and stop.reason == "max_length"
    room.endpointer.expect(Expect.UTTERANCE, since)  # the same words again
    (again,) = room.play("#" * 10)
    assert again.sample == stop.sample > start.sample


# --- stop ------------------------------------------------------------------------------------------------------------


def start_speaking(**changes: int) -> Scene:
    room = scene(**changes)
    room.play(QUIET)
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    assert len(room.play("#" * 30)) == 1
    return room


def test_single_voiced_frames_do_not_put_off_the_end() -> None:
    room = start_speaking()
    last_voiced = room.position
    (stop,) = room.play("....#" * 5)
    assert stop == SpeechStop(last_voiced + ms(500), last_voiced, last_voiced + ms(500), "silence")


def test_two_voiced_frames_in_a_row_do() -> None:
    room = start_speaking()
    assert room.play("." * 20 + "##" + "." * 24) == []
    (stop,) = room.play(".")
    assert isinstance(stop, SpeechStop) and stop.last_voiced == room.position - frames(25)


def test_a_voiced_frame_on_each_side_of_a_loss_is_a_single_one() -> None:
    room = start_speaking()
    last_voiced = room.position
    (stop,) = room.play("." * 10 + "#x#" + "." * 12)
    assert isinstance(stop, SpeechStop) and stop.last_voiced == last_voiced


def test_lost_frames_are_silence_even_if_speech_follows() -> None:
    room = start_speaking()
    last_voiced = room.position
    (stop,) = room.play("x" * 40 + "###")
    assert stop == SpeechStop(last_voiced + ms(500), last_voiced, decided_at=last_voiced + frames(41), reason="silence")


def test_an_utterance_is_cut_at_its_maximum() -> None:
    room = scene()
    room.play(QUIET)
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    start, stop = room.play("#" * 1100)
    assert isinstance(stop, SpeechStop)
    assert stop.reason == "max_length"
    assert stop.sample == stop.last_voiced == start.sample + ms(20_000)
    assert 0 <= stop.decided_at - stop.sample < FRAME


def test_the_maximum_need_not_be_a_multiple_of_a_frame() -> None:
    room = start_speaking(max_utterance_ms=1990)
    (stop,) = room.play("#" * 100)
    assert isinstance(stop, SpeechStop)
    assert stop.sample == stop.last_voiced == stop.decided_at - ms(10) == frames(50) - ms(300) + ms(1990)


def test_audio_from_before_the_start_takes_at_most_half_of_the_maximum() -> None:
    room = scene(max_utterance_ms=1000)
    room.play("#" * 100)
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    start, stop = room.play("#" * 100)
    assert (start.sample, stop.sample) == (frames(110) - ms(500), frames(110) + ms(500))


def test_of_two_ends_in_lost_audio_the_first_counts() -> None:
    room = start_speaking(max_utterance_ms=1300)
    start, last_voiced = frames(50) - ms(300), room.position
    assert room.play("x" * 100 + ".") == [SpeechStop(start + ms(1300), last_voiced, room.position, "max_length")]


# --- a wake phrase that looks like an utterance ----------------------------------------------------------------------


def test_an_early_hit_leaves_time_to_go_on_after_the_wake_phrase() -> None:
    room = scene()
    room.play(QUIET + "#" * 25)  # al
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    (start,) = room.play("#" * 18 + "." * 50)  # exa, and a second of pause
    assert start.sample == frames(50) - ms(300)
    (stop,) = room.play("#" * 40 + SILENCE_THAT_ENDS)  # what time is it
    assert isinstance(stop, SpeechStop) and stop.decided_at == room.position


def test_a_wake_phrase_alone_ends_after_the_wake_pause() -> None:
    room = scene()
    room.play(QUIET + "#" * 25)
    room.endpointer.expect(Expect.UTTERANCE, room.position)
    room.play("#" * 18)
    last_voiced = room.position
    (stop,) = room.play("." * 100)
    assert stop == SpeechStop(last_voiced + ms(1500), last_voiced, last_voiced + ms(1500), "silence")


@pytest.mark.parametrize("scene_of", ["one breath", "after the wake word", "barge-in", "switched off"])
def test_other_utterances_do_not_wait_that_long(scene_of: str) -> None:
    room = scene(**({"wake_pause_ms": 0} if scene_of == "switched off" else {}))
    room.play(QUIET)
    if scene_of != "after the wake word":
        room.play("#" * 30)
    room.endpointer.expect(Expect.BARGE_IN if scene_of == "barge-in" else Expect.UTTERANCE, room.position)
    decisions = room.play("#" * (30 if scene_of == "one breath" else 12) + SILENCE_THAT_ENDS)
    assert [type(decision) for decision in decisions] == [SpeechStart, SpeechStop]


# --- what was said decides how long a pause may be ------------------------------------------------------------------


def pause_and_judge(room: Scene, found: Completeness) -> int:
    """The pause begins, is told after 200 ms, and is judged; gives where the speech before it ended."""
    last_voiced = room.position
    assert room.play("." * 9) == []
    assert room.endpointer.pause is None, "too short to ask"
    assert room.play(".") == []
    assert room.endpointer.pause == last_voiced
    room.endpointer.judge(last_voiced, found)
    return last_voiced


@pytest.mark.parametrize(
    ("found", "ends_after"), [(Completeness.COMPLETE, 300), (Completeness.OPEN, 500), (Completeness.UNFINISHED, 1500)]
)
def test_a_judged_pause_ends_sooner_or_later(found: Completeness, ends_after: int) -> None:
    room = start_speaking()
    last_voiced = pause_and_judge(room, found)
    end = last_voiced + ms(ends_after)
    assert room.play("." * 90) == [SpeechStop(end, last_voiced, end, "silence")]
    assert room.endpointer.pause is None


def test_more_speech_makes_a_new_pause_with_a_judgement_of_its_own() -> None:
    room = start_speaking()
    first = pause_and_judge(room, Completeness.UNFINISHED)
    assert room.play("." * 60 + "#" * 20) == []
    assert room.endpointer.pause is None
    second = room.position
    assert room.play("." * 12) == []
    assert room.endpointer.pause == second
    room.endpointer.judge(first, Completeness.UNFINISHED)  # the answer about the first pause was late
    (stop,) = room.play("." * 13)
    assert stop.decided_at == second + ms(500)


def test_a_blip_does_not_end_a_judged_pause() -> None:
    room = start_speaking()
    last_voiced = pause_and_judge(room, Completeness.UNFINISHED)
    (stop,) = room.play("#" + "." * 80)
    assert stop.decided_at == last_voiced + ms(1500)


def test_a_judgement_that_comes_late_ends_the_utterance_at_once_and_where_it_should() -> None:
    room = start_speaking()
    last_voiced = room.position
    room.play("." * 20)
    room.endpointer.judge(last_voiced, Completeness.COMPLETE)
    assert room.play(".") == [SpeechStop(last_voiced + ms(300), last_voiced, room.position, "silence")]
    room.endpointer.judge(last_voiced, Completeness.UNFINISHED)  # nobody is listened to any more


def test_a_wake_phrase_and_a_whole_request_need_no_wake_pause() -> None:
    for found, ends_after in ((Completeness.COMPLETE, 300), (Completeness.OPEN, 1500), (Completeness.UNFINISHED, 1500)):
        room = scene()
        room.play(QUIET + "#" * 25)
        room.endpointer.expect(Expect.UTTERANCE, room.position)
        assert len(room.play("#" * 18)) == 1
        last_voiced = pause_and_judge(room, found)
        (stop,) = room.play("." * 90)
        assert stop.decided_at == last_voiced + ms(ends_after)


def test_nobody_is_asked_outside_of_an_utterance_or_where_the_words_make_no_difference() -> None:
    room = scene()
    room.play(QUIET + "#" * 30 + "." * 12)
    assert room.endpointer.pause is None
    room.endpointer.expect(Expect.UTTERANCE, frames(50))  # as if in time, but nothing of it is told yet
    assert room.endpointer.pause is None
    same = start_speaking(complete_silence_ms=500, unfinished_silence_ms=500)
    same.play("." * 12)
    assert same.endpointer.pause is None


def test_words_only_shorten_after_a_whole_request_and_only_lengthen_after_a_beginning() -> None:
    assert replace(DEFAULT, end_silence_ms=200).patience == Patience(200, 200, 1500)
    assert replace(DEFAULT, end_silence_ms=2000).patience == Patience(300, 2000, 2000)


# --- misuse ----------------------------------------------------------------------------------------------------------


def test_a_frame_from_the_past_is_an_error_until_reset() -> None:
    room = start_speaking()
    with pytest.raises(ValueError, match=r"frame at sample 160 comes after the one that ended at 25600"):
        room.endpointer.hear(160, True)
    room.endpointer.reset()
    assert not room.endpointer.in_speech
    assert room.endpointer.hear(160, True) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"start_ms": 0},
        {"start_ms": 320},
        {"barge_in_window_ms": 60},
        {"end_silence_ms": 10},
        {"complete_silence_ms": 0},
        {"run_gap_ms": 0},
        {"pre_roll_ms": 2001},
        {"pre_roll_ms": -1},
        {"max_utterance_ms": 500},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        EndpointingSettings(**wrong)


# --- properties ------------------------------------------------------------------------------------------------------

# Stretches of speech, silence and loss, so that long ones come up as well as blips.
STRETCHES = st.lists(st.tuples(st.sampled_from("##..x"), st.integers(1, 45)), max_size=30)
FLAGS = STRETCHES.map(lambda stretches: "".join(flag * count for flag, count in stretches))
SETTINGS = st.builds(
    EndpointingSettings,
    start_ms=st.sampled_from([20, 200, 210]),
    start_window_ms=st.sampled_from([210, 300, 600]),
    end_silence_ms=st.sampled_from([100, 500]),
    max_utterance_ms=st.sampled_from([1000, 3000, 20_000]),
    pre_roll_ms=st.sampled_from([0, 300]),
    max_pre_roll_ms=st.sampled_from([300, 2000]),
    run_gap_ms=st.sampled_from([60, 200]),
    wake_pause_ms=st.sampled_from([0, 1500]),
    complete_silence_ms=st.sampled_from([20, 300]),
    unfinished_silence_ms=st.sampled_from([500, 1500]),
)
REQUESTS = st.dictionaries(
    st.integers(0, 400), st.tuples(st.sampled_from(Expect), st.integers(-300, 60)), max_size=6
)  # at which frame, what, and since how many frames from there

JUDGEMENTS = st.lists(st.tuples(st.sampled_from(Completeness), st.integers(0, 30)), max_size=20)


def run(
    settings: EndpointingSettings,
    drawn: str,
    requests: dict[int, tuple[Expect, int]],
    shift: int = 0,
    found: Sequence[tuple[Completeness, int]] = (),
) -> list[tuple[int, Expect | Decision]]:
    """Requests and decisions in order, each with the position at which it came up.

    found: how each pause is judged that is told, and how many frames later.
    """
    room = Scene(Endpointer(settings), position=shift)
    log: list[tuple[int, Expect | Decision]] = []
    in_speech = False
    latest: tuple[Expect, int] | None = None
    answers = iter(found)
    judged: dict[int, tuple[int, Completeness]] = {}  # pause -> when the answer comes, and what it is
    for number, flag in enumerate(drawn):
        if number in requests:
            expect, offset = requests[number]
            request = (expect, room.position + frames(offset))
            if request != latest:  # to repeat one has tests of its own
                latest, in_speech = request, False
                room.endpointer.expect(*request)
                log.append((room.position, expect))
        for decision in room.play(flag):
            log.append((room.position, decision))
            in_speech = isinstance(decision, SpeechStart)
        assert room.endpointer.in_speech is in_speech
        if (pause := room.endpointer.pause) is not None and pause not in judged:
            completeness, late = next(answers, (Completeness.OPEN, 0))
            judged[pause] = number + late, completeness
        for pause, (when, completeness) in judged.items():
            if when == number:
                room.endpointer.judge(pause, completeness)
    return log


@given(configuration=SETTINGS, drawn=FLAGS, requests=REQUESTS, found=JUDGEMENTS)
@settings(max_examples=300)
def test_starts_and_stops_alternate_and_are_in_bounds(
    configuration: EndpointingSettings,
    drawn: str,
    requests: dict[int, tuple[Expect, int]],
    found: Sequence[tuple[Completeness, int]],
) -> None:
    expected = Expect.NOTHING
    since = 0
    open_start: SpeechStart | None = None
    used_up_to = 0
    for position, entry in run(configuration, drawn, requests, found=found):
        match entry:
            case Expect():
                expected, since, open_start = entry, position + frames(requests[position // FRAME][1]), None
            case SpeechStart() as start:
                assert open_start is None
                assert expected is not Expect.NOTHING
                assert start.sample >= since - ms(configuration.max_pre_roll_ms)
                if expected is Expect.BARGE_IN:
                    assert start.sample >= since - ms(configuration.pre_roll_ms)
                least = configuration.barge_in_ms if expected is Expect.BARGE_IN else configuration.start_ms
                assert start.decided_at >= since + ms(least), "a frame from before since was counted"
                assert start.sample < start.decided_at <= position + FRAME
                assert start.decided_at - start.sample <= ms(HISTORY_MS)
                assert start.sample >= used_up_to
                open_start = start
            case SpeechStop() as stop:
                assert open_start is not None
                assert open_start.sample <= stop.last_voiced <= stop.sample <= stop.decided_at
                assert open_start.decided_at <= stop.sample
                assert stop.sample - open_start.sample <= ms(configuration.max_utterance_ms)
                if stop.reason == "silence":
                    waited, patience = stop.sample - stop.last_voiced, configuration.patience
                    longest = max(patience.unfinished_ms, configuration.wake_pause_ms)
                    assert ms(patience.complete_ms) <= waited <= ms(longest)
                expected, open_start, used_up_to = Expect.NOTHING, None, stop.sample


@given(configuration=SETTINGS, drawn=FLAGS, requests=REQUESTS, shift=st.integers(0, 2**40))
def test_to_shift_all_indices_shifts_the_decisions(
    configuration: EndpointingSettings, drawn: str, requests: dict[int, tuple[Expect, int]], shift: int
) -> None:
    def shifted(entry: Expect | Decision) -> Expect | Decision:
        match entry:
            case SpeechStart(sample, decided_at):
                return SpeechStart(sample + shift, decided_at + shift)
            case SpeechStop(sample, last_voiced, decided_at, reason):
                return SpeechStop(sample + shift, last_voiced + shift, decided_at + shift, reason)
            case _:
                return entry

    plain = run(configuration, drawn, requests)
    assert run(configuration, drawn, requests, shift) == [(at + shift, shifted(entry)) for at, entry in plain]


@given(
    configuration=SETTINGS,
    drawn=FLAGS,
    mode=st.sampled_from([Expect.UTTERANCE, Expect.BARGE_IN]),
    found=JUDGEMENTS,
)
def test_every_start_gets_its_stop(
    configuration: EndpointingSettings, drawn: str, mode: Expect, found: Sequence[tuple[Completeness, int]]
) -> None:
    after = "." * (configuration.max_utterance_ms // 20 + 1)
    log = run(configuration, drawn + after, {0: (mode, 0)}, found=found)
    decisions = [entry for _, entry in log if entry is not mode]
    assert [type(decision) for decision in decisions] in ([], [SpeechStart, SpeechStop])


@given(drawn=FLAGS, since=st.integers(0, 400), late=st.integers(1, 200))
def test_a_late_request_decides_the_same_as_one_in_time(drawn: str, since: int, late: int) -> None:
    drawn += "." * 300  # time to tell what has been decided
    in_time = run(DEFAULT, drawn, {since: (Expect.UTTERANCE, 0)})
    too_late = run(DEFAULT, drawn, {since + late: (Expect.UTTERANCE, -late)})
    if since + late < len(drawn):
        assert [entry for _, entry in too_late] == [entry for _, entry in in_time]
