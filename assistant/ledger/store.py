"""The ledger's file: one row for each response that was billed.

SQLite in WAL mode with ``synchronous=FULL``: a row that was recorded survives a crash and a power cut. Use a ledger
from one thread.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

from assistant.core.pricing import KINDS, Nanos, Price, Tokens, price_of
from assistant.errors import HearthError

log = logging.getLogger(__name__)

FILE_NAME: Final = "ledger.sqlite3"

VERSION: Final = 1

MAX_UNSAVED: Final = 1000
"""Rows that are kept in memory while the disk takes none; the oldest are given up then."""

_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS usage (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,       -- Unix seconds
    run INTEGER NOT NULL,   -- when the daemon was started, Unix seconds: turns count from 1 in each run
    turn INTEGER NOT NULL,  -- 0: no turn
    provider TEXT NOT NULL,
    model TEXT,
    {", ".join(f"{kind} INTEGER NOT NULL" for kind in KINDS)},
    cost INTEGER            -- 10^-9 of the currency; NULL: the model's price was not known
) STRICT;
CREATE INDEX IF NOT EXISTS usage_at ON usage (at);
PRAGMA user_version = {VERSION};
"""

_COLUMNS: Final = ("at", "run", "turn", "provider", "model", *KINDS, "cost")
_INSERT: Final = f"INSERT INTO usage ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_SUMS: Final = (
    f"SELECT provider, model, cost IS NULL, count(*), {', '.join(f'sum({kind})' for kind in KINDS)}, sum(cost) "
    "FROM usage WHERE at >= ? AND at < ? GROUP BY provider, model, cost IS NULL"
)
_TURNS: Final = (
    "SELECT sum(cost) FROM usage WHERE at >= ? AND at < ? AND turn > 0 AND cost IS NOT NULL GROUP BY run, turn"
)


class LedgerUnusable(HearthError):
    """The ledger's file cannot be opened or read; says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One billed response. ``at`` and ``run`` (start of the daemon) are Unix seconds; ``cost`` None: price unknown."""

    at: float
    run: int
    turn: int
    provider: str
    model: str | None
    tokens: Tokens
    cost: Nanos | None


@dataclass(frozen=True, slots=True)
class Total:
    """The responses of one model in some time. ``unpriced`` of them have no known price and are not in ``cost``."""

    provider: str
    model: str | None
    responses: int
    tokens: Tokens
    cost: Nanos
    unpriced: int = 0

    @property
    def name(self) -> str:
        return self.model or self.provider


class Ledger:
    """See the module. ``prices`` are for rows whose price was not known when they were written."""

    def __init__(self, connection: sqlite3.Connection, prices: Mapping[str, Price]) -> None:
        self._connection = connection
        self._prices = prices
        self._unsaved: deque[Entry] = deque(maxlen=MAX_UNSAVED)

    def record(self, entry: Entry) -> None:
        """Write a row. A disk that takes none is logged once; the row counts all the same, and is tried again."""
        failed_before = bool(self._unsaved)
        self._unsaved.append(entry)
        try:
            with self._connection:
                self._connection.executemany(_INSERT, [_row(entry) for entry in self._unsaved])
        except sqlite3.Error as error:
            if not failed_before:
                log.error("the ledger cannot be written (%s): costs are kept in memory until it can", error)
            return
        self._unsaved.clear()
        if failed_before:
            log.info("the ledger is written again")

    def totals(self, start: float, end: float = float("inf")) -> list[Total]:
        """What was used from ``start`` on and before ``end``, by model, the dearest first."""
        sums: dict[tuple[str, str | None], Total] = {}
        for provider, model, unknown, responses, *numbers in self._sums(start, end):
            tokens, cost = Tokens(*numbers[:-1]), Nanos(numbers[-1] or 0)
            price = price_of(model, self._prices) if unknown else None
            if price is not None:
                cost = price.cost(tokens)
            unpriced = responses if unknown and price is None else 0
            before = sums.get((provider, model), Total(provider, model, 0, Tokens(), Nanos(0)))
            sums[provider, model] = Total(
                provider,
                model,
                before.responses + responses,
                before.tokens + tokens,
                Nanos(before.cost + cost),
                before.unpriced + unpriced,
            )
        return sorted(sums.values(), key=lambda total: (-total.cost, total.name))

    def spent(self, start: float, end: float = float("inf")) -> Nanos:
        """What all of it cost, as far as prices are known."""
        return Nanos(sum(total.cost for total in self.totals(start, end)))

    def turn_costs(self, start: float, end: float = float("inf")) -> list[Nanos]:
        """The cost of each turn whose price was known, in no order."""
        return [Nanos(cost) for (cost,) in self._connection.execute(_TURNS, (start, end))]

    def close(self) -> None:
        self._connection.close()

    def _sums(self, start: float, end: float) -> Iterator[tuple[Any, ...]]:
        yield from self._connection.execute(_SUMS, (start, end))
        for entry in self._unsaved:
            if start <= entry.at < end:
                yield entry.provider, entry.model, entry.cost is None, 1, *astuple(entry.tokens), entry.cost


def open_ledger(path: Path, prices: Mapping[str, Price], *, create: bool = True) -> Ledger:
    """Open the file, or make it (mode 0600).

    A file that is no ledger is put aside, and a new one begun. Raises LedgerUnusable if it cannot be read or made;
    with ``create=False`` also if there is none.
    """
    if not create and not path.exists():
        raise LedgerUnusable(f"{path}: nothing has been recorded there yet")
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            # -wal and -shm take over the mode.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        return Ledger(_connect(path), prices)
    except sqlite3.DatabaseError as error:
        if not create or isinstance(error, sqlite3.OperationalError):
            raise LedgerUnusable(f"{path}: cannot be used: {error}") from None
        aside = path.with_name(f"{path.name}.unreadable-{int(time.time())}")
        log.error("%s is no ledger (%s): put aside as %s; costs are counted from 0", path, error, aside.name)
    except OSError as error:
        raise LedgerUnusable(f"{path}: cannot be used: {error.strerror}") from None
    try:
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise LedgerUnusable(f"{path}: cannot be put aside: {error.strerror}") from None
    return open_ledger(path, prices)


def memory_ledger(prices: Mapping[str, Price]) -> Ledger:
    """A ledger that ends with the process: caps hold even where nothing can be written."""
    return Ledger(_prepared(sqlite3.connect(":memory:")), prices)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=2.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return _prepared(connection)
    except BaseException:
        connection.close()
        raise


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    elif version != VERSION:
        raise sqlite3.OperationalError(f"it was written by a newer Hearth (version {version})")
    return connection


def _row(entry: Entry) -> tuple[Any, ...]:
    return (
        *(entry.at, entry.run, entry.turn, entry.provider, entry.model),
        *astuple(entry.tokens),
        entry.cost,
    )
