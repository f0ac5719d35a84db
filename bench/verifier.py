"""A verifier of a wake word: what it lets through and what it refuses, among people whom it has not heard.

usage (in a source checkout): python -m bench.verifier

62 people say "alexa" (``../shared/speech``), others say other words, and a synthesizer says words that sound like it. A
verifier is trained on seven eighths of the people and of the other words, and judged on the rest, in turn; a word that
sounds alike is judged by one that has never heard that word. In a quiet room, far away, in noise, and over the
assistant's own voice, as loud and not cancelled (there the daemon does not ask it).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector
from assistant.adapters.verifier_examples import Listener
from assistant.core.verifier_training import STEP_SAMPLES, train
from assistant.core.wake_attempts import NEAR_MISS
from assistant.core.wake_gate import WakeGate, WakeWordSettings
from assistant.core.wake_verifier import WakeVerifier
from bench.wake_gate import RECORDINGS, Wave, db, in_its_room, in_noise, int16, recording
from bench.wake_speaking import over_answers, spoken_answers
from tests import speech

WORD = "alexa"
PARTS = 8
VOICES = ("en-us+Storm", "en-gb-x-rp", "en-us+Annie", "en-us+Andy")
ALIKE = (
    *("alexis", "a lexus", "a lexicon", "electra", "Alex", "alexander", "a texan", "election", "select a", "relaxer"),
    *("axle", "Malaxa", "collects a", "Alaska", "a laxative", "a lecture", "Al exits", "lexa", "elixir", "I lack a"),
)
SETTINGS = {
    "threshold 0.5": WakeWordSettings(WORD, 0.5),
    "threshold 0.2": WakeWordSettings(WORD, 0.2),
    "0.2, verifier 0.3": WakeWordSettings(WORD, 0.2, verifier_threshold=0.3),
    "0.2, verifier 0.5": WakeWordSettings(WORD, 0.2, verifier_threshold=0.5),
    "0.2, verifier 0.7": WakeWordSettings(WORD, 0.2, verifier_threshold=0.7),
}
ROOMS = ("quiet", "-32 dB", "pink 10 dB", "pink 3 dB", "babble 3 dB", "own voice 0 dB")

Steps = list[tuple[float, np.ndarray | None]]
"""The score of each step, and what it was made of where it is high enough to ask about."""


def main() -> None:
    if not RECORDINGS.is_dir():
        print(f"skipped, there is no {RECORDINGS}")
        return
    parser = argparse.ArgumentParser(prog="python -m bench.verifier", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--all", action="store_true", help="all recordings, not each second one")
    every = 1 if parser.parse_known_args()[0].all else 2
    people = [recording(file) for file in sorted((RECORDINGS / WORD).glob("*.flac"))[::every]]
    others = [recording(file) for file in sorted((RECORDINGS / f"not_{WORD}").glob("*.flac"))[::every]]
    alike = [speech.say(text, voice).astype(np.float64) / 32768 for text in ALIKE for voice in VOICES[::every]]
    waves = people + others + alike
    kinds = ["people"] * len(people) + ["others"] * len(others) + ["alike"] * len(alike)
    parts = [number % PARTS for number in range(len(people) + len(others))]
    parts += [number // len(VOICES[::every]) % PARTS for number in range(len(alike))]
    print(f"{len(people)} people say {WORD}, {len(others)} other words, {len(alike)} that sound alike")

    listener = Listener(WORD, [int16(wave).tobytes() for wave in others])
    examples = [
        listener.example("", kind == "people", int16(wave).tobytes(), number)
        for number, (kind, wave) in enumerate(zip(kinds, waves, strict=True))
    ]
    verifiers = [
        train(WORD, [example for example, its in zip(examples, parts, strict=True) if its != part])
        for part in range(PARTS)
    ]
    print("heard of the people / false alarms in other words / in words that sound alike")
    print(f"{'':20}" + "".join(f"{room:>18}" for room in ROOMS))
    rooms = [_hear(room, waves, others) for room in ROOMS]
    for name, settings in SETTINGS.items():
        cells = []
        for scenes in rooms:
            judged = zip(kinds, parts, scenes, strict=True)
            woken = [kind for kind, part, steps in judged if _wakes(settings, steps, verifiers[part])]
            cells.append(" / ".join(f"{woken.count(kind):2}" for kind in ("people", "others", "alike")))
        print(f"{name:20}" + "".join(f"{cell:>18}" for cell in cells))


def _hear(room: str, waves: Sequence[Wave], others: Sequence[Wave]) -> list[Steps]:
    detector = OpenWakeWordDetector([WORD])
    answers = spoken_answers()
    found = []
    for number, wave in enumerate(waves):
        if room == "own voice 0 dB":
            scene = over_answers(answers, wave, 0, number) / 32768
        elif room in ("quiet", "-32 dB"):
            scene = in_its_room(wave, np.random.default_rng(number)) * (1.0 if room == "quiet" else db(-32))
        else:
            kind, snr, _ = room.split()
            scene = in_noise(wave, kind, float(snr), others, number)
        detector.reset()
        steps: Steps = []
        for _, pcm in speech.frames(int16(scene)):
            if (scores := detector.process(pcm)) is not None:
                score = scores[WORD]
                steps.append((score, detector.embeddings(WORD).copy() if score >= NEAR_MISS else None))
        found.append(steps)
    return found


def _wakes(settings: WakeWordSettings, steps: Steps, verifier: WakeVerifier) -> bool:
    gate = WakeGate([settings])
    return any(
        gate.feed(
            number * STEP_SAMPLES,
            {WORD: score},
            {WORD: verifier.probability(embeddings)} if embeddings is not None else {},
        )
        for number, (score, embeddings) in enumerate(steps, 1)
    )


if __name__ == "__main__":
    main()
