"""``assistant wake``: try recordings on the wake words, record tries, and look back at near misses."""

from __future__ import annotations

import argparse
import json
import random
from array import array
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from assistant import wiring
from assistant.adapters.openwakeword_models import wake_phrase, wake_word_name
from assistant.adapters.sound_files import find_sound_files, read_sound
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.ports import WakeWordDetector
from assistant.audio.wake_history import AUDIO_FOLDER, HistoryEntry, read_history, tries
from assistant.cli.common import complain, load_config, say
from assistant.config import Config
from assistant.config.sections import WakeWord
from assistant.core.wake_attempts import what_if
from assistant.core.wake_gate import WakeGate
from assistant.errors import EXIT_FAILURE, EXIT_OK, HearthError
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, MIC_RATE

LEAD_IN_S = 4
"""A recording is heard as by a daemon that has been running: first a quiet room, so that the idle gate has settled."""

TAIL_S = 1
"""A quiet room after it: the score comes up to 350 ms after the word, where many recordings have ended."""


def main(options: argparse.Namespace) -> int:
    config = load_config(options, log_level="warning")
    if options.action == "history":
        return _history(config, options)
    config = with_wake_word(config, options.wake_word)
    if options.action == "record":
        from assistant.cli import wake_record

        return wake_record.main(config, options.mic, options.tries, options.keep)
    return _eval(config, options)


def with_wake_word(config: Config, word: str | None) -> Config:
    """The same config with this wake word only; its settings are those of the config, if it is there."""
    if word is None:
        return config
    found = [one for one in config.wake.words if word in (one.model, wake_word_name(one.model))]
    words = tuple(found[:1]) or (WakeWord.model_construct(model=word),)
    return config.model_copy(update={"wake": config.wake.model_copy(update={"words": words})})


# --- eval -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """A recording, as the daemon hears it. at_s: where the first hit was, in seconds of the recording.

    verified: how sure a verifier was at most; None if none was asked.
    """

    path: str
    peak: float
    verified: float | None
    detected: bool
    at_s: float | None
    word: str | None


class Bench:
    """The daemon's way from microphone frames to hits: idle gate, models, thresholds, patience, refractory."""

    def __init__(self, config: Config) -> None:
        self._detector: WakeWordDetector = wiring.wake_words(config)
        self._gate: WakeGate = wiring.wake_gate(config)
        self._vad = WebRtcVad(config.vad.aggressiveness)
        self._before, self._after = _room(LEAD_IN_S, 1), _room(TAIL_S, 2)

    def hear(self, path: Path, gain_db: float) -> Trial:
        """Hear one recording after a quiet room. Raises HearthError if it cannot be read."""
        self._detector.reset()
        self._gate.reset()
        recording = read_sound(path, gain_db)
        recording += bytes(-len(recording) % FRAME_BYTES)
        pcm = self._before + recording + self._after
        peak, first = 0.0, None
        sure: list[float] = []
        for number in range(len(pcm) // FRAME_BYTES):
            frame = pcm[number * FRAME_BYTES : (number + 1) * FRAME_BYTES]
            self._gate.hear(self._vad.is_speech(frame))
            scores = self._detector.process(frame)
            if scores is None:
                continue
            peak = max(peak, *scores.values())
            verified = self._detector.verified
            sure += verified.values()
            hit = self._gate.feed((number + 1) * FRAME_SAMPLES, scores, verified)
            first = first or hit
        at_s = None if first is None else round(first.sample / MIC_RATE - LEAD_IN_S, 2)
        best = round(max(sure), 4) if sure else None
        return Trial(str(path), round(peak, 4), best, first is not None, at_s, first.name if first else None)


def _room(seconds: float, seed: int) -> bytes:
    """The faintest noise that 16 bits can hold."""
    chance = random.Random(seed)
    return array("h", (round(chance.gauss(0, 1)) for _ in range(round(seconds * MIC_RATE)))).tobytes()


def _eval(config: Config, options: argparse.Namespace) -> int:
    files = [file for path in options.paths for file in find_sound_files(path)]
    bench = Bench(config)
    trials: list[Trial] = []
    unreadable = 0
    for file in files:
        try:
            trial = bench.hear(file, options.gain)
        except HearthError as error:
            complain(f"assistant wake eval: {error}")
            unreadable += 1
            continue
        trials.append(trial)
        if not options.json:
            found = f"{trial.at_s:7.2f} s  {trial.word}" if trial.at_s is not None else "      -"
            verified = f"  verifier {trial.verified:.3f}" if trial.verified is not None else ""
            say(f"{trial.peak:6.3f}  {found:<24}  {trial.path}{verified}")
    detected = sum(trial.detected for trial in trials)
    recall = round(detected / len(trials), 4) if trials else None
    if options.json:
        report = [asdict(trial) for trial in trials]
        totals = {"total": len(trials), "detected": detected, "recall": recall, "unreadable": unreadable}
        say(json.dumps({"files": report, **totals}, ensure_ascii=False, indent=2))
    else:
        words = ", ".join(f"{word.model} at {word.threshold:g}" for word in config.wake.words)
        say(f"{detected} of {len(trials)} detected ({words})")
    return EXIT_FAILURE if unreadable else EXIT_OK


# --- history ----------------------------------------------------------------------------------------------------------


def _history(config: Config, options: argparse.Namespace) -> int:
    entries, verifiers = read_history(config.state_folder), wiring.verifier_thresholds(config)
    if options.json:
        report: dict[str, object] = {"entries": [asdict(entry) for entry in entries]}
        if options.threshold is not None:
            change = what_if(tries(entries, verifiers), options.threshold)
            report["what_if"] = {"threshold": options.threshold, **asdict(change)}
        say(json.dumps(report, ensure_ascii=False, indent=2))
        return EXIT_OK
    if not entries:
        say(f"nothing yet: the daemon keeps what scores on a wake word in {config.state_folder}")
        return EXIT_OK
    for entry in entries[-options.last :]:
        _print_entry(entry, config.state_folder)
    for word in sorted({entry.word for entry in entries}):
        mine = [entry for entry in entries if entry.word == word]
        hits = sum(entry.hit for entry in mine)
        say(f'{word} ("{wake_phrase(word)}"): woke {hits} times, {len(mine) - hits} near misses')
        if options.threshold is not None:
            change = what_if(tries(mine, verifiers), options.threshold)
            say(
                f"  at threshold {options.threshold:g}: {change.kept} of these wakes, {change.added} near misses more,"
                f" {change.lost} wakes fewer"
            )
    return EXIT_OK


def _print_entry(entry: HistoryEntry, folder: Path) -> None:
    time = datetime.fromtimestamp(entry.at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    what = "woke" if entry.hit else "near miss"
    note = ", while the assistant spoke" if entry.speaking else ""
    verified = f", verifier {entry.verified:.2f}" if entry.verified is not None else ""
    audio = f"  {folder / AUDIO_FOLDER / entry.audio}" if entry.audio else ""
    say(f"{time}  {entry.peak:5.2f}  {entry.word:<14}  {what}{verified}{note}{audio}")
