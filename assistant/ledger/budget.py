"""Caps on what the cloud may cost in a day and in a month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal, TypeAlias

from assistant.core.pricing import NANOS, Nanos
from assistant.ledger.periods import first_of_month, local_date, next_day, next_month, start_of
from assistant.ledger.store import Ledger

Period: TypeAlias = Literal["daily", "monthly"]


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that may be spent; None is no cap. ``currency`` is what the prices are in."""

    daily: Nanos | None = None
    monthly: Nanos | None = None
    currency: str = "USD"

    @classmethod
    def of(cls, daily: float | None, monthly: float | None, currency: str) -> Caps:
        def nanos(cap: float | None) -> Nanos | None:
            return None if cap is None else Nanos(round(cap * NANOS))

        return cls(nanos(daily), nanos(monthly), currency)

    @property
    def any(self) -> bool:
        return self.daily is not None or self.monthly is not None


@dataclass(frozen=True, slots=True)
class BudgetState:
    """Whether there is money left; if not, which cap was reached and when it is lifted (Unix seconds)."""

    which: Period | None = None
    resets_at: float | None = None
    message: str = ""

    @property
    def exhausted(self) -> bool:
        return self.which is not None


class Budget:
    """Compares the ledger with the caps. Use it on the ledger's thread."""

    def __init__(self, ledger: Ledger, caps: Caps, zone: tzinfo | None = None) -> None:
        self._ledger = ledger
        self._caps = caps
        self._zone = zone

    def check(self, now: float) -> BudgetState:
        """How it stands at ``now`` (Unix seconds). If both caps are reached, the one that is lifted later counts."""
        today = local_date(now, self._zone)
        periods: tuple[tuple[Period, Nanos | None, float, float], ...] = (
            (
                "monthly",
                self._caps.monthly,
                start_of(first_of_month(today), self._zone),
                start_of(next_month(today), self._zone),
            ),
            ("daily", self._caps.daily, start_of(today, self._zone), start_of(next_day(today), self._zone)),
        )
        for which, cap, start, end in periods:
            if cap is not None and (spent := self._ledger.spent(start, end)) >= cap:
                return BudgetState(which, end, self._message(which, cap, spent, end))
        return BudgetState()

    def _message(self, which: Period, cap: Nanos, spent: Nanos, end: float) -> str:
        when = f"{datetime.fromtimestamp(end, self._zone):%Y-%m-%d %H:%M}"
        money = f"{amount(cap)} {self._caps.currency} reached ({amount(spent)} spent)"
        return f"{which} cap of {money}: no cloud session before {when}; money.{which}_cap in the config raises it"


def amount(nanos: int) -> str:
    """Money for people: two digits after the point, or as many as it takes to see that it is not nothing."""
    value = nanos / NANOS
    if nanos % (NANOS // 100) == 0 or value >= 0.095:
        return f"{value:.2f}"
    return f"{value:.4f}" if value >= 0.00005 else "<0.0001"
