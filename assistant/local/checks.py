"""Mistakes in what a client sends, and the checks that find them. PURE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class EventError(Exception):
    """A client event that cannot be obeyed; becomes an ``error`` event. The session goes on."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param

    def to_json(self, event_id: str | None) -> dict[str, Any]:
        return {
            "type": "invalid_request_error",
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": event_id,
        }


Check = Callable[[Any, str], Any]
"""Takes a value and where it stands; gives the value to keep, or raises EventError."""


def wrong(path: str, value: Any, wanted: str) -> EventError:
    """``value`` is shown only when it is short and plain: it may be what somebody said."""
    shown = repr(value) if isinstance(value, int | float | bool | None) else f"a {type(value).__name__}"
    return EventError("invalid_value", f"Invalid value for '{path}': expected {wanted}, got {shown}.", path)


def is_string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise wrong(path, value, "a string")
    return value


def is_flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise wrong(path, value, "true or false")
    return value


def number(low: float, high: float, *, whole: bool = False) -> Check:
    def check(value: Any, path: str) -> Any:
        right = isinstance(value, int) if whole else isinstance(value, int | float)
        if isinstance(value, bool) or not right or not low <= value <= high:
            kind = "an integer" if whole else "a number"
            raise wrong(path, value, f"{kind} from {low:g} to {high:g}")
        return value

    return check


def one_of(*choices: Any) -> Check:
    def check(value: Any, path: str) -> Any:
        if value not in choices:
            names = ", ".join(repr(choice) for choice in choices)
            raise EventError("invalid_value", f"Invalid value for '{path}'. Supported values are: {names}.", path)
        return value

    return check


def or_null(inner: Check) -> Check:
    return lambda value, path: None if value is None else inner(value, path)


def anything(value: Any, path: str) -> Any:
    return value


def is_mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise wrong(path, value, "an object")
    return value


def fields(value: Any, path: str, checks: Mapping[str, Check]) -> dict[str, Any]:
    """The keys that were sent, each checked; a key without a check is an error."""
    result: dict[str, Any] = {}
    for key, item in is_mapping(value, path).items():
        where = f"{path}.{key}"
        if key not in checks:
            raise EventError("unknown_parameter", f"Unknown parameter: '{where}'.", where)
        result[key] = checks[key](item, where)
    return result


def required(value: Mapping[str, Any], key: str, path: str = "") -> Any:
    where = f"{path}.{key}" if path else key
    if key not in value:
        raise EventError("missing_required_parameter", f"Missing required parameter: '{where}'.", where)
    return value[key]


def object_of(checks: Mapping[str, Check]) -> Check:
    return lambda value, path: fields(value, path, checks)


def is_strings(value: Any, path: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise wrong(path, value, "a list of strings")
    return list(value)
