"""Wake word, wake gate, VAD and endpointing on spoken scenes: what would be sent, measured against what was said."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector, wake_phrase
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.core.endpointing import Endpointer, EndpointingSettings, Expect, SpeechStart, SpeechStop
from assistant.core.wake_gate import WakeGate, WakeWordSettings
from tests.speech import RATE, Samples, concat, frames, in_room, say, silence

COMMAND = "turn on the kitchen light"
LEAD_IN = 2.0

# From the earliest hit (before the phrase has died away) to the latest; spelled as the voice says them right.
WORDS = {"weather": wake_phrase("weather"), "hey_mycroft": "hey my croft", "hey_jarvis": wake_phrase("hey_jarvis")}


@dataclass
class Outcome:
    hits: list[int]
    starts: list[SpeechStart]
    stops: list[SpeechStop]


def listen(word: str, samples: Samples) -> Outcome:
    detector, vad = OpenWakeWordDetector([word]), WebRtcVad()
    gate, endpointer = WakeGate([WakeWordSettings(word)]), Endpointer(EndpointingSettings())
    outcome = Outcome([], [], [])
    for start, pcm in frames(samples):
        scores = detector.process(pcm)
        hit = gate.feed(start + len(pcm) // 2, scores) if scores is not None else None
        if hit is not None:
            outcome.hits.append(hit.sample)
            endpointer.expect(Expect.UTTERANCE, hit.sample)
        match endpointer.hear(start, vad.is_speech(pcm)):
            case SpeechStart() as decision:
                outcome.starts.append(decision)
            case SpeechStop() as decision:
                outcome.stops.append(decision)
            case None:
                pass
    return outcome


@pytest.mark.parametrize("word", WORDS)
def test_in_one_breath_phrase_and_command_are_sent_whole(word: str) -> None:
    speech = say(f"{WORDS[word]} {COMMAND}", "en-gb-x-rp")  # run together, the default voice is not found
    outcome = listen(word, in_room(speech, before=LEAD_IN, after=2))
    (start,), (stop,) = outcome.starts, outcome.stops
    begin, end = round(LEAD_IN * RATE), round(LEAD_IN * RATE) + len(speech)
    assert begin - 0.4 * RATE < start.sample <= begin
    assert abs(stop.last_voiced - end) < 0.2 * RATE
    assert stop.sample - stop.last_voiced == 0.5 * RATE


@pytest.mark.parametrize("pause", [0.4, 0.8, 1.3])
@pytest.mark.parametrize("word", WORDS)
def test_with_a_pause_the_command_is_sent_whole_and_no_fragment_of_the_phrase(word: str, pause: float) -> None:
    phrase, command = say(WORDS[word]), say(COMMAND)
    outcome = listen(word, in_room(concat(phrase, silence(pause), command), before=LEAD_IN, after=2.5))
    (start,), (stop,) = outcome.starts, outcome.stops
    phrase_begin = round(LEAD_IN * RATE)
    phrase_end = phrase_begin + len(phrase)
    command_begin = phrase_end + round(pause * RATE)
    assert start.sample <= command_begin
    # All of the phrase or nothing; what is left of its very end is the synthesizer's fading away.
    assert start.sample <= phrase_begin or start.sample >= phrase_end - 0.1 * RATE
    assert abs(stop.last_voiced - (command_begin + len(command))) < 0.2 * RATE


def test_nobody_speaks_after_the_wake_word() -> None:
    outcome = listen("hey_jarvis", in_room(say("hey jarvis"), before=LEAD_IN, after=3))
    assert (len(outcome.hits), outcome.starts, outcome.stops) == (1, [], [])


def test_without_a_wake_word_nothing_is_decided() -> None:
    outcome = listen("hey_jarvis", in_room(say(f"please {COMMAND}"), before=LEAD_IN, after=1))
    assert outcome == Outcome([], [], [])
