from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assistant.local.limits import RateLimits


def test_so_many_responses_a_minute_and_then_some_more() -> None:
    limits = RateLimits(0.0, requests=60)
    assert [limits.admit(0.0) for _ in range(60)] == [0.0] * 60
    assert limits.admit(0.0) == 1.0
    assert limits.admit(1.0) == 0.0
    assert limits.admit(1.0) > 0


def test_tokens_that_were_spent_must_come_back_first() -> None:
    limits = RateLimits(0.0, tokens=600)
    limits.spend(899, 0.0)
    assert limits.admit(0.0) == 30.0
    assert limits.to_json(0.0)[1] == {"name": "tokens", "limit": 600, "remaining": 0, "reset_seconds": 89.9}
    assert limits.admit(30.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(0, 10_000))))
def test_there_is_never_more_left_than_the_limit(steps: list[tuple[float, int]]) -> None:
    limits, at = RateLimits(0.0, requests=5, tokens=5_000), 0.0
    for pause, tokens in steps:
        at += pause
        limits.admit(at)
        limits.spend(tokens, at)
        for entry in limits.to_json(at):
            assert 0 <= entry["remaining"] <= entry["limit"]
            assert entry["reset_seconds"] >= 0
