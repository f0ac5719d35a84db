"""Follows the journal for what responses used, writes it into the ledger, and guards new sessions with the caps."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar

from assistant.core.pricing import FREE, Nanos, OddUsage, Price, listed_as, price_of, read_usage
from assistant.core.traces import ResponseOwners
from assistant.errors import QuotaExhausted
from assistant.ledger.budget import Budget, BudgetState, Caps
from assistant.ledger.periods import first_of_month, local_date, next_day, start_of
from assistant.ledger.store import Entry, Ledger, LedgerUnusable, memory_ledger, open_ledger
from assistant.scribe import Scribe, ScribeBusy

log = logging.getLogger(__name__)

T = TypeVar("T")

CHECK_TIMEOUT_S: Final = 2.0
"""How long a new session waits for the ledger. A disk that hangs longer must not make the assistant dumb."""


@dataclass(frozen=True, slots=True)
class Brain:
    """Who answers. ``free``: costs nothing and is never capped (our own embedded server)."""

    provider: str
    model: str | None
    free: bool = False


@dataclass(frozen=True, slots=True)
class Spending:
    """What the cloud has cost on a day, and in its month until then."""

    day: date
    today: Nanos
    month: Nanos


class Bookkeeper:
    """Owns the ledger, which lives on the scribe's thread. Everything here is called on the event loop.

    Subscribe it to the journal. on_exhausted: called on the event loop after a response that reached a cap.
    run: when the daemon was started, Unix seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        prices: Mapping[str, Price],
        caps: Caps,
        scribe: Scribe,
        run: int,
        on_exhausted: Callable[[], None] | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._brain = Brain("unknown", None)
        self._prices = prices
        self._caps = caps
        self._scribe = scribe
        self._run = run
        self._on_exhausted = on_exhausted
        self._wall_clock = wall_clock
        self._loop = asyncio.get_running_loop()
        self._ledger: Ledger | None = None  # the scribe's
        self._owners = ResponseOwners()
        self._waiting: Entry | None = None  # until the next entry tells whose it is
        self._unpriced: set[str | None] = set()
        self._spending: Spending | None = None
        scribe.put(self._look)

    def opening(self, brain: Brain) -> None:
        """The session that opens now is with this brain: what is used from now on is billed as its."""
        self._brain = brain

    # --- what is used -----------------------------------------------------------------------------------------------

    def __call__(self, entry: Mapping[str, Any]) -> None:
        """Take a journal entry."""
        self._owners.feed(entry)
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            turn = self._owners.owner(entry["response"]) if entry["name"] == "response_done" else None
            self._record(waiting if turn is None else replace(waiting, turn=turn))
        if entry["kind"] == "note" and entry["name"] == "usage":
            self._waiting = self._entry(entry)

    def _entry(self, note: Mapping[str, Any]) -> Entry | None:
        try:
            tokens = read_usage(note["usage"])
        except OddUsage as error:
            log.warning("%s: %s", self._brain.provider, error)
            return None
        model = self._brain.model
        if listed_as(model, self._prices) is None:  # the name of a deployment: the server says what it runs
            model = note.get("model") or model
        price = FREE if self._brain.free else price_of(model, self._prices)
        if price is None and model not in self._unpriced:
            self._unpriced.add(model)
            say = log.warning if self._caps.any else log.info
            say("no price is known for %s: its cost is not counted; add it to prices in the config", model or "it")
        cost = None if price is None else price.cost(tokens)
        return Entry(self._wall_clock(), self._run, note["turn"], self._brain.provider, model, tokens, cost)

    def _record(self, entry: Entry) -> None:
        def write() -> None:
            self._open().record(entry)
            self._look()
            if capped and Budget(self._open(), self._caps).check(entry.at).exhausted and self._on_exhausted:
                self._loop.call_soon_threadsafe(self._on_exhausted)

        capped = self._caps.any and not self._brain.free
        self._scribe.put(write)

    @property
    def spending(self) -> Spending | None:
        """What was spent when it was last looked at: at the start and after each response. None: not known yet."""
        known, today = self._spending, local_date(self._wall_clock())
        if known is None or known.day == today:
            return known
        same_month = (known.day.year, known.day.month) == (today.year, today.month)
        return Spending(today, Nanos(0), known.month if same_month else Nanos(0))

    def _look(self) -> None:
        """On the scribe's thread."""
        now = self._wall_clock()
        today = local_date(now)
        end = start_of(next_day(today))
        ledger = self._open()
        spent = (ledger.spent(start_of(first), end) for first in (today, first_of_month(today)))
        self._spending = Spending(today, *spent)

    # --- what may still be used -------------------------------------------------------------------------------------

    def guard(self, find: Callable[[], Awaitable[T]], brain: Brain) -> Callable[[], Awaitable[T]]:
        """``find`` (the way to a brain's server), refused with QuotaExhausted while a cap is reached."""
        if brain.free or not self._caps.any:
            return find

        async def guarded() -> T:
            state = await self.check()
            if state.exhausted:
                raise QuotaExhausted(state.message)
            return await find()

        return guarded

    async def check(self) -> BudgetState:
        """How the caps stand now. A ledger that does not answer in time is said, and closes nothing."""

        def look() -> BudgetState:
            return Budget(self._open(), self._caps).check(self._wall_clock())

        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                return await asyncio.wrap_future(self._scribe.call(look))
        except (TimeoutError, ScribeBusy):
            log.error("%s does not answer: the caps could not be checked", self._path)
            return BudgetState()

    # --- the file, on the scribe's thread ---------------------------------------------------------------------------

    def _open(self) -> Ledger:
        if self._ledger is None:
            try:
                self._ledger = open_ledger(self._path, self._prices)
            except LedgerUnusable as error:
                log.error("%s: costs are kept in memory until the end", error)
                self._ledger = memory_ledger(self._prices)
        return self._ledger

    def finish(self) -> None:
        """Record what waits, and close the file. Nothing may be told to the bookkeeper after it."""
        if self._waiting is not None:
            self._record(self._waiting)
            self._waiting = None

        def close() -> None:
            if self._ledger is not None:
                self._ledger.close()

        self._scribe.put(close)
