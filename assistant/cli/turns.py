"""``assistant turns``: how the last turns went, and where their time was spent."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from assistant.cli.common import complain, load_config, say
from assistant.core.moments import moments
from assistant.core.traces import SPANS, span_of
from assistant.errors import EXIT_FAILURE, EXIT_OK, HearthError
from assistant.turnlog import FILE_NAME, TurnLog

Record: TypeAlias = Mapping[str, Any]

DAY_S: Final = 86_400

_BOLD, _RED, _GREEN, _OFF = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[0m"


def main(options: argparse.Namespace) -> int:
    config = load_config(options, log_level="critical")
    log = TurnLog(config.state_folder / FILE_NAME)
    try:
        records = log.read()
    except OSError as error:
        raise HearthError(f"{log.path}: cannot be read: {error.strerror}") from None
    if options.turn is not None:
        return _one(records, options.turn, as_json=options.json, where=str(log.path))
    last = records[-options.last :]
    if options.json:
        since = time.time() - options.days * DAY_S
        say(json.dumps({"turns": last, "spans_ms": spans(records, since)}, indent=2))
        return EXIT_OK
    if not records:
        say(f"no turns yet: there is nothing in {log.path}")
        return EXIT_OK
    for line in [*table(last), "", *statistics(records, time.time(), options.days)]:
        say(line)
    return EXIT_OK


def _one(records: Sequence[Record], turn: int, *, as_json: bool, where: str) -> int:
    """Turns count from 1 in each run of the daemon: the latest of that number, or counted from the end if negative."""
    newest_first = list(reversed(records))
    if turn < 0:
        record = newest_first[-turn - 1] if -turn <= len(newest_first) else None
    else:
        record = next((each for each in newest_first if each["turn"] == turn), None)
    if record is None:
        complain(f"assistant turns: there is no turn {turn} in {where}; assistant turns lists those there are")
        return EXIT_FAILURE
    if as_json:
        say(json.dumps(record, indent=2))
    else:
        width = min(120, shutil.get_terminal_size((80, 24)).columns)
        for line in waterfall(record, width, colour=sys.stdout.isatty()):
            say(line)
    return EXIT_OK


# --- many turns ------------------------------------------------------------------------------------------------------


def table(records: Sequence[Record]) -> Iterator[str]:
    """A line a turn, at most 80 columns."""
    head = f"{'turn':>4} {'began':<11} {'by':<9} {'outcome':<11}"
    yield f"{head} {'commit':>6} {'audio':>6} {'speaker':>7} {'total':>6} tools"
    for record in records:
        edges = record["edges"]
        commit, audio, speaker, total = (_ms(span_of(edges, name)) for name in list(SPANS)[:4])
        began = f"{datetime.fromtimestamp(record['time']):%m-%d %H:%M}"
        tools = ",".join(tool["name"] for tool in record["tools"])
        line = f"{record['turn']:>4} {began:<11} {record['trigger']:<9} {record['outcome']:<11}"
        line += f" {commit:>6} {audio:>6} {speaker:>7} {total:>6} {tools}"
        yield line.rstrip() if len(line) <= 80 else line[:79] + "…"
    yield "ms: last sound of speech > commit > first audio > speaker begins; total: all three"


def spans(records: Sequence[Record], since: float) -> dict[str, dict[str, float | None]]:
    """Quantiles of each span in ms, over the turns that began at ``since`` (Unix seconds) or later."""
    recent = [record for record in records if record["time"] >= since]
    found: dict[str, dict[str, float | None]] = {}
    for name in SPANS:
        values = sorted(value for record in recent if (value := span_of(record["edges"], name)) is not None)
        found[name] = {"count": len(values), "p50": quantile(values, 0.5), "p95": quantile(values, 0.95)}
    return found


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of all reach (nearest rank); None of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def statistics(records: Sequence[Record], now: float, days: int) -> Iterator[str]:
    yield f"{f'last {days} days, ms':<30} {'turns':>6} {'p50':>7} {'p95':>7}"
    for name, each in spans(records, now - days * DAY_S).items():
        yield f"{name:<30} {each['count']:>6} {_ms(each['p50']):>7} {_ms(each['p95']):>7}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


# --- one turn --------------------------------------------------------------------------------------------------------


def waterfall(record: Record, width: int, *, colour: bool) -> Iterator[str]:
    """The turn from top to bottom, drawn to scale: a bar from the moment before to each moment."""

    def paint(text: str, code: str) -> str:
        return f"{code}{text}{_OFF}" if colour else text

    began = f"{datetime.fromtimestamp(record['time']):%Y-%m-%d %H:%M:%S}"
    brain = " ".join(str(record[key]) for key in ("provider", "model") if record.get(key))
    outcome = record["outcome"] + (f" ({record['detail']})" if record["detail"] else "")
    by = record["trigger"] + (f" {record['word']}" if record["word"] else "")
    good = record["outcome"] in ("answered", "interrupted", "stopped")
    yield paint(f"turn {record['turn']}, {began}, by {by}: ", _BOLD) + paint(outcome, _GREEN if good else _RED)
    yield f"{brain}{', session open before' if record['warm'] else ''}"
    yield ""
    found = moments(record)
    low, high = min([0.0, *(at for at, _ in found)]), max([1.0, *(at for at, _ in found)])
    room = max(10, width - 48)

    def column(at: float) -> int:
        return round((at - low) / (high - low) * (room - 1))

    before = low
    for at, label in found:
        first, last = column(before), column(at)
        bar = " " * first + "─" * (last - first) + "┤"
        yield f"{label[:28]:<28} {at:>8.0f} {f'+{at - before:.0f}':>8} {bar}"
        before = at
    yield ""
    for name in SPANS:
        if (value := span_of(record["edges"], name)) is not None:
            yield f"{name:<28} {value:>8.0f} ms"
    yield from _counts(record)


def _counts(record: Record) -> Iterator[str]:
    yield f"{'audio sent':<28} {record['sent_ms']:>8} ms"
    if (tokens := record["tokens"]) is not None:
        into = sum(count for kind, count in tokens.items() if kind.endswith("_in"))
        cached = tokens["cached_text_in"] + tokens["cached_audio_in"]
        out = tokens["text_out"] + tokens["audio_out"]
        responses = "1 response" if record["responses"] == 1 else f"{record['responses']} responses"
        yield f"{'tokens':<28} {into:>8} in ({cached} cached), {out} out, {responses}"
