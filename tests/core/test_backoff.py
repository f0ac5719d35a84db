"""The pauses between attempts."""

from __future__ import annotations

from assistant.core.backoff import reopen_delay, retry_delay


def test_the_first_retry_is_at_once_and_the_pauses_double_up_to_a_ceiling() -> None:
    assert [retry_delay(losses) for losses in range(8)] == [0, 0.5, 1, 2, 4, 8, 8, 8]
    assert retry_delay(10_000) == 8
    assert (retry_delay(1, 3.0), retry_delay(5, 3.0)) == (3.0, 8.0), "a server's own wish holds when it is longer"


def test_a_device_that_comes_back_within_a_minute_waits_two_seconds_at_most() -> None:
    delays = [reopen_delay(attempts) for attempts in range(40)]
    assert delays[:6] == [0, 0.5, 1, 2, 2, 2]
    quick = [delay for delay in delays if delay <= 2]
    assert 60 <= sum(quick) <= 70
    assert delays[len(quick) :] == [8] * (40 - len(quick))
