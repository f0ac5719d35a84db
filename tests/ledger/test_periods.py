"""Days and months where the clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.ledger.periods import day_before, first_of_month, local_date, next_day, next_month, start_of

ZONES = ["Europe/Berlin", "America/Santiago", "America/Havana", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_a_day_is_as_long_as_the_clocks_make_it(day: date, hours: int) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert start_of(next_day(day), berlin) - start_of(day, berlin) == hours * 3600


def test_a_midnight_that_is_skipped_begins_when_the_clocks_go_on() -> None:
    """In Santiago 2026-09-06 begins at 01:00."""
    began = datetime.fromtimestamp(start_of(date(2026, 9, 6), ZoneInfo("America/Santiago")), UTC)
    assert began == datetime(2026, 9, 6, 4, 0, tzinfo=UTC)


@given(st.integers(1_600_000_000, 2_000_000_000), st.sampled_from(ZONES))
def test_every_moment_is_in_exactly_its_day_and_month(at: int, name: str) -> None:
    zone = ZoneInfo(name)
    day = local_date(at, zone)
    assert start_of(day, zone) <= at < start_of(next_day(day), zone)
    assert start_of(first_of_month(day), zone) <= at < start_of(next_month(day), zone)
    assert local_date(start_of(day, zone) - 1, zone) == day_before(day)


@pytest.mark.parametrize(
    ("day", "following"), [(date(2026, 12, 31), date(2027, 1, 1)), (date(2028, 1, 31), date(2028, 2, 1))]
)
def test_months_follow_each_other(day: date, following: date) -> None:
    assert next_month(day) == following
