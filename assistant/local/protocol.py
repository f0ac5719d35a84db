"""The GA dialect of the realtime protocol, as the server speaks it: session settings and checks of what clients send.
PURE.

A client's mistake raises EventError, whose code and message are those of the cloud services, so that clients which know
these know us. The other dialects are translated at the edge of a session (``dialects``); what they have beyond GA is
checked here, too, and only for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from assistant.local.checks import (
    Check,
    EventError,
    anything,
    fields,
    is_flag,
    is_mapping,
    is_string,
    is_strings,
    number,
    object_of,
    one_of,
    or_null,
    required,
    wrong,
)
from assistant.local.sound_format import SoundFormat
from assistant.realtime.dialects import Dialect
from assistant.types import SPEAKER_RATE

MODEL: Final = "hearth-offline"
"""What the session calls its model when the client asks for none."""

BYTES_PER_MS: Final = SPEAKER_RATE * 2 // 1000
MIN_COMMIT_MS: Final = 100
MAX_TOOLS: Final = 512

_FORMAT: Final = {"type": "audio/pcm", "rate": SPEAKER_RATE}
_G711: Final = ("audio/pcmu", "audio/pcma")
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


def _modalities(value: Any, path: str) -> list[str]:
    if value not in (["audio"], ["text"]):
        raise EventError(
            "invalid_value", f"Invalid value for '{path}'. Supported values are: ['text'] and ['audio'].", path
        )
    return list(value)


def _audio_format(rates: Sequence[int]) -> Check:
    """``rates``: those that PCM may have; the telephone's formats have one of their own."""

    def check(value: Any, path: str) -> dict[str, Any]:
        given = fields(value, path, {"type": is_string, "rate": number(1, 192_000, whole=True)})
        kind = one_of("audio/pcm", *_G711)(required(given, "type", path), f"{path}.type")
        if kind in _G711:
            return {"type": kind}
        return {"type": kind, "rate": one_of(*rates)(given.get("rate", SPEAKER_RATE), f"{path}.rate")}

    return check


_DETECTION: Final[dict[str, Check]] = {"type": is_string, "create_response": is_flag, "interrupt_response": is_flag}
_SERVER_VAD_CHECKS: Final[dict[str, Check]] = _DETECTION | {
    "threshold": number(0.0, 1.0),
    "prefix_padding_ms": number(0, 5_000, whole=True),
    "silence_duration_ms": number(100, 10_000, whole=True),
}


def _turn_detection(value: Any, path: str) -> dict[str, Any]:
    kind = required(is_mapping(value, path), "type", path)
    if one_of("server_vad", "semantic_vad")(kind, f"{path}.type") == "semantic_vad":
        eagerness = {"eagerness": one_of("low", "medium", "high", "auto")}
        return _SEMANTIC_VAD | fields(value, path, _DETECTION | eagerness)
    idle = {"idle_timeout_ms": or_null(number(5_000, 30_000, whole=True))}
    return _SERVER_VAD | fields(value, path, _SERVER_VAD_CHECKS | idle)


def _voice_live_detection(value: Any, path: str) -> dict[str, Any]:
    """The detectors of Azure's are the server's own silence here; what else they can be told is kept, and echoed."""
    kind = is_mapping(value, path).get("type")
    shared: dict[str, Check] = {"auto_truncate": is_flag, "end_of_utterance_detection": or_null(is_mapping)}
    if not isinstance(kind, str) or not kind.startswith("azure_semantic_vad"):
        own = fields({key: item for key, item in value.items() if key in shared}, path, shared)
        return own | _turn_detection({key: item for key, item in value.items() if key not in shared}, path)
    one_of("azure_semantic_vad", "azure_semantic_vad_en", "azure_semantic_vad_multilingual")(kind, f"{path}.type")
    azure: dict[str, Check] = shared | {
        "speech_duration_ms": number(0, 5_000, whole=True),
        "remove_filler_words": is_flag,
        "languages": is_strings,
    }
    given = fields(value, path, _SERVER_VAD_CHECKS | azure)
    return {key: default for key, default in _SERVER_VAD.items() if key != "idle_timeout_ms"} | given


def _tools(value: Any, path: str) -> list[dict[str, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MAX_TOOLS:
        raise wrong(path, value, f"a list of at most {MAX_TOOLS} tools")
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
    return one_of("auto", "none", "required")(value, path)


def _max_tokens(value: Any, path: str) -> Any:
    return value if value == "inf" else number(1, 4096, whole=True)(value, path)


def _voice(name_key: str) -> Check:
    """A name, or an object that has one: ``id`` in GA, ``name`` in Voice Live."""

    def check(value: Any, path: str) -> Any:
        if not isinstance(value, Mapping):
            return is_string(value, path)
        is_string(required(value, name_key, path), f"{path}.{name_key}")
        return dict(value)

    return check


def _metadata(value: Any, path: str) -> dict[str, str]:
    pairs = is_mapping(value, path)
    if len(pairs) > 16 or not all(
        isinstance(key, str) and len(key) <= 64 and isinstance(text, str) and len(text) <= 512
        for key, text in pairs.items()
    ):
        raise wrong(path, value, "at most 16 pairs of strings (64 and 512 characters)")
    return dict(pairs)


def _items(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > 1000:
        raise wrong(path, value, "a list of at most 1000 items")
    return value


_GA_RATES: Final = (SPEAKER_RATE,)
_VOICE_LIVE_RATES: Final = (8_000, 16_000, SPEAKER_RATE)
_SHARED: Final[dict[str, Check]] = {
    "instructions": is_string,
    "output_modalities": _modalities,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "max_output_tokens": _max_tokens,
    "parallel_tool_calls": is_flag,
    "reasoning": or_null(is_mapping),
    "prompt": or_null(is_mapping),
}
_TEMPERATURE: Final[Mapping[Dialect, dict[str, Check]]] = {
    Dialect.GA: {},
    Dialect.PREVIEW: {"temperature": number(0.6, 1.2)},
    Dialect.VOICE_LIVE: {"temperature": number(0.0, 1.2)},
}


def _output(dialect: Dialect) -> Check:
    is_live = dialect is Dialect.VOICE_LIVE
    return object_of(
        {
            "format": _audio_format(_VOICE_LIVE_RATES if is_live else _GA_RATES),
            "voice": _voice("name" if is_live else "id"),
            "speed": number(0.25, 1.5),
        }
    )


def _session_checks(dialect: Dialect) -> dict[str, Check]:
    is_live = dialect is Dialect.VOICE_LIVE
    reductions = ("near_field", "far_field", "azure_deep_noise_suppression")[: 3 if is_live else 2]
    noise_reduction = {"type": one_of(*reductions), "strength": number(0, 1)}
    hears = {
        "format": _audio_format(_VOICE_LIVE_RATES if is_live else _GA_RATES),
        "turn_detection": or_null(_voice_live_detection if is_live else _turn_detection),
        "transcription": or_null(is_mapping),
        "noise_reduction": or_null(object_of(noise_reduction)),
    }
    live: dict[str, Check] = {
        "input_audio_echo_cancellation": or_null(is_mapping),
        "output_audio_timestamp_types": or_null(is_strings),
        "interim_response": or_null(is_mapping),
        "metadata": or_null(_metadata),
        "reasoning_effort": or_null(is_string),
    }
    return (
        _SHARED
        | _TEMPERATURE[dialect]
        | (live if is_live else {})
        | {
            "type": one_of("realtime"),
            "model": is_string,
            "audio": object_of({"input": object_of(hears), "output": _output(dialect)}),
            "include": or_null(anything),
            "tracing": or_null(anything),
            "truncation": anything,
        }
    )


def _response_checks(dialect: Dialect) -> dict[str, Check]:
    return (
        _SHARED
        | _TEMPERATURE[dialect]
        | {
            "audio": object_of({"output": _output(dialect)}),
            "conversation": one_of("auto", "none"),
            "metadata": or_null(_metadata),
            "input": or_null(_items),
        }
    )


_SESSION: Final = {dialect: _session_checks(dialect) for dialect in Dialect}
_RESPONSE: Final = {dialect: _response_checks(dialect) for dialect in Dialect}


# --- settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """The settings of a session, or of one response: the JSON object that GA clients see, and what we need of it.

    The settings that only ``dialect`` has stand beside the others in it.
    """

    json: Mapping[str, Any]
    dialect: Dialect = Dialect.GA

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
        voice = self.json["audio"]["output"]["voice"]
        return str(voice.get("id") or voice.get("name")) if isinstance(voice, Mapping) else str(voice)

    @property
    def input_format(self) -> SoundFormat:
        return _sound_format(self.json["audio"]["input"]["format"])

    @property
    def output_format(self) -> SoundFormat:
        return _sound_format(self.json["audio"]["output"]["format"])

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
        changes = fields(patch, "session", _SESSION[self.dialect])
        required(changes, "type", "session")
        if changes.get("model", self.json["model"]) != self.json["model"]:
            raise EventError("invalid_value", "The model of a session cannot be changed.", "session.model")
        merged = _merge(self.json, changes)
        if voice_is_fixed and merged["audio"]["output"]["voice"] != self.json["audio"]["output"]["voice"]:
            raise EventError(
                "cannot_update_voice",
                "Cannot update a conversation's voice if assistant audio is present.",
                "session.audio.output.voice",
            )
        return SessionConfig(merged, self.dialect)

    def for_response(self, overrides: Mapping[str, Any]) -> SessionConfig:
        """These settings with what one ``response.create`` overrides (as checked by ``response_overrides``)."""
        kept = {key: value for key, value in overrides.items() if key not in ("conversation", "metadata", "input")}
        return SessionConfig(_merge(self.json, kept), self.dialect)


_EXTRAS: Final[Mapping[Dialect, Mapping[str, Any]]] = {
    Dialect.GA: {},
    Dialect.PREVIEW: {"temperature": 0.8},
    Dialect.VOICE_LIVE: {"temperature": 0.7, "input_audio_echo_cancellation": None},
}


def new_session(
    session_id: str, model: str | None, voice: str, expires_at: int, dialect: Dialect = Dialect.GA
) -> SessionConfig:
    """What a session is before its first update."""
    return SessionConfig(
        {
            **_EXTRAS[dialect],
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
        },
        dialect,
    )


def response_overrides(event: Mapping[str, Any], dialect: Dialect = Dialect.GA) -> dict[str, Any]:
    """The checked ``response`` object of a ``response.create``. Raises EventError."""
    return fields(event.get("response") or {}, "response", _RESPONSE[dialect])


def _sound_format(spec: Mapping[str, Any]) -> SoundFormat:
    return SoundFormat(spec["type"], spec.get("rate", 8_000))


_WHOLE: Final = frozenset(
    {"turn_detection", "transcription", "noise_reduction", "format", "tools", "metadata", "voice"}
)
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
