"""A microphone that cancels echo itself: who is heard over the answer, and that what it leaves is nobody."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest

from assistant.adapters.livekit_aec import WebRtcEchoCanceller
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.device_echo import DeviceEchoPath, sound_db
from assistant.audio.reference import ReferenceBuffer
from assistant.core.barge_in import Suspicion
from assistant.testing.room import DESK, FAR_FRAME, SimulatedRoom
from assistant.types import FRAME_SAMPLES, AudioFrame
from tests import speech

TALKER_DBFS = -34.0


class Array:
    """A speaker and a microphone with a canceller in between."""

    def __init__(self, offset: int = 0) -> None:
        self.room = SimulatedRoom(replace(DESK, echo_dbfs=TALKER_DBFS), 1)
        self.inside = WebRtcEchoCanceller()
        self.reference = ReferenceBuffer()
        self.path = DeviceEchoPath(self.reference, WebRtcVad(2))
        answer = speech.say("The recipe needs two eggs and a cup of flour, and a pinch of salt.", rate=24_000)
        self.answer = cycle(answer[: answer.size // FAR_FRAME * FAR_FRAME].reshape(-1, FAR_FRAME))
        self.offset = offset
        self.frame = 0

    def run(self, seconds: float) -> list[Suspicion]:
        found = []
        for _ in range(round(seconds * 50)):
            far = next(self.answer).tobytes()
            now = 1000.0 + self.frame * 0.02
            self.reference.played(far, now, 0.0)
            given = np.frombuffer(self.inside.process(self.room.hear(far), far), "<i2") + self.offset
            frame = AudioFrame(self.frame * FRAME_SAMPLES, given.astype("<i2").tobytes(), now + 0.02)
            self.frame += 1
            cleaned = self.path.clean(frame)
            assert cleaned.frame is frame and cleaned.words == frame.pcm, "nothing is changed"
            found.append(cleaned.evidence.suspicion)
        return found


@pytest.mark.parametrize("offset", [0, 1000])
def test_somebody_who_speaks_into_the_answer_is_suspected_and_what_is_left_of_it_is_not(offset: int) -> None:
    array = Array(offset)
    assert Suspicion.SUSPECTED not in array.run(12.0)
    array.room.say(speech.say("wait a moment please", level_dbfs=TALKER_DBFS + 6))
    assert Suspicion.SUSPECTED in array.run(2.0)


def test_an_offset_is_no_sound() -> None:
    tone = 3277 * np.sin(np.arange(FRAME_SAMPLES) * 2 * np.pi / 32)
    assert sound_db((tone + 5000).astype("<i2").tobytes()) == pytest.approx(-23.0, abs=0.1)
    assert sound_db(np.full(FRAME_SAMPLES, 5000, "<i2").tobytes()) == -100.0
