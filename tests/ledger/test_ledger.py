"""The ledger's file, and the caps over it."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from assistant.core.pricing import NANOS, Nanos, Price, Tokens
from assistant.ledger import Budget, Caps, Entry, Ledger, LedgerUnusable, amount, open_ledger
from assistant.ledger.store import memory_ledger

BERLIN = ZoneInfo("Europe/Berlin")
PRICE = Price(*(Nanos(each) for each in (1, 2, 3, 4, 5, 6)))
PRICES = {"m": PRICE}
TOKENS = Tokens(10, 10, 10, 10, 10, 10)


def entry(at: float, cost: int | None = 100, model: str | None = "m", turn: int = 1, run: int = 1) -> Entry:
    return Entry(at, run, turn, "openai", model, TOKENS, None if cost is None else Nanos(cost))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


def test_what_was_recorded_is_there_after_a_restart(path: Path) -> None:
    ledger = open_ledger(path, PRICES)
    ledger.record(entry(10, turn=1))
    ledger.record(entry(20, turn=1))
    ledger.record(entry(30, turn=2))
    ledger.close()
    ledger = open_ledger(path, PRICES)
    [total] = ledger.totals(0)
    assert (total.responses, total.cost, total.unpriced) == (3, 300, 0)
    assert total.tokens == TOKENS + TOKENS + TOKENS
    assert ledger.spent(20, 30) == 100, "from the start on, before the end"
    assert sorted(ledger.turn_costs(0)) == [100, 200]
    ledger.close()


def test_nobody_else_can_read_it(path: Path) -> None:
    ledger = open_ledger(path, PRICES)
    ledger.record(entry(10))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    ledger.close()


def test_a_killed_process_loses_nothing(path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom assistant.core.pricing import *\n"
        "from assistant.ledger import *\n"
        "ledger = open_ledger(Path(sys.argv[1]), {})\n"
        "for n in range(5): ledger.record(Entry(n, 1, n, 'p', 'm', Tokens(), Nanos(7)))\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    ledger = open_ledger(path, PRICES)
    assert ledger.spent(0) == 35
    ledger.close()


def test_two_processes_share_it(path: Path) -> None:
    one, other = open_ledger(path, PRICES), open_ledger(path, PRICES)
    one.record(entry(10))
    other.record(entry(11))
    assert one.spent(0) == other.spent(0) == 200
    one.close()
    other.close()


def test_a_price_that_is_learned_later_counts_after_all(path: Path) -> None:
    ledger = open_ledger(path, {})
    ledger.record(entry(10, cost=None))
    ledger.record(entry(11, cost=50))
    [total] = ledger.totals(0)
    assert (total.cost, total.unpriced, total.responses) == (50, 1, 2)
    ledger.close()
    ledger = open_ledger(path, PRICES)
    [total] = ledger.totals(0)
    assert (total.cost, total.unpriced) == (50 + PRICE.cost(TOKENS), 0)
    ledger.close()


def test_a_file_that_is_no_ledger_is_put_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    ledger = open_ledger(path, PRICES)
    ledger.record(entry(10))
    ledger.close()
    assert "put aside" in caplog.text
    [aside] = path.parent.glob("ledger.sqlite3.unreadable-*")
    assert aside.read_bytes().startswith(b"this is no database")


def test_a_newer_ledger_is_left_alone(path: Path) -> None:
    open_ledger(path, PRICES).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerUnusable, match="newer Hearth"):
        open_ledger(path, PRICES)


def test_a_ledger_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnusable, match="file/ledger"):
        open_ledger(tmp_path / "file" / "ledger.sqlite3", PRICES)
    with pytest.raises(LedgerUnusable, match="nothing has been recorded"):
        open_ledger(tmp_path / "none.sqlite3", PRICES, create=False)
    assert not (tmp_path / "none.sqlite3").exists()


def test_a_full_disk_counts_in_memory_and_catches_up(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = open_ledger(path, PRICES)
    ledger.record(entry(10))
    [pages] = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "database or disk is full"
    for n in range(300):
        ledger.record(entry(20 + n))
    assert caplog.text.count("the ledger cannot be written") == 1
    assert ledger.spent(0) == 301 * 100, "caps hold all the same"
    ledger._connection.execute("PRAGMA max_page_count = 1000000")
    ledger.record(entry(1000))
    ledger.close()
    ledger = open_ledger(path, PRICES)
    assert ledger.spent(0) == 302 * 100
    ledger.close()


# --- caps ------------------------------------------------------------------------------------------------------------


def ledger_with(*entries: Entry) -> Ledger:
    ledger = memory_ledger(PRICES)
    for each in entries:
        ledger.record(each)
    return ledger


def test_a_daily_cap_closes_when_it_is_reached_and_opens_at_local_midnight() -> None:
    """2026-03-29 has 23 hours in Berlin."""
    caps = Caps.of(daily=1.0, monthly=None, currency="USD")
    ledger = ledger_with(entry(at("2026-03-28T23:59"), NANOS), entry(at("2026-03-29T00:01"), NANOS - 1))
    budget = Budget(ledger, caps, BERLIN)
    assert budget.check(at("2026-03-28T23:59:30")).which == "daily"
    assert not budget.check(at("2026-03-29T12:00")).exhausted, "a new day"
    ledger.record(entry(at("2026-03-29T12:00"), 1))
    state = budget.check(at("2026-03-29T12:01"))
    assert (state.which, state.resets_at) == ("daily", at("2026-03-30T00:00"))
    assert "daily cap of 1.00 USD reached" in state.message
    assert "2026-03-30 00:00" in state.message
    assert not budget.check(at("2026-03-30T00:00")).exhausted
    ledger.close()


def test_of_two_caps_the_one_that_opens_later_is_told() -> None:
    ledger = ledger_with(entry(at("2026-05-31T12:00"), NANOS))
    budget = Budget(ledger, Caps.of(daily=0.5, monthly=0.9, currency="EUR"), BERLIN)
    state = budget.check(at("2026-05-31T13:00"))
    assert (state.which, state.resets_at) == ("monthly", at("2026-06-01T00:00"))
    assert "EUR" in state.message
    assert not budget.check(at("2026-06-01T00:00")).exhausted
    ledger.close()


def test_without_caps_nothing_is_ever_reached() -> None:
    ledger = ledger_with(entry(at("2026-05-31T12:00"), 10**15))
    assert not Budget(ledger, Caps(), BERLIN).check(at("2026-05-31T13:00")).exhausted
    ledger.close()


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0.00"),
        (1_234_567_890, "1.23"),
        (19_200_000, "0.0192"),
        (100, "<0.0001"),
        (10**9, "1.00"),
        (5 * 10**7, "0.05"),
    ],
)
def test_amounts_are_readable(nanos: int, text: str) -> None:
    assert amount(nanos) == text
