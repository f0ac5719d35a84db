from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.local.numbers import LARGEST, digits_for_words, spell


@given(st.integers(-LARGEST, LARGEST))
def test_every_spelling_reads_back(number: int) -> None:
    for words in spell(number):
        assert digits_for_words(words) == str(number)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, ["zero"]),
        (25, ["twenty five"]),
        (105, ["one hundred five", "one hundred and five", "a hundred five", "a hundred and five"]),
        (1100, ["one thousand one hundred", "a thousand one hundred"]),
    ],
)
def test_the_ways_to_say_a_number(number: int, words: list[str]) -> None:
    assert sorted(spell(number)) == sorted(words)


def test_no_words_for_too_large_a_number() -> None:
    with pytest.raises(ValueError, match="too large"):
        spell(LARGEST + 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a timer for twenty-five minutes", "a timer for 25 minutes"),
        ("five ten twenty", "5 10 20"),
        ("twenty zero", "20 0"),
        ("a cup and a hundred and one spoons", "a cup and 101 spoons"),
        ("one hundred and then", "100 and then"),
        ("no number here", "no number here"),
        ("one thousand one thousand", "1000 1000"),
    ],
)
def test_numbers_within_a_sentence(text: str, expected: str) -> None:
    assert digits_for_words(text) == expected
