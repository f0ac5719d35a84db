"""What every wake-word engine promises (assistant/audio/ports.py), and what several of them promise together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from assistant.adapters import wake_steps
from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector
from assistant.adapters.pyopen_wakeword import PyOpenWakeWordDetector
from assistant.adapters.wake_engines import ENGINES, load_detector
from assistant.audio.gated_wake_words import SkippingDetector
from assistant.audio.ports import WakeWordDetector
from assistant.errors import ModelLoadError
from tests.speech import Samples, concat, frames, in_room, noise, say

pytest.importorskip("pyopen_wakeword", reason="the extra [pyopen] is not installed")
pytest.importorskip("pymicro_wakeword", reason="the extra [microwakeword] is not installed")

WORDS = ("alexa", "hey_jarvis")


@pytest.fixture(scope="module")
def clip() -> Samples:
    """Voices that all engines understand."""
    alexa, jarvis = say("alexa", "en-gb-x-rp", 150), say("hey jarvis", "en-us+Annie", 150)
    return concat(in_room(alexa, before=4, after=3, dbfs=-60), in_room(jarvis, before=1, after=1.5, dbfs=-60))


def load(*words: tuple[str, str], idle_gate: bool = False) -> WakeWordDetector:
    return load_detector(words, idle_gate=idle_gate)


def score(detector: WakeWordDetector, samples: Samples) -> list[Mapping[str, float]]:
    return [scores for _, pcm in frames(samples) if (scores := detector.process(pcm)) is not None]


@pytest.fixture(scope="module", params=ENGINES)
def detector(request: pytest.FixtureRequest) -> WakeWordDetector:
    return load(*((request.param, word) for word in WORDS))


def test_words_score_where_they_are_said_and_nowhere_else(detector: WakeWordDetector, clip: Samples) -> None:
    detector.reset()
    steps = score(detector, clip)
    half = round(len(steps) * 0.62)  # between the two
    assert detector.names == WORDS
    assert all(tuple(step) == WORDS and all(0.0 <= value <= 1.0 for value in step.values()) for step in steps)
    assert max(step["alexa"] for step in steps[:half]) > 0.9
    assert max(step["hey_jarvis"] for step in steps[half:]) > 0.6
    assert max(step["hey_jarvis"] for step in steps[:half]) < 0.2
    assert max(step["alexa"] for step in steps[half:]) < 0.2
    assert max(step["alexa"] for step in steps[:45]) < 0.2, "nobody has spoken yet"


def test_each_fourth_frame_gives_scores(detector: WakeWordDetector) -> None:
    detector.reset()
    results = [detector.process(pcm) for _, pcm in frames(noise(1, -60, seed=1))]
    assert [number for number, scores in enumerate(results, 1) if scores is not None] == list(range(4, 51, 4))


def test_reset_makes_it_as_new(detector: WakeWordDetector, clip: Samples) -> None:
    detector.reset()
    first = score(detector, clip[:100_000])
    score(detector, clip[100_000:100_640])
    detector.reset()
    assert score(detector, clip[:100_000]) == first
    assert max(step["alexa"] for step in first) > 0.9


@pytest.mark.parametrize("length", [0, 638, 1280])
def test_other_lengths_than_one_frame_are_refused(detector: WakeWordDetector, length: int) -> None:
    with pytest.raises(ValueError, match=r"frames of 20 ms"):
        detector.process(bytes(length))


@pytest.mark.parametrize("engine", [OpenWakeWordDetector, PyOpenWakeWordDetector])
@pytest.mark.parametrize("gap", [1, 6, 60, 111, 200])
def test_after_a_gap_the_scores_are_those_without_a_gap(
    engine: type[SkippingDetector], gap: int, clip: Samples
) -> None:
    free, skipping = engine(WORDS), engine(WORDS)  # type: ignore[call-arg]
    compared = 0
    for number, (_, pcm) in enumerate(frames(clip[: 16_000 * 7])):
        expected = free.process(pcm)
        if 240 - gap <= number < 240:  # up to somewhere in the word
            skipping.skip(pcm)
        else:
            got = skipping.process(pcm)
            assert got == (expected and pytest.approx(expected, abs=1e-4)), f"frame {number}"
            compared += got is not None and number >= 240 and got["alexa"] > 0.5
    assert compared > 2


@pytest.mark.parametrize("engine", [OpenWakeWordDetector, PyOpenWakeWordDetector])
@pytest.mark.parametrize("gap", [20, 24, 25, 26, 27, 30])
def test_after_a_gap_nothing_older_is_left_in_what_is_scored(engine: type[Any], gap: int) -> None:
    """Scores forgive small errors; the embeddings that they are made of do not. ``gap`` is in steps, all of it loud."""
    free, skipping = engine(["alexa"]), engine(["alexa"])
    sound = concat(*(noise(0.36, level, seed) for seed, level in enumerate([-20, -60, -30, -12, -50] * 5)))
    for number, (_, pcm) in enumerate(frames(sound[: (40 + gap) * 1280]), 1):
        free.process(pcm)
        if number <= 40 * 4 or number == (40 + gap) * 4:
            skipping.process(pcm)
        else:
            skipping.skip(pcm)
    assert np.abs(embeddings(free)).max() > 10
    assert embeddings(skipping) == pytest.approx(embeddings(free), abs=1e-3)


def embeddings(detector: Any) -> npt.NDArray[np.float32]:
    """The last 16: all that a score of "alexa" is made of."""
    kept = detector._embeddings if isinstance(detector, OpenWakeWordDetector) else detector._models["alexa"].embeddings
    return np.asarray(kept[-16:])


def test_words_of_several_engines_are_scored_at_once_in_the_order_of_the_config(clip: Samples) -> None:
    joined = load(("microwakeword", "hey_jarvis"), ("openwakeword", "alexa"), ("pyopenwakeword", "okay_nabu"))
    alone = [
        score(load(("microwakeword", "hey_jarvis")), clip),
        score(load(("openwakeword", "alexa")), clip),
        score(load(("pyopenwakeword", "okay_nabu")), clip),
    ]
    assert joined.names == ("hey_jarvis", "alexa", "okay_nabu")
    steps = score(joined, clip)
    assert steps == [{**one, **two, **three} for one, two, three in zip(*alone, strict=True)]
    joined.reset()
    assert score(joined, clip[:32_000]) == steps[:25]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_idle_gate_changes_no_score_that_matters(engine: str, clip: Samples) -> None:
    free, gated = (score(load((engine, "alexa"), idle_gate=gate), clip) for gate in (False, True))
    for without, behind in zip(free, gated, strict=True):
        assert behind == pytest.approx(without, abs=1e-4) or max(*behind.values(), *without.values()) < 0.2
    assert max(step["alexa"] for step in gated) > 0.9


# --- errors -----------------------------------------------------------------------------------------------------------


def load_error(*words: tuple[str, str]) -> str:
    with pytest.raises(ModelLoadError) as raised:
        load(*words)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("engine", "package", "extra"),
    [("microwakeword", "pymicro-wakeword", "microwakeword"), ("pyopenwakeword", "pyopen-wakeword", "pyopen")],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    engine: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake_steps, "find_spec", lambda name: None)
    message = load_error((engine, "alexa"))
    assert message == f"wake-word engine {engine} needs the package {package}: pip install 'hearth-assistant[{extra}]'"


@pytest.mark.parametrize(("engine", "suffix"), [("microwakeword", ".json"), ("pyopenwakeword", ".tflite")])
def test_an_unknown_name_and_an_unreadable_file_are_named(engine: str, suffix: str, tmp_path: Path) -> None:
    message = load_error((engine, "Okay Nabbu"))
    assert message.startswith(f"unknown wake word 'Okay Nabbu' for engine {engine}; did you mean 'okay_nabu'? There")
    assert message.endswith(f"or the path of a {suffix} file")
    missing = str(tmp_path / f"none{suffix}")
    assert load_error((engine, missing)).startswith(f"{missing}: cannot read this wake-word model")


def test_a_broken_description_is_named(tmp_path: Path) -> None:
    file = tmp_path / "house.json"
    file.write_text("{}")
    assert load_error(("microwakeword", str(file))).startswith(f"{file}: not the description of a microWakeWord model")
    file.write_text('{"model": "house.tflite"}')
    assert f"its model {tmp_path / 'house.tflite'} is not there" in load_error(("microwakeword", str(file)))


def test_the_same_name_in_two_engines_is_refused() -> None:
    assert "two wake words are named 'alexa'" in load_error(("openwakeword", "alexa"), ("microwakeword", "alexa"))


def test_no_words_and_an_unknown_engine_are_refused() -> None:
    assert load_error() == "no wake word is given"
    assert "no wake-word engine 'porcupine'" in load_error(("porcupine", "alexa"))
