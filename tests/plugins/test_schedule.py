"""Jobs that survive restarts, crashes and set clocks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.plugin import EVERY_DAY, WEEKDAYS, WEEKEND, Daily, Job, Plugin
from assistant.plugin.jobs import ATTEMPTS, JobStore
from assistant.plugin.rules import on_the_wall
from assistant.testing.plugins import FRIDAY_MORNING, FakeClock, PluginHarness
from assistant.tools.registry import PluginStatus

BERLIN = ZoneInfo("Europe/Berlin")
SEVEN = Daily(time(7), WEEKDAYS)


class Diary(Plugin):
    """Writes down what it is called for."""

    done: ClassVar[list[Job]] = []
    here: ClassVar[Diary]
    hold: ClassVar[bool] = False

    async def start(self) -> None:
        type(self).here = self
        self.context.schedule.handle("note", self._note)
        self.context.schedule.handle("alarm", self._note, repeatable=True)

    async def _note(self, job: Job) -> None:
        self.done.append(job)
        if self.hold:
            await asyncio.Event().wait()
        if job.data.get("fail"):
            raise ValueError("on purpose")


@pytest.fixture(autouse=True)
def diary() -> None:
    Diary.done, Diary.hold = [], False


def at_home(
    folder: Path, script: Callable[[PluginHarness, Any], Awaitable[None]], now: datetime = FRIDAY_MORNING
) -> None:
    async def main() -> None:
        async with PluginHarness(Diary, folder, now=now) as home:
            await script(home, Diary.here.context.schedule)

    asyncio.run(main())


def done() -> list[tuple[Any, ...]]:
    return [(job.data.get("what"), round(job.late_s), job.missed) for job in Diary.done]


def test_a_moment_a_delay_and_a_rule_each_come_at_their_time(tmp_path: Path) -> None:
    async def script(home: PluginHarness, schedule: Any) -> None:
        schedule.add("note", FRIDAY_MORNING + timedelta(minutes=10), {"what": "moment"})
        schedule.add("note", timedelta(minutes=5), {"what": "delay"})
        rule = schedule.add("note", Daily.of("09:50"), {"what": "rule"})
        assert [job.data["what"] for job in schedule.jobs()] == ["delay", "moment", "rule"]
        await home.advance(minutes=4.9)
        assert done() == []
        await home.advance(minutes=20)
        assert done() == [("delay", 0, 0), ("moment", 0, 0), ("rule", 0, 0)]
        await home.advance(hours=24)
        assert done()[3:] == [("rule", 0, 0)]
        assert schedule.cancel(rule)
        assert not schedule.cancel(rule)
        await home.advance(hours=48)
        assert len(done()) == 4
        assert schedule.jobs("note") == schedule.jobs() == []

    at_home(tmp_path, script)


def test_what_was_due_while_off_comes_at_the_start_and_says_how_late(tmp_path: Path) -> None:
    async def before(home: PluginHarness, schedule: Any) -> None:
        schedule.add("note", timedelta(hours=1), {"what": "delay"})
        schedule.add("note", SEVEN, {"what": "rule"})

    async def after(home: PluginHarness, schedule: Any) -> None:
        assert done() == [("delay", 96 * 3600, 0), ("rule", 3.5 * 3600, 1)]  # it missed Monday, and is late on Tuesday
        await home.advance(hours=20)
        assert len(done()) == 2
        await home.advance(hours=1)
        assert done()[2:] == [("rule", 0, 0)]

    at_home(tmp_path, before)
    at_home(tmp_path, after, FRIDAY_MORNING + timedelta(days=4, hours=1))


@pytest.mark.parametrize("jump", [timedelta(hours=3), timedelta(days=-2), timedelta(minutes=-3)])
def test_a_set_clock_moves_what_is_bound_to_the_clock_and_not_a_delay(tmp_path: Path, jump: timedelta) -> None:
    async def script(home: PluginHarness, schedule: Any) -> None:
        schedule.add("note", timedelta(minutes=30), {"what": "delay"})
        schedule.add("note", FRIDAY_MORNING + timedelta(hours=2), {"what": "moment"})
        await home.advance(minutes=10)
        home.clock.set(home.clock.now() + jump)
        await home.advance(minutes=19.9)
        assert [what for what, _, _ in done()] == ["moment"] * (jump > timedelta(0))
        await home.advance(minutes=0.2)
        assert done()[-1] == ("delay", 0, 0)
        await home.advance(hours=80)
        assert sorted(what for what, _, _ in done()) == ["delay", "moment"]

    at_home(tmp_path, script)


def test_a_rule_comes_once_a_day_even_if_the_clock_goes_back(tmp_path: Path) -> None:
    async def script(home: PluginHarness, schedule: Any) -> None:
        schedule.add("note", Daily.of("09:40"))
        await home.advance(minutes=15)
        assert len(Diary.done) == 1
        home.clock.set(home.clock.now() - timedelta(minutes=10))  # it is 09:35 again
        await home.advance(hours=1)
        assert len(Diary.done) == 1
        home.clock.set(home.clock.now() + timedelta(days=4000))
        await home.advance(minutes=1)
        assert len(Diary.done) == 2
        home.clock.set(home.clock.now() - timedelta(days=4000))  # the right time after all
        await home.advance(hours=24)
        assert len(Diary.done) == 3

    at_home(tmp_path, script)


@pytest.mark.parametrize(
    ("at", "start", "moments"),
    [
        ("02:30", datetime(2026, 3, 28, 12, tzinfo=BERLIN), ["2026-03-29 03:30", "2026-03-30 02:30"]),
        ("02:30", datetime(2026, 10, 24, 12, tzinfo=BERLIN), ["2026-10-25 02:30", "2026-10-26 02:30"]),
        ("07:00", datetime(2026, 10, 24, 12, tzinfo=BERLIN), ["2026-10-25 07:00", "2026-10-26 07:00"]),
    ],
)
def test_a_rule_is_by_the_clock_on_the_wall(tmp_path: Path, at: str, start: datetime, moments: list[str]) -> None:
    seen: list[str] = []

    async def script(home: PluginHarness, schedule: Any) -> None:
        schedule.add("note", Daily.of(at))
        for _ in range(48 * 4):
            await home.advance(minutes=15)
            if len(Diary.done) > len(seen):
                seen.append(f"{home.clock.now():%Y-%m-%d %H:%M}")

    at_home(tmp_path, script, start)
    assert seen == moments


def test_a_key_is_there_once_and_what_has_not_changed_stays(tmp_path: Path) -> None:
    async def before(home: PluginHarness, schedule: Any) -> None:
        first = schedule.add("note", SEVEN, {"what": "a"}, key="morning")
        await home.advance(hours=1)
        assert schedule.add("note", SEVEN, {"what": "a"}, key="morning").id == first.id
        assert schedule.add("note", SEVEN, {"what": "b"}, key="morning").id != first.id
        assert schedule.add("alarm", SEVEN, {"what": "b"}, key="morning")
        assert len(schedule.jobs()) == 2
        assert len(schedule.jobs("alarm")) == 1

    at_home(tmp_path, before)


def test_a_handler_that_fails_is_not_called_again_and_shows_in_the_status(tmp_path: Path) -> None:
    async def script(home: PluginHarness, schedule: Any) -> None:
        schedule.add("note", timedelta(minutes=1), {"what": "x", "fail": True})
        schedule.add("note", timedelta(minutes=2), {"what": "y"})
        await home.advance(minutes=5)
        assert done() == [("x", 0, 0), ("y", 0, 0)]
        (info,) = home.registry.plugins
        assert info.status is PluginStatus.CRASHED
        assert "note of 09:31 crashed: ValueError" in info.reason

    with contextlib.suppress(AssertionError):
        at_home(tmp_path, script)
        raise RuntimeError("the harness must see the crash")
    assert len(Diary.done) == 2


def test_what_was_under_way_at_the_end_is_repeated_only_if_that_is_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def before(home: PluginHarness, schedule: Any) -> None:
        Diary.hold = True
        schedule.add("note", timedelta(minutes=1), {"what": "payment"})
        schedule.add("alarm", timedelta(minutes=1), {"what": "alarm"})
        await home.advance(minutes=2)
        assert len(Diary.done) == 2

    async def again(home: PluginHarness, schedule: Any) -> None:
        Diary.hold = True

    at_home(tmp_path, before)
    for _ in range(5):
        at_home(tmp_path, again, FRIDAY_MORNING + timedelta(hours=1))
    assert [(job.data["what"], job.again) for job in Diary.done[2:]] == [("alarm", True)] * (ATTEMPTS - 1)
    assert "note of 2025-11-21 09:31 was given up" in caplog.text


def test_a_job_waits_for_its_handler_and_is_not_lost(tmp_path: Path) -> None:
    async def before(home: PluginHarness, schedule: Any) -> None:
        schedule.add("later", timedelta(minutes=1), {"what": "x"})
        await home.advance(hours=1)

    async def after(home: PluginHarness, schedule: Any) -> None:
        schedule.handle("later", Diary.here._note)
        await home.advance(seconds=1)
        assert done() == [("x", 3540, 0)]

    at_home(tmp_path, before)
    at_home(tmp_path, after, FRIDAY_MORNING + timedelta(hours=1))


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "x.sqlite3", FakeClock())
    with contextlib.closing(store):
        with pytest.raises(ValueError, match="zone"):
            store.add("note", datetime(2030, 1, 1), {}, None)
        for _ in range(1000):
            store.add("note", timedelta(hours=1), {}, None)
        with pytest.raises(ValueError, match="1000 jobs"):
            store.add("note", timedelta(hours=1), {}, None)
    with pytest.raises(ValueError, match="days"):
        Daily(time(7), ())


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.lists(st.sampled_from(EVERY_DAY), min_size=1, unique=True),
    st.sampled_from([BERLIN, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kathmandu"), FRIDAY_MORNING.tzinfo]),
)
def test_the_next_time_is_the_first_on_such_a_day(now: datetime, at: time, days: list[Any], zone: Any) -> None:
    now = now.replace(tzinfo=zone)
    when = Daily(at, tuple(days)).after(now)
    assert when.timestamp() > now.timestamp()
    assert EVERY_DAY[when.weekday()] in days
    assert (when.hour, when.minute) == (at.hour, at.minute)
    for earlier in range(9):
        day = when.date() - timedelta(days=earlier)
        if EVERY_DAY[day.weekday()] in days and day != when.date():
            assert on_the_wall(day, at, now).timestamp() <= now.timestamp()
    assert WEEKDAYS + WEEKEND == EVERY_DAY


# --- dying at any moment ----------------------------------------------------------------------------------------------

DEATHS = st.sampled_from(["after adding", "after begun", "in the middle", "after the deed", "never", "never", "never"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), DEATHS), min_size=1, max_size=12))
def test_nothing_is_lost_and_nothing_is_done_twice_that_must_not_be(script: list[tuple[bool, int, str]]) -> None:
    """Each step adds a job and lets time pass; the process may die at any point, also between the deed and "done"."""
    deeds: dict[int, int] = {}
    died_in: dict[int, str] = {}
    kinds: dict[int, str] = {}
    clock = FakeClock()

    with tempfile.TemporaryDirectory() as folder:

        def life() -> JobStore:
            return JobStore(Path(folder) / "jobs.sqlite3", clock)

        def pass_by(store: JobStore, death: str) -> bool:
            """Do what is due; whether the process has died."""
            found = store.take({"note", "alarm"}, {"alarm"})
            for position, job in enumerate(found.begun):
                if death in ("after begun", "in the middle") and position == len(found.begun) // 2:
                    died_in.update({other.id: "before" for other in found.begun[position:]})
                    return True
                deeds[job.id] = deeds.get(job.id, 0) + 1
                if death == "after the deed":
                    died_in[job.id] = "after"
                    died_in.update({other.id: "before" for other in found.begun[position + 1 :]})
                    return True
                store.finish(job.id)
            return False

        store = life()
        for repeatable, minutes, death in [*script, (True, 9, "never"), (True, 9, "never")]:
            job = store.add("alarm" if repeatable else "note", timedelta(minutes=minutes), {}, None)
            kinds[job.id] = job.kind
            if death == "after adding" or pass_by(store, death):
                store.close()
                store = life()
            clock._move(clock.monotonic() + 120)
        clock._move(clock.monotonic() + 3600)
        pass_by(store, "never")
        pass_by(store, "never")
        assert store.waiting(None) == []
        store.close()
    for id, kind in kinds.items():
        times = deeds.get(id, 0)
        if id not in died_in:
            assert times == 1, (kind, times)
        elif kind == "note":
            assert times == (1 if died_in[id] == "after" else 0)
        else:
            assert 1 <= times <= ATTEMPTS or _died_each_time(script)


def _died_each_time(script: list[tuple[bool, int, str]]) -> bool:
    return sum(death in ("after begun", "in the middle") for _, _, death in script) >= ATTEMPTS


CHILD = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from assistant.plugin.jobs import JobStore
from assistant.plugin.services import SystemClock

store = JobStore(Path(sys.argv[1]), SystemClock())
store.add("note", timedelta(0), {"what": "payment"}, None)
store.add("alarm", timedelta(0), {"what": "alarm"}, None)
store.add("alarm", timedelta(seconds=-1), {"what": "done"}, None)
found = store.take({"note", "alarm"}, {"alarm"})
store.finish(next(job.id for job in found.begun if job.data["what"] == "done"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_real_process_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite3"
    killed = subprocess.run([sys.executable, "-c", CHILD, os.fspath(file)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    store = JobStore(file, FakeClock(datetime.now().astimezone()))
    with contextlib.closing(store):
        found = store.take({"note", "alarm"}, {"alarm"})
    assert [(job.data["what"], job.again) for job in found.begun] == [("alarm", True)]
    assert [job.data["what"] for job in found.given_up] == ["payment"]
