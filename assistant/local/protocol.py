"""The GA dialect of the realtime protocol, as the server speaks it: session settings and checks of what clients send.
PURE.

A client's mistake raises EventError, whose code and message are those of the cloud services, so that clients which know
these know us. Another dialect would translate events at the edge of the session and keep this one inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from assistant.types import SPEAKER_RATE

MODEL: Final = "hearth-offline"
"""What the session calls its model when the client asks for none."""

BYTES_PER_MS: Final = SPEAKER_RATE * 2 // 1000
MIN_COMMIT_MS: Final = 100
MAX_TOOLS: Final = 512

_FORMAT: Final = {"type": "audio/pcm", "rate": SPEAKER_RATE}
_SERVER_VAD: Final = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
_SEMANTIC_VAD: Final = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}


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


# --- checks -----------------------------------------------------------------------------------------------------------


def _wrong(path: str, value: Any, wanted: str) -> EventError:
    """``value`` is shown only when it is short and plain: it may be what somebody said."""
    shown = repr(value) if isinstance(value, int | float | bool | None) else f"a {type(value).__name__}"
    return EventError("invalid_value", f"Invalid value for '{path}': expected {wanted}, got {shown}.", path)


def is_string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _wrong(path, value, "a string")
    return value


def _is_flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(path, value, "true or false")
    return value


def _number(low: float, high: float, *, whole: bool = False) -> Check:
    def check(value: Any, path: str) -> Any:
        right = isinstance(value, int) if whole else isinstance(value, int | float)
        if isinstance(value, bool) or not right or not low <= value <= high:
            kind = "an integer" if whole else "a number"
            raise _wrong(path, value, f"{kind} from {low:g} to {high:g}")
        return value

    return check


def _one_of(*choices: Any) -> Check:
    def check(value: Any, path: str) -> Any:
        if value not in choices:
            names = ", ".join(repr(choice) for choice in choices)
            raise EventError("invalid_value", f"Invalid value for '{path}'. Supported values are: {names}.", path)
        return value

    return check


def _or_null(inner: Check) -> Check:
    return lambda value, path: None if value is None else inner(value, path)


def _anything(value: Any, path: str) -> Any:
    return value


def is_mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(path, value, "an object")
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


def _object(checks: Mapping[str, Check]) -> Check:
    return lambda value, path: fields(value, path, checks)


def _modalities(value: Any, path: str) -> list[str]:
    if value not in (["audio"], ["text"]):
        raise EventError(
            "invalid_value", f"Invalid value for '{path}'. Supported values are: ['text'] and ['audio'].", path
        )
    return list(value)


def _audio_format(value: Any, path: str) -> dict[str, Any]:
    given = fields(value, path, {"type": is_string, "rate": _number(1, 192_000, whole=True)})
    if given.get("type") != "audio/pcm" or given.get("rate", SPEAKER_RATE) != SPEAKER_RATE:
        raise EventError(
            "invalid_value", f"Invalid value for '{path}'. This server takes audio/pcm at {SPEAKER_RATE} Hz.", path
        )
    return dict(_FORMAT)


def _turn_detection(value: Any, path: str) -> dict[str, Any]:
    kind = required(is_mapping(value, path), "type", path)
    _one_of("server_vad", "semantic_vad")(kind, f"{path}.type")
    common: dict[str, Check] = {"type": is_string, "create_response": _is_flag, "interrupt_response": _is_flag}
    if kind == "semantic_vad":
        return _SEMANTIC_VAD | fields(value, path, common | {"eagerness": _one_of("low", "medium", "high", "auto")})
    checks = common | {
        "threshold": _number(0.0, 1.0),
        "prefix_padding_ms": _number(0, 5_000, whole=True),
        "silence_duration_ms": _number(100, 10_000, whole=True),
        "idle_timeout_ms": _one_of(None),
    }
    return _SERVER_VAD | fields(value, path, checks)


def _tools(value: Any, path: str) -> list[dict[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MAX_TOOLS:
        raise _wrong(path, value, f"a list of at most {MAX_TOOLS} tools")
    for index, tool in enumerate(value):
        where = f"{path}[{index}]"
        kind = required(is_mapping(tool, where), "type", where)
        if kind != "function":
            raise EventError(
                "invalid_value", f"Invalid value for '{where}.type'. This server knows function tools only.", where
            )
        is_string(required(tool, "name", where), f"{where}.name")
        is_mapping(tool.get("parameters", {}), f"{where}.parameters")
    return [dict(tool) for tool in value]


def _tool_choice(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        return {"type": "function", "name": is_string(required(value, "name", path), f"{path}.name")}
    return _one_of("auto", "none", "required")(value, path)


def _max_tokens(value: Any, path: str) -> Any:
    return value if value == "inf" else _number(1, 4096, whole=True)(value, path)


def _metadata(value: Any, path: str) -> dict[str, str]:
    pairs = is_mapping(value, path)
    if len(pairs) > 16 or not all(
        isinstance(key, str) and len(key) <= 64 and isinstance(text, str) and len(text) <= 512
        for key, text in pairs.items()
    ):
        raise _wrong(path, value, "at most 16 pairs of strings (64 and 512 characters)")
    return dict(pairs)


def _items(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > 1000:
        raise _wrong(path, value, "a list of at most 1000 items")
    return value


_OUTPUT: Final[dict[str, Check]] = {
    "format": _audio_format,
    "voice": is_string,
    "speed": _number(0.25, 1.5),
}
_INPUT: Final[dict[str, Check]] = {
    "format": _audio_format,
    "turn_detection": _or_null(_turn_detection),
    "transcription": _or_null(is_mapping),
    "noise_reduction": _or_null(_object({"type": _one_of("near_field", "far_field"), "strength": _number(0, 1)})),
}
_SHARED: Final[dict[str, Check]] = {
    "instructions": is_string,
    "output_modalities": _modalities,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "max_output_tokens": _max_tokens,
    "parallel_tool_calls": _is_flag,
    "reasoning": _or_null(is_mapping),
    "prompt": _or_null(is_mapping),
}
_SESSION: Final[dict[str, Check]] = _SHARED | {
    "type": _one_of("realtime"),
    "model": is_string,
    "audio": _object({"input": _object(_INPUT), "output": _object(_OUTPUT)}),
    "include": _or_null(_anything),
    "tracing": _or_null(_anything),
    "truncation": _anything,
}
_RESPONSE: Final[dict[str, Check]] = _SHARED | {
    "audio": _object({"output": _object(_OUTPUT)}),
    "conversation": _one_of("auto", "none"),
    "metadata": _or_null(_metadata),
    "input": _or_null(_items),
}


# --- settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """The settings of a session, or of one response: the JSON object that clients see, and what we need of it."""

    json: Mapping[str, Any]

    @property
    def tools(self) -> list[dict[str, Any]]:
        return list(self.json["tools"])

    @property
    def tool_choice(self) -> Any:
        return self.json["tool_choice"]

    @property
    def instructions(self) -> str:
        return str(self.json["instructions"])

    @property
    def wants_audio(self) -> bool:
        return bool(self.json["output_modalities"] == ["audio"])

    @property
    def voice(self) -> str:
        return str(self.json["audio"]["output"]["voice"])

    @property
    def speed(self) -> float:
        return float(self.json["audio"]["output"]["speed"])

    @property
    def max_output_tokens(self) -> int | None:
        limit = self.json["max_output_tokens"]
        return None if limit == "inf" else int(limit)

    @property
    def turn_detection(self) -> Mapping[str, Any] | None:
        detection: Mapping[str, Any] | None = self.json["audio"]["input"]["turn_detection"]
        return detection

    @property
    def transcribes(self) -> bool:
        return self.json["audio"]["input"]["transcription"] is not None

    def updated(self, patch: Any, *, voice_is_fixed: bool) -> SessionConfig:
        """The settings after ``session.update``: only what was sent changes. Raises EventError, changing nothing."""
        changes = fields(patch, "session", _SESSION)
        required(changes, "type", "session")
        if changes.get("model", self.json["model"]) != self.json["model"]:
            raise EventError("invalid_value", "The model of a session cannot be changed.", "session.model")
        merged = _merge(self.json, changes)
        if voice_is_fixed and merged["audio"]["output"]["voice"] != self.voice:
            raise EventError(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                "session.audio.output.voice",
            )
        return SessionConfig(merged)

    def for_response(self, overrides: Mapping[str, Any]) -> SessionConfig:
        """These settings with what one ``response.create`` overrides (as checked by ``response_overrides``)."""
        kept = {key: value for key, value in overrides.items() if key not in ("conversation", "metadata", "input")}
        return SessionConfig(_merge(self.json, kept))


def new_session(session_id: str, model: str | None, voice: str, expires_at: int) -> SessionConfig:
    """What a session is before its first update."""
    return SessionConfig(
        {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model or MODEL,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
            "expires_at": expires_at,
            "audio": {
                "input": {
                    "format": dict(_FORMAT),
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": dict(_SERVER_VAD),
                },
                "output": {"format": dict(_FORMAT), "voice": voice, "speed": 1.0},
            },
            "include": None,
        }
    )


def response_overrides(event: Mapping[str, Any]) -> dict[str, Any]:
    """The checked ``response`` object of a ``response.create``. Raises EventError."""
    return fields(event.get("response") or {}, "response", _RESPONSE)


_WHOLE: Final = frozenset({"turn_detection", "transcription", "noise_reduction", "format", "tools", "metadata"})
"""Objects that are replaced, not merged."""


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        mixes = isinstance(value, Mapping) and isinstance(old, Mapping) and key not in _WHOLE
        merged[key] = _merge(old, value) if mixes and isinstance(old, Mapping) else value
    return merged


def text_tokens(text: str) -> int:
    """An estimate: four bytes of English a token."""
    return (len(text.encode()) + 3) // 4
