"""Alarms, reminders and snoozing: what people say, when it rings, and what survives."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.plugin import ToolError
from assistant.testing.plugins import FRIDAY_MORNING, PluginHarness
from assistant.tools.loading import bundled_plugins_folder, import_file

FOLDER = bundled_plugins_folder() / "timers"
WORDS = import_file(FOLDER / "words.py")


def at_home(folder: Path, script: Callable[[PluginHarness], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with PluginHarness(FOLDER, folder, **options) as home:
            await script(home)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("sentence", "answer", "due"),
    [
        ("wake me up at seven on weekdays", "Alarm set on weekdays at 7 o'clock in the morning.", "24T07:00"),
        ("set an alarm for tomorrow at 8:00", "Alarm set tomorrow at 8 o'clock in the morning.", "22T08:00"),
        ("set an alarm for half past six in the evening", "Alarm set for 6:30 in the evening.", "21T18:30"),
        ("set an alarm for seven", "Alarm set for 7 o'clock in the evening.", "21T19:00"),
        ("wake me tomorrow at quarter to seven", "Alarm set tomorrow at 6:45 in the morning.", "22T06:45"),
        ("set an alarm for noon every day", "Alarm set every day at noon.", "21T12:00"),
        ("wake me at a quarter to eight in the morning every monday", "Mondays at 7:45 in the morning.", "24T07:45"),
        ("remind me to call mum at six", "I will remind you at 6 o'clock in the evening to call mum.", "21T18:00"),
        ("remind me to feed the cat in half an hour", "I will remind you in 30 minutes to feed the cat.", "21T10:00"),
        ("remind me to buy 2 eggs in twenty minutes", "in 20 minutes to buy 2 eggs.", "21T09:50"),
        ("remind me to water the plants every monday at nine", "on Mondays at 9 o'clock in the morning", "24T09:00"),
        ("remind me at ten", "I will ring at 10 o'clock in the morning, without saying why", "21T10:00"),
    ],
)
def test_what_people_say(tmp_path: Path, sentence: str, answer: str, due: str) -> None:
    async def script(home: PluginHarness) -> None:
        said = await home.say(sentence)
        assert answer in said.answer
        (job,) = (await home.call("list_alarms"))["alarms"] + (await home.call("list_reminders"))["reminders"]
        assert job["due"].startswith(f"2025-11-{due}")

    at_home(tmp_path, script)


def test_an_alarm_on_weekdays_rings_until_stop_and_comes_again(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("set_alarm", time="07:00", repeat="weekdays")
        await home.advance(hours=24 * 2)
        assert home.ringer.history == []
        await home.advance(hours=22)  # Monday, 07:30
        assert home.ringer.history == ["alarm"]
        assert home.ringer.ringing == [], "it rings for five minutes at most"
        await home.advance(hours=23.5, seconds=10)
        assert home.ringer.ringing == ["alarm"]
        assert (await home.say("stop")).answer == "Okay."
        assert home.ringer.ringing == []
        assert (await home.say("list my alarms")).answer == "Alarm on weekdays at 7 o'clock in the morning."
        assert "on weekdays" in (await home.say("cancel my alarm")).answer
        await home.advance(hours=24 * 7)
        assert home.ringer.history == ["alarm", "alarm"]

    at_home(tmp_path, script)


def test_snoozing_after_the_wake_word_has_silenced_it(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        with pytest.raises(ToolError, match="Nothing is ringing"):
            await home.call("snooze")
        await home.call("set_alarm", time="10:00", name="school")
        await home.call("set_timer", amount=30, unit="minutes", name="tea")
        await home.advance(minutes=30)
        assert sorted(home.ringer.ringing) == ["school alarm", "tea timer"]
        home.ringer.dismiss()
        await home.advance(seconds=5)
        assert (await home.say("snooze for five minutes")).answer == "I will ring again in 5 minutes."
        with pytest.raises(ToolError, match="Nothing is ringing"):
            await home.call("snooze")
        await home.advance(minutes=4.9)
        assert home.ringer.ringing == []
        await home.advance(minutes=0.2)
        assert sorted(home.ringer.ringing) == ["school alarm", "tea timer"]
        assert (await home.say("snooze")).answer == "I will ring again in 10 minutes."
        assert home.ringer.ringing == []
        await home.advance(minutes=11)
        await home.call("stop_ringing")
        await home.advance(minutes=3)
        with pytest.raises(ToolError, match="Nothing is ringing"):
            await home.call("snooze")

    at_home(tmp_path, script)


def test_a_reminder_says_what_it_is_about_until_somebody_reacts(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        await home.call("set_reminder", text="call mum", amount=1)
        await home.advance(62)
        assert (home.ringer.ringing, home.ringer.announced) == (["reminder"], [])
        await home.advance(6)
        assert home.ringer.announced == ["Reminder: call mum."]
        await home.advance(minutes=1)
        home.ringer.dismiss()
        await home.advance(minutes=10)
        assert home.ringer.announced == ["Reminder: call mum."] * 2
        await home.call("set_reminder", text="sleep", amount=1)
        await home.advance(61)
        await home.call("snooze", minutes=5)
        await home.advance(minutes=1)
        assert len(home.ringer.announced) == 2, "it is put off"
        await home.advance(minutes=60)
        assert home.ringer.announced[2:] == ["Reminder: sleep."] * 3

    at_home(tmp_path, script)


def test_what_was_due_while_off_is_told(tmp_path: Path) -> None:
    async def before(home: PluginHarness) -> None:
        await home.call("set_alarm", time="10:00")
        await home.call("set_alarm", time="11:50", name="school")
        await home.call("set_reminder", text="call mum", time="11:00")

    async def after(home: PluginHarness) -> None:
        assert sorted(home.ringer.ringing) == [
            "reminder",
            "school alarm, which was due at 11:50 in the morning while I was off",
        ]
        assert home.ringer.announced == [
            "There was an alarm, which was due at 10 o'clock in the morning while I was off."
        ]
        await home.advance(10)
        assert home.ringer.announced[1] == (
            "Reminder: call mum. That was due at 11 o'clock in the morning, while I was off."
        )

    at_home(tmp_path, before)
    at_home(tmp_path, after, now=FRIDAY_MORNING + timedelta(hours=2, minutes=30))


def test_an_alarm_that_rings_when_the_power_fails_rings_again(tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"

    async def before(home: PluginHarness) -> None:
        await home.call("set_alarm", time="09:31")
        await home.advance(61)
        assert home.ringer.ringing == ["alarm"]
        shutil.copytree(tmp_path / "state", crashed)  # what a power cut would leave on the disk
        home.ringer.dismiss()

    async def after(home: PluginHarness) -> None:
        assert home.ringer.ringing == ["alarm"]
        home.ringer.dismiss()

    async def at_last(home: PluginHarness) -> None:
        assert home.ringer.history == []

    at_home(tmp_path / "state", before)
    at_home(crashed, after, now=FRIDAY_MORNING + timedelta(minutes=2))
    for state in (tmp_path / "state", crashed):
        at_home(state, at_last, now=FRIDAY_MORNING + timedelta(minutes=3))


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("set_alarm", {"time": "25:00"}, "There is no time 25:00"),
        ("set_alarm", {"time": "seven"}, "time"),
        ("set_alarm", {"time": "07:00", "repeat": "sometimes"}, "repeat is daily"),
        ("set_alarm", {"time": "07:00", "repeat": "daily", "day": "tomorrow"}, "leave out day or repeat"),
        ("set_alarm", {"time": "07:00", "day": "today"}, "over already"),
        ("set_alarm", {"time": "07:00", "day": "2025-02-30"}, "There is no date"),
        ("set_reminder", {"text": "x"}, "When"),
        ("set_reminder", {"text": "x", "amount": 5, "repeat": "daily"}, "comes once"),
        ("cancel_alarm", {}, "There is no alarm"),
        ("cancel_reminder", {"text": "mum"}, "There is no reminder"),
    ],
)
def test_what_cannot_be_is_said_in_words(tmp_path: Path, tool: str, arguments: dict[str, Any], message: str) -> None:
    async def script(home: PluginHarness) -> None:
        with pytest.raises(ToolError, match=message):
            await home.call(tool, **arguments)

    at_home(tmp_path, script)


def test_cancelling_the_right_one(tmp_path: Path) -> None:
    async def script(home: PluginHarness) -> None:
        for time in ("07:00", "08:00", "19:30"):
            await home.call("set_alarm", time=time)
        with pytest.raises(ToolError, match="There are 3"):
            await home.call("cancel_alarm")
        assert "8 o'clock" in (await home.say("cancel the eight o'clock alarm")).answer
        assert "7:30 in the evening" in (await home.call("cancel_alarm", time="19:30"))["say"]
        assert (await home.call("cancel_all_alarms"))["say"] == "One alarm is cancelled."
        await home.call("set_reminder", text="Call Mum", amount=9)
        await home.call("set_reminder", text="call dad", amount=9)
        assert "Call Mum" in (await home.call("cancel_reminder", text="mum"))["say"]

    at_home(tmp_path, script)


@given(st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)), st.integers(1, 12), st.integers(0, 59))
def test_the_next_such_time_is_within_twelve_hours(now: datetime, hour: int, minute: int) -> None:
    here = now.replace(tzinfo=FRIDAY_MORNING.tzinfo)
    when = WORDS.moment(f"{hour}:{minute:02d} next", None, None, here)
    assert timedelta(0) < when - here <= timedelta(hours=12)
    assert (when.hour % 12, when.minute) == (hour % 12, minute)
