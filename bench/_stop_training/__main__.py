"""Train the word "stop": make train-stop (an hour of CPU; what was synthesized is kept for the next time).

usage (in a source checkout): python -m bench._stop_training --voices FOLDER [--keep FOLDER] [--out FILE]

What is needed besides Hearth is in speakers.py. No recording of a person is used. Heads that it trains are worse than
the one that is shipped (docs/echo.md), so it does not replace that one unless ``--out`` names it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector
from assistant.adapters.word_head import write_head
from assistant.testing.room import RoomSettings
from assistant.types import FRAME_SAMPLES
from bench._stop_training import corpus, fit, scenes
from bench._stop_training.corpus import Said
from bench._stop_training.fit import Examples
from bench._stop_training.speakers import RATE, Floats, Speaker, Studio

_ANY_WORD: Final = "alexa"  # its detector makes the embeddings; what it scores does not matter
_WORD_S: Final = (0.0, 0.32)
"""Steps that end so long after the word's own end are the word."""
_NOT_YET_S: Final = -0.25
"""Up to here nothing of it is decided. What lies between is left out."""
_OVER_S: Final = 0.7
_COLD_STEPS: Final = 9  # in which the embeddings still see silence that nobody heard

_SHARES: Final = {"espeak": 0.42, "flite": 0.18, "festival": 0.14, "kokoro": 0.26}
"""How much each synthesizer counts: espeak-ng has most voices, and sounds least like people."""
_IN_SCENES, _IN_ROOMS = 0.35, 0.15  # of what is drawn, the word
_READ, _ALIKE, _OWN = 0.22, 0.28, 0.30  # and not the word
_READINGS: Final = 36
_ROOMS: Final = 28
_TALKER_DBFS: Final = -34.0


@dataclass(slots=True)
class Found:
    """What a job has made. engine: whose the word is, "" for nobody's in particular."""

    kind: str
    engine: str
    word: list[fit.Halves]
    other: list[fit.Halves]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make train-stop", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--voices", type=Path, required=True, help="where the packages of voices are")
    parser.add_argument("--keep", type=Path, default=Path("build/stop"), help="where what was said is kept")
    parser.add_argument("--out", type=Path, default=Path("build/stop.npz"))
    options = parser.parse_args()
    jobs = _jobs(options.keep, options.voices)
    found: list[Found] = []
    with get_context("fork").Pool(os.cpu_count()) as pool:
        for number, result in enumerate(pool.imap(_call, jobs)):
            found.append(result)
            print(f"{number + 1} of {len(jobs)}: {result.kind} {result.engine}", flush=True)
    head = fit.train("stop", _weighed(found))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_head(options.out, head)
    print(f"{options.out}: {options.out.stat().st_size} bytes")


def _call(job: Callable[[], Found]) -> Found:
    return job()


def _jobs(folder: Path, voices: Path) -> list[Callable[[], Found]]:
    """Each with a seed of its own, so that the order in which they are done does not matter."""
    stops, alike, sentences = corpus.for_training()
    jobs: list[Callable[[], Found]] = []
    for engine, scene_count in (("espeak", 1600), ("flite", 600), ("festival", 400), ("kokoro", 1300)):
        mine, near = _of(engine, stops), _of(engine, alike)
        for seed, count in enumerate([100] * (scene_count // 100)):
            own = partial(_words, Studio(folder, voices), engine, mine, near, sentences, count=count)
            jobs.append(partial(own, seed=sum(map(ord, engine)) * 1000 + seed))
    _, by_joe, read_by_joe = corpus.by_joe()
    read = partial(_reading, Studio(folder, voices), alike + by_joe * 5, sentences + read_by_joe * 5, seconds=180)
    jobs += [partial(read, seed=1000 + seed) for seed in range(_READINGS)]
    jobs += [partial(_answering, Studio(folder, voices), stops, alike, seed=2000 + seed) for seed in range(_ROOMS)]
    return jobs


def _of(engine: str, said: Iterable[Said]) -> list[Said]:
    return [one for one in said if one[0].engine == engine]


def _embed(samples: npt.NDArray[np.int16]) -> Floats:
    """(steps, 96), as the daemon has them."""
    detector = OpenWakeWordDetector([_ANY_WORD])
    frames = (samples[at : at + FRAME_SAMPLES] for at in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES))
    steps = (frame for frame in frames if detector.process(frame.tobytes()) is not None)
    return np.array([detector.embeddings(_ANY_WORD)[-1].copy() for _ in steps], np.float32)


def _spoken(studio: Studio, said: list[Said], random: np.random.Generator, count: int) -> list[Floats]:
    return [studio.say(*said[random.integers(len(said))]) for _ in range(count)]


def _split(samples: npt.NDArray[np.int16], ends: list[int]) -> tuple[fit.Halves, fit.Halves]:
    """The rows of the word, and those of anything else. ends: where it was said."""
    rows = fit.windows(_embed(samples)[_COLD_STEPS:])
    at = (np.arange(len(rows)) + _COLD_STEPS + fit.WINDOW) * scenes.STEP
    word, other = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    for end in ends:
        after = (at - end) / RATE
        word |= (after >= _WORD_S[0]) & (after <= _WORD_S[1])
        other &= (after < _NOT_YET_S) | (after > _OVER_S)
    return rows[word], rows[other]


def _words(
    studio: Studio, engine: str, stops: list[Said], alike: list[Said], sentences: list[Said], *, seed: int, count: int
) -> Found:
    """ "Stop" here and there, and as many words that sound alike."""
    random = np.random.default_rng(seed)
    backgrounds = _spoken(studio, sentences, random, 40)
    found = Found("words", engine, [], [])
    for word in _spoken(studio, stops, random, count):
        scene, end = scenes.word_scene(word, backgrounds, random)
        rows, others = _split(scene, [end])
        found.word.append(rows)
        found.other.append(others)
    for word in _spoken(studio, alike, random, count * 2 // 3):
        scene, _ = scenes.word_scene(word, backgrounds, random)
        found.other.append(_split(scene, [])[1])
    return found


def _reading(studio: Studio, alike: list[Said], sentences: list[Said], *, seed: int, seconds: float) -> Found:
    """Sentences, words that sound alike, music and clatter."""
    random = np.random.default_rng(seed)
    backgrounds = _spoken(studio, sentences, random, 40)
    found, heard = Found("reading", "", [], []), 0.0
    while heard < seconds:
        parts = _spoken(studio, sentences, random, 5) + _spoken(studio, alike, random, 3)
        parts = [parts[at] for at in random.permutation(len(parts))]
        scene = scenes.reading_scene(parts, backgrounds, random)
        heard += len(scene) / RATE
        found.other.append(_split(scene, [])[1])
    found.other.append(_split(scenes.noise_scene(20, random), [])[1])
    return found


def _answering(studio: Studio, stops: list[Said], alike: list[Said], *, seed: int) -> Found:
    """Into an answer, behind the linear canceller."""
    random = np.random.default_rng(seed)
    room = RoomSettings(
        "any",
        rt60_s=random.uniform(0.15, 0.9),
        drr_db=random.uniform(-6, 7),
        delay_ms=random.uniform(20, 180),
        drive=random.uniform(0, 4),
        drift_ppm=random.uniform(0, 80),
        noise_dbfs=random.uniform(-68, -52),
        echo_dbfs=_TALKER_DBFS + random.uniform(-6, 22),
    )
    place = scenes.AnsweringRoom(room, answer_wave(studio, random, 30.0))
    place.listen(5)
    ends = []
    for _ in range(14):
        is_stop = random.random() < 0.7
        engine = tuple(_SHARES)[random.choice(len(_SHARES), p=list(_SHARES.values()))]
        (word,) = _spoken(studio, _of(engine, stops if is_stop else alike), random, 1)
        place.listen(random.uniform(0.9, 2))
        if is_stop:
            ends.append(place.samples + len(word))
        place.say(scenes.int16(word / scenes.level(word) * scenes.db(_TALKER_DBFS + random.uniform(-8, 6))))
        place.listen(len(word) / RATE + 0.8)
    rows, others = _split(np.frombuffer(b"".join(place.heard), np.int16), ends)
    return Found("answering", "", [rows], [others])


def answer_wave(studio: Studio, random: np.random.Generator, seconds: float) -> npt.NDArray[np.int16]:
    """What the assistant says: 24 kHz, by voices as assistants have them."""
    import soxr

    voices = (
        Speaker("espeak", "en-us", 1.03),
        Speaker("kokoro", "jf_gongitsune", language="en-us"),
        Speaker("flite", "slt"),
        Speaker("joe", "joe"),
    )
    parts: list[npt.NDArray[np.float64]] = []
    while sum(map(len, parts)) < seconds * 24_000:
        said = studio.say(voices[random.choice(4, p=[0.4, 0.1, 0.2, 0.3])], corpus.answer(random)).astype(np.float64)
        parts.append(soxr.resample(said / scenes.level(said) * scenes.db(-20), RATE, 24_000))
        parts.append(np.zeros(int(24_000 * random.uniform(0.15, 0.5))))
    return scenes.int16(np.concatenate(parts))


def _weighed(found: list[Found]) -> Examples:
    def rows(kind: str, engine: str, *, word: bool) -> fit.Halves:
        these = [one for one in found if (one.kind, one.engine) == (kind, engine)]
        return np.concatenate([rows for one in these for rows in (one.word if word else one.other)])

    parts = [
        Examples.alike(rows("words", engine, word=word), word, share * (_IN_SCENES if word else _ALIKE))
        for engine, share in _SHARES.items()
        for word in (True, False)
    ]
    parts.append(Examples.alike(rows("reading", "", word=False), False, _READ))
    parts.append(Examples.alike(rows("answering", "", word=True), True, _IN_ROOMS))
    parts.append(Examples.alike(rows("answering", "", word=False), False, _OWN))
    return Examples.all(parts)


if __name__ == "__main__":
    main()
