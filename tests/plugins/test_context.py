"""What a plugin's context promises."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.plugin import Context, Database, RingEnd
from assistant.plugin.services import SystemClock
from assistant.testing.plugins import FRIDAY_MORNING, FakeClock, InlineThreads, RecordingRinger, settle
from assistant.types import AlertId


class Home:
    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.ringer = RecordingRinger()
        self.crashes: list[str] = []
        self.context = Context(
            "demo",
            folder / "demo",
            threads=InlineThreads(),
            clock=self.clock,
            ringer=self.ringer,
            on_crash=self.crashes.append,
        )


@asynccontextmanager
async def home_in(folder: Path) -> AsyncIterator[Home]:
    home = Home(folder)
    try:
        yield home
    finally:
        await home.context.close(0.1)


# --- time -------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.lists(st.tuples(st.integers(1, 100), st.integers(-600, 600)), max_size=5))
def test_sleep_until_ends_within_30_s_of_the_moment_however_the_clock_is_set(
    wanted: int, steps: list[tuple[int, int]]
) -> None:
    async def main() -> None:
        async with home_in(Path("unused")) as home:
            when = FRIDAY_MORNING + timedelta(seconds=wanted)
            woke: list[datetime] = []

            async def sleeper() -> None:
                await home.context.sleep_until(when)
                woke.append(home.clock.now())

            home.context.spawn(sleeper(), "sleeping")
            for seconds, jump in steps:
                await home.clock.advance(seconds)
                home.clock.set(home.clock.now() + timedelta(seconds=jump))
            overdue = home.clock.now() - when
            await home.clock.advance(30)
            if overdue >= timedelta(0):
                assert woke, "the time was over for 30 s"
            await home.clock.advance(4000)
            assert woke
            assert woke[0] >= when

    asyncio.run(main())


def test_sleep_until_wants_a_zone() -> None:
    async def main() -> None:
        async with home_in(Path("unused")) as home:
            with pytest.raises(ValueError, match=r"context\.now"):
                await home.context.sleep_until(datetime(2025, 1, 1))

    asyncio.run(main())


def test_a_sleep_can_be_interrupted() -> None:
    async def main() -> None:
        async with home_in(Path("unused")) as home:
            bell = asyncio.Event()
            results: list[bool] = []

            async def sleeper() -> None:
                results.append(await home.context.sleep(10, bell))

            home.context.spawn(sleeper(), "first")
            await home.clock.advance(9)
            assert results == []
            bell.set()
            await settle()
            assert results == [False]
            bell.clear()
            home.context.spawn(sleeper(), "second")
            await home.clock.advance(10)
            assert results == [False, True]

    asyncio.run(main())


def test_the_systems_clock_is_aware_and_does_not_go_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is not None
    assert clock.monotonic() <= clock.monotonic()


# --- work -------------------------------------------------------------------------------------------------------------


def test_spawned_work_is_cancelled_at_the_end_also_before_its_first_step(tmp_path: Path) -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def main() -> None:
        async with home_in(tmp_path) as home:
            home.context.spawn(work(), "begun")
            await settle()
            home.context.spawn(work(), "not begun")  # a coroutine never awaited would be a warning, here an error
        assert ended == [True]
        with pytest.raises(RuntimeError, match="has stopped"):
            home.context.spawn(work(), "late")

    asyncio.run(main())


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_crash_is_reported_without_quoting_anybody(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        raise kind("what the user said")

    async def main() -> None:
        async with home_in(Path("unused")) as home:
            home.context.spawn(work(), "working")
            await settle()
            (reason,) = home.crashes
            assert reason.startswith(f"working crashed: {kind.__name__} at test_context.py:")
            assert "user" not in caplog.text

    asyncio.run(main())


def test_loop_methods_say_so_on_a_thread() -> None:
    async def work() -> None:
        pass

    with pytest.raises(RuntimeError, match="call it from an async function"):
        Home(Path("unused")).context.spawn(work(), "working")


# --- state ------------------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_state_is_closed_to_other_users(tmp_path: Path) -> None:
    async def main() -> None:
        async with home_in(tmp_path) as home:
            with home.context.database() as db:
                db.execute("CREATE TABLE t (x)")
            assert mode(home.context.folder) == 0o700
            assert {mode(path) for path in home.context.folder.iterdir()} == {0o600}
            assert home.context.database().execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            assert home.context.database() is home.context.database()
        with pytest.raises(RuntimeError, match="closed"):
            home.context.database()

    asyncio.run(main())


def count(database: Database) -> int:
    with database as db:
        number = db.execute("SELECT count(*) FROM t").fetchone()[0]
    assert isinstance(number, int)
    return number


@pytest.fixture
def database(tmp_path: Path) -> Any:
    database = Database(tmp_path / "x.sqlite3")
    with database as db:
        db.execute("CREATE TABLE t (x)")
    yield database
    database.close()


def test_a_transaction_is_whole_or_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database as db:
        db.execute("INSERT INTO t VALUES (1)")
        raise ZeroDivisionError
    assert count(database) == 0
    with database as db:
        db.execute("INSERT INTO t VALUES (1)")
    assert count(database) == 1


def test_a_nested_transaction_is_refused_and_harms_nothing(database: Database) -> None:
    with database as db:
        db.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(RuntimeError, match="do not nest"), database:
            pass
    assert count(database) == 1


def test_threads_take_turns(database: Database) -> None:
    inside, go_on = threading.Event(), threading.Event()
    seen: list[int] = []

    def slow() -> None:
        with database as db:
            db.execute("INSERT INTO t VALUES (1)")
            inside.set()
            go_on.wait(10)
            db.execute("INSERT INTO t VALUES (2)")

    def reader() -> None:
        inside.wait(10)
        go_on.set()  # it may go on, but it has the turn until it is done
        seen.append(count(database))

    threads = [threading.Thread(target=target) for target in (slow, reader)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [2]


def test_a_file_that_is_no_database_is_an_error_and_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite3").write_text("not a database, but long enough to be looked at by SQLite " * 50)
    with pytest.raises(sqlite3.DatabaseError):
        Database(tmp_path / "x.sqlite3")


# --- rings ------------------------------------------------------------------------------------------------------------


class SlowRinger(RecordingRinger):
    """Waits with the sound, as for a conversation to end."""

    def start(
        self, alert: AlertId, title: str, on_started: Callable[[], None], on_dismissed: Callable[[], None]
    ) -> None:
        super().start(alert, title, lambda: None, on_dismissed)
        self.begin = on_started


def test_a_ring_ends_once_for_whatever_comes_first() -> None:
    async def main() -> None:
        async with home_in(Path("unused")) as home:
            dismissed: list[str] = []
            by_user = home.context.ring("a", lambda: dismissed.append("a"))
            stopped = home.context.ring("b", lambda: dismissed.append("b"))
            stopped.stop()
            await settle()
            assert home.ringer.ringing == ["a"]
            home.ringer.dismiss()
            limited = home.context.ring("c", lambda: dismissed.append("c"), limit_s=5)
            await home.clock.advance(4.9)
            assert (limited.ended, home.ringer.ringing) == (None, ["c"])
            await home.clock.advance(0.2)
            last = home.context.ring("d")
            by_user.stop()
            await settle()
        assert [await ring.wait() for ring in (by_user, stopped, limited, last)] == [
            RingEnd.DISMISSED,
            RingEnd.STOPPED,
            RingEnd.LIMIT,
            RingEnd.STOPPED,  # the daemon ended
        ]
        assert dismissed == ["a"]
        assert home.ringer.ringing == []

    asyncio.run(main())


def test_the_limit_counts_from_the_first_sound() -> None:
    async def main() -> None:
        home = Home(Path("unused"))
        ringer = home.ringer = SlowRinger()
        home.context = Context("demo", Path("unused"), threads=InlineThreads(), clock=home.clock, ringer=ringer)
        ring = home.context.ring("a", limit_s=5)
        await home.clock.advance(300)
        assert ring.ended is None
        ringer.begin()
        await home.clock.advance(4.9)
        assert ring.ended is None
        await home.clock.advance(0.2)
        assert ring.ended is RingEnd.LIMIT
        unheard = home.context.ring("b", limit_s=5)
        await home.clock.advance(601)
        assert unheard.ended is RingEnd.LIMIT
        await home.context.close(0.1)

    asyncio.run(main())


def test_a_callback_that_exits_is_contained() -> None:
    def leave() -> None:
        raise SystemExit

    async def main() -> None:
        async with home_in(Path("unused")) as home:
            home.context.ring("a", leave)
            home.ringer.dismiss()
            assert home.crashes[0].startswith("on_dismissed crashed: SystemExit")

    asyncio.run(main())
