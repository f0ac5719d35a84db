from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.plugin import ToolError
from assistant.testing.plugins import FRIDAY_MORNING, PluginHarness
from assistant.tools.loading import bundled_plugins_folder, import_file

FILE = bundled_plugins_folder() / "clock.py"


@pytest.fixture(scope="module")
def clock() -> ModuleType:
    return import_file(FILE)


def ask(tmp_path: Path, tool: str, *, now: datetime = FRIDAY_MORNING, hours: int = 12, **arguments: Any) -> Any:
    async def main() -> Any:
        async with PluginHarness(FILE, tmp_path, settings={"hours": hours}, now=now) as home:
            return await home.call(tool, **arguments)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("hour", "minute", "words"),
    [
        (15, 10, "ten past three"),
        (0, 0, "midnight"),
        (12, 0, "noon"),
        (1, 0, "one o'clock"),
        (12, 15, "quarter past noon"),
        (23, 45, "quarter to midnight"),
        (12, 45, "quarter to one"),
        (9, 30, "half past nine"),
        (9, 31, "twenty-nine minutes to ten"),
        (9, 1, "one minute past nine"),
        (23, 59, "one minute to midnight"),
        (11, 55, "five to noon"),
        (6, 22, "twenty-two minutes past six"),
        (6, 35, "twenty-five to seven"),
    ],
)
def test_times_are_spoken_as_people_say_them(clock: ModuleType, hour: int, minute: int, words: str) -> None:
    assert clock.spoken_time(hour, minute) == words


def test_every_minute_of_half_a_day_has_words_of_its_own(clock: ModuleType) -> None:
    assert len({clock.spoken_time(hour, minute) for hour in range(12) for minute in range(60)}) == 720


def test_the_time_here_and_elsewhere(tmp_path: Path) -> None:
    assert ask(tmp_path, "current_time") == {"say": "It is half past nine.", "time": "2025-11-21T09:30:00+01:00"}
    assert ask(tmp_path, "current_time", hours=24)["say"] == "It is 09:30."
    tokyo = ask(tmp_path, "current_time", city="tokyo")
    assert tokyo["say"] == "In Tokyo it is half past five in the afternoon."
    assert tokyo["time"] == "2025-11-21T17:30:00+09:00"
    late = datetime(2025, 11, 21, 22, 0, tzinfo=timezone.utc)  # noqa: UP017
    assert ask(tmp_path, "current_time", now=late, city="Tokyo")["say"] == (
        "In Tokyo it is seven o'clock in the morning tomorrow."
    )
    assert ask(tmp_path, "current_time", city="Honolulu")["say"].endswith("at night yesterday.")


@pytest.mark.parametrize(
    ("city", "offset_h"),
    [
        ("São Paulo", -3),
        ("new york city", -5),
        ("Europe/Berlin", 1),
        ("asia/tokyo", 9),
        ("Buenos_Aires", -3),
        ("UTC", 0),
    ],
)
def test_places_are_found_by_many_names(tmp_path: Path, city: str, offset_h: int) -> None:
    time = datetime.fromisoformat(ask(tmp_path, "current_time", city=city)["time"])
    assert time.utcoffset() == timedelta(hours=offset_h)


@pytest.mark.parametrize("city", ["Atlantis", "../../etc/passwd", "/etc/localtime", ""])
def test_an_unknown_place_is_said_so(tmp_path: Path, city: str) -> None:
    with pytest.raises(ToolError, match="I do not know the time zone"):
        ask(tmp_path, "current_time", city=city)


def test_every_city_has_its_zone(clock: ModuleType) -> None:
    assert len(clock.CITIES) >= 60
    for zone in clock.CITIES.values():
        ZoneInfo(zone)


def test_the_date(tmp_path: Path) -> None:
    assert ask(tmp_path, "current_date") == {"say": "Today is Friday, November 21st, 2025.", "date": "2025-11-21"}
    night = datetime(2025, 12, 31, 20, 0, tzinfo=timezone.utc)  # noqa: UP017
    assert ask(tmp_path, "current_date", now=night, city="sydney")["say"] == (
        "In Sydney it is Thursday, January 1st, 2026."
    )


@pytest.mark.parametrize(
    ("text", "say", "days"),
    [
        ("12-25", "It is 34 days until Thursday, December 25th.", 34),
        ("11-21", "That is today, Friday, November 21st.", 0),
        ("11-22", "That is tomorrow, Saturday, November 22nd.", 1),
        ("01-01", "It is 41 days until Thursday, January 1st, 2026.", 41),
        ("02-29", "It is 830 days until Tuesday, February 29th, 2028.", 830),
        ("2025-11-20", "That was Thursday, November 20th, 1 day ago.", -1),
        ("1989-11-09", "That was Thursday, November 9th, 1989, 13161 days ago.", -13161),
    ],
)
def test_dates_are_looked_up(tmp_path: Path, text: str, say: str, days: int) -> None:
    answer = ask(tmp_path, "look_up_date", date=text)
    assert (answer["say"], answer["days"]) == (say, days)


@pytest.mark.parametrize("text", ["02-30", "13-01", "2025-02-29", "0000-01-01"])
def test_a_date_that_is_none_is_said_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(ToolError, match="There is no date"):
        ask(tmp_path, "look_up_date", date=text)


@given(st.dates(date(1970, 1, 1), date(2400, 1, 1)), st.dates())
def test_the_next_such_day_is_never_in_the_past(today: date, wanted: date) -> None:
    resolve: Callable[[str, date], date] = import_file(FILE).resolve_date
    day = resolve(f"{wanted:%m-%d}", today)
    assert day >= today
    assert (day.month, day.day) == (wanted.month, wanted.day)
    assert (day - today).days <= 8 * 366


def test_the_result_is_plain_json(tmp_path: Path) -> None:
    json.dumps(ask(tmp_path, "current_time", city="Paris"))
