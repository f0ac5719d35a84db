"""A spoken "stop": who is heard, how soon, and what is mistaken for it.

usage (in a source checkout): python -m bench.stop [--minutes N] [--trials N] [--voices FOLDER] [--keep FOLDER]

In the simulated rooms, behind the daemon's own echo path, while the assistant reads answers. Levels are echo over the
talker at the microphone. The talkers are variants of espeak-ng, which the shipped head learned from; with --voices
also Piper's "joe", a voice made from a person's, whose "stop" no head learns from (bench/_stop_training/speakers.py
says where it comes from).
Recordings of people who say other things are ``../shared/speech``; none of them, nor of anybody, was trained with.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector
from assistant.audio.stop_word import STOP, StopWord
from assistant.config.sections import BargeIn
from assistant.core.stop_word import StopGate
from assistant.testing.room import ROOMS, RoomSettings
from assistant.types import FRAME_SAMPLES
from bench._stop_training.corpus import answer
from bench._stop_training.scenes import AnsweringRoom, db, int16, level
from bench._stop_training.speakers import Speaker, Studio
from bench.wake_gate import RECORDINGS, recording
from tests import speech

RATE = 16_000
TALKER_DBFS = -34.0
LEVELS = (0, 10, 20)
VOICES = (
    "en-us+Annie",
    "en-us+Mike",
    "en-029+belinda",
    "en-us+f2",
    "en-gb-x-rp+m7",
    "de+grandma",
    "en-us+steph2",
    "de+Lee",
)
ASSISTANTS = ("en-us", "en-gb-x-rp", "en-us+f2", "en-us+Mike")
SAYING_STOP = (
    "Okay, I will stop.",
    "Say stop to end it.",
    "The bus stop is near the shop.",
    "Stop the timer, please.",
    "I can stop the music, or go on.",
)
IN_TIME_S = 0.6
"""After its end, a word that was not heard by then was not heard."""

Samples = npt.NDArray[np.int16]
_SILENT = bytes(480 * 2)
_SOUNDING = b"\x00\x10" * 480


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=0.5, help="of its own speech, per room and level")
    parser.add_argument("--trials", type=int, default=8, help="talkers, per room and level")
    parser.add_argument("--threshold", type=float, default=BargeIn().stop_threshold)
    parser.add_argument("--voices", type=Path, help="packages of voices, for joe")
    parser.add_argument("--keep", type=Path, default=Path("build/stop"), help="where what joe said is kept")
    options, _ = parser.parse_known_args()  # make bench names the benches to run
    print(f"threshold {options.threshold:g}")
    _cost(options.threshold)
    _itself(options.minutes, options.threshold)
    _people("espeak-ng", _espeak(options.trials), options.threshold)
    if options.voices:
        _people("joe", _joe(Studio(options.keep, options.voices), options.trials), options.threshold)
    _others(options.threshold)


def _stop_word(threshold: float) -> StopWord:
    return StopWord(OpenWakeWordDetector([STOP]), OpenWakeWordDetector([STOP]), StopGate(threshold))


def _hits(heard: Sequence[bytes], played: Sequence[bytes], talkers: Sequence[bool], threshold: float) -> list[int]:
    """The frames after which it took somebody to have said it."""
    word = _stop_word(threshold)
    frames = zip(heard, played, talkers, strict=True)
    return [at + 1 for at, (pcm, own, talker) in enumerate(frames) if word.hear(pcm, own, talker=talker)]


def _cost(threshold: float) -> None:
    word, frame = _stop_word(threshold), speech.noise(20, -40, 1)
    for name, played in (("while something plays", _SOUNDING), ("while nothing does", _SILENT)):
        began = time.process_time()
        for _, pcm in speech.frames(frame):
            word.hear(pcm, played, talker=False)
        print(f"CPU {name}: {(time.process_time() - began) / 20 * 1000:.2f} ms per second of audio")


# --- itself ----------------------------------------------------------------------------------------------------------


def _itself(minutes: float, threshold: float) -> None:
    """Also as if the assistant did not know what it says: a microphone that hears a strange answer."""
    print(f"\n{minutes:g} min of its own speech in each row: false stops; and if it did not hear itself")
    total, hours = np.zeros(4, int), 0.0
    texts = [answer(random) for random in [np.random.default_rng(1)] for _ in range(round(minutes * 20) + 4)]
    for room, echo in _rooms():
        cells = []
        for these in (texts, SAYING_STOP):
            place = AnsweringRoom(replace(room, echo_dbfs=TALKER_DBFS + echo), _read(these))
            place.listen(60 * (minutes if these is texts else min(minutes, 0.5)))
            deaf = [_SOUNDING] * len(place.played)
            cells += [len(_hits(place.heard, played, place.talkers, threshold)) for played in (place.played, deaf)]
        total += cells
        hours += minutes / 60
        row = "{:3} ({:2})      answers that say stop: {:3} ({:2})".format(*cells)
        print(f"  {room.name:8} +{echo:2} dB: {row}", flush=True)
    print(f"  in all, in {hours:.2f} hours: {total[0]} ({total[1]}); answers that say stop: {total[2]} ({total[3]})")


def _read(texts: Iterable[str]) -> Samples:
    """24 kHz, at the level of an answer."""
    parts = []
    for number, text in enumerate(texts):
        said = speech.say(text, ASSISTANTS[number % len(ASSISTANTS)], 165, rate=24_000).astype(np.float64) / 32768
        parts += [said / level(said) * db(-20), np.zeros(24_000 // 4)]
    return int16(np.concatenate(parts))


def _rooms() -> Iterator[tuple[RoomSettings, int]]:
    for room in ROOMS:
        for echo in LEVELS:
            yield room, echo


# --- people ----------------------------------------------------------------------------------------------------------


def _espeak(trials: int) -> list[Samples]:
    said = []
    for number in range(trials):
        voice = VOICES[number % len(VOICES)]
        said.append(speech.say("stopp!" if voice.startswith("de") else "stop!", voice, 120 + 10 * (number % 7)))
    return said


def _joe(studio: Studio, trials: int) -> list[Samples]:
    texts = ("stop", "stop!", "Stop.")
    speeds = np.linspace(0.75, 1.3, trials).round(2)
    speakers = [Speaker("joe", "joe", float(speed)) for speed in speeds]
    return [int16(studio.say(speaker, texts[number % len(texts)])) for number, speaker in enumerate(speakers)]


def _people(who: str, said: list[Samples], threshold: float) -> None:
    print(f"\n{who} saying stop into an answer, {len(said)} in each row: heard; ms from its end (p50/p95)")
    texts = [answer(random) for random in [np.random.default_rng(2)] for _ in range(12)]
    reading = _read(texts)
    for room, echo in _rooms():
        place = AnsweringRoom(replace(room, echo_dbfs=TALKER_DBFS + echo), reading)
        place.listen(5)
        ends = []
        for number, word in enumerate(said):
            place.listen(1.2 + 0.07 * (number % 9))
            wave = word.astype(np.float64) / 32768
            ends.append(place.samples + len(word))
            place.say(int16(wave / level(wave) * db(TALKER_DBFS)))
            place.listen(len(word) / RATE + 1.2)
        hits = np.array(_hits(place.heard, place.played, place.talkers, threshold)) * FRAME_SAMPLES
        found = [after for end in ends if (after := _first_after(hits, end)) is not None]
        times = "/".join(f"{np.percentile(found, q):.0f}" for q in (50, 95)) if found else "-"
        print(f"  {room.name:8} +{echo:2} dB: {len(found):3}   {times}", flush=True)


def _first_after(hits: npt.NDArray[np.int64], end: int) -> float | None:
    """How many ms after the end of the word it was heard; while it is being said counts, too."""
    near = hits[(hits > end - 0.3 * RATE) & (hits < end + IN_TIME_S * RATE)]
    return float(near[0] - end) / RATE * 1000 if near.size else None


def _others(threshold: float) -> None:
    """Everything else that people say while something plays, here without its echo."""
    files = sorted(RECORDINGS.glob("*/*.flac"))
    if not files:
        print(f"\npeople who say other things: skipped, there is no {RECORDINGS}")
        return
    words = []
    for file in files:
        wave = recording(file)
        words += [wave / level(wave) * db(TALKER_DBFS), np.zeros(RATE // 2)]
    room = int16(np.concatenate(words))
    heard = [pcm for _, pcm in speech.frames(speech.mix(room, speech.noise(len(room) / RATE, -60, 1)))]
    hits = _hits(heard, [_SOUNDING] * len(heard), [True] * len(heard), threshold)
    minutes = len(heard) / 3000
    print(f"\n{len(files)} recordings of people who say other things, {minutes:.1f} min: {len(hits)} false stops")


if __name__ == "__main__":
    main()
