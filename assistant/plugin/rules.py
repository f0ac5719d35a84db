"""Times of day that come again, in the zone of the house. PURE."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Final, Literal, TypeAlias, get_args

Weekday: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

EVERY_DAY: Final[tuple[Weekday, ...]] = get_args(Weekday)
WEEKDAYS: Final[tuple[Weekday, ...]] = EVERY_DAY[:5]
WEEKEND: Final[tuple[Weekday, ...]] = EVERY_DAY[5:]

_LOOK_BACK: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Daily:
    """A time by the clock on the wall, on some days of the week: ``Daily(time(7, 0), WEEKDAYS)``.

    Half past seven stays half past seven when summer time begins. On the night of the change, a time that the clock
    skips comes as much later as it skips, and one that it shows twice comes at the first.
    """

    at: time
    days: tuple[Weekday, ...] = EVERY_DAY

    def __post_init__(self) -> None:
        if self.at.tzinfo is not None:
            raise ValueError("the time of a Daily is that of the house: give it no zone")
        if not self.days or not set(self.days) <= set(EVERY_DAY):
            raise ValueError(f"the days of a Daily are some of {', '.join(EVERY_DAY)}")

    @classmethod
    def of(cls, at: str, days: Collection[Weekday] = EVERY_DAY) -> Daily:
        """From "HH:MM". Raises ValueError."""
        return cls(time.fromisoformat(at), tuple(day for day in EVERY_DAY if day in days))

    def after(self, moment: datetime) -> datetime:
        """The first such time that is later than ``moment``, in the zone of ``moment``."""
        return next(self._times(moment, moment))

    def between(self, after: datetime, until: datetime) -> tuple[datetime | None, int]:
        """The last such time later than ``after`` and not later than ``until``, and how many there were in all.

        At most a year before ``until`` is looked at.
        """
        last, count = None, 0
        for when in self._times(max(after, until - _LOOK_BACK), until):
            if when.timestamp() > until.timestamp():
                break
            last, count = when, count + 1
        return last, count

    def _times(self, after: datetime, zone: datetime) -> Iterator[datetime]:
        day = after.astimezone(zone.tzinfo).date() - timedelta(days=1)
        while True:
            if EVERY_DAY[day.weekday()] in self.days:
                when = on_the_wall(day, self.at, zone)
                if when.timestamp() > after.timestamp():
                    yield when
            day += timedelta(days=1)


def on_the_wall(day: date, at: time, now: datetime) -> datetime:
    """A day and a time of the house as a moment. ``now`` tells the zone of the house.

    ``datetime.astimezone()`` has the offset of this moment for all moments; when it is the machine's, the machine's
    zone knows the one of that day.
    """
    local = datetime.combine(day, at)
    if isinstance(now.tzinfo, timezone) and now.astimezone().utcoffset() == now.utcoffset():
        return local.astimezone()
    return local.replace(tzinfo=now.tzinfo)
