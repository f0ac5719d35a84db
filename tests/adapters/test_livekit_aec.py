"""AEC3 in simulated rooms: what it removes, what it keeps, and what it survives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt
import pytest

from assistant.adapters.livekit_aec import WebRtcEchoCanceller
from assistant.errors import ModelLoadError
from assistant.testing.room import DESK, FAR_FRAME, KITCHEN, SimulatedRoom
from assistant.types import FRAME_BYTES
from tests import speech

FAR_TEXT = "The recipe needs two eggs, a cup of flour and a pinch of salt. Bake it for half an hour at medium heat."
SILENCE = bytes(FAR_FRAME * 2)


def answer() -> list[bytes]:
    """The assistant's own speech, in frames for the speaker."""
    pcm = speech.say(FAR_TEXT, voice="en-us", speed=165, rate=24_000).tobytes()
    return [pcm[at : at + FAR_FRAME * 2] for at in range(0, len(pcm) - FAR_FRAME * 2, FAR_FRAME * 2)]


def seconds_of(frames: list[bytes], seconds: float) -> Iterator[bytes]:
    return islice(cycle(frames), round(seconds * 50))


def run(
    room: SimulatedRoom, canceller: WebRtcEchoCanceller, far: Iterator[bytes]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What the microphone heard and what is left of it."""
    heard, left = bytearray(), bytearray()
    for frame in far:
        mic = room.hear(frame)
        heard += mic
        left += canceller.process(mic, frame)
    return tuple(np.frombuffer(bytes(pcm), "<i2").astype(np.float64) for pcm in (heard, left))  # type: ignore[return-value]


def removed_db(heard: npt.NDArray[np.float64], left: npt.NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.mean(heard**2) / np.mean(left**2)))


@pytest.mark.parametrize(("settings", "least_db"), [(DESK, 25.0), (KITCHEN, 20.0)], ids=["desk", "kitchen"])
def test_it_removes_the_echo_within_seconds(settings: object, least_db: float) -> None:
    room = SimulatedRoom(replace(settings, echo_dbfs=-22.0), 1)  # type: ignore[type-var]
    canceller, far = WebRtcEchoCanceller(), answer()
    run(room, canceller, seconds_of(far, 3))
    assert removed_db(*run(room, canceller, seconds_of(far, 4))) > least_db


def test_a_person_is_kept_when_nothing_plays() -> None:
    room, canceller = SimulatedRoom(DESK, 1), WebRtcEchoCanceller()
    run(room, canceller, seconds_of(answer(), 3))
    run(room, canceller, seconds_of([SILENCE], 1))
    room.say(speech.say("turn on the light in the kitchen please"))
    assert abs(removed_db(*run(room, canceller, seconds_of([SILENCE], 2)))) < 3


def test_a_jump_of_the_delay_is_learned_again() -> None:
    room, canceller = SimulatedRoom(replace(DESK, echo_dbfs=-22.0), 1), WebRtcEchoCanceller()
    far = answer()
    run(room, canceller, seconds_of(far, 3))
    room.shift(50)
    run(room, canceller, seconds_of(far, 2))
    assert removed_db(*run(room, canceller, seconds_of(far, 3))) > 25


def test_a_reference_at_the_microphones_rate_will_do() -> None:
    canceller = WebRtcEchoCanceller()
    tone = (8000 * np.sin(np.arange(320) * 0.3)).astype("<i2").tobytes()
    assert len(canceller.process(tone, tone)) == FRAME_BYTES


def test_reset_forgets_the_room() -> None:
    room, canceller = SimulatedRoom(replace(DESK, echo_dbfs=-22.0), 1), WebRtcEchoCanceller()
    far = answer()
    run(room, canceller, seconds_of(far, 4))
    learned = removed_db(*run(room, canceller, iter(far[:15])))
    canceller.reset()
    assert removed_db(*run(room, canceller, iter(far[:15]))) < learned - 5


@pytest.mark.parametrize(("mic", "reference"), [(FRAME_BYTES - 2, 960), (FRAME_BYTES, 958), (960, FRAME_BYTES)])
def test_other_lengths_are_refused(mic: int, reference: int) -> None:
    with pytest.raises(ValueError, match=f"not {mic} and {reference} bytes"):
        WebRtcEchoCanceller().process(bytes(mic), bytes(reference))


def test_a_missing_package_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "livekit.rtc", None)
    with pytest.raises(ModelLoadError, match=r"pip install livekit, or set echo\.canceller: off"):
        WebRtcEchoCanceller()
