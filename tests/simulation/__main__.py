"""``python -m tests.simulation --days 7 --seed 1``: play, and say how it went."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.plan import draw
from tests.simulation.play import NO_TRACE, Report, describe, play, shrink


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", type=float, metavar="S", help="print what happens within a minute of this time")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for a smaller plan that fails, too")
    options = parser.parse_args()
    plan = draw(options.seed, options.days)
    trace = NO_TRACE if options.trace is None else (options.trace - 60, options.trace + 60)
    report = play(plan, options.days, trace)
    _print(report, options.seed)
    if not report.failed:
        return 0
    print(f"see it again: make simulate DAYS={options.days:g} SEED={options.seed}")
    if options.trace is None and not options.no_shrink:
        smallest, found = shrink(plan, options.days)
        print(f"the smallest plan that was found to fail ({found.reason}):\n{describe(smallest)}")
    return 1


def _print(report: Report, seed: int) -> None:
    counts = report.counts
    turns = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.turns.items()))
    troubles = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.troubles.items()) if kind != "(down)")
    speed = report.days / (report.took_s / 60)
    print(f"seed {seed}: {report.days:g} days in {report.took_s:.1f} s, {speed:.0f} days a minute, on one core")
    print(f"turns:      {sum(counts.turns.values())} ({turns})")
    print(f"troubles:   {sum(counts.troubles.values()) - counts.troubles['(down)']} ({troubles})")
    print(f"rings:      {counts.rings}; restarts: {counts.restarts}; events: {counts.events}")
    if report.footprints:
        first, last = report.footprints[0], report.footprints[-1]
        days = max(1, len(report.footprints) - 1)
        print(
            f"held:       {first.tasks} -> {last.tasks} tasks, {first.threads} -> {last.threads} threads, "
            f"{first.files} -> {last.files} files, {(last.rss_mb - first.rss_mb) / days:+.2f} MB a day"
        )
    print(f"violations: {report.violation or 'none'}")
    print(f"requests that failed far from any trouble: {len(report.refused)}")
    for line in report.refused[:10]:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
