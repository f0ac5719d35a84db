from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.adapters import openwakeword_models, openwakeword_onnx
from assistant.adapters.openwakeword_onnx import (
    STEP_SAMPLES,
    OpenWakeWordDetector,
    bundled_wake_words,
    wake_phrase,
    wake_word_name,
)
from assistant.audio.ports import WakeWordDetector
from assistant.errors import ModelLoadError
from tests.speech import Samples, concat, frames, in_room, mix, noise, say, silence

ALL = ("alexa", "hey_jarvis", "hey_marvin", "hey_mycroft", "timer", "weather")
SPOKEN = ("alexa", "hey jarvis", "hey marvin", "hey my croft", "set a timer for ten minutes", "what's the weather")


@pytest.fixture(scope="module")
def clip() -> Samples:
    """Every wake word over noise, then what is hard on numbers: digital silence, clipping, a step."""
    words = concat(*(concat(say(phrase), silence(0.4)) for phrase in SPOKEN))
    hard = concat(silence(0.5), np.full(4000, 32767, np.int16), np.full(4000, -32768, np.int16), noise(0.7, 0, seed=2))
    return concat(mix(concat(silence(1), words), noise(1 + len(words) / 16000, -50, seed=1)), hard)


def score(detector: WakeWordDetector, samples: Samples) -> list[Mapping[str, float]]:
    return [scores for _, pcm in frames(samples) if (scores := detector.process(pcm)) is not None]


def peak(steps: list[Mapping[str, float]], name: str) -> float:
    return max(scores[name] for scores in steps)


# --- scores ----------------------------------------------------------------------------------------------------------


def test_scores_equal_openwakeword_step_by_step(clip: Samples) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for a GPU, and old dependencies of its own complain
        from openwakeword.model import Model

        folder = openwakeword_models.models_folder()
        oracle = Model(wakeword_model_paths=[str(folder / f"{name}_v0.1.onnx") for name in ALL])
    steps = score(OpenWakeWordDetector(ALL), clip)
    assert len(steps) == len(clip) // STEP_SAMPLES
    for step, ours in enumerate(steps):
        theirs = oracle.predict(clip[step * STEP_SAMPLES : (step + 1) * STEP_SAMPLES])
        expected = {name: theirs[f"{name}_v0.1"] for name in ALL if name != "timer"}
        expected["timer"] = max(theirs[str(phrase)] for phrase in range(1, 7))  # 0 is "no timer at all"
        assert ours == pytest.approx(expected, abs=1e-4), f"step {step}"
    for name in ALL:
        assert peak(steps, name) > 0.5, f"{name} is not in the clip, so its scores prove nothing"


def test_a_step_is_complete_each_fourth_frame_and_the_first_five_score_nothing(clip: Samples) -> None:
    detector = OpenWakeWordDetector(["alexa"])
    results = [detector.process(pcm) for _, pcm in frames(clip[:32_000])]
    assert [number for number, scores in enumerate(results, 1) if scores is not None] == list(range(4, 101, 4))
    steps = [scores["alexa"] for scores in results if scores is not None]
    assert steps[:5] == [0.0] * 5
    assert all(value > 0.0 for value in steps[5:])


def test_reset_makes_it_as_new_also_within_a_step(clip: Samples) -> None:
    detector = OpenWakeWordDetector(["alexa", "timer"])
    fresh = score(detector, clip[:48_000])
    score(detector, clip[: 48_000 + 640])  # two frames into a step
    detector.reset()
    assert score(detector, clip[:48_000]) == fresh


def test_a_word_scores_the_same_alone_and_among_others(clip: Samples) -> None:
    together = score(OpenWakeWordDetector(["timer", "alexa"]), clip[:80_000])
    alone = score(OpenWakeWordDetector(["alexa"]), clip[:80_000])
    assert [scores["alexa"] for scores in together] == [scores["alexa"] for scores in alone]


def test_two_detectors_share_their_networks_and_do_not_hear_each_other(clip: Samples) -> None:
    one, other = OpenWakeWordDetector(["alexa"]), OpenWakeWordDetector(["alexa"])
    assert one._embedding is other._embedding
    alone = score(one, clip[:32_000])
    one.reset()
    pairs = zip(frames(clip[:32_000]), frames(clip[-32_000:]), strict=True)
    steps = [(one.process(here), other.process(there)) for (_, here), (_, there) in pairs]
    assert [here for here, _ in steps if here is not None] == alone
    assert any(here != there for here, there in steps)


def test_words_that_sound_alike_do_not_score() -> None:
    steps = score(OpenWakeWordDetector(["alexa", "hey_jarvis"]), in_room(say("a lesson, hey Janet"), before=1, after=1))
    assert max(peak(steps, "alexa"), peak(steps, "hey_jarvis")) < 0.5


@pytest.mark.parametrize("length", [0, 638, 642, 2560])
def test_other_lengths_than_one_frame_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match=rf"frames of 20 ms \(640 bytes\), not of {length} bytes"):
        OpenWakeWordDetector(["alexa"]).process(bytes(length))


def test_it_runs_without_the_openwakeword_package_and_loads_onnxruntime_late() -> None:
    program = """
import sys
from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector, bundled_wake_words
bundled_wake_words()
assert "onnxruntime" not in sys.modules
detector = OpenWakeWordDetector(["alexa"])
assert [detector.process(bytes(640)) is None for _ in range(4)] == [True, True, True, False]
print([name for name in ("openwakeword", "sklearn", "scipy", "onnxruntime") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (result.stdout.strip(), result.stderr) == ("['onnxruntime']", "")


# --- skipping --------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(st.integers(1, 150), min_size=1, max_size=14), first=st.booleans())
def test_after_a_gap_of_any_length_the_scores_are_those_without_a_gap(
    clip: Samples, runs: list[int], first: bool
) -> None:
    detector, free = OpenWakeWordDetector(["alexa", "timer"]), OpenWakeWordDetector(["alexa", "timer"])
    looking = [flag for number, run in enumerate(runs) for flag in [bool(number % 2) is first] * run]
    for number, (look, (_, pcm)) in enumerate(zip(looking, frames(clip), strict=False)):
        expected = free.process(pcm)
        if look:
            assert detector.process(pcm) == (expected and pytest.approx(expected, abs=1e-5)), f"frame {number}"
        else:
            assert detector.skip(pcm) == (expected and {"alexa": 0.0, "timer": 0.0}), f"frame {number}"


def test_what_no_score_needs_is_never_computed(clip: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = OpenWakeWordDetector(["alexa"])
    runs: list[object] = []

    def count(network: Any) -> None:
        run = network.run

        def counted(*values: Any) -> Any:
            runs.append(network)
            return run(*values)

        monkeypatch.setattr(network, "run", counted)

    count(detector._mel)
    count(detector._embedding)
    for _, pcm in frames(clip[: 100 * STEP_SAMPLES]):
        detector.skip(pcm)
    assert runs == []
    score(detector, clip[:STEP_SAMPLES])
    assert (runs.count(detector._mel), runs.count(detector._embedding)) == (25, 25)
    score(detector, clip[:STEP_SAMPLES])
    assert (runs.count(detector._mel), runs.count(detector._embedding)) == (26, 26)


# --- names -----------------------------------------------------------------------------------------------------------


def test_bundled_words_and_what_to_say() -> None:
    assert bundled_wake_words() == ALL
    assert [wake_phrase(name) for name in ALL] == [
        "alexa",
        "hey jarvis",
        "hey marvin",
        "hey mycroft",
        "set a five minute timer",
        "what's the weather",
    ]


@pytest.mark.parametrize(
    ("word", "name", "phrase"),
    [
        ("hey_jarvis", "hey_jarvis", "hey jarvis"),
        ("ok_house.onnx", "ok_house", "ok house"),
        ("/models/ok_house_v0.2.onnx", "ok_house", "ok house"),
        ("models/hello-there_v3.onnx", "hello-there", "hello there"),
        ("models/very_v1_good.onnx", "very_v1_good", "very v1 good"),
    ],
)
def test_a_custom_word_is_named_after_its_file(word: str, name: str, phrase: str) -> None:
    assert (wake_word_name(word), wake_phrase(word)) == (name, phrase)


def test_a_custom_model_scores_under_its_own_name_in_the_order_given(tmp_path: Path, clip: Samples) -> None:
    custom = tmp_path / "ok_house_v1.0.onnx"
    shutil.copy(openwakeword_models.models_folder() / "alexa_v0.1.onnx", custom)
    detector = OpenWakeWordDetector([str(custom), "alexa"])
    assert detector.names == ("ok_house", "alexa")
    steps = score(detector, clip[:48_000])
    assert peak(steps, "ok_house") == peak(steps, "alexa") > 0.5


# --- errors ----------------------------------------------------------------------------------------------------------


def load_error(*words: str) -> str:
    with pytest.raises(ModelLoadError) as raised:
        OpenWakeWordDetector(words)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("word", "meant"), [("hey jarvis", "hey_jarvis"), ("Alexia", "alexa"), ("hey-my-croft", "hey_mycroft")]
)
def test_an_unknown_name_says_what_was_meant_and_what_there_is(word: str, meant: str) -> None:
    message = load_error(word)
    assert message.startswith(f"unknown wake word {word!r}; did you mean {meant!r}? ")
    assert all(name in message for name in ALL)


def test_a_name_like_no_other_gets_no_guess() -> None:
    assert load_error("xyzzy").startswith("unknown wake word 'xyzzy'; There are alexa,")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.onnx"
    assert load_error(str(missing)).startswith(f"{missing}: cannot read this wake-word model (No such file")
    assert "Is a directory" in load_error(str(tmp_path))
    assert load_error("./alexa.tflite").startswith(
        "./alexa.tflite: engine openwakeword takes no .tflite models; use the .onnx"
    )


@pytest.mark.parametrize("content", [b"", b"this is text, not a network\n" * 20])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "text.onnx"
    file.write_bytes(content)
    assert load_error(str(file)).startswith(f"{file}: not a usable ONNX model")


def test_a_model_of_another_kind_is_named_with_its_shape() -> None:
    folder = openwakeword_models.models_folder()
    assert "its input is ['batch_size', 'samples'], not [1, N, 96]" in load_error(str(folder / "melspectrogram.onnx"))
    assert "one float input and one output" in load_error(str(folder / "silero_vad.onnx"))


def test_several_outputs_without_names_are_refused(tmp_path: Path) -> None:
    content = (openwakeword_models.models_folder() / "timer_v0.1.onnx").read_bytes()
    begin = content.index(b'{"1": "1_minute_timer"')
    names = content[begin : content.index(b"}", begin) + 1]
    file = tmp_path / "many.onnx"
    file.write_bytes(content.replace(names, b"y" * len(names)))
    assert load_error(str(file)).startswith(f"{file}: has 7 outputs and does not say which are phrases;")


def test_two_words_of_one_name_and_no_words_at_all_are_refused() -> None:
    assert load_error("alexa", "alexa") == "two wake words are named 'alexa'; rename one of the .onnx files"
    assert load_error() == "no wake word is given"


def test_a_package_without_models_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openwakeword").mkdir()
    (tmp_path / "openwakeword" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.delitem(sys.modules, "openwakeword", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    message = load_error("alexa")
    assert "missing; this openwakeword carries no models: pip install" in message
    assert message.endswith("openwakeword==0.4.0")


def test_another_embedding_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(openwakeword_models.models_folder(), tmp_path / "models")
    monkeypatch.setattr(openwakeword_onnx, "models_folder", lambda: folder)
    file = folder / openwakeword_models.EMBEDDING_MODEL
    file.write_bytes(file.read_bytes() + b"\0")
    assert load_error("alexa") == (
        f"{file}: cannot be used (this is not the embedding network of openwakeword 0.4.0):"
        " pip install --force-reinstall --no-deps openwakeword==0.4.0"
    )
    file.unlink()
    assert load_error("alexa").startswith(f"{file}: cannot be used ([Errno 2] No such file")


def test_no_package_at_all_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openwakeword_models, "find_spec", lambda name: None)
    assert load_error("alexa").startswith("the package openwakeword, which carries the wake-word models, is missing")
