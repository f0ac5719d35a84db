"""``assistant doctor``: would the assistant work here?"""

from __future__ import annotations

import argparse
import json

from assistant.cli import doctor_echo
from assistant.cli.common import load_config, run_async, say
from assistant.config import Config
from assistant.doctor.findings import Finding, Level, Result
from assistant.doctor.rounds import rounds
from assistant.errors import EXIT_FAILURE, EXIT_OK, ConfigError

MARKS = {Level.OK: "ok", Level.ADVICE: "advice", Level.PROBLEM: "PROBLEM", Level.SKIPPED: "-"}


def main(options: argparse.Namespace) -> int:
    try:
        config = load_config(options, log_level="error")
    except ConfigError as error:
        if options.echo:
            raise
        findings = [Finding(Level.PROBLEM, line) for line in str(error).splitlines()]
        _tell(Result("config", tuple(findings), 0.0), as_json=options.json)
        return _conclude(len(findings), as_json=options.json, status=error.exit_status)
    if options.echo:
        return doctor_echo.main(config)
    return run_async(_run(config, offline=options.offline, as_json=options.json))


async def _run(config: Config, *, offline: bool, as_json: bool) -> int:
    problems = 0
    async for result in rounds(config, offline=offline):
        problems += sum(finding.level is Level.PROBLEM for finding in result.findings)
        _tell(result, as_json=as_json)
    return _conclude(problems, as_json=as_json, status=EXIT_FAILURE if problems else EXIT_OK)


def _tell(result: Result, *, as_json: bool) -> None:
    for finding in result.findings:
        say(_json(result, finding) if as_json else _line(result, finding))


def _conclude(problems: int, *, as_json: bool, status: int) -> int:
    if not as_json:
        say()
        told = f"{problems} problem{'s' if problems > 1 else ''}: it would not work as it is"
        say(told if problems else "it would work")
    return status


def _line(result: Result, finding: Finding) -> str:
    what_to_do = f"; {finding.advice}" if finding.advice else ""
    return f"{result.check:<12} {MARKS[finding.level]:<8} {finding.text}{what_to_do}"


def _json(result: Result, finding: Finding) -> str:
    fields = {"check": result.check, "level": finding.level.value, "text": finding.text, "advice": finding.advice}
    return json.dumps({**fields, "seconds": result.seconds}, ensure_ascii=False)
