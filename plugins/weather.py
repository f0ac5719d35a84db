"""The weather at home, from Open-Meteo (https://open-meteo.com), which needs no account.

Settings (``plugins.weather`` in config.yaml):
    latitude, longitude: where home is, in degrees; both are needed, and are sent to the service
    place: what home is called in answers; "" leaves it out
    units: metric or imperial
    url: the service, for a server of your own
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Any, Literal

from assistant.plugin import BaseModel, Context, Field, Plugin, ToolError, fetch_json, tool

FRESH_S = 600.0
LIKELY_RAIN = 50  # percent
RAIN_HOURS = 12

# WMO code table 4677, as Open-Meteo uses it.
SKIES = {
    0: "clear",
    1: "mostly clear",
    2: "partly cloudy",
    3: "cloudy",
    **dict.fromkeys((45, 48), "foggy"),
    **dict.fromkeys((51, 53, 55, 56, 57), "drizzle"),
    **dict.fromkeys((61, 63, 66), "rain"),
    **dict.fromkeys((65, 67), "heavy rain"),
    **dict.fromkeys((71, 73, 77), "snow"),
    75: "heavy snow",
    **dict.fromkeys((80, 81), "showers"),
    82: "heavy showers",
    **dict.fromkeys((85, 86), "snow showers"),
    **dict.fromkeys((95, 96, 99), "thunderstorms"),
}


@dataclass(frozen=True, slots=True)
class Day:
    date: date
    sky: str
    low: int
    high: int
    rain_percent: int


@dataclass(frozen=True, slots=True)
class Forecast:
    now: int
    sky: str
    days: list[Day]
    rain: list[tuple[datetime, int]]
    """The chance of rain in percent, by hour."""


class Weather(Plugin):
    class Config(BaseModel):
        latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
        longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
        place: str = ""
        units: Literal["metric", "imperial"] = "metric"
        url: str = "https://api.open-meteo.com/v1/forecast"

    config: Config

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._lock = threading.Lock()
        self._forecast: Forecast | None = None
        self._fetched_at = 0.0

    @tool(
        sentences=[
            "(what is|what's|how is|how's) the weather [today]",
            "(what is|what's|how is|how's) the weather {day}",
            "(what is|what's|what will be) the weather [like] {day}",
            "[what is|what's] the weather forecast [for {day}]",
        ],
        lists={"day": {"today": "today", "tomorrow": "tomorrow", "week": "[for] (this|the) week"}},
    )
    def weather(self, day: Literal["today", "tomorrow", "week"] = "today") -> dict[str, object]:
        """Tell the weather at home: now and today, tomorrow, or for the coming week.

        day: for when
        """
        forecast = self._read()
        days = forecast.days
        where = f" in {self.config.place}" if self.config.place else ""
        match day:
            case "today":
                say = f"It is {forecast.now} degrees and {forecast.sky}{where}. Today: {told(days[0])}"
                facts = days[:1]
            case "tomorrow":
                say, facts = f"Tomorrow{where}: {told(days[1])}", days[1:2]
            case "week":
                parts = [f"{one.date:%A} {one.sky}, up to {one.high}" for one in days]
                say, facts = f"The week{where}: {'; '.join(parts)}.", days
        return {"say": say, "now": forecast.now, "days": facts}

    @tool(sentences=["will it rain [soon|today]", "(do i need|should i take) an umbrella", "is it going to rain"])
    def rain_soon(self) -> dict[str, object]:
        """Tell whether it will rain at home in the next twelve hours, and when."""
        now = self.context.now()
        soon = [(at, chance) for at, chance in self._read().rain if timedelta(hours=-1) < at - now]
        soon = soon[:RAIN_HOURS]
        wet = next(((at, chance) for at, chance in soon if chance >= LIKELY_RAIN), None)
        if wet is None:
            highest = max((chance for _, chance in soon), default=0)
            return {"say": f"No, it looks dry for the next {RAIN_HOURS} hours.", "highest_chance_percent": highest}
        at, chance = wet
        when = "now" if at <= now else f"around {at.astimezone(now.tzinfo):%H:%M}"
        return {"say": f"Yes, rain is likely {when}: the chance is {chance} percent.", "at": at, "chance": chance}

    async def check(self) -> str | None:
        # With neither, nobody has asked for the weather yet: not worth a complaint at every start.
        if (self.config.latitude is None) != (self.config.longitude is None):
            return "plugins.weather has only one of latitude and longitude: set both"
        return None

    def _read(self) -> Forecast:
        """The forecast, at most ten minutes old. Raises ToolError."""
        if self.config.latitude is None or self.config.longitude is None:
            raise ToolError("I do not know where we are: set latitude and longitude under plugins.weather.")
        with self._lock:
            at = self.context.clock.monotonic()
            if self._forecast is None or at - self._fetched_at > FRESH_S:
                imperial = self.config.units == "imperial"
                answer = fetch_json(
                    self.config.url,
                    params={
                        "latitude": self.config.latitude,
                        "longitude": self.config.longitude,
                        "current": "temperature_2m,weather_code",
                        "hourly": "precipitation_probability",
                        "daily": "weather_code,temperature_2m_min,temperature_2m_max,precipitation_probability_max",
                        "temperature_unit": "fahrenheit" if imperial else "celsius",
                        "timezone": "auto",
                        "forecast_days": 7,
                    },
                )
                try:
                    self._forecast = read(answer)
                except (KeyError, TypeError, ValueError, IndexError):
                    raise ToolError("The weather service has sent something that I do not understand.") from None
                self._fetched_at = at
            return self._forecast


def read(answer: Any) -> Forecast:
    """Open-Meteo's answer. Raises KeyError, TypeError, ValueError or IndexError if it is none."""
    zone = timezone(timedelta(seconds=answer["utc_offset_seconds"]))
    daily, hourly, current = answer["daily"], answer["hourly"], answer["current"]
    days = [
        Day(date.fromisoformat(day), SKIES.get(code, "unsettled"), round(low), round(high), rain or 0)
        for day, code, low, high, rain in zip(
            daily["time"],
            daily["weather_code"],
            daily["temperature_2m_min"],
            daily["temperature_2m_max"],
            daily["precipitation_probability_max"],
            strict=True,
        )
    ]
    rain = [
        (datetime.fromisoformat(at).replace(tzinfo=zone), chance or 0)
        for at, chance in zip(hourly["time"], hourly["precipitation_probability"], strict=True)
    ]
    if len(days) < 2:
        raise ValueError("too few days")
    return Forecast(round(current["temperature_2m"]), SKIES.get(current["weather_code"], "unsettled"), days, rain)


def told(day: Day) -> str:
    rain = f", with a {day.rain_percent} percent chance of rain" if day.rain_percent >= 20 else ""
    return f"{day.sky}, {day.low} to {day.high} degrees{rain}."
