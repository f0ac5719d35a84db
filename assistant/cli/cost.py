"""``assistant cost``: what the cloud has cost, out of the ledger."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from assistant import wiring
from assistant.cli.common import load_config, say
from assistant.config import Config
from assistant.core.pricing import AUDIO_IN_PER_MINUTE, AUDIO_OUT_PER_MINUTE, NANOS, Nanos, Tokens
from assistant.errors import EXIT_OK
from assistant.ledger.budget import Budget, BudgetState, Caps, amount
from assistant.ledger.periods import day_before, first_of_month, local_date, next_day, next_month, start_of
from assistant.ledger.store import FILE_NAME, Ledger, Total, open_ledger


@dataclass(frozen=True, slots=True)
class Sum:
    """All models together."""

    responses: int
    tokens: Tokens
    cost: Nanos
    unpriced: int

    @classmethod
    def of(cls, totals: Iterable[Total]) -> Sum:
        responses, tokens, cost, unpriced = 0, Tokens(), 0, 0
        for total in totals:
            responses += total.responses
            tokens += total.tokens
            cost += total.cost
            unpriced += total.unpriced
        return cls(responses, tokens, Nanos(cost), unpriced)


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say. ``models`` and ``turns`` are about all of the days that were asked for."""

    caps: Caps
    state: BudgetState
    today: Sum
    month: Sum
    models: list[Total]
    days: list[tuple[date, Sum]]
    turns: list[Nanos]


def main(options: argparse.Namespace) -> int:
    config = load_config(options, log_level="critical")
    path = config.state_folder / FILE_NAME
    if not path.exists():
        say("{}" if options.json else f"nothing has been spent yet: there is no {path}")
        return EXIT_OK
    ledger = open_ledger(path, wiring.prices(config), create=False)
    try:
        report = read_report(ledger, config, options.days, time.time())
    finally:
        ledger.close()
    if options.json:
        say(json.dumps(_as_json(report), indent=2))
    else:
        for line in _as_text(report):
            say(line)
    return EXIT_OK


def read_report(ledger: Ledger, config: Config, days: int, now: float) -> Report:
    """The report at ``now``, Unix seconds; ``days`` are local ones, today among them."""
    caps = wiring.caps(config)
    today = local_date(now)
    wanted = [day_before(today, back) for back in range(days)]

    def total(start: date, end: date) -> Sum:
        return Sum.of(ledger.totals(start_of(start), start_of(end)))

    since, until = start_of(wanted[-1]), start_of(next_day(today))
    return Report(
        caps=caps,
        state=Budget(ledger, caps).check(now),
        today=total(today, next_day(today)),
        month=total(first_of_month(today), next_month(today)),
        models=ledger.totals(since, until),
        days=[(day, each) for day in wanted if (each := total(day, next_day(day))).responses],
        turns=ledger.turn_costs(since, until),
    )


# --- for people ------------------------------------------------------------------------------------------------------


def _as_text(report: Report) -> Iterator[str]:
    currency = report.caps.currency
    for name, spent, cap in (
        ("today", report.today, report.caps.daily),
        ("this month", report.month, report.caps.monthly),
    ):
        of_cap = f"  of at most {amount(cap)} ({spent.cost / cap:.0%})" if cap is not None else "  (no cap)"
        yield f"{name:<11} {amount(spent.cost):>9} {currency}{of_cap}"
    if report.state.exhausted:
        yield report.state.message
    yield ""
    yield f"{'by day':<26} {'responses':>9} {currency:>9} {'cached':>7} {'heard':>9} {'spoken':>9}"
    for day, each in report.days:
        yield _line(f"{day:%a %Y-%m-%d}", each)
    if not report.days:
        yield "nothing in these days"
    yield ""
    yield f"{'by model':<26} {'responses':>9} {currency:>9} {'cached':>7} {'heard':>9} {'spoken':>9}"
    for total in report.models:
        yield _line(total.name, total)
    if report.turns:
        mean = sum(report.turns) / len(report.turns)
        yield ""
        yield f"a turn costs {amount(round(mean))} {currency} on average, the dearest {amount(max(report.turns))}"
    if any(total.unpriced for total in report.models):
        names = ", ".join(total.name for total in report.models if total.unpriced)
        yield ""
        yield f"? no price is known for {names}"
        yield "  add it to prices in the config, and all that was recorded is counted"


def _line(name: str, each: Sum | Total) -> str:
    tokens = each.tokens
    cost = "?" if each.unpriced == each.responses else amount(each.cost) + ("+?" if each.unpriced else "")
    cached = "-" if tokens.cached_share is None else f"{tokens.cached_share:.0%}"
    heard = (tokens.audio_in + tokens.cached_audio_in) / AUDIO_IN_PER_MINUTE
    spoken = tokens.audio_out / AUDIO_OUT_PER_MINUTE
    return f"{name[:26]:<26} {each.responses:>9} {cost:>9} {cached:>7} {heard:>5.1f} min {spoken:>5.1f} min"


# --- for programs ----------------------------------------------------------------------------------------------------


def _as_json(report: Report) -> dict[str, Any]:
    def money(nanos: Nanos | None) -> float | None:
        return None if nanos is None else nanos / NANOS

    def sums(each: Sum | Total) -> dict[str, Any]:
        tokens = each.tokens
        return {
            "responses": each.responses,
            "unpriced_responses": each.unpriced,
            "cost": money(each.cost),
            "tokens": asdict(tokens),
            "cached_share": tokens.cached_share,
            "minutes_heard": (tokens.audio_in + tokens.cached_audio_in) / AUDIO_IN_PER_MINUTE,
            "minutes_spoken": tokens.audio_out / AUDIO_OUT_PER_MINUTE,
        }

    return {
        "currency": report.caps.currency,
        "daily_cap": money(report.caps.daily),
        "monthly_cap": money(report.caps.monthly),
        "exhausted": report.state.which,
        "resets_at": report.state.resets_at,
        "today": sums(report.today),
        "month": sums(report.month),
        "models": [{"provider": each.provider, "model": each.model, **sums(each)} for each in report.models],
        "days": [{"day": day.isoformat(), **sums(each)} for day, each in report.days],
        "turns": {"count": len(report.turns), "cost": money(Nanos(sum(report.turns)))},
    }
