"""What a check has found."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeAlias

from assistant.errors import HearthError


class Level(StrEnum):
    """OK; worth a look; the assistant would not work; not looked at."""

    OK = "ok"
    ADVICE = "advice"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. text: what was found. advice: what to do, where there is something to do."""

    level: Level
    text: str
    advice: str = ""


Look: TypeAlias = Callable[[], Awaitable[Sequence[Finding]]]


@dataclass(frozen=True, slots=True)
class Check:
    """name: what is looked at, such as microphone. limit_s: it is given up then."""

    name: str
    look: Look
    limit_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Result:
    check: str
    findings: tuple[Finding, ...]
    seconds: float


GRACE_S: Final = 1.0


def ok(text: str) -> Finding:
    return Finding(Level.OK, text)


def advice(text: str, what_to_do: str) -> Finding:
    return Finding(Level.ADVICE, text, what_to_do)


def problem(text: str, what_to_do: str) -> Finding:
    return Finding(Level.PROBLEM, text, what_to_do)


def skipped(text: str) -> Finding:
    return Finding(Level.SKIPPED, text)


async def examine(checks: Sequence[Check]) -> AsyncIterator[Result]:
    """Look at one thing after the other. Whatever a check does, it gives a result, and in time."""
    for check in checks:
        began = time.monotonic()
        findings = await _look(check)
        yield Result(check.name, tuple(findings), round(time.monotonic() - began, 2))


async def _look(check: Check) -> Sequence[Finding]:
    looking = asyncio.ensure_future(check.look())
    await asyncio.wait({looking}, timeout=check.limit_s)
    if not looking.done():
        looking.cancel()
        await asyncio.wait({looking}, timeout=GRACE_S)  # a call that hangs is left behind
        return [problem(f"no result after {check.limit_s:.0f} s", "something hangs: try again, or restart the machine")]
    try:
        return looking.result()
    except HearthError as error:
        return [problem(str(error), "")]
    except Exception as error:
        *_, frame = traceback.extract_tb(error.__traceback__)
        where = f"{Path(frame.filename).name}, line {frame.lineno}"
        return [problem(f"the check itself failed: {type(error).__name__} in {where}", "please report it")]
