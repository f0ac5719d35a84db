"""Time and date, here and elsewhere.

Settings (``plugins.clock`` in config.yaml):
    hours: 12 or 24, how times are spoken
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from assistant.plugin import BaseModel, Context, Field, Plugin, ToolError, tool

CITIES = {
    "Amsterdam": "Europe/Amsterdam",
    "Athens": "Europe/Athens",
    "Auckland": "Pacific/Auckland",
    "Bangkok": "Asia/Bangkok",
    "Barcelona": "Europe/Madrid",
    "Beijing": "Asia/Shanghai",
    "Berlin": "Europe/Berlin",
    "Boston": "America/New_York",
    "Brussels": "Europe/Brussels",
    "Buenos Aires": "America/Argentina/Buenos_Aires",
    "Cairo": "Africa/Cairo",
    "Cape Town": "Africa/Johannesburg",
    "Chicago": "America/Chicago",
    "Copenhagen": "Europe/Copenhagen",
    "Delhi": "Asia/Kolkata",
    "Denver": "America/Denver",
    "Dubai": "Asia/Dubai",
    "Dublin": "Europe/Dublin",
    "Edinburgh": "Europe/London",
    "Geneva": "Europe/Zurich",
    "Helsinki": "Europe/Helsinki",
    "Hong Kong": "Asia/Hong_Kong",
    "Honolulu": "Pacific/Honolulu",
    "Istanbul": "Europe/Istanbul",
    "Jakarta": "Asia/Jakarta",
    "Jerusalem": "Asia/Jerusalem",
    "Johannesburg": "Africa/Johannesburg",
    "Karachi": "Asia/Karachi",
    "Lagos": "Africa/Lagos",
    "Lima": "America/Lima",
    "Lisbon": "Europe/Lisbon",
    "London": "Europe/London",
    "Los Angeles": "America/Los_Angeles",
    "Madrid": "Europe/Madrid",
    "Manila": "Asia/Manila",
    "Melbourne": "Australia/Melbourne",
    "Mexico City": "America/Mexico_City",
    "Miami": "America/New_York",
    "Milan": "Europe/Rome",
    "Montreal": "America/Toronto",
    "Moscow": "Europe/Moscow",
    "Mumbai": "Asia/Kolkata",
    "Munich": "Europe/Berlin",
    "Nairobi": "Africa/Nairobi",
    "New York": "America/New_York",
    "Oslo": "Europe/Oslo",
    "Paris": "Europe/Paris",
    "Prague": "Europe/Prague",
    "Reykjavik": "Atlantic/Reykjavik",
    "Rio de Janeiro": "America/Sao_Paulo",
    "Rome": "Europe/Rome",
    "San Francisco": "America/Los_Angeles",
    "Sao Paulo": "America/Sao_Paulo",
    "Seattle": "America/Los_Angeles",
    "Seoul": "Asia/Seoul",
    "Shanghai": "Asia/Shanghai",
    "Singapore": "Asia/Singapore",
    "Stockholm": "Europe/Stockholm",
    "Sydney": "Australia/Sydney",
    "Taipei": "Asia/Taipei",
    "Tokyo": "Asia/Tokyo",
    "Toronto": "America/Toronto",
    "Vancouver": "America/Vancouver",
    "Vienna": "Europe/Vienna",
    "Warsaw": "Europe/Warsaw",
    "Washington": "America/New_York",
    "Zurich": "Europe/Zurich",
}

SPOKEN_CITIES = {city: city.lower() for city in CITIES}

SPOKEN_DAYS = {
    "01-01": "new year[s day]",
    "02-14": "valentine[s|s day]",
    "10-31": "halloween",
    "12-24": "christmas eve",
    "12-25": "christmas [day]",
    "12-31": "new years eve",
}

# fmt: off
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)
# fmt: on


class Clock(Plugin):
    class Config(BaseModel):
        hours: Literal[12, 24] = 12

    config: Config

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._zones: dict[str, str] = {}

    @tool(
        sentences=[
            "what time is it [now]",
            "(what is|what's|tell me) the time",
            "what time is it in {city}",
            "(what is|what's) the time in {city}",
        ],
        lists={"city": SPOKEN_CITIES},
    )
    def current_time(self, city: str | None = None) -> dict[str, str]:
        """Tell the current time, here or in another city.

        city: a large city such as Tokyo, or an IANA zone such as Asia/Tokyo; leave out for the time here
        """
        here = self.context.now()
        if city is None:
            return {"say": f"It is {self._spoken(here)}.", "time": here.isoformat(timespec="seconds")}
        there = here.astimezone(self._zone(city))
        days = (there.date() - here.date()).days
        day = {0: "", 1: " tomorrow", -1: " yesterday"}[days]
        part = "" if self.config.hours == 24 else f" {part_of_day(there.hour)}"
        say = f"In {place(city)} it is {self._spoken(there)}{part}{day}."
        return {"say": say, "time": there.isoformat(timespec="seconds"), "weekday": f"{there:%A}"}

    @tool(
        sentences=[
            "what day is it [today]",
            "(what is|what's) (the date|today's date|todays date) [today]",
            "what date is it [today]",
            "what is the date in {city}",
        ],
        lists={"city": SPOKEN_CITIES},
    )
    def current_date(self, city: str | None = None) -> dict[str, str]:
        """Tell today's date and weekday, here or in another city.

        city: a large city such as Tokyo, or an IANA zone such as Asia/Tokyo; leave out for the date here
        """
        now = self.context.now()
        where = "Today"
        if city is not None:
            now, where = now.astimezone(self._zone(city)), f"In {place(city)} it"
        return {"say": f"{where} is {spoken_date(now.date())}, {now.year}.", "date": now.date().isoformat()}

    @tool(
        sentences=["how many days (until|till|to) {date}", "how long (until|till) {date}", "(when|what day) is {date}"],
        lists={"date": SPOKEN_DAYS},
    )
    def look_up_date(self, date: Annotated[str, Field(pattern=r"^(\d{4}-)?\d{2}-\d{2}$")]) -> dict[str, str | int]:
        """Tell on which weekday a date falls and how many days away it is.

        date: month and day as MM-DD for the next such day, or a full date as YYYY-MM-DD
        """
        today = self.context.now().date()
        day = resolve_date(date, today)
        days = (day - today).days
        year = f", {day.year}" if day.year != today.year else ""
        name = f"{spoken_date(day)}{year}"
        match days:
            case 0:
                say = f"That is today, {name}."
            case 1:
                say = f"That is tomorrow, {name}."
            case _ if days > 0:
                say = f"It is {days} days until {name}."
            case _:
                say = f"That was {name}, {-days} {'day' if days == -1 else 'days'} ago."
        return {"say": say, "date": day.isoformat(), "weekday": f"{day:%A}", "days": days}

    def _spoken(self, time: datetime) -> str:
        return f"{time:%H:%M}" if self.config.hours == 24 else spoken_time(time.hour, time.minute)

    def _zone(self, city: str) -> ZoneInfo:
        """The time zone of a city or zone name. Raises ToolError."""
        if not self._zones:  # at first use: the list of zones is read from disk
            self._zones = {plain(zone.rpartition("/")[2]): zone for zone in sorted(available_timezones())}
            self._zones |= {plain(zone): zone for zone in available_timezones()}
            self._zones |= {plain(name): zone for name, zone in CITIES.items()}
        try:
            return ZoneInfo(self._zones[plain(city)])
        except (KeyError, ZoneInfoNotFoundError):
            raise ToolError(
                f"I do not know the time zone of {place(city)}. Name a large city, or a zone such as Europe/Berlin."
            ) from None


def plain(name: str) -> str:
    """A place's name for comparing: "São Paulo" and "sao_paulo" are the same."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return " ".join(letters.replace("_", " ").casefold().split()).removesuffix(" city")


def place(city: str) -> str:
    """A place's name for speaking: "America/New_York" is New York."""
    name = city.rpartition("/")[2].replace("_", " ").strip()
    return name if name != name.lower() else name.title()


def part_of_day(hour: int) -> str:
    if hour < 12:
        return "in the morning"
    if hour < 18:
        return "in the afternoon"
    return "in the evening" if hour < 22 else "at night"


def spoken_time(hour: int, minute: int) -> str:
    """A time as people say it: "ten past three", "quarter to noon", "midnight"."""
    next_hour = hour + (minute > 30)
    name = {0: "midnight", 12: "noon", 24: "midnight"}.get(next_hour) or NUMBERS[(next_hour - 1) % 12 + 1]
    if minute == 0:
        return name if name in ("midnight", "noon") else f"{name} o'clock"
    if minute == 30:
        return f"half past {name}"
    side, count = ("to", 60 - minute) if minute > 30 else ("past", minute)
    if count == 15:
        return f"quarter {side} {name}"
    words = NUMBERS[count] if count <= 20 else f"twenty-{NUMBERS[count - 20]}"
    unit = "" if count % 5 == 0 else " minute" if count == 1 else " minutes"
    return f"{words}{unit} {side} {name}"


def spoken_date(day: date) -> str:
    """A date as people say it: "Friday, November 21st"."""
    ending = "th" if day.day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    return f"{day:%A}, {day:%B} {day.day}{ending}"


def resolve_date(text: str, today: date) -> date:
    """``YYYY-MM-DD`` as it is, ``MM-DD`` as the next such day, today included. Raises ToolError."""
    if not re.fullmatch(r"\d{2}-\d{2}", text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise ToolError(f"There is no date {text}.") from None
    for year in range(today.year, today.year + 9):  # the next February 29th may be eight years away
        try:
            day = date.fromisoformat(f"{year}-{text}")
        except ValueError:
            continue
        if day >= today:
            return day
    raise ToolError(f"There is no date {text}: it is month and day, such as 12-25.")
