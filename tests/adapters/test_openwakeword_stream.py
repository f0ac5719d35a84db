from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from assistant.adapters.openwakeword_models import EMBEDDING_MODEL, models_folder
from assistant.adapters.openwakeword_stream import PAST_ROWS, STEP_ROWS, stream_model

WINDOW = 76  # mel frames that one embedding is made of
STEPS = 10  # that bring as many

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def file() -> bytes:
    return (models_folder() / EMBEDDING_MODEL).read_bytes()


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def mel_frames(steps: int) -> Floats:
    """Something like them: from far below to above what speech makes."""
    chance = np.random.default_rng(5)
    loud = np.repeat(chance.uniform(-6, 9, (steps, 1)), STEP_ROWS, axis=0)
    return (loud + chance.normal(size=(steps * STEP_ROWS, 32))).astype(np.float32)


def embeddings(stream: onnxruntime.InferenceSession, frames: Floats, past_value: float = 0.0) -> Iterator[Floats]:
    rows, *before = stream.get_inputs()
    past = [np.full(value.shape, past_value, np.float32) for value in before]
    for begin in range(0, len(frames), STEP_ROWS):
        step = frames[np.newaxis, begin : begin + STEP_ROWS, :, np.newaxis]
        embedding, *seen = stream.run(None, {rows.name: step, **dict(zip((v.name for v in before), past, strict=True))})
        past = [layer[:, :, -PAST_ROWS:] for layer in seen]
        yield embedding


def test_each_embedding_is_what_the_whole_network_makes_of_its_window(file: bytes) -> None:
    frames = mel_frames(150)
    whole = open_session(file)
    steps = list(embeddings(open_session(stream_model(file)), frames))
    for end in range(STEPS * STEP_ROWS, len(frames) + 1, STEP_ROWS):
        (expected,) = whole.run(None, {"input_1": frames[np.newaxis, end - WINDOW : end, :, np.newaxis]})
        np.testing.assert_allclose(steps[end // STEP_ROWS - 1], expected, rtol=1e-5, atol=1e-3)


def test_nothing_older_than_ten_steps_leaves_a_trace_so_a_stream_of_any_length_stays_exact(file: bytes) -> None:
    stream = open_session(stream_model(file))
    frames = mel_frames(STEPS + 5)
    clean, spoilt = (list(embeddings(stream, frames, past)) for past in (0.0, np.nan))
    for step, (embedding, other) in enumerate(zip(clean, spoilt, strict=True), 1):
        assert np.isfinite(embedding).all()
        assert np.array_equal(embedding, other) is (step >= STEPS), f"step {step}"


def test_each_past_has_its_seen_in_the_same_place(file: bytes) -> None:
    stream = open_session(stream_model(file))
    pasts = [value.name.removesuffix(":past") for value in stream.get_inputs()[1:]]
    assert pasts == [value.name.removesuffix(":seen") for value in stream.get_outputs()[1:]]
    assert len(pasts) == 11


def test_any_other_file_is_refused(file: bytes) -> None:
    for other in (b"", file[:-1], file.replace(b"conv2d_19", b"conv2d_20")):
        with pytest.raises(ValueError, match=r"not the embedding network of openwakeword 0\.4\.0"):
            stream_model(other)
