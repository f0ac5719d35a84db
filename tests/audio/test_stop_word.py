"""A spoken "stop": when the models listen for it; and the whole path of it in a simulated room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from assistant.adapters.livekit_aec import WebRtcEchoCanceller
from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.analysis import Analyzer
from assistant.audio.echo import EchoPath
from assistant.audio.reference import ReferenceBuffer
from assistant.audio.stop_word import LINGER_FRAMES, STOP, StopWord
from assistant.core.stop_word import StopGate
from assistant.core.wake_gate import NOT_ASKED
from assistant.testing.room import DESK, FAR_FRAME, SimulatedRoom
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, AudioFrame
from tests import speech

TALKER_DBFS = -34.0
LOUD = np.full(FAR_FRAME, 8000, "<i2").tobytes()
QUIET = bytes(FAR_FRAME * 2)
HEARD = bytes(FRAME_BYTES)


class Scripted:
    """A detector that scores the same at each fourth frame, and counts what it looked at."""

    names = (STOP,)
    verified: Mapping[str, float] = NOT_ASKED

    def __init__(self, score: float) -> None:
        self.score = score
        self.processed = self.skipped = 0

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        assert len(pcm) == FRAME_BYTES
        self.processed += 1
        return self._step({STOP: self.score})

    def skip(self, pcm: bytes) -> Mapping[str, float] | None:
        assert len(pcm) == FRAME_BYTES
        self.skipped += 1
        return self._step({STOP: 0.0})

    def _step(self, scores: Mapping[str, float]) -> Mapping[str, float] | None:
        return scores if (self.processed + self.skipped) % 4 == 0 else None

    def reset(self) -> None:
        raise AssertionError("nobody resets it")


def scripted(microphone: float, own_voice: float) -> tuple[StopWord, Scripted, Scripted]:
    detectors = Scripted(microphone), Scripted(own_voice)
    return StopWord(*detectors, StopGate(0.9)), *detectors


def test_nobody_is_listened_to_while_nothing_plays() -> None:
    word, microphone, own_voice = scripted(0.99, 0.0)
    assert not any(word.hear(HEARD, QUIET, talker=True) for _ in range(100))
    assert (microphone.processed, microphone.skipped, own_voice.processed) == (0, 100, 0)


def test_said_into_what_plays_or_shortly_after_it_counts() -> None:
    word, microphone, _ = scripted(0.99, 0.0)
    assert any(word.hear(HEARD, LOUD, talker=True) for _ in range(20))
    word, microphone, _ = scripted(0.0, 0.0)
    word.hear(HEARD, LOUD, talker=True)
    microphone.score = 0.99
    assert any(word.hear(HEARD, QUIET, talker=True) for _ in range(LINGER_FRAMES))
    assert not any(word.hear(HEARD, QUIET, talker=True) for _ in range(LINGER_FRAMES))


def test_what_the_assistant_says_does_not() -> None:
    word, _, own_voice = scripted(0.99, 0.99)
    assert not any(word.hear(HEARD, LOUD, talker=True) for _ in range(200))
    assert own_voice.processed > 190


class Room:
    """The daemon's ears at a desk, with the head that is shipped; a synthetic voice reads an answer."""

    def __init__(self, answer: speech.Samples, level: float) -> None:
        self._room = SimulatedRoom(replace(DESK, echo_dbfs=TALKER_DBFS + level), 1)
        self._reference = ReferenceBuffer()
        path = EchoPath(WebRtcEchoCanceller(), self._reference, (WebRtcVad(2), WebRtcVad(2)))
        word = StopWord(OpenWakeWordDetector([STOP]), OpenWakeWordDetector([STOP]), StopGate(0.9))
        self._analyzer = Analyzer(OpenWakeWordDetector(["alexa"]), WebRtcVad(2), path, None, word)
        self._answer = answer.tobytes()
        self._frame = 0

    def hear(self, seconds: float, said: speech.Samples | None = None, *, playing: bool = True) -> bool:
        """Whether it heard "stop"."""
        if said is not None:
            self._room.say(said)
        return sum(self._step(playing) for _ in range(round(seconds * 50))) > 0

    def _step(self, playing: bool) -> bool:
        at = self._frame * FAR_FRAME * 2 % (len(self._answer) - FAR_FRAME * 2)
        far = self._answer[at : at + FAR_FRAME * 2] if playing else QUIET
        now = self._frame / 50
        self._reference.played(far, now, 0.0)
        frame = AudioFrame(self._frame * FRAME_SAMPLES, self._room.hear(far), now + 0.02)
        self._frame += 1
        return self._analyzer.analyze(frame).stop


def answer(text: str, level_dbfs: float = -20.0) -> speech.Samples:
    return speech.say(text, "en-us", 165, rate=24_000, level_dbfs=level_dbfs)


def voice(text: str) -> speech.Samples:
    return speech.say(text, "en-us+Storm", level_dbfs=TALKER_DBFS)


WEATHER = answer("the weather today is mostly sunny with a light breeze from the west, and tomorrow it will rain")


def test_a_person_who_says_it_into_an_answer_is_heard() -> None:
    room = Room(WEATHER, 0.0)
    assert not room.hear(4.0)
    assert room.hear(1.5, voice("stop!"))


@pytest.mark.parametrize("text", ["wait a moment", "tomorrow"])
def test_another_word_is_none(text: str) -> None:
    room = Room(WEATHER, 0.0)
    assert not room.hear(3.0)
    assert not room.hear(2.0, voice(text))


def test_an_answer_that_says_it_does_not_end_itself() -> None:
    text = "okay. stop! I said: stop. when you are done, please stop."
    said = answer(text)
    own_voice = OpenWakeWordDetector([STOP])
    at_mic_rate = [own_voice.process(pcm) for _, pcm in speech.frames(speech.say(text, "en-us", 165))]
    assert max(scores[STOP] for scores in at_mic_rate if scores) > 0.9, "else this would show nothing"
    assert not Room(said, 20.0).hear(6.0)


def test_into_silence_it_is_nothing() -> None:
    assert not Room(WEATHER, 0.0).hear(2.5, voice("stop!"), playing=False)
