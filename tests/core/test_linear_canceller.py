"""The linear canceller, in simulated rooms: it removes echo and leaves people as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest

from assistant.core.linear_canceller import LinearCanceller
from assistant.core.talker_bands import LEARNING_FRAMES, MOST, TalkerBands
from assistant.testing.room import DESK, FAR_FRAME, HALL, KITCHEN, RoomSettings, SimulatedRoom
from assistant.types import FRAME_BYTES, FRAME_SAMPLES
from tests import speech

SILENT_FAR = bytes(FAR_FRAME * 2)


def answer() -> Iterator[bytes]:
    text = "The recipe needs two eggs, a cup of flour and a pinch of salt. Bake it for half an hour at medium heat."
    pcm = speech.say(text, voice="en-us", speed=165, rate=24_000).tobytes()
    return cycle(pcm[at : at + FAR_FRAME * 2] for at in range(0, len(pcm) - FAR_FRAME * 2, FAR_FRAME * 2))


def power_db(frames: list[bytes]) -> float:
    samples = np.frombuffer(b"".join(frames), "<i2").astype(float)
    return 10 * float(np.log10(np.mean(samples**2) + 1e-9))


def removed_db(room: SimulatedRoom, canceller: LinearCanceller, far: Iterator[bytes], seconds: float) -> float:
    heard, left = [], []
    for _ in range(round(seconds * 50)):
        played = next(far)
        heard.append(room.hear(played))
        left.append(canceller.process(heard[-1], played))
    return power_db(heard) - power_db(left)


@pytest.mark.parametrize(
    ("room", "least"), [(DESK, 20.0), (KITCHEN, 18.0), (HALL, 12.0)], ids=lambda value: getattr(value, "name", None)
)
def test_it_learns_the_room_within_seconds_and_follows_when_it_changes(room: RoomSettings, least: float) -> None:
    simulated, canceller, far = SimulatedRoom(replace(room, echo_dbfs=-20.0), 1), LinearCanceller(), answer()
    removed_db(simulated, canceller, far, 4)
    assert removed_db(simulated, canceller, far, 3) > least
    simulated.shift(30.0)
    removed_db(simulated, canceller, far, 4)
    assert removed_db(simulated, canceller, far, 3) > least - 5


def test_a_talker_far_below_the_echo_is_left_as_they_are() -> None:
    """What is left of echo and talker, minus what is left of the echo alone, is the talker."""
    words = speech.say("turn on the light in the kitchen please", level_dbfs=-34.0)
    left = []
    for talks in (False, True):
        room, canceller, far = SimulatedRoom(replace(DESK, echo_dbfs=-24.0), 1), LinearCanceller(), answer()
        removed_db(room, canceller, far, 6)
        if talks:
            room.say(words)
        frames = [(played := next(far), room.hear(played)) for _ in range(len(words) // FRAME_SAMPLES)]
        left.append(np.frombuffer(b"".join(canceller.process(mic, played) for played, mic in frames), "<i2"))
    talker = (left[1].astype(float) - left[0])[: len(words)]
    assert np.corrcoef(talker, words[: talker.size])[0, 1] > 0.9


@pytest.mark.parametrize("drift_ppm", [0.0, 150.0])
def test_clocks_that_drift_apart_are_followed(drift_ppm: float) -> None:
    """Without being told the drift, no more than 10 dB are removed here at 150 ppm."""
    room = SimulatedRoom(replace(DESK, echo_dbfs=-20.0, drift_ppm=drift_ppm), 1)
    canceller, far = LinearCanceller(), answer()
    removed_db(room, canceller, far, 8)
    assert canceller.drift_ppm == pytest.approx(drift_ppm, abs=5.0)
    assert removed_db(room, canceller, far, 3) > 18


@pytest.mark.parametrize("samples", [3, -3, 48], ids="{:+}".format)
def test_a_reference_that_is_moved_is_followed(samples: int) -> None:
    """At 24 kHz. Without being told, 10 dB are removed in the second after so little as three."""
    room, canceller = SimulatedRoom(replace(DESK, echo_dbfs=-20.0), 1), LinearCanceller()
    frames = answer()
    whole = np.frombuffer(b"".join(next(frames) for _ in range(450)), "<i2")

    def far(start: int) -> bytes:
        return whole[start : start + FAR_FRAME].tobytes()

    heard, left = [], []
    for start in range(FAR_FRAME, 420 * FAR_FRAME, FAR_FRAME):
        heard.append(room.hear(far(start)))
        if len(heard) == 350:
            canceller.move(samples * 2 / 3)
        left.append(canceller.process(heard[-1], far(start + samples * (len(heard) >= 350))))
    assert power_db(heard[300:350]) - power_db(left[300:350]) > 20
    assert power_db(heard[350:400]) - power_db(left[350:400]) > 18


@pytest.mark.parametrize("lost", [False, True], ids=["rests", "lost"])
def test_clocks_drift_on_while_nothing_is_heard(lost: bool) -> None:
    """Without this, 8 dB are removed afterwards."""
    room, canceller, far = (
        SimulatedRoom(replace(DESK, echo_dbfs=-20.0, drift_ppm=150.0), 1),
        LinearCanceller(),
        answer(),
    )
    removed_db(room, canceller, far, 10)
    removed_db(room, canceller, cycle([SILENT_FAR]), 1)
    for _ in range(500):
        room.hear(SILENT_FAR)
        if lost:
            canceller.process(bytes(FRAME_BYTES), SILENT_FAR)
        else:
            canceller.rest()
    assert removed_db(room, canceller, far, 1) > 18


def test_a_loudspeaker_that_saturates_is_followed() -> None:
    """A filter alone removes 10 dB of this."""
    room, canceller, far = SimulatedRoom(replace(DESK, echo_dbfs=-20.0, drive=4.0), 1), LinearCanceller(), answer()
    removed_db(room, canceller, far, 6)
    assert removed_db(room, canceller, far, 3) > 16
    assert -2.0 < canceller.bend < -0.7


def test_silence_makes_nothing_doubtful() -> None:
    """Else each answer would begin with an echo that is taken for a person."""
    room, canceller, far = SimulatedRoom(replace(DESK, echo_dbfs=-20.0), 1), LinearCanceller(), answer()
    removed_db(room, canceller, far, 8)
    removed_db(room, canceller, cycle([SILENT_FAR]), 4)
    assert removed_db(room, canceller, far, 1) > 20


def test_a_perfect_loudspeaker_is_taken_for_one() -> None:
    room, canceller, far = SimulatedRoom(replace(DESK, echo_dbfs=-20.0), 1), LinearCanceller(), answer()
    removed_db(room, canceller, far, 6)
    assert abs(canceller.bend) < 0.05


def test_without_playback_nothing_changes() -> None:
    room, canceller = SimulatedRoom(DESK, 1), LinearCanceller()
    room.say(speech.say("hello", level_dbfs=-30.0))
    for _ in range(50):
        mic = room.hear(SILENT_FAR)
        assert canceller.process(mic, SILENT_FAR) == mic


def test_a_filter_of_another_room_is_forgotten() -> None:
    """Without this, a speaker that was switched off would be heard, inverted, until the filter has unlearned it."""
    room, canceller, far = SimulatedRoom(replace(DESK, echo_dbfs=-14.0), 1), LinearCanceller(), answer()
    removed_db(room, canceller, far, 6)
    quiet = [np.random.default_rng(n).normal(0, 3, FRAME_SAMPLES).astype("<i2").tobytes() for n in range(50)]
    left = [canceller.process(frame, next(far)) for frame in quiet]
    assert power_db(left[35:]) < power_db(quiet[35:]) + 4


def test_lost_frames_teach_nothing() -> None:
    room, canceller, far = SimulatedRoom(replace(DESK, echo_dbfs=-20.0), 1), LinearCanceller(), answer()
    removed_db(room, canceller, far, 6)
    for _ in range(5):
        played = next(far)
        room.hear(played)
        assert canceller.process(bytes(FRAME_BYTES), played) == bytes(FRAME_BYTES)
    assert removed_db(room, canceller, far, 1) > 15


def test_a_reference_at_16_khz_will_do() -> None:
    canceller, noise = LinearCanceller(), np.random.default_rng(1)
    heard, left = [], []
    for _ in range(150):
        played = noise.normal(0, 3000, FRAME_SAMPLES).astype("<i2")
        heard.append((played // 4).tobytes())
        left.append(canceller.process(heard[-1], played.tobytes()))
    assert power_db(heard[100:]) - power_db(left[100:]) > 20


@pytest.mark.parametrize(("mic", "far"), [(2, 960), (640, 2), (640, 0)])
def test_other_lengths_are_refused(mic: int, far: int) -> None:
    with pytest.raises(ValueError, match="20 ms"):
        LinearCanceller().process(bytes(mic), bytes(far))


# --- bands -----------------------------------------------------------------------------------------------------------


class Bands:
    """A canceller that leaves a tenth of the echo's amplitude; a talker is noise in one part of the spectrum."""

    def __init__(self) -> None:
        self.bands = TalkerBands()
        self.random = np.random.default_rng(1)

    def feed(
        self, frames: int, talker: float = 0.0, leak: float = 0.1, *, playing: bool = True, loud: float = 2000.0
    ) -> list[float]:
        found = []
        for _ in range(frames):
            echo = self.random.normal(0, loud * playing, FRAME_SAMPLES)
            near = np.convolve(self.random.normal(0, talker, FRAME_SAMPLES + 3), np.ones(4) / 4, "valid")
            left = leak * echo + near + self.random.normal(0, 10, FRAME_SAMPLES)
            heard = np.clip(left + echo, -32768, 32767)
            found.append(self.bands.feed(heard.astype("<i2").tobytes(), left.astype("<i2").tobytes(), playing=playing))
        return found


def test_the_leak_is_learned_and_does_not_stand_out() -> None:
    bands = Bands()
    bands.feed(LEARNING_FRAMES + 50)
    assert all(-22 < leak < -18 for leak in bands.bands.leak_db[:10]), "the others hold nothing louder than their floor"
    assert max(bands.feed(200)) < 0.8


def test_a_talker_stands_out() -> None:
    bands = Bands()
    bands.feed(LEARNING_FRAMES + 50)
    assert all(1.0 < found <= MOST for found in bands.feed(10, talker=1500.0)[1:])


def test_a_leak_that_stays_greater_is_learned_in_the_end() -> None:
    """The room has changed: the assistant must not take itself for a person for ever."""
    bands = Bands()
    bands.feed(LEARNING_FRAMES + 50)
    assert min(bands.feed(10, leak=0.5)[1:]) > 1.0
    bands.feed(1500, leak=0.5)
    assert max(bands.feed(100, leak=0.5)) < 0.8


def test_a_microphone_that_clips_says_nothing_and_teaches_nothing() -> None:
    bands = Bands()
    bands.feed(LEARNING_FRAMES + 50)
    known = bands.bands.leak_db
    assert not any(bands.feed(50, leak=0.5, loud=20_000.0))
    assert bands.bands.leak_db == known
