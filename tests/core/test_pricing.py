"""Tokens out of what servers send, and their price."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.core.pricing import FREE, KINDS, MAX_TOKENS, Nanos, OddUsage, Price, Tokens, price_of, read_usage

REALTIME = Price.per_million(
    {"text_in": 4, "cached_text_in": 0.4, "audio_in": 32, "cached_audio_in": 0.4, "text_out": 16, "audio_out": 64}
)

GA: dict[str, Any] = {  # as the API reference shows it
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "image_tokens": 0,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}


def test_the_usage_of_the_reference() -> None:
    tokens = read_usage(GA)
    assert tokens == Tokens(text_in=55, cached_text_in=64, audio_in=13, cached_audio_in=0, text_out=30, audio_out=91)
    assert (tokens.input, tokens.output) == (132, 121)
    assert tokens.cached_share == pytest.approx(64 / 132)
    # 55 * 4 + 64 * 0.4 + 13 * 32 + 30 * 16 + 91 * 64 dollars for a million
    assert REALTIME.cost(tokens) == round((55 * 4 + 64 * 0.4 + 13 * 32 + 30 * 16 + 91 * 64) * 1000)


def test_a_minute_heard_and_a_minute_spoken() -> None:
    assert REALTIME.cost(Tokens(audio_in=600)) == 19_200_000  # 0.0192
    assert REALTIME.cost(Tokens(audio_out=1200)) == 76_800_000  # 0.0768


def test_cached_tokens_without_a_kind_are_text_first() -> None:
    details = {"text_tokens": 100, "audio_tokens": 50, "cached_tokens": 120}
    tokens = read_usage({"input_token_details": details})
    assert (tokens.cached_text_in, tokens.text_in, tokens.cached_audio_in, tokens.audio_in) == (100, 0, 20, 30)


def test_what_has_no_kind_is_the_dear_kind() -> None:
    assert read_usage({"input_tokens": 70, "output_tokens": 30}) == Tokens(audio_in=70, audio_out=30)
    partly = read_usage({"input_tokens": 70, "input_token_details": {"text_tokens": 50, "image_tokens": 20}})
    assert partly == Tokens(text_in=50, audio_in=20)


@pytest.mark.parametrize("odd", [{}, {"input_token_details": None}, {"input_token_details": [1], "input_tokens": "7"}])
def test_what_is_missing_counts_as_nothing(odd: dict[str, Any]) -> None:
    assert read_usage(odd) == Tokens()
    assert read_usage(odd).cached_share is None


@pytest.mark.parametrize("huge", [MAX_TOKENS + 1, 10**40, float("inf"), float("nan")])
def test_what_no_model_can_reach_is_refused(huge: float) -> None:
    with pytest.raises(OddUsage):
        read_usage({"input_token_details": {"audio_tokens": huge}})


numbers = st.one_of(
    st.integers(), st.integers(0, 5000), st.floats(), st.booleans(), st.none(), st.text(max_size=3), st.lists(st.none())
)
names = ("text_tokens", "audio_tokens", "image_tokens", "cached_tokens")
counts = st.dictionaries(st.sampled_from(names), numbers)
usages = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": numbers,
        "output_tokens": numbers,
        "input_token_details": counts.flatmap(
            lambda d: st.just(d) | counts.map(lambda c: {**d, "cached_tokens_details": c})
        )
        | numbers,
        "output_token_details": counts | numbers,
    },
)


@given(usages)
def test_any_usage_is_read_or_refused_and_never_negative(usage: dict[str, Any]) -> None:
    try:
        tokens = read_usage(usage)
    except OddUsage:
        return
    assert all(0 <= count <= MAX_TOKENS for count in astuple(tokens))
    assert 0 <= REALTIME.cost(tokens) <= 64_000 * tokens.input + 64_000 * tokens.output
    assert FREE.cost(tokens) == 0


tokens_of = st.builds(Tokens, *(st.integers(0, MAX_TOKENS) for _ in KINDS))
prices = st.builds(Price, *(st.integers(0, 10**9).map(Nanos) for _ in KINDS))


@given(tokens_of, tokens_of, prices)
def test_the_cost_of_a_sum_is_the_sum_of_the_costs(one: Tokens, other: Tokens, price: Price) -> None:
    """What lets the ledger price many rows at once."""
    assert price.cost(one + other) == price.cost(one) + price.cost(other)


@given(tokens_of, st.integers(0, MAX_TOKENS))
def test_caching_never_makes_it_dearer(tokens: Tokens, cached: int) -> None:
    cached = min(cached, tokens.audio_in)
    moved = Tokens(
        tokens.text_in,
        tokens.cached_text_in,
        tokens.audio_in - cached,
        tokens.cached_audio_in + cached,
        tokens.text_out,
        tokens.audio_out,
    )
    assert REALTIME.cost(moved) <= REALTIME.cost(tokens)


def test_a_version_has_the_price_of_its_model_unless_it_has_its_own() -> None:
    table = {"gpt-realtime": REALTIME, "gpt-realtime-2026-01-01": FREE}
    assert price_of("gpt-realtime", table) is REALTIME
    assert price_of("gpt-realtime-2025-08-28", table) is REALTIME
    assert price_of("gpt-realtime-2026-01-01", table) is FREE
    assert price_of("gpt-realtime-mini", table) is None
    assert price_of(None, table) is None
