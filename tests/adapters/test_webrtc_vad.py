from __future__ import annotations

import pytest

from assistant.adapters.webrtc_vad import WebRtcVad
from tests.speech import RATE, Samples, concat, frames, in_room, noise, say, silence


@pytest.mark.parametrize("aggressiveness", [0, 1, 2, 3])
def test_it_hears_speech_and_not_the_quiet_around_it(aggressiveness: int) -> None:
    speech = say("what time is it in the kitchen")
    flags = _flags(WebRtcVad(aggressiveness), in_room(speech, before=1, after=1.5))
    first, last = RATE // 320, (RATE + len(speech)) // 320
    spoken, before, after = flags[first:last], flags[first - 25 : first], flags[last + 25 :]
    assert sum(spoken) > 0.85 * len(spoken)
    assert sum(before) == 0
    assert sum(after) == 0


def test_more_aggressive_hears_less_in_noise() -> None:
    loud = noise(2, -30, seed=1)
    assert sum(_flags(WebRtcVad(0), loud)) > sum(_flags(WebRtcVad(3), loud))


@pytest.mark.parametrize("samples", [0, 160, 319, 321, 480])
def test_other_lengths_than_one_frame_are_refused(samples: int) -> None:
    with pytest.raises(ValueError, match=rf"frames of 20 ms \(640 bytes\), not of {samples * 2} bytes"):
        WebRtcVad().is_speech(bytes(2 * samples))


@pytest.mark.parametrize("aggressiveness", [-1, 4, 2.5])
def test_other_aggressiveness_is_refused(aggressiveness: int) -> None:
    with pytest.raises(ValueError, match="must be 0, 1, 2 or 3"):
        WebRtcVad(aggressiveness)


def test_silence_is_no_speech_and_the_answer_is_a_bool() -> None:
    assert _flags(WebRtcVad(), concat(silence(0.2), silence(0.2))) == [False] * 20


def _flags(vad: WebRtcVad, samples: Samples) -> list[bool]:
    return [vad.is_speech(pcm) for _, pcm in frames(samples)]
