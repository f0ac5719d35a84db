"""Faults on demand, so that clients can be tested against a server that misbehaves: ``assistant serve --fault SPEC``.

=========================  =============================================================================
``handshake=STATUS``       refuse connections with this HTTP status, such as 401, 429 (with Retry-After: 1) or 503
``close=CODE``             close the connection with this code, such as 1011, in the middle of an answer
``drop``                   cut the connection without a word in the middle of an answer
``stall``                  send nothing more, from the middle of an answer on, and keep the connection open
``fail=ERROR``             end a response with status failed and this error code, such as rate_limit_exceeded
``slow=SECONDS``           take so long before each response that calls a tool or says something
``disorder``               announce outputs (output_item.added, content_part.added) after their first delta
=========================  =============================================================================

``SPEC*N`` misbehaves for the first N times only. The middle of an answer is after its third piece of audio, of text or
of the arguments of a call; an answer that has fewer ends without the fault, which then waits for the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias

from assistant.errors import ConfigError, ConfigProblem

Kind: TypeAlias = Literal["handshake", "close", "drop", "stall", "fail", "slow", "disorder"]

_KINDS: Final = ("handshake", "close", "drop", "stall", "fail", "slow", "disorder")
_CLOSE_CODES: Final = (*range(1000, 1004), *range(1007, 1015), *range(3000, 5000))  # those that may be sent: RFC 6455
_MIDDLE: Final = 3
_ANNOUNCEMENTS: Final = ("response.output_item.added", "response.content_part.added", "conversation.item.added")


@dataclass(frozen=True, slots=True)
class Fault:
    """value: the status, code or error of it. times: how often it happens; None: always."""

    kind: Kind
    value: str = ""
    times: int | None = None


def parse_fault(spec: str) -> Fault:
    """See the module. Raises ConfigError."""
    body, star, times = spec.partition("*")
    kind, _, value = body.partition("=")
    if star and not times.isdigit():
        raise _wrong(spec, f"{times!r} is no number of times")
    count = int(times) if star else None
    match kind:
        case "handshake":
            _check(
                spec, value in [str(status.value) for status in HTTPStatus if status >= 400], "an HTTP status like 429"
            )
        case "close":
            _check(spec, value in [str(code) for code in _CLOSE_CODES], "a close code like 1011")
        case "slow":
            _check(spec, value.replace(".", "", 1).isdigit(), "seconds")
        case "fail":
            value = value or "server_error"
        case "drop" | "stall" | "disorder":
            _check(spec, not value, "no value")
        case _:
            raise _wrong(spec, f"there are {', '.join(_KINDS)}")
    return Fault(kind, value, count)


def _check(spec: str, right: bool, wanted: str) -> None:
    if not right:
        raise _wrong(spec, f"{spec.partition('=')[0]} wants {wanted}")


def _wrong(spec: str, why: str) -> ConfigError:
    return ConfigError("--fault", [ConfigProblem(spec, why)])


class Faults:
    """The faults of a server, and how often each may still happen."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._left: dict[Fault, int | None] = {fault: fault.times for fault in faults}

    def take(self, kind: Kind) -> Fault | None:
        """The fault of this kind, if there is one and it is due; it counts as having happened."""
        for fault, left in self._left.items():
            if fault.kind == kind and left != 0:
                if left is not None:
                    self._left[fault] = left - 1
                return fault
        return None


class EventFaults:
    """Spoils the events of one session."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._held: list[Mapping[str, Any]] = []  # announced late
        self._disorder = False
        self._pieces = 0
        self._silent = False

    def spoil(self, event: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], Fault | None]:
        """What to send instead of an event, and a fault that ends the connection after that."""
        kind = event["type"]
        if self._silent:
            return [], None
        if kind == "response.created":
            self._pieces = 0
            self._disorder = self._faults.take("disorder") is not None
        if self._disorder and kind in _ANNOUNCEMENTS:
            self._held.append(event)
            return [], None
        events, self._held = [event, *self._held], []
        if kind.startswith("response.") and kind.endswith(".delta"):
            self._pieces += 1
            if self._pieces == _MIDDLE:
                return events, self._end()
        return events, None

    def _end(self) -> Fault | None:
        fault = self._faults.take("close") or self._faults.take("drop")
        self._silent = fault is not None or self._faults.take("stall") is not None
        return fault
