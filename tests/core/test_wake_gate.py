from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.core.wake_gate import WakeGate, WakeHit, WakeWordSettings

STEP = 1280  # samples between scores: 80 ms


def feed_all(gate: WakeGate, *scores: float, word: str = "alexa") -> list[WakeHit]:
    fed = (gate.feed((step + 1) * STEP, {word: score}) for step, score in enumerate(scores))
    return [hit for hit in fed if hit is not None]


def test_a_score_at_the_threshold_is_a_hit() -> None:
    gate = WakeGate([WakeWordSettings("alexa", threshold=0.5)])
    assert feed_all(gate, 0.1, 0.49, 0.5) == [WakeHit("alexa", 0.5, 3 * STEP)]


@pytest.mark.parametrize(
    ("patience", "scores", "hit_at_step"),
    [
        ((2, 2), [0.9, 0.1, 0.9, 0.1, 0.9, 0.9], 6),
        ((2, 3), [0.9, 0.1, 0.9], 3),
        ((2, 3), [0.9, 0.1, 0.1, 0.9], None),
        ((3, 3), [0.9, 0.9, 0.1, 0.9, 0.9], None),
    ],
)
def test_patience_asks_for_n_of_the_last_m_scores(
    patience: tuple[int, int], scores: list[float], hit_at_step: int | None
) -> None:
    gate = WakeGate([WakeWordSettings("alexa", patience=patience)])
    assert [hit.sample // STEP for hit in feed_all(gate, *scores)] == ([hit_at_step] if hit_at_step else [])


def test_a_hit_suppresses_every_word_for_its_own_refractory() -> None:
    gate = WakeGate([WakeWordSettings("a", refractory_ms=160), WakeWordSettings("b", refractory_ms=4000)])
    assert gate.feed(1 * STEP, {"a": 0.9, "b": 0.0}) == WakeHit("a", 0.9, STEP)
    assert gate.feed(2 * STEP, {"a": 0.9, "b": 0.9}) is None  # 80 ms later
    assert gate.feed(3 * STEP, {"a": 0.0, "b": 0.9}) == WakeHit("b", 0.9, 3 * STEP)  # 160 ms later
    assert gate.feed(4 * STEP + 48_000, {"a": 0.9, "b": 0.9}) is None  # b's refractory is longer


def test_scores_within_the_refractory_do_not_count_after_it() -> None:
    gate = WakeGate([WakeWordSettings("alexa", patience=(2, 2), refractory_ms=160)])
    assert [hit.sample // STEP for hit in feed_all(gate, 0.9, 0.9, 0.9, 0.9, 0.1, 0.9, 0.9)] == [2, 7]


def test_the_highest_score_wins_and_among_equals_the_first_in_the_settings() -> None:
    words = [WakeWordSettings("a", threshold=0.9), WakeWordSettings("b"), WakeWordSettings("c")]
    hit = WakeGate(words).feed(0, {"a": 0.89, "b": 0.6, "c": 0.7})
    assert hit is not None and hit.name == "c", "a scores highest, but not over its threshold"
    hit = WakeGate(words).feed(0, {"c": 0.7, "b": 0.7, "a": 0.0})
    assert hit is not None and hit.name == "b"


def test_a_step_without_a_hit_is_remembered_for_every_word() -> None:
    gate = WakeGate([WakeWordSettings("a", patience=(2, 2)), WakeWordSettings("b", patience=(2, 2))])
    assert gate.feed(1 * STEP, {"a": 0.9, "b": 0.1}) is None
    assert gate.feed(2 * STEP, {"a": 0.1, "b": 0.9}) is None
    assert gate.feed(3 * STEP, {"a": 0.9, "b": 0.9}) == WakeHit("b", 0.9, 3 * STEP)


def test_reset_forgets_scores_and_refractory() -> None:
    gate = WakeGate([WakeWordSettings("alexa", patience=(2, 2))])
    assert gate.feed(900_000, {"alexa": 0.9}) is None
    gate.reset()
    assert gate.feed(0, {"alexa": 0.9}) is None
    assert gate.feed(STEP, {"alexa": 0.9}) is not None
    gate.reset()  # the stream begins anew, within the refractory of the hit
    assert gate.feed(0, {"alexa": 0.9}) is None
    assert gate.feed(STEP, {"alexa": 0.9}) is not None


def test_scores_of_other_words_than_the_settings_are_an_error() -> None:
    gate = WakeGate([WakeWordSettings("alexa")])
    with pytest.raises(ValueError, match=r"scores are for \['hey_jarvis'\], wake words are \['alexa'\]"):
        gate.feed(0, {"hey_jarvis": 0.9})


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"threshold": 1.1},
        {"threshold": float("nan")},
        {"patience": (0, 1)},
        {"patience": (3, 2)},
        {"refractory_ms": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="alexa: "):
        WakeWordSettings("alexa", **wrong)  # type: ignore[arg-type]


def test_a_word_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'alexa' is listed twice"):
        WakeGate([WakeWordSettings("alexa"), WakeWordSettings("alexa", threshold=0.7)])


@given(
    scores=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=120),
    patience=st.tuples(st.integers(1, 4), st.integers(0, 3)).map(lambda two: (two[0], two[0] + two[1])),
    refractory_ms=st.integers(0, 3000),
    shift=st.integers(0, 10**9),
)
def test_hits_keep_their_distance_and_follow_the_indices(
    scores: list[tuple[float, float]], patience: tuple[int, int], refractory_ms: int, shift: int
) -> None:
    def hits(offset: int) -> list[WakeHit]:
        words = [WakeWordSettings(name, 0.5, patience, refractory_ms) for name in ("a", "b")]
        gate = WakeGate(words)
        fed = (gate.feed(offset + step * STEP, {"a": a, "b": b}) for step, (a, b) in enumerate(scores))
        return [hit for hit in fed if hit is not None]

    found = hits(0)
    for hit in found:
        assert hit.score >= 0.5
        assert hit.score == scores[hit.sample // STEP]["ab".index(hit.name)]
    for before, after in itertools.pairwise(found):
        assert after.sample - before.sample >= refractory_ms * 16
        assert (after.sample - before.sample) // STEP >= patience[0], "scores were counted for two hits"
    assert hits(shift) == [WakeHit(hit.name, hit.score, hit.sample + shift) for hit in found]


def test_while_the_assistant_speaks_the_other_threshold_counts() -> None:
    gate = WakeGate([WakeWordSettings("alexa", 0.5, refractory_ms=0, threshold_speaking=0.3), WakeWordSettings("hey")])
    quiet = {"alexa": 0.4, "hey": 0.4}
    assert gate.feed(1280, quiet) is None
    gate.speaking = True
    hit = gate.feed(2560, quiet)
    assert hit is not None and (hit.name, hit.score) == ("alexa", 0.4)
    gate.speaking = False
    assert gate.feed(3840, quiet) is None


@pytest.mark.parametrize("threshold", [0.0, 1.1])
def test_a_threshold_while_speaking_must_be_a_score(threshold: float) -> None:
    with pytest.raises(ValueError, match="alexa: threshold must be"):
        WakeWordSettings("alexa", threshold_speaking=threshold)


@pytest.mark.parametrize(("voiced", "heard"), [(4, False), (5, True)])
def test_a_second_look_wants_speech_shortly_before(voiced: int, heard: bool) -> None:
    gate = WakeGate([WakeWordSettings("alexa")], require_speech=True)
    for speech in [True] * voiced + [False] * (75 - voiced):
        gate.hear(speech)
    assert (gate.feed(1280, {"alexa": 0.9}) is not None) is heard
    if heard:
        gate.reset()
        assert gate.feed(1280, {"alexa": 0.9}) is None, "a new stream, without speech so far"


def test_speech_long_ago_does_not_agree_and_nothing_is_asked_while_the_assistant_speaks() -> None:
    gate = WakeGate([WakeWordSettings("alexa")], require_speech=True)
    for speech in [True] * 20 + [False] * 75:
        gate.hear(speech)
    assert gate.feed(1280, {"alexa": 0.9}) is None
    gate.speaking = True
    assert gate.feed(2560, {"alexa": 0.9}) is not None


def test_without_a_second_look_no_speech_is_needed() -> None:
    assert WakeGate([WakeWordSettings("alexa")]).feed(1280, {"alexa": 0.9}) is not None


def test_a_verifier_has_to_agree_in_the_same_step() -> None:
    words = [WakeWordSettings("alexa", 0.3, verifier_threshold=0.6, refractory_ms=0), WakeWordSettings("hey")]
    gate = WakeGate(words)
    scores = {"alexa": 0.9, "hey": 0.0}
    assert gate.feed(1280, scores, {"alexa": 0.59}) is None
    assert gate.feed(2560, scores) is None, "one that was not asked has not agreed"
    assert gate.feed(3840, {"alexa": 0.2, "hey": 0.0}, {"alexa": 1.0}) is None, "it does not decide alone"
    assert gate.feed(5120, scores, {"alexa": 0.6}) == WakeHit("alexa", 0.9, 5120)
    assert gate.feed(6400, {"alexa": 0.9, "hey": 0.8}, {"alexa": 0.1}) == WakeHit("hey", 0.8, 6400)


def test_a_verifier_has_no_say_while_the_assistant_speaks() -> None:
    gate = WakeGate([WakeWordSettings("alexa", 0.3, threshold_speaking=0.5, verifier_threshold=0.6)])
    gate.speaking = True
    assert gate.feed(1280, {"alexa": 0.4}, {"alexa": 0.9}) is None
    assert gate.feed(2560, {"alexa": 0.5}, {"alexa": 0.1}) == WakeHit("alexa", 0.5, 2560)


def test_patience_counts_the_steps_in_which_the_verifier_agreed() -> None:
    gate = WakeGate([WakeWordSettings("alexa", patience=(2, 3), verifier_threshold=0.5)])
    answers = [0.9, 0.1, 0.1, 0.9, 0.9]
    fed = [gate.feed((step + 1) * STEP, {"alexa": 0.9}, {"alexa": sure}) for step, sure in enumerate(answers)]
    assert [hit is not None for hit in fed] == [False, False, False, False, True]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5])
def test_a_verifier_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ValueError, match="verifier_threshold"):
        WakeWordSettings("alexa", verifier_threshold=threshold)


@pytest.mark.parametrize("echo_alone", [False, True])
def test_where_all_is_echo_there_is_no_hit(echo_alone: bool) -> None:
    gate = WakeGate([WakeWordSettings("alexa", threshold_speaking=0.3)])
    gate.speaking = True
    gate.hear(True, echo_alone=echo_alone)
    assert (gate.feed(1280, {"alexa": 0.98}) is None) == echo_alone
