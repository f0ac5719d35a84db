"""``assistant doctor``: would the assistant work here?"""

from __future__ import annotations

import argparse
import json

from assistant.cli import doctor_echo
from assistant.cli.common import load_config, run_async, say
from assistant.config import Config
from assistant.doctor.findings import Finding, Level, Result
from assistant.doctor.rounds import rounds
from assistant.errors import EXIT_FAILURE, EXIT_OK

MARKS = {Level.OK: "ok", Level.ADVICE: "advice", Level.PROBLEM: "PROBLEM", Level.SKIPPED: "-"}


def main(options: argparse.Namespace) -> int:
    config = load_config(options, log_level="error")
    if options.echo:
        return doctor_echo.main(config)
    return run_async(_run(config, offline=options.offline, as_json=options.json))


async def _run(config: Config, *, offline: bool, as_json: bool) -> int:
    problems = 0
    async for result in rounds(config, offline=offline):
        problems += sum(finding.level is Level.PROBLEM for finding in result.findings)
        for finding in result.findings:
            say(_json(result, finding) if as_json else _line(result, finding))
    if not as_json:
        say()
        say(
            f"{problems} problem{'s' if problems > 1 else ''}: it would not work as it is"
            if problems
            else "it would work"
        )
    return EXIT_FAILURE if problems else EXIT_OK


def _line(result: Result, finding: Finding) -> str:
    what_to_do = f"; {finding.advice}" if finding.advice else ""
    return f"{result.check:<12} {MARKS[finding.level]:<8} {finding.text}{what_to_do}"


def _json(result: Result, finding: Finding) -> str:
    fields = {"check": result.check, "level": finding.level.value, "text": finding.text, "advice": finding.advice}
    return json.dumps({**fields, "seconds": result.seconds}, ensure_ascii=False)
