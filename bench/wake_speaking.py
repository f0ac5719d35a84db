"""The wake word while the assistant itself speaks: what ``threshold_speaking`` buys, and what it costs.

usage (in a source checkout): python -m bench.wake_speaking

Here the models hear the assistant's answers without echo cancellation, as where ``echo.canceller`` is off, and over
them people saying "alexa" (``../shared/speech``) at several ratios of echo to speech. False accepts are counted on the
answers alone.
"""

from __future__ import annotations

import numpy as np

from assistant.adapters.wake_engines import load_detector
from bench.wake_gate import RATE, RECORDINGS, Wave, active_level, db, int16, recording, step_scores
from tests import speech

THRESHOLDS = (0.5, 0.4, 0.3, 0.2, 0.1)
ECHO_TO_SPEECH_DB = (-10, 0, 5, 10)
ANSWERS = (
    "it is twenty past seven and the sun will set in two hours from now over the hills",
    "your timer for the pasta has four minutes and thirty seconds left, shall I add one more",
    "tomorrow will be cloudy with a little rain in the afternoon and up to sixteen degrees",
    "I have added milk, butter, eggs and flour to the shopping list, there are nine things on it now",
    "the kitchen light is on, the living room is at forty percent, and the door is locked",
    "a lexicon is a book of words, and Alexandria is a city on the coast of Egypt",
)


def main() -> None:
    if not RECORDINGS.is_dir():
        print(f"skipped, there is no {RECORDINGS}")
        return
    words = [recording(file) for file in sorted((RECORDINGS / "alexa").glob("*.flac"))]
    answers = spoken_answers()
    detector = load_detector([("openwakeword", "alexa")], idle_gate=False)
    print(f"{len(words)} times alexa over the assistant's own voice: found, by threshold")
    print(f"{'echo to speech':>16}" + "".join(f"{threshold:>8}" for threshold in THRESHOLDS))
    for ratio in ECHO_TO_SPEECH_DB:
        scenes = (over_answers(answers, word, ratio, number) for number, word in enumerate(words))
        peaks = np.array([step_scores(detector, scene).max() for scene in scenes])
        print(f"{ratio:13} dB" + "".join(f"{int(np.sum(peaks >= threshold)):>8}" for threshold in THRESHOLDS))
    for level in (-10, -30):
        scores = step_scores(detector, int16(answers * db(level)))
        alone = "".join(f"{_count(scores, threshold):>8}" for threshold in THRESHOLDS)
        print(f"{'false accepts':>16}{alone}   in {len(answers) / RATE / 60:.1f} minutes of answers at {level} dB")


def spoken_answers() -> Wave:
    voices = ("en-us", "en-gb-x-rp", "en-us+Storm", "en-us+Annie")
    said = [speech.say(text, voice, 165) for voice in voices for text in ANSWERS]
    wave = np.concatenate([np.concatenate((one, speech.silence(0.3))) for one in said]).astype(np.float64) / 32768
    return wave / active_level(wave) * db(-10)


def over_answers(answers: Wave, word: Wave, ratio_db: float, seed: int) -> speech.Samples:
    """A word in the middle of answers that are louder by so much."""
    count = len(word) + 3 * RATE
    begin = int(np.random.default_rng(seed).integers(0, len(answers) - count))
    scene = answers[begin : begin + count] * db(-10)
    scene[2 * RATE : 2 * RATE + len(word)] += word * (db(-20 - ratio_db) / active_level(word))
    return int16(scene)


def _count(scores: Wave, threshold: float) -> int:
    """Hits, with 2 s of refractory."""
    hits, deaf = 0, -1
    for step in np.flatnonzero(scores >= threshold):
        if step >= deaf:
            hits, deaf = hits + 1, int(step) + 25
    return hits


if __name__ == "__main__":
    main()
