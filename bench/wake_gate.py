"""The idle gate: what it saves, and that it loses nothing. And every wake-word engine side by side.

usage (in a source checkout): python -m bench.wake_gate [--all]

Cost: CPU per second of audio in a quiet room, a noisy one, and with people who never stop to talk; one wake word.
Recall: "alexa" by people (``../shared/speech``, every second recording unless --all) and by a synthesizer, each after
5 s of its own room, from 0 to -40 dB and in pink noise and babble, with and without the gate.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from assistant.adapters.sound_files import read_sound
from assistant.adapters.wake_engines import load_detector
from assistant.audio.ports import WakeWordDetector
from tests import speech

Wave: TypeAlias = npt.NDArray[np.float64]
"""Samples from -1 to 1."""

RATE = speech.RATE
THRESHOLD = 0.5
GAINS = (0, -10, -20, -32, -40)
NOISY = (("pink", 10), ("pink", 3), ("babble", 10), ("babble", 3))
RECORDINGS = Path(__file__).resolve().parents[1] / ".." / "shared" / "speech"
COST_S = 30


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wake_gate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--all", action="store_true", help="all recordings, not each second one")
    every = 1 if parser.parse_known_args()[0].all else 2
    _print_costs()
    if RECORDINGS.is_dir():
        _print_recall(every)
    else:
        print(f"recordings: skipped, there is no {RECORDINGS}")


# --- cost -------------------------------------------------------------------------------------------------------------


def _print_costs() -> None:
    rooms = {"quiet room": _quiet_room(), "noisy room": _noisy_room(), "speech": _endless_speech()}
    print(f"CPU ms per second of audio, wake word alexa, {COST_S} s each; in brackets: of openwakeword's")
    print(f"{'':22}" + "".join(f"{name:>18}" for name in rooms))
    base: dict[str, float] = {}
    for system, load in SYSTEMS.items():
        run = load()
        cells = []
        for name, samples in rooms.items():
            run(samples[: RATE * 4])  # the gate settles, caches are warm
            begin = time.process_time()
            run(samples[RATE * 4 :])
            cost = 1000 * (time.process_time() - begin) / (len(samples) / RATE - 4)
            base.setdefault(name, cost)
            cells.append(f"{cost:10.2f} ({cost / base[name]:5.3f})")
        print(f"{system:22}" + "".join(cells))


def _load_openwakeword() -> Callable[[speech.Samples], None]:
    warnings.simplefilter("ignore")
    from openwakeword.model import Model

    from assistant.adapters.openwakeword_models import find_wake_model

    model = Model(wakeword_model_paths=[str(find_wake_model("alexa").path)])

    def run(samples: speech.Samples) -> None:
        for begin in range(0, len(samples) - 1279, 1280):
            model.predict(samples[begin : begin + 1280])

    return run


def _load_engine(engine: str, idle_gate: bool) -> Callable[[], Callable[[speech.Samples], None]]:
    def load() -> Callable[[speech.Samples], None]:
        detector = load_detector([(engine, "alexa")], idle_gate=idle_gate)

        def run(samples: speech.Samples) -> None:
            for _, pcm in speech.frames(samples):
                detector.process(pcm)

        return run

    return load


SYSTEMS: dict[str, Callable[[], Callable[[speech.Samples], None]]] = {
    "openwakeword.Model": _load_openwakeword,
    "hearth, no gate": _load_engine("openwakeword", False),
    "hearth": _load_engine("openwakeword", True),
    "pyopen-wakeword": _load_engine("pyopenwakeword", False),
    "pyopen-wakeword, gate": _load_engine("pyopenwakeword", True),
    "pymicro-wakeword": _load_engine("microwakeword", False),
}


def _quiet_room() -> speech.Samples:
    """A fridge's hum and faint pink noise, which swells and ebbs a little."""
    seconds = np.arange((COST_S + 4) * RATE) / RATE
    swell = 10 ** (0.5 * np.sin(2 * np.pi * seconds / 7) / 20)
    return int16(_pink(len(seconds), np.random.default_rng(1)) * swell * db(-62) + np.sin(314 * seconds) * db(-60))


def _noisy_room() -> speech.Samples:
    """A loud fan, and something that clatters every 6 s."""
    chance = np.random.default_rng(2)
    wave = _pink((COST_S + 4) * RATE, chance) * db(-38)
    for begin in range(3 * RATE, len(wave) - RATE, 6 * RATE):
        decay = np.exp(-np.arange(RATE // 2) / (0.05 * RATE))
        wave[begin : begin + RATE // 2] += chance.normal(size=RATE // 2) * decay * db(-16)
    return int16(wave)


def _endless_speech() -> speech.Samples:
    text = (
        "so the weather is nice today and then we go to the market and buy some bread and a lot of cheese for the week"
    )
    said = speech.concat(*(speech.say(text, voice) for voice in ("en-us+Storm", "en-gb-x-rp", "en-us+Annie")))
    return speech.mix(np.resize(said, (COST_S + 4) * RATE), speech.noise(COST_S + 4, -60, 3))


# --- recall -----------------------------------------------------------------------------------------------------------


def _print_recall(every: int) -> None:
    words = [recording(file) for file in sorted((RECORDINGS / "alexa").glob("*.flac"))[::every]]
    voices = ("en-us+Storm", "en-gb-x-rp", "en-us+Annie", "en-us+Andy")
    words += [speech.say("alexa", voice).astype(np.float64) / 32768 for voice in voices]
    others = [recording(file) for file in sorted((RECORDINGS / "not_alexa").glob("*.flac"))]
    free = load_detector([("openwakeword", "alexa")], idle_gate=False)
    gated = load_detector([("openwakeword", "alexa")], idle_gate=True)
    print(f'recall of {len(words)} times "alexa", threshold {THRESHOLD}')
    print(f"{'':16}  no gate  gate  lost  late  largest score lost  steps at rest")
    total = 0
    for name, scenes in _conditions(words, others):
        total += _print_row(name, [(step_scores(free, scene), step_scores(gated, scene)) for scene in scenes])
    print(f"lost in all: {total}")
    strangers = [int16(in_its_room(other, np.random.default_rng(n))) for n, other in enumerate(others[::every])]
    accepts = [sum(step_scores(stage, scene).max() >= THRESHOLD for scene in strangers) for stage in (free, gated)]
    print(f"false accepts in {len(strangers)} other words: {accepts[0]} without the gate, {accepts[1]} with it")


def _print_row(name: str, pairs: Sequence[tuple[Wave, Wave]]) -> int:
    """One condition; gives how many detections the gate lost."""
    found = [(np.flatnonzero(a >= THRESHOLD), np.flatnonzero(b >= THRESHOLD)) for a, b in pairs]
    lost = sum(bool(len(a)) and not len(b) for a, b in found)
    late = sum(bool(len(a)) and bool(len(b)) and b[0] > a[0] for a, b in found)
    missed = max(float(np.max(np.where(b == 0.0, a, 0.0))) for a, b in pairs)
    rest = float(np.mean(np.concatenate([b for _, b in pairs]) == 0.0))
    without, behind = (sum(bool(len(hits[side])) for hits in found) for side in (0, 1))
    print(f"{name:16}  {without:7}  {behind:4}  {lost:4}  {late:4}  {missed:18.2f}  {100 * rest:11.0f} %", flush=True)
    return lost


def _conditions(words: Sequence[Wave], others: Sequence[Wave]) -> Iterator[tuple[str, Iterator[speech.Samples]]]:
    for gain in GAINS:
        yield (
            f"own room {gain} dB",
            (int16(in_its_room(w, np.random.default_rng(n)) * db(gain)) for n, w in enumerate(words)),
        )
    for kind, snr in NOISY:
        yield f"{kind} {snr} dB", (int16(in_noise(w, kind, snr, others, n)) for n, w in enumerate(words))
        if kind == "pink":
            yield (
                f"{kind} {snr} dB, -32",
                (int16(in_noise(w, kind, snr, others, n) * db(-32)) for n, w in enumerate(words)),
            )


def step_scores(detector: WakeWordDetector, scene: speech.Samples) -> Wave:
    detector.reset()
    return np.array([found["alexa"] for _, pcm in speech.frames(scene) if (found := detector.process(pcm)) is not None])


def in_its_room(wave: Wave, chance: np.random.Generator) -> Wave:
    """A recording between 5 s and 1.5 s of noise with the level and colour of its own quietest 200 ms."""
    size = RATE // 5
    starts = range(0, max(1, len(wave) - size), 800)
    quietest = min((wave[begin : begin + size] for begin in starts), key=lambda part: float(np.mean(part**2)))
    colour = np.abs(np.fft.rfft(quietest * np.hanning(len(quietest))))
    level = float(np.sqrt(np.mean(quietest**2)))

    def room(seconds: float) -> Wave:
        count = round(seconds * RATE)
        shape = np.interp(np.linspace(0, 1, count // 2 + 1), np.linspace(0, 1, len(colour)), colour)
        noise = np.fft.irfft(shape * np.exp(2j * np.pi * chance.random(len(shape))), count)
        return noise / (float(np.sqrt(np.mean(noise**2))) + 1e-12) * level

    return np.concatenate((room(5), wave, room(1.5)))


def in_noise(wave: Wave, kind: str, snr_db: float, others: Sequence[Wave], seed: int) -> Wave:
    chance = np.random.default_rng(seed)
    scene = in_its_room(wave, chance)
    noise = _pink(len(scene), chance) if kind == "pink" else _babble(len(scene), others, chance)
    return scene + noise * active_level(wave) * db(-snr_db)


def _babble(count: int, others: Sequence[Wave], chance: np.random.Generator) -> Wave:
    """Six people at once, none of them with the wake word."""
    total = np.zeros(count)
    for _ in range(6):
        chosen = [others[number] for number in chance.permutation(len(others))[:12]]
        total += np.resize(np.concatenate([other / active_level(other) for other in chosen]), count)
    return total / float(np.sqrt(np.mean(total**2)))


def active_level(wave: Wave) -> float:
    """RMS of the frames within 20 dB of the loudest."""
    powers = np.array([np.mean(wave[begin : begin + 320] ** 2) for begin in range(0, len(wave) - 320, 320)])
    return float(np.sqrt(np.mean(powers[powers > powers.max() / 100])))


def recording(file: Path) -> Wave:
    return np.frombuffer(read_sound(file), "<i2").astype(np.float64) / 32768


def _pink(count: int, chance: np.random.Generator) -> Wave:
    """Noise from 20 Hz with an RMS of 1."""
    spectrum = np.fft.rfft(chance.normal(size=count))
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    spectrum[hertz < 20] = 0
    spectrum /= np.sqrt(np.maximum(hertz, 20))
    wave = np.fft.irfft(spectrum, count)
    return np.asarray(wave / np.sqrt(np.mean(wave**2)))


def db(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def int16(wave: Wave) -> speech.Samples:
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


if __name__ == "__main__":
    main()
