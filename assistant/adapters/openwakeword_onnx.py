"""Wake words: openWakeWord's models in plain onnxruntime sessions.

Three networks in a row, each step (80 ms) once: audio -> mel spectrogram -> embedding of the last 760 ms -> one score
per wake word from the last embeddings (16, for most words: 1.96 s of audio). Mel and embedding are shared by all words.
The embedding network is by far the largest; :mod:`assistant.adapters.openwakeword_stream` makes it compute only what is
new in a step, with the same results.

The scores equal those of ``openwakeword.Model`` 0.4.0 (https://github.com/dscripka/openWakeWord, Apache-2.0) step by
step, so what is known about its models holds here. The tests compare the two. What has to be copied for that:

- Each step the mel model sees the 1280 new samples and 480 before them (the first step has none before), never more:
  its output depends on the loudest sound in what it sees.
- It starts with mel frames of 1.0 and with embeddings of silence, and its first 5 steps score 0.

``openwakeword`` itself is never imported; see :mod:`assistant.adapters.openwakeword_models`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from assistant.adapters.openwakeword_models import (
    EMBEDDING_MODEL,
    MEL_MODEL,
    REINSTALL,
    STOP_MODEL,
    WakeModel,
    bundled_wake_words,
    find_wake_model,
    models_folder,
    wake_phrase,
    wake_word_name,
)
from assistant.adapters.openwakeword_stream import PAST_ROWS, STEP_ROWS, stream_model
from assistant.adapters.word_head import WordHead, read_head
from assistant.core.wake_attempts import NEAR_MISS
from assistant.core.wake_gate import NOT_ASKED
from assistant.core.wake_verifier import NO_VERIFIERS, WakeVerifier
from assistant.errors import ModelLoadError
from assistant.types import FRAME_BYTES, FRAME_MS, FRAME_SAMPLES

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["STEP_SAMPLES", "OpenWakeWordDetector", "bundled_wake_words", "wake_phrase", "wake_word_name"]

STEP_FRAMES: Final = 4
STEP_SAMPLES: Final = STEP_FRAMES * FRAME_SAMPLES
"""Samples per step of the models: 80 ms."""

_OVERLAP: Final = 480  # samples before a step that the mel model sees again
_PAST_STEPS: Final = 9  # steps before its own that an embedding depends on: it is made of 76 mel frames, 8 a step
_MEL_BINS: Final = 32
_EMBEDDING: Final = 96  # numbers in an embedding
_SILENT_STEPS: Final = 5  # at the beginning of a stream nothing is scored

_Floats = npt.NDArray[np.float32]
_Past = Sequence[_Floats]
"""For each convolution over time in the embedding network the last rows that it read."""


class OpenWakeWordDetector:
    """Scores wake words on a stream of 20 ms frames, each 80 ms. Used from one thread at a time.

    words: bundled names ("hey_jarvis") or paths of custom ``.onnx`` files.

    A model with several outputs, such as "timer" (one for each length), is one wake word: its score is the highest of
    the phrases that the model names. Raises ModelLoadError, in one line, for a word that cannot be loaded.

    Audio that need not be scored is only kept (:meth:`skip`). The next score makes up for what it needs of it, and
    for no more: so scores are those of a detector that never skipped, and no network runs twice for the same audio.

    verifiers: by wake word; asked only in a step in which the word scored.
    """

    def __init__(self, words: Sequence[str], verifiers: Mapping[str, WakeVerifier] = NO_VERIFIERS) -> None:
        models = [find_wake_model(word) for word in words]
        self.names = _unique_names(models)
        self.verified: Mapping[str, float] = NOT_ASKED
        self._mel, self._embedding = _shared_networks(models_folder())
        self._words = [_load_word(model) for model in models]
        self._verifiers = _fitting(verifiers, self._words)
        window = max(word.window for word in self._words)
        self._memory = window + _PAST_STEPS  # steps that a score depends on, apart from the overlap before them
        self._frames: deque[bytes] = deque(maxlen=(1 + self._memory) * STEP_FRAMES)
        self._embeddings = np.empty((window, _EMBEDDING), np.float32)
        self._silence, _ = self._embedding.settle(self._mel_of(np.zeros(STEP_SAMPLES + _OVERLAP, np.float32)))
        _, self._past_of_ones = self._embedding.settle(np.ones((STEP_ROWS, _MEL_BINS), np.float32))
        self.reset()

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        """Take one 20 ms frame; give the scores (0 to 1, by name) if it completed a step, else None."""
        if not self._keep(pcm):
            return None
        self._make_up()
        if self._steps <= _SILENT_STEPS:
            return dict.fromkeys(self.names, 0.0)
        scores = {word.name: word.score(self._embeddings) for word in self._words}
        self.verified = {
            name: verifier.probability(self.embeddings(name))
            for name, verifier in self._verifiers.items()
            if scores[name] >= NEAR_MISS
        }
        return scores

    def embeddings(self, name: str) -> _Floats:
        """What the latest score of a word was made of, (window, 96). It changes with the next frame."""
        (window,) = (word.window for word in self._words if word.name == name)
        return self._embeddings[-window:]

    def skip(self, pcm: bytes) -> Mapping[str, float] | None:
        """Take one 20 ms frame without looking at it; a step that it completed scores 0."""
        return dict.fromkeys(self.names, 0.0) if self._keep(pcm) else None

    def reset(self) -> None:
        """Forget all audio heard so far, as if new."""
        self.verified = NOT_ASKED
        self._steps = 0
        self._behind = 0  # complete steps that mel and embedding have not seen
        self._filled = 0  # frames of the step that is not complete yet
        self._frames.clear()
        self._past = self._past_of_ones
        self._embeddings[:] = self._silence

    def _keep(self, pcm: bytes) -> bool:
        """Whether the frame completed a step."""
        if len(pcm) != FRAME_BYTES:
            raise ValueError(f"wake words take frames of {FRAME_MS} ms ({FRAME_BYTES} bytes), not of {len(pcm)} bytes")
        self._frames.append(pcm)
        self._filled += 1
        if self._filled < STEP_FRAMES:
            return False
        self._filled = 0
        self.verified = NOT_ASKED
        self._steps += 1
        self._behind += 1
        return True

    def _make_up(self) -> None:
        """Bring the embeddings up to the step that is complete now."""
        steps = min(self._behind, self._memory)
        self._behind = 0
        frames = list(self._frames)[-(1 + steps) * STEP_FRAMES :]  # the step before them holds the overlap
        audio = np.frombuffer(b"".join(frames), np.dtype("<i2")).astype(np.float32)
        for end in range(len(audio) - (steps - 1) * STEP_SAMPLES, len(audio) + 1, STEP_SAMPLES):
            mel_frames = self._mel_of(audio[max(0, end - STEP_SAMPLES - _OVERLAP) : end])
            embedding, self._past = self._embedding.run(mel_frames, self._past)
            self._embeddings[:-1] = self._embeddings[1:]
            self._embeddings[-1] = embedding

    def _mel_of(self, audio: _Floats) -> _Floats:
        """The 8 mel frames of a step."""
        # The scale and offset bring the mel model close to the one that the embedding was trained with.
        heard = self._mel.run(audio[np.newaxis]).reshape(-1, _MEL_BINS) / np.float32(10) + np.float32(2)
        mel_frames = np.ones((STEP_ROWS, _MEL_BINS), np.float32)  # the first step, which is heard alone, makes but 5
        mel_frames[-len(heard) :] = heard
        return mel_frames


@cache
def _shared_networks(folder: Path) -> tuple[_Network, _EmbeddingNetwork]:
    """Loaded once for all detectors, on whichever threads: what a network needs of a stream is kept by its detector."""
    return _Network(folder / MEL_MODEL), _EmbeddingNetwork(folder / EMBEDDING_MODEL)


@dataclass(frozen=True, slots=True)
class _Word:
    """The last network of a wake word. ``phrases`` are the outputs that count."""

    name: str
    network: _Network
    window: int
    phrases: tuple[int, ...]

    @classmethod
    def load(cls, model: WakeModel) -> _Word:
        network = _Network(model.path)
        match network.input_shape:
            case [_, int(window), 96] if window > 0:
                pass
            case shape:
                raise ModelLoadError(
                    f"{model.path}: not an openWakeWord model: its input is {shape}, not [1, N, {_EMBEDDING}]"
                )
        return cls(model.name, network, window, _phrases(model.path, network))

    def score(self, embeddings: _Floats) -> float:
        scores = self.network.run(embeddings[np.newaxis, -self.window :])[0]
        return max(float(scores[phrase]) for phrase in self.phrases)


def _load_word(model: WakeModel) -> _Word | WordHead:
    return read_head(model.path, model.name) if model.path == STOP_MODEL else _Word.load(model)


def _fitting(verifiers: Mapping[str, WakeVerifier], words: Sequence[_Word | WordHead]) -> dict[str, WakeVerifier]:
    """The verifiers of these words. Raises ModelLoadError for one that looks at more or fewer embeddings."""
    fitting = {}
    for word in words:
        if (verifier := verifiers.get(word.name)) is None:
            continue
        if verifier.window != word.window:
            raise ModelLoadError(
                f"the verifier of {word.name} looks at {verifier.window} embeddings, its model at {word.window}:"
                " train it anew, with `assistant wake verifier train`"
            )
        fitting[word.name] = verifier
    return fitting


def _phrases(path: Path, network: _Network) -> tuple[int, ...]:
    """The outputs that stand for a phrase. With several, openWakeWord names them in the output's own name, as
    ``{"1": "1_minute_timer", ...}``; the one that is left out means "nothing of these"."""
    match network.output_shape:
        case [_, 1]:
            return (0,)
        case [_, int(outputs)]:
            pass
        case shape:
            raise ModelLoadError(f"{path}: not an openWakeWord model: its output is {shape}, not [1, N]")
    try:
        phrases = tuple(sorted(int(number) for number in json.loads(network.output_name)))
    except (ValueError, TypeError):
        phrases = ()
    if not phrases or not all(0 <= phrase < outputs for phrase in phrases):
        raise ModelLoadError(
            f"{path}: has {outputs} outputs and does not say which are phrases;"
            ' export it with an output named like {"1": "first_phrase"}'
        )
    return phrases


class _Network:
    """One ONNX file with one input and one output, on the thread that calls it."""

    def __init__(self, path: Path) -> None:
        self._session = _open_session(path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
            raise ModelLoadError(f"{path}: not an openWakeWord model: it must have one float input and one output")
        self._input: str = inputs[0].name
        self.input_shape: list[int | str | None] = inputs[0].shape
        self.output_name: str = outputs[0].name
        self.output_shape: list[int | str | None] = outputs[0].shape
        self._outputs = [self.output_name]

    def run(self, values: _Floats) -> _Floats:
        result: _Floats = self._session.run(self._outputs, {self._input: values})[0]
        return result


class _EmbeddingNetwork:
    """The embedding network, a step at a time. What it has to keep between two steps is in the hands of the caller."""

    def __init__(self, path: Path) -> None:
        try:
            model = stream_model(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ModelLoadError(f"{path}: cannot be used ({error}): {REINSTALL}") from error
        self._session = _open_session(path, model)
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]

    def run(self, mel_frames: _Floats, past: _Past) -> tuple[_Floats, _Past]:
        """The embedding of a step, and the past of the next one."""
        embedding, *seen = self._session.run(
            self._outputs, dict(zip(self._inputs, (mel_frames[np.newaxis, :, :, np.newaxis], *past), strict=True))
        )
        return embedding.reshape(_EMBEDDING), [rows[:, :, -PAST_ROWS:] for rows in seen]

    def settle(self, mel_frames: _Floats) -> tuple[_Floats, _Past]:
        """Run as if nothing but the same step had ever been heard."""
        past: _Past = [np.zeros(value.shape, np.float32) for value in self._session.get_inputs()[1:]]
        for _ in range(1 + _PAST_STEPS):
            embedding, past = self.run(mel_frames, past)
        return embedding, past


def _open_session(path: Path, model: bytes | None = None) -> InferenceSession:
    """The network in a file; ``model`` is what to take for the content of the file."""
    try:
        import onnxruntime  # here: it takes 0.1 s and 20 MB, which a command like --help need not pay
    except ImportError as error:
        raise ModelLoadError(f"wake words need onnxruntime ({error}): pip install onnxruntime") from error
    try:
        return onnxruntime.InferenceSession(
            model or str(path), _session_options(onnxruntime), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has a dozen unrelated classes for "cannot load"
        reason = " ".join(str(error).split())
        raise ModelLoadError(f"{path}: not a usable ONNX model, get it anew or export it again ({reason})") from error


def _session_options(onnxruntime: Any) -> Any:
    """One thread, little memory. The networks are so small that a second thread costs more than it brings."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False  # the arena keeps the peak of each session for ever
    options.log_severity_level = 4  # what goes wrong is raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _unique_names(models: Sequence[WakeModel]) -> tuple[str, ...]:
    if not models:
        raise ModelLoadError("no wake word is given")
    names = tuple(model.name for model in models)
    for name in names:
        if names.count(name) > 1:
            raise ModelLoadError(f"two wake words are named {name!r}; rename one of the .onnx files")
    return names
