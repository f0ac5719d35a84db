"""Days and months as a person at home counts them: in local time, whatever daylight saving does to their length.

Times are Unix seconds. ``zone=None`` is the time zone of this machine.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo


def local_date(at: float, zone: tzinfo | None = None) -> date:
    """The date on the calendar at that moment."""
    return datetime.fromtimestamp(at, zone).date()


def start_of(day: date, zone: tzinfo | None = None) -> float:
    """When a day begins. Where the clocks skip midnight, that is when they do."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def day_before(day: date, days: int = 1) -> date:
    return day - timedelta(days)


def next_day(day: date) -> date:
    return day + timedelta(1)


def first_of_month(day: date) -> date:
    return day.replace(day=1)


def next_month(day: date) -> date:
    """The first day of the month after this one."""
    return (day.replace(day=1) + timedelta(31)).replace(day=1)
