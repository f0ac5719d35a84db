"""Time as people say it."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Literal

from assistant.plugin import EVERY_DAY, WEEKDAYS, WEEKEND, Daily, ToolError, Weekday

SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
SPOKEN_UNITS = {unit: f"{unit[:-1]}[s]" for unit in SECONDS}

Part = Literal["morning", "afternoon", "evening", "night"]
SPOKEN_PARTS = {
    "morning": "in the morning",
    "afternoon": "in the afternoon",
    "evening": "in the evening",
    "night": "at night",
}
SPOKEN_DAYS = {"today": "today", "tomorrow": "tomorrow"}

DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SPOKEN_REPEATS: dict[str, str] = {
    "daily": "(every day|daily)",
    "weekdays": "(on weekdays|every weekday)",
    "weekends": "(on weekends|every weekend)",
}
SPOKEN_REPEATS.update(zip(EVERY_DAY, (f"(on {name}s|every {name})" for name in DAY_NAMES), strict=True))
SETS: dict[str, tuple[Weekday, ...]] = {"daily": EVERY_DAY, "weekdays": WEEKDAYS, "weekends": WEEKEND}

# fmt: off
HOURS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
# fmt: on
PAST = {5: "five past", 10: "ten past", 15: "[a ]quarter past", 20: "twenty past", 30: "half past"}
TO = {40: "twenty to", 45: "[a ]quarter to", 50: "ten to", 55: "five to"}
# fmt: off
MINUTES = {
    5: "oh five", 10: "ten", 15: "fifteen", 20: "twenty", 25: "twenty five", 30: "thirty",
    35: "thirty five", 40: "forty", 45: "forty five", 50: "fifty", 55: "fifty five",
}
# fmt: on


def _spoken_times() -> dict[str, str]:
    """Every five minutes of twelve hours; which half of the day is meant is told by other words, or none."""
    times = {"12:00": "noon", "0:00": "midnight"}
    for hour, name in enumerate(HOURS, start=1):
        times[f"{hour}:00 next"] = f"{name} [o'clock]"
        for minute, spoken in MINUTES.items():
            forms = [f"{name} {spoken}"]
            if minute in PAST:
                forms.append(f"{PAST[minute]} {name}")
            if minute in TO:
                forms.append(f"{TO[minute]} {HOURS[hour % 12]}")
            times[f"{hour}:{minute:02d} next"] = f"({'|'.join(forms)})"
    return times


SPOKEN_TIMES = _spoken_times()


def time_of_day(text: str, part: Part | None) -> tuple[time, bool]:
    """A time, and whether the other half of the day may be meant just as well. Raises ToolError."""
    hour, minute = (int(number) for number in text.removesuffix(" next").split(":"))
    if hour > 23 or minute > 59:
        raise ToolError(f"There is no time {text}.")
    if part is None or hour > 12:
        return time(hour % 24, minute), text.endswith(" next") and hour <= 12
    later = part in ("afternoon", "evening") or (part == "night" and 6 <= hour < 12)
    return time(hour % 12 + (12 if later else 0), minute), False


def days_of(repeat: str) -> tuple[Weekday, ...]:
    """The days that "weekdays" or "mon,thu" stands for. Raises ToolError."""
    days = [word.strip() for word in repeat.split(",")]
    if repeat not in SETS and not set(days) <= set(EVERY_DAY):
        raise ToolError("repeat is daily, weekdays, weekends, or days such as mon,thu.")
    return SETS.get(repeat) or tuple(day for day in EVERY_DAY if day in days)


def rule(text: str, part: Part | None, repeat: str) -> Daily:
    """A time that comes again. What may be either half of the day is the one at which people are awake."""
    at, vague = time_of_day(text, part)
    return Daily(_waking(at) if vague else at, days_of(repeat))


def moment(text: str, part: Part | None, day: str | None, now: datetime) -> datetime:
    """The next such time; on that day if it is given. Raises ToolError."""
    at, vague = time_of_day(text, part)
    if day is None:
        halves = [at, at.replace(hour=(at.hour + 12) % 24)] if vague else [at]
        return min((Daily(half).after(now) for half in halves), key=datetime.timestamp)
    when = Daily(_waking(at) if vague else at).after(_midnight(_date(day, now), now) - timedelta(seconds=1))
    if when.timestamp() <= now.timestamp():
        raise ToolError(f"{spoken_moment(when, now).capitalize()} is over already.")
    return when


def _waking(at: time) -> time:
    return at.replace(hour=at.hour + 12) if at.hour < 6 else at


def _date(day: str, now: datetime) -> date:
    if day in ("today", "tomorrow"):
        return now.date() + timedelta(days=day == "tomorrow")
    try:
        return date.fromisoformat(day)
    except ValueError:
        raise ToolError(f"There is no date {day}: day is today, tomorrow or YYYY-MM-DD.") from None


def _midnight(day: date, now: datetime) -> datetime:
    return Daily(time(0)).after(datetime.combine(day, time(0), now.tzinfo) - timedelta(hours=3))


def spoken_time(at: datetime | time) -> str:
    """ "7 o'clock in the morning", "7:30 in the evening"."""
    if at.minute == 0 and at.hour in (0, 12):
        return "noon" if at.hour else "midnight"
    part = "at night" if at.hour < 5 or at.hour >= 22 else "in the morning" if at.hour < 12 else "in the afternoon"
    if 18 <= at.hour < 22:
        part = "in the evening"
    hour = (at.hour - 1) % 12 + 1
    return f"{hour} o'clock {part}" if at.minute == 0 else f"{hour}:{at.minute:02d} {part}"


def spoken_moment(when: datetime, now: datetime) -> str:
    """ "tomorrow at 7 o'clock in the morning"."""
    days = (when.date() - now.date()).days
    day = {0: "", 1: "tomorrow ", -1: "yesterday "}.get(
        days, f"on {when:%A} " if 0 < days < 7 else f"on {when:%B} {when.day} "
    )
    return f"{day}at {spoken_time(when)}"


def spoken_rule(rule: Daily) -> str:
    """ "on weekdays at 7 o'clock in the morning"."""
    names = [f"{DAY_NAMES[EVERY_DAY.index(day)].capitalize()}s" for day in rule.days]
    known = {EVERY_DAY: "every day", WEEKDAYS: "on weekdays", WEEKEND: "on weekends"}
    return f"{known.get(rule.days, f'on {listing(names)}')} at {spoken_time(rule.at)}"


def span(seconds: int, *, adjective: bool = False) -> str:
    """A duration as people say it: "1 hour and 30 minutes"; as an adjective, "90 minute"."""
    if adjective:
        unit = next(unit for unit in ("hours", "minutes", "seconds") if seconds % SECONDS[unit] == 0)
        return f"{seconds // SECONDS[unit]} {unit[:-1]}"
    parts = []
    for unit in ("hours", "minutes", "seconds"):
        count, seconds = divmod(seconds, SECONDS[unit])
        if count:
            parts.append(f"{count} {unit if count > 1 else unit[:-1]}")
    return listing(parts) or "no time"


def listing(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
