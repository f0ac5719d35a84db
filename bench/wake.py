"""Wake words: our sessions against ``openwakeword.Model``, side by side on the same audio.

usage (in a source checkout): python -m bench.wake

Prints memory, CPU and the largest difference of scores; what the first score after a rest costs us; and, where
recordings of people lie beside the checkout (``../shared/speech``), how many wake words are found and how many other
words are taken for one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tests import speech

OURS, THEIRS = "hearth", "openwakeword"
STEP = 1280  # samples between two scores
THRESHOLD = 0.5
WORD_SETS = (("hey_jarvis",), ("alexa", "hey_jarvis", "hey_mycroft"))
RECORDINGS = Path(__file__).resolve().parents[1] / ".." / "shared" / "speech"

Scores: TypeAlias = npt.NDArray[np.float64]
Run: TypeAlias = Callable[[speech.Samples], Scores]
"""Scores of a whole clip, heard as if nothing had been heard before: one row a step, one column a word."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process paid. ``rss_mb`` is its peak, the interpreter and the audio included."""

    load_s: float
    cpu_ms_per_s: float
    rss_mb: float


def main() -> None:
    """Print the tables; ``--child`` is for the processes that are measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.wake", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--child", nargs=3, metavar=("SYSTEM", "WORDS", "FOLDER"), help=argparse.SUPPRESS)
    child = parser.parse_known_args()[0].child
    if child is not None:
        _measure(child[0], child[1].split(","), Path(child[2]))
        return
    print(f"cost on {len(_clip()) / speech.RATE:.0f} s of speech and noise, one process each")
    print(f"{'words':>5}  {'':12}  {'load s':>6}  {'CPU ms/s':>8}  {'RSS MB':>6}")
    for words in WORD_SETS:
        _compare_cost(words)
    print(f"first score after a rest of any length: {_cost_of_waking():.1f} ms of CPU (ours alone, one word)")
    if RECORDINGS.is_dir():
        _compare_recordings()
    else:
        print(f"recordings: skipped, there is no {RECORDINGS}")


def _compare_cost(words: Sequence[str]) -> None:
    clip = [_clip()]
    (our_cost, our_scores), (their_cost, their_scores) = _run(OURS, words, clip), _run(THEIRS, words, clip)
    for system, cost in ((OURS, our_cost), (THEIRS, their_cost)):
        row = f"{len(words):5}  {system:12}  {cost.load_s:6.2f}  {cost.cpu_ms_per_s:8.1f}  {cost.rss_mb:6.0f}"
        print(row)
    cpu, rss = our_cost.cpu_ms_per_s / their_cost.cpu_ms_per_s, our_cost.rss_mb / their_cost.rss_mb
    difference = np.abs(our_scores[0] - their_scores[0]).max()
    print(f"       {'ratio':12}  {'':6}  {cpu:8.2f}  {rss:6.2f}   largest difference of scores {difference:.1e}")


def _cost_of_waking() -> float:
    """CPU milliseconds of the frame that ends a rest: it makes up for all that its score depends on."""
    from assistant.adapters.openwakeword_onnx import STEP_FRAMES, OpenWakeWordDetector

    detector = OpenWakeWordDetector(["alexa"])
    costs = []
    for number, (_, pcm) in enumerate(speech.frames(_clip()), 1):
        if number % (40 * STEP_FRAMES):
            detector.skip(pcm)
        else:
            begin = time.process_time()
            detector.process(pcm)
            costs.append(1000 * (time.process_time() - begin))
    return float(np.median(costs))


def _compare_recordings() -> None:
    print(f"recordings of people, word alexa, threshold {THRESHOLD}")
    folders = {name: _recordings(RECORDINGS / name) for name in ("alexa", "not_alexa")}
    clips = [clip for clips in folders.values() for clip in clips]
    peaks = {}
    for system in (OURS, THEIRS):
        _, scores = _run(system, ["alexa"], clips)
        peaks[system] = np.array([clip_scores.max() for clip_scores in scores])
        found = np.split(peaks[system] >= THRESHOLD, [len(folders["alexa"])])
        print(
            f"       {system:12}  found {found[0].sum()} of {len(found[0])}   "
            f"false accepts {found[1].sum()} of {len(found[1])}"
        )
    print(f"       largest difference of the peaks {np.abs(peaks[OURS] - peaks[THEIRS]).max():.1e}")


def _run(system: str, words: Sequence[str], clips: Sequence[speech.Samples]) -> tuple[Cost, list[Scores]]:
    """Score clips in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-wake.") as folder:
        np.savez(Path(folder) / "clips.npz", *clips)
        command = [sys.executable, "-m", "bench.wake", "--child", system, ",".join(words), folder]
        output = subprocess.run(command, capture_output=True, text=True, check=False)
        if output.returncode != 0:
            raise SystemExit(f"bench.wake: {system} failed: {output.stderr.strip()[-2000:]}")
        with np.load(Path(folder) / "scores.npz") as scores:
            return Cost(**json.loads(output.stdout)), [scores[name] for name in scores.files]


def _measure(system: str, words: Sequence[str], folder: Path) -> None:
    with np.load(folder / "clips.npz") as archive:
        clips = [archive[name] for name in archive.files]
    begin = time.perf_counter()
    run = _load_ours(words) if system == OURS else _load_theirs(words)
    load_s = time.perf_counter() - begin
    begin = time.process_time()
    scores = [run(clip) for clip in clips]
    cpu_s = time.process_time() - begin
    np.savez(folder / "scores.npz", *scores)
    audio_s = sum(len(clip) for clip in clips) / speech.RATE
    print(json.dumps(asdict(Cost(load_s, 1000 * cpu_s / audio_s, _peak_rss_mb()))))


def _load_ours(words: Sequence[str]) -> Run:
    from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector

    detector = OpenWakeWordDetector(words)

    def run(clip: speech.Samples) -> Scores:
        detector.reset()
        steps = (detector.process(pcm) for _, pcm in speech.frames(clip))
        return np.array([[scores[word] for word in words] for scores in steps if scores is not None])

    return run


def _load_theirs(words: Sequence[str]) -> Run:
    warnings.simplefilter("ignore")
    from openwakeword.model import Model
    from openwakeword.utils import AudioFeatures

    from assistant.adapters.openwakeword_models import find_wake_model

    paths = [str(find_wake_model(word).path) for word in words]
    model = Model(wakeword_model_paths=paths)
    names = [Path(path).stem for path in paths]
    used = False

    def run(clip: speech.Samples) -> Scores:
        nonlocal used
        if used:
            model.reset()
            model.preprocessor = AudioFeatures()  # its reset() keeps the audio heard so far
        used = True
        steps = (model.predict(clip[begin : begin + STEP]) for begin in range(0, len(clip) - STEP + 1, STEP))
        return np.array([[scores[name] for name in names] for scores in steps])

    return run


def _clip() -> speech.Samples:
    phrases = ("alexa", "turn on the kitchen light", "hey jarvis", "hey my croft", "what time is it in the kitchen")
    sentences = speech.concat(*(speech.concat(speech.say(text), speech.silence(1)) for text in phrases * 5))
    return speech.in_room(sentences, before=2, after=2, dbfs=-50)


def _recordings(folder: Path) -> list[speech.Samples]:
    """All recordings at 16 kHz, with a second of faint noise on each side."""
    import soundfile
    import soxr

    clips = []
    for file in sorted(folder.glob("*.flac")):
        samples, rate = soundfile.read(file, dtype="int16")
        clips.append(soxr.resample(samples, rate, speech.RATE) if rate != speech.RATE else samples)
    return [speech.concat(speech.noise(1, -70, 0), clip, speech.noise(1, -70, 1)) for clip in clips]


def _peak_rss_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
