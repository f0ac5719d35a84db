from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assistant.adapters.openwakeword_models import STOP_MODEL, bundled_wake_words, find_wake_model
from assistant.adapters.word_head import EMBEDDING, WordHead, read_head, write_head
from assistant.errors import ModelLoadError


def head(window: int = 3, units: int = 4) -> WordHead:
    random = np.random.default_rng(1)

    def floats(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    return WordHead("word", (floats(window * EMBEDDING, units) / 10, floats(units)), (floats(units), 0.5))


def test_the_score_is_that_of_one_hidden_layer_on_the_latest_embeddings() -> None:
    one = head()
    embeddings = np.random.default_rng(2).normal(size=(7, EMBEDDING)).astype(np.float32)
    units = [
        max(0.0, float(embeddings[4:].reshape(-1) @ one.hidden[0][:, unit] + one.hidden[1][unit])) for unit in range(4)
    ]
    logit = sum(unit * float(weight) for unit, weight in zip(units, one.output[0], strict=True)) + 0.5
    assert one.window == 3
    assert one.score(embeddings) == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)


def test_a_score_that_is_certain_does_not_overflow() -> None:
    certain = WordHead("word", head().hidden, (np.full(4, 1e4, np.float32), -1e9))
    assert certain.score(np.ones((3, EMBEDDING), np.float32)) == 0.0


def test_a_head_comes_back_from_its_file(tmp_path: Path) -> None:
    one = head()
    write_head(tmp_path / "word.npz", one)
    other = read_head(tmp_path / "word.npz", "word")
    embeddings = np.random.default_rng(3).normal(size=(3, EMBEDDING)).astype(np.float32)
    assert other.score(embeddings) == pytest.approx(one.score(embeddings), abs=0.01)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "word.npz").write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"word\.npz: ") as caught:
        read_head(tmp_path / "word.npz", "word")
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    for weights, bias, output in (((100, 4), 4, 4), ((192, 4), 5, 5), ((192, 4), 4, 3)):
        wrong = WordHead(
            "word", (np.zeros(weights, np.float32), np.zeros(bias, np.float32)), (np.zeros(output, np.float32), 0.0)
        )
        write_head(tmp_path / "word.npz", wrong)
        with pytest.raises(ModelLoadError, match="weights"):
            read_head(tmp_path / "word.npz", "word")


def test_the_stop_word_is_small_and_wakes_nobody() -> None:
    assert find_wake_model("stop").path == STOP_MODEL
    assert STOP_MODEL.stat().st_size < 100_000
    assert "stop" not in bundled_wake_words()
