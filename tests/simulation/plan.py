"""What happens in the house and when, drawn from a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

DAY: Final = 86_400.0

VISITS: Final = {
    "time": 20,
    "list": 10,
    "timer": 12,
    "chat": 15,
    "interrupted": 8,
    "question": 8,
    "goodbye": 4,
    "nothing": 6,
    "button": 4,
    "written": 4,
    "stopped": 3,
    "crash": 2,
    "hang": 2,
    "slow": 4,
}
"""What people want, and how often one of these is drawn."""

TROUBLES: Final = {
    "refused": 3,
    "aborted": 2,
    "silent": 2,
    "stalled": 2,
    "broken": 3,
    "garbage": 2,
    "rate_limited": 2,
    "expired": 2,
    "failed": 2,
    "late": 3,
    "microphone": 2,
    "speaker": 2,
    "clock": 2,
    "disk": 1,
    "restart": 2,
    "killed": 1,
    "mute": 2,
}
"""What goes wrong (or is done to the assistant), and how often one of these is drawn."""

VISITS_A_DAY: Final = 90
TROUBLES_A_DAY: Final = 16
TELEVISION_A_DAY: Final = 20


@dataclass(frozen=True, slots=True)
class Item:
    """at: seconds from the beginning. amount: minutes of a timer, seconds of an answer, of a trouble, of a jump."""

    at: float
    kind: str
    amount: float


Plan: TypeAlias = tuple[Item, ...]


def draw(seed: int, days: float) -> Plan:
    """The same seed gives the same plan, and the first days of a longer one are those of a shorter one."""
    items: list[Item] = []
    for day in range(int(-(-days // 1))):
        items += _day(random.Random(f"{seed} {day}"), day * DAY)
    return tuple(sorted((item for item in items if item.at < days * DAY), key=lambda item: item.at))


def _day(chance: random.Random, midnight: float) -> Iterator[Item]:
    for _ in range(VISITS_A_DAY):
        kind = _pick(chance, VISITS)
        yield Item(midnight + _awake(chance), kind, _amount_of_visit(chance, kind))
    for _ in range(TELEVISION_A_DAY):
        yield Item(midnight + _awake(chance), "television", chance.uniform(3, 25))
    for _ in range(TROUBLES_A_DAY):
        kind = _pick(chance, TROUBLES)
        yield Item(midnight + chance.uniform(0, DAY), kind, _amount_of_trouble(chance, kind))


def _pick(chance: random.Random, weights: dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


def _awake(chance: random.Random) -> float:
    """A time between half past six and half past eleven in the evening."""
    return round(chance.uniform(6.5, 23.5) * 3600, 3)


def _amount_of_visit(chance: random.Random, kind: str) -> float:
    match kind:
        case "timer":
            return float(chance.choice([1, 2, 3, 5, 10, 25, 90]))
        case "chat" | "interrupted" | "stopped":
            return round(chance.uniform(4, 25), 2)
    return 0.0


def _amount_of_trouble(chance: random.Random, kind: str) -> float:
    match kind:
        case "clock":
            return chance.choice([-3600.0, -300.0, -20.0, 20.0, 300.0, 3600.0])
        case "mute":
            return chance.uniform(60, 3600)
        case "restart" | "killed":
            return chance.uniform(2, 120)
        case "disk" | "microphone" | "speaker":
            return chance.uniform(5, 300)
    return chance.uniform(10, 600)
