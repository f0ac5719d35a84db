"""Training a verifier, on made-up embeddings, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from assistant.core import verifier_training
from assistant.core.verifier_training import Example, Scored, cross_validate, train, wakes
from assistant.core.wake_gate import WakeWordSettings
from assistant.core.wake_verifier import EMBEDDING_SIZE, WakeVerifier

WINDOW = 4
STEPS = 20


def scored(seed: int, wanted: bool, peak: float, noise: float = 1.0) -> Scored:
    """Random embeddings; where the word is, four in a row lean to one side."""
    embeddings = np.random.default_rng(seed).normal(0, noise, (STEPS + WINDOW - 1, EMBEDDING_SIZE)).astype(np.float32)
    scores = np.full(STEPS, 0.01, np.float32)
    scores[10] = peak
    if wanted:
        embeddings[10 : 10 + WINDOW, :8] += 2
    return Scored(scores, embeddings)


def examples(count: int = 12) -> list[Example]:
    """As many of each kind; the other speech scores as high as the word does."""
    found = [Example(f"yes-{n}", True, (scored(n, True, 0.6), scored(50 + n, True, 0.4))) for n in range(count)]
    return found + [Example(f"no-{n}", False, (scored(100 + n, False, 0.6),)) for n in range(count)]


def sure(verifier: WakeVerifier, example: Example) -> float:
    return verifier.probability(example.heard[0].windows()[10])


def test_windows_are_what_each_score_was_made_of() -> None:
    one = scored(1, False, 0.5)
    windows = one.windows()
    assert windows.shape == (STEPS, WINDOW, EMBEDDING_SIZE)
    assert np.array_equal(windows[7], one.embeddings[7 : 7 + WINDOW])


def test_it_tells_the_word_from_other_speech_that_scores_as_high() -> None:
    verifier = train("alexa", examples())
    assert (verifier.word, verifier.window) == ("alexa", WINDOW)
    strangers = [Example("", wanted, (scored(900 + n, wanted, 0.6),)) for n in range(10) for wanted in (True, False)]
    assert all((sure(verifier, one) > 0.5) is one.wanted for one in strangers)


def test_it_is_the_same_each_time_and_from_any_start() -> None:
    given = examples()
    first = train("alexa", given)
    assert np.array_equal(first.weights, train("alexa", given).weights)
    elsewhere = WakeVerifier("alexa", np.full((WINDOW, EMBEDDING_SIZE), 0.05), 3.0)
    again = verifier_training._train("alexa", given, elsewhere)
    assert [sure(again, one) for one in given] == pytest.approx([sure(first, one) for one in given], abs=0.01)


def test_it_finds_the_minimum_of_the_regularised_loss() -> None:
    """Where the slope is 0: the loss of scikit-learn's LogisticRegression has no other such place."""
    chance = np.random.default_rng(4)
    wanted = np.repeat((1.0, 0.0), (30, 90))
    x = np.column_stack((chance.normal(size=(120, 40)) + wanted[:, np.newaxis] * 0.5, np.ones(120)))
    share = np.where(wanted > 0, 0.5 / 30, 0.5 / 90)
    found = verifier_training._fit(x.astype(np.float32), wanted, share, np.zeros(41))

    def loss(at: npt.NDArray[np.float64]) -> float:
        chances = 1 / (1 + np.exp(-x @ at))
        miss = -np.log(np.where(wanted > 0, chances, 1 - chances))
        return float(share @ miss + verifier_training._PULL * at[:-1] @ at[:-1] / 2)

    slopes = [(loss(found + nudge) - loss(found - nudge)) / 2e-3 for nudge in 1e-3 * np.eye(41)]
    assert np.abs(slopes).max() < 5e-4
    assert loss(found) < loss(np.zeros(41)) - 0.2


def test_nobody_is_judged_by_a_verifier_that_has_heard_them() -> None:
    """One recording is labelled wrongly: who has learned it by heart would not notice."""
    given = examples()
    odd = Example("odd", True, (scored(500, False, 0.6),))
    given.append(odd)
    verifier = train("alexa", given)
    answers = cross_validate("alexa", given, verifier)
    assert sure(verifier, odd) > 0.5
    assert answers[-1][10] < 0.5
    assert [len(each) for each in answers] == [STEPS] * len(given)
    assert np.mean([(answer[10] > 0.5) is one.wanted for one, answer in zip(given, answers, strict=True)]) > 0.9


def test_without_the_word_or_without_other_speech_there_is_nothing_to_learn() -> None:
    given = examples(3)
    for some in (given[:3], given[3:], [Example("", True, (scored(1, True, 0.05),)), *given[3:]]):
        with pytest.raises(ValueError, match="nothing to tell apart"):
            train("alexa", some)


@pytest.mark.parametrize(
    ("verifier_threshold", "answer", "expected"), [(None, 0.0, True), (0.5, 0.6, True), (0.5, 0.4, False)]
)
def test_wakes(verifier_threshold: float | None, answer: float, expected: bool) -> None:
    word = WakeWordSettings("alexa", 0.3, verifier_threshold=verifier_threshold)
    assert wakes(word, scored(1, True, 0.4), [answer] * STEPS) is expected
    assert not wakes(word, scored(1, True, 0.2), [1.0] * STEPS)


@pytest.mark.parametrize("weights", [np.zeros((4, 95)), np.zeros(96), np.zeros((0, 96)), np.full((4, 96), np.nan)])
def test_weights_of_another_shape_are_no_verifier(weights: npt.NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="weights"):
        WakeVerifier("alexa", weights, 0.0)


def test_a_probability_never_overflows() -> None:
    verifier = WakeVerifier("alexa", np.full((1, 96), 1e6), 0.0)
    ones = np.ones((1, 96), np.float32)
    assert (verifier.probability(ones), verifier.probability(-ones)) == (1.0, 0.0)
