"""The tools for devices: one to ask, and one to set for each tier that a device wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Protocol

from assistant.plugin import Field, tool

from .devices import SETTABLE, Action, Device

Expected = Literal["on", "off", "open", "closed", "wet", "dry"]
Tier = Literal["safe", "confirm", "pin"]
TIERS: tuple[Tier, ...] = ("safe", "confirm", "pin")
Percent = Annotated[int, Field(ge=0, le=100)]
_SENTENCES = (
    "(turn|switch) {onoff:action} [the] {device}",
    "(turn|switch) [the] {device} {onoff:action}",
    "{moving:action} [the] {device}",
    "(dim|set|turn) [the] {device} [up|down] to {level} percent",
)
_WORDS = {
    "onoff": {"on": "on", "off": "off"},
    "moving": {"open": "(open|raise)", "close": "(close|shut|lower)", "stop": "stop"},
}
_TIME_LIMIT_S = 45.0


class _Owner(Protocol):
    async def set_device(self, key: str, action: Action | None, level: int | None, tier: Tier) -> dict[str, object]: ...

    async def tell(self, key: str, expected: Expected | None) -> dict[str, object]: ...


async def _status(self: _Owner, device: str, expected: Expected | None = None) -> dict[str, object]:
    """Tell the state of a device, or what a sensor reads.

    device: which one
    expected: the state the user asked for
    """
    return await self.tell(device, expected)


def configured(devices: Mapping[str, Device]) -> list[Callable[..., Any]]:
    """The tools for these devices."""
    tiers = {device.tier for device in devices.values() if device.kind in SETTABLE}
    made = [_setter(tier) for tier in TIERS if tier in tiers]
    if devices:
        sentences = (
            "is [the] {device} {expected}",
            "(what is|what's) the (state|status|value) of [the] {device}",
            "(what is|what's) the {device}",
            "how is [the] {device}",
        )
        words = {"on": "on", "off": "off", "open": "open", "closed": "(closed|shut)", "wet": "wet", "dry": "dry"}
        made.append(
            tool(name="mqtt_status", sentences=sentences, lists={"device": "devices", "expected": words})(_status)
        )
    return made


def _setter(tier: Tier) -> Callable[..., Any]:
    async def set_device(
        self: _Owner, device: str, action: Action | None = None, level: Percent | None = None
    ) -> dict[str, object]:
        """Switch, dim, open or close a device. The answer tells the state it really has afterwards.

        device: which one
        level: percent of brightness or opening
        """
        return await self.set_device(device, action, level, tier)

    mark = tool(
        name="mqtt_set" if tier == "safe" else f"mqtt_set_{tier}",
        sentences=_SENTENCES,
        lists={"device": f"devices_{tier}", **_WORDS},
        tier=tier,
        question="Shall I change the {device}?",
        time_limit_s=_TIME_LIMIT_S,
    )
    return mark(set_device)
