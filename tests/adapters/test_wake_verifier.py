"""Verifiers in front of the real models, and their files."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector
from assistant.adapters.verifier_file import read_verifier, write_verifier
from assistant.adapters.wake_engines import load_detector
from assistant.config import WakeWord, parse
from assistant.core.wake_attempts import NEAR_MISS
from assistant.core.wake_verifier import WakeVerifier
from assistant.errors import HearthError, ModelLoadError
from assistant.types import AudioFrame
from assistant.wiring import analyzer as analyzer_of
from assistant.wiring import wake_word_settings
from tests.speech import Samples, concat, frames, in_room, say, silence


def verifier(word: str = "alexa", window: int = 16, seed: int = 1) -> WakeVerifier:
    return WakeVerifier(word, np.random.default_rng(seed).normal(0, 0.01, (window, 96)), 0.25)


@pytest.fixture(scope="module")
def clip() -> Samples:
    said = concat(silence(5), say("alexa", "en-gb-x-rp", 150), silence(4), say("what time is it"), silence(4))
    return in_room(concat(said, say("alexa")), before=0, after=1, dbfs=-65)


Steps = list[tuple[Mapping[str, float], Mapping[str, float]]]


def hear(clip: Samples, *, idle_gate: bool) -> Steps:
    mine = {"alexa": verifier()}
    detector = load_detector(
        [("openwakeword", "alexa"), ("openwakeword", "hey_jarvis")], idle_gate=idle_gate, verifiers=mine
    )
    steps = ((detector.process(pcm), detector.verified) for _, pcm in frames(clip))
    return [(scores, dict(verified)) for scores, verified in steps if scores is not None]


def test_it_is_asked_where_its_word_scores_and_only_there(clip: Samples) -> None:
    steps = hear(clip, idle_gate=False)
    asked = [scores["alexa"] >= NEAR_MISS for scores, _ in steps]
    assert 4 <= sum(asked) < 30
    assert [list(verified) for _, verified in steps] == [["alexa"] if it else [] for it in asked]


def test_it_looks_at_what_the_score_was_made_of(clip: Samples) -> None:
    steps = hear(clip, idle_gate=False)
    bare, mine = OpenWakeWordDetector(["alexa"]), verifier()
    expected = [mine.probability(bare.embeddings("alexa")) for _, pcm in frames(clip) if bare.process(pcm) is not None]
    for (_, verified), answer in zip(steps, expected, strict=True):
        assert not verified or verified["alexa"] == pytest.approx(answer, abs=1e-6)


def test_behind_the_idle_gate_it_says_the_same(clip: Samples) -> None:
    free, gated = hear(clip, idle_gate=False), hear(clip, idle_gate=True)
    assert sum(scores["alexa"] == 0.0 for scores, _ in gated) > 40, "the gate was hardly closed, which proves nothing"
    for (_, without), (_, behind) in zip(free, gated, strict=True):
        assert behind == pytest.approx(without, abs=1e-4)


def test_one_for_another_window_is_refused() -> None:
    with pytest.raises(ModelLoadError, match=r"^the verifier of alexa looks at 20 embeddings, its model at 16: train"):
        OpenWakeWordDetector(["alexa"], {"alexa": verifier(window=20)})


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    one = verifier()
    file = tmp_path / "alexa.npz"
    write_verifier(file, one)
    again = read_verifier(file, "alexa")
    assert (again.word, again.window, again.bias) == ("alexa", 16, 0.25)
    assert np.array_equal(again.weights, one.weights)
    assert [path.name for path in tmp_path.iterdir()] == ["alexa.npz"]
    with pytest.raises(HearthError, match="cannot be written"):
        write_verifier(tmp_path / "none" / "alexa.npz", one)


class Boom:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return pytest.fail, ("a pickle was run",)


def archive(**changes: npt.ArrayLike) -> bytes:
    fields: dict[str, npt.ArrayLike] = {"version": 1, "word": "alexa", "window": 16, "bias": 0.0}
    fields |= {"weights": np.zeros((16, 96))} | changes
    file = io.BytesIO()
    np.savez(file, **{name: np.asarray(value) for name, value in fields.items()})
    return file.getvalue()


def array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is no .npz archive"),
        (b"some text", "it is no .npz archive"),
        (b"PK\x03\x04 and then nothing", "not a verifier"),
        (archive()[:3000], "not a verifier"),
        (array(), "it is no .npz archive"),
        (b"\x80\x04N.", "this is a pickle, which can run anything; .*assistant wake verifier import"),
        (archive(weights=np.array([Boom()])), "not a verifier"),
        (archive(word=np.array([Boom()])), "not a verifier"),
        (archive(version=2), "it has version 2; only 1 is understood here"),
        (archive(weights=np.zeros((16, 95))), r"the weights are \(16, 95\)"),
        (archive(weights=np.full((16, 96), np.inf)), "not all numbers"),
        (archive(window=28), "its window is not that of its weights"),
        (archive(bias=np.zeros(2)), "not a verifier"),
        (archive(word="hey_jarvis"), "this is the verifier of hey_jarvis, not of alexa"),
    ],
)
def test_what_is_no_verifier_of_this_word_is_said_in_one_line(tmp_path: Path, data: bytes, why: str) -> None:
    file = tmp_path / "alexa.npz"
    file.write_bytes(data)
    with pytest.raises(ModelLoadError, match=f"^[^\n]*alexa.npz: [^\n]*{why}[^\n]*$"):
        read_verifier(file, "alexa")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"cannot read this verifier .* check the path"):
        read_verifier(tmp_path / "none.npz", "alexa")


def test_the_daemon_hears_what_it_says_also_beside_another_engine(clip: Samples, tmp_path: Path) -> None:
    write_verifier(tmp_path / "v.npz", verifier())
    config = parse(
        "wake: {words: [{model: hey_jarvis, engine: microwakeword}, {model: alexa, verifier: v.npz}]}",
        tmp_path / "config.yaml",
    )
    analyzer = analyzer_of(config)
    heard = [analyzer.analyze(AudioFrame(start, pcm, 0.0)) for start, pcm in frames(clip)]
    steps = [(each.scores, each.verified) for each in heard if each.scores is not None]
    assert sum(bool(verified) for _, verified in steps) >= 4
    for scores, verified in steps:
        assert list(verified) == (["alexa"] if scores["alexa"] >= NEAR_MISS else [])
    (settings,) = [wake_word_settings(word) for word in config.wake.words if word.verifier]
    assert (settings.name, settings.verifier_threshold) == ("alexa", 0.5)


def test_a_word_without_a_verifier_asks_for_none() -> None:
    assert wake_word_settings(WakeWord(model="alexa", verifier_threshold=0.9)).verifier_threshold is None
