"""``python -m tests.simulation --days 7 --seed 1``: play, and say how it went."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.plan import draw
from tests.simulation.play import NO_TRACE, Report, Span, describe, play, shrink


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="play so many, from --seed on, a process each core")
    parser.add_argument("--trace", type=float, metavar="S", help="print what happens within a minute of this time")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for a smaller plan that fails, too")
    options = parser.parse_args()
    trace = NO_TRACE if options.trace is None else (options.trace - 60, options.trace + 60)
    seeds = range(options.seed, options.seed + options.seeds)
    cores = min(len(os.sched_getaffinity(0)), options.seeds)
    began = time.monotonic()
    failed = []
    with ProcessPoolExecutor(cores) if cores > 1 else contextlib.nullcontext() as pool:
        spread = pool.map if pool is not None else map
        for seed, report in zip(seeds, spread(partial(_play, options.days, trace), seeds), strict=True):
            _print(report, seed)
            if report.failed:
                print(f"see it again: make simulate DAYS={options.days:g} SEED={seed}", flush=True)
                failed.append(seed)
    took, days = time.monotonic() - began, options.days * options.seeds
    worked = sum(os.times()[:4])
    print(
        f"speed:      {days:g} days in {took:.1f} s: {days / took * 60:.1f} days a minute on {cores} core(s), "
        f"{worked / days:.1f} s of CPU a day"
    )
    if failed and options.trace is None and not options.no_shrink:
        smallest, found = shrink(draw(failed[0], options.days), options.days)
        print(f"the smallest plan that was found to fail ({found.reason}):\n{describe(smallest)}")
    return int(bool(failed))


def _play(days: float, trace: Span, seed: int) -> Report:
    return play(draw(seed, days), days, trace)


def _print(report: Report, seed: int) -> None:
    counts = report.counts
    turns = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.turns.items()))
    troubles = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.troubles.items()) if kind != "(down)")
    print(f"seed {seed}: {report.days:g} days")
    print(f"turns:      {sum(counts.turns.values())} ({turns})")
    print(f"troubles:   {sum(counts.troubles.values()) - counts.troubles['(down)']} ({troubles})")
    print(f"rings:      {counts.rings}; restarts: {counts.restarts}; events: {counts.events}")
    if report.footprints:
        first, last = report.footprints[0], report.footprints[-1]
        days = max(1, len(report.footprints) - 1)
        print(
            f"held:       {first.tasks} -> {last.tasks} tasks, {first.threads} -> {last.threads} threads, "
            f"{first.files} -> {last.files} files, "
            f"{first.objects} -> {last.objects} objects, {(last.rss_mb - first.rss_mb) / days:+.2f} MB a day"
        )
    print(f"violations: {report.violation or 'none'}")
    print(f"requests that failed far from any trouble: {len(report.refused)}")
    for line in report.refused[:10]:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
