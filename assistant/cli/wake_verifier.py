"""``assistant wake verifier``: train a verifier on recordings of the people of the house, or import openWakeWord's."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from assistant import wiring
from assistant.adapters.foreign_verifier import read_foreign_verifier
from assistant.adapters.openwakeword_models import wake_word_name
from assistant.adapters.sound_files import find_sound_files, read_sound
from assistant.adapters.verifier_examples import Listener
from assistant.adapters.verifier_file import write_verifier
from assistant.cli.common import complain, load_config, say
from assistant.cli.wake import with_wake_word
from assistant.config import WakeWord
from assistant.core.verifier_training import FEWEST, Example, cross_validate, train, wakes
from assistant.core.wake_attempts import NEAR_MISS
from assistant.errors import EXIT_FAILURE, EXIT_OK, HearthError
from assistant.types import MIC_RATE

PROPOSED_THRESHOLD = 0.2
"""With a verifier, a wake word may score as little as this. Measured: ``python -m bench.verifier``."""

GOOD_TRIES, GOOD_OTHERS_S = 10, 60

_PIECE = 10 * MIC_RATE * 2
"""Bytes: a long recording of other speech is judged in pieces of 10 s."""


def main(options: argparse.Namespace) -> int:
    if options.what == "import":
        verifier = read_foreign_verifier(options.file, wake_word_name(options.wake_word))
        write_verifier(options.out, verifier)
        say(f"written: {options.out}, the verifier of {verifier.word}, {verifier.window} embeddings")
        return EXIT_OK
    config = with_wake_word(load_config(options, log_level="warning"), options.wake_word)
    return _train(config.wake.words[0], options)


def _train(word: WakeWord, options: argparse.Namespace) -> int:
    if word.engine != "openwakeword":
        raise HearthError(f"{word.model}: a verifier needs engine openwakeword, not {word.engine}")
    name = wake_word_name(word.model)
    positive, negative = _read(options.positive), _read(options.negative)
    if both := sorted({file.resolve() for file in positive} & {file.resolve() for file in negative}):
        raise HearthError(f"{both[0]}: given both with --positive and with --negative")
    pieces = [(file, pcm[at : at + _PIECE]) for file, pcm in negative.items() for at in range(0, len(pcm), _PIECE)]
    examples = _listen(word.model, list(positive.items()), pieces)
    silent = [example for example in examples if example.wanted and example.peak < NEAR_MISS]
    usable = [example for example in examples if example not in silent]
    alike = sum(example.peak >= NEAR_MISS for example in examples if not example.wanted)
    others_s = sum(len(pcm) for _, pcm in pieces) / 2 / MIC_RATE
    say(f"{len(positive)} recordings of {name}; {len(positive) - len(silent)} score {NEAR_MISS} or more, and are used")
    for example in silent:
        say(f"  {example.peak:.2f}, not used: {example.path}")
    say(f"{others_s:.0f} s of other speech in {len(pieces)} pieces; {alike} score {NEAR_MISS} or more")
    if len(positive) - len(silent) < FEWEST or len(pieces) < FEWEST:
        complain(
            f"assistant wake verifier: at least {FEWEST} recordings of the wake word and {FEWEST} of other speech (or a"
            " long one) are needed; see docs/wake-words.md"
        )
        return EXIT_FAILURE
    verifier = train(name, usable)
    _report(word, examples, dict(zip(usable, cross_validate(name, usable, verifier), strict=True)))
    _advise(len(positive) - len(silent), others_s, alike)
    out = options.out or Path(f"{name}-verifier.npz")
    write_verifier(out, verifier)
    say(f"written: {out}. To use it:")
    say("wake:")
    say(f"  words: [{{model: {word.model}, threshold: {PROPOSED_THRESHOLD:g}, verifier: {out.absolute()}}}]")
    return EXIT_OK


def _read(paths: Sequence[Path]) -> dict[Path, bytes]:
    return {file: read_sound(file) for path in paths for file in find_sound_files(path)}


def _listen(
    model: str, positive: Sequence[tuple[Path, bytes]], negative: Sequence[tuple[Path, bytes]]
) -> list[Example]:
    listener = Listener(model, [pcm for _, pcm in negative])
    recordings = [(file, True, pcm) for file, pcm in positive]
    recordings += [(file, False, pcm) for file, pcm in negative]
    return [
        listener.example(str(file), wanted, pcm, seed=number) for number, (file, wanted, pcm) in enumerate(recordings)
    ]


def _report(word: WakeWord, examples: Sequence[Example], judged: dict[Example, list[float]]) -> None:
    """How many would be heard: each judged by a verifier that was trained without it."""
    plain = replace(wiring.wake_word_settings(word), verifier_threshold=None)
    low = replace(plain, threshold=PROPOSED_THRESHOLD)
    verified = replace(low, verifier_threshold=word.verifier_threshold)
    say("each judged by a verifier that has not heard it:")
    wanted = sum(example.wanted for example in examples)
    heard = []
    for what, settings in {
        f"threshold {plain.threshold:g}": plain,
        f"threshold {low.threshold:g}": low,
        f"threshold {low.threshold:g}, verifier {word.verifier_threshold:g}": verified,
    }.items():
        woken = [
            example.wanted
            for example in examples
            if wakes(settings, example.heard[0], judged.get(example, [0.0] * len(example.heard[0].scores)))
        ]
        heard.append(sum(woken))
        say(
            f"  {what:<30}  hears {heard[-1]} of {wanted},"
            f" false alarms in {len(woken) - heard[-1]} of {len(examples) - wanted}"
        )
    if heard[-1] < heard[0]:
        say("warning: with it fewer are heard than without: record more, in all the places where you speak")


def _advise(tries: int, others_s: float, alike: int) -> None:
    if tries < GOOD_TRIES:
        say(f"warning: {tries} recordings of the wake word are few: take {GOOD_TRIES} of each person")
    if others_s < GOOD_OTHERS_S:
        say(f"warning: {others_s:.0f} s of other speech are little: take some minutes, of the same people")
    if not alike:
        say("warning: no other speech sounds like the wake word: add what wakes it in vain, and words like it")
