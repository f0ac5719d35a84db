"""The preview dialects for the server: flat settings and older names, translated at the edge of a session. PURE.

::

    client ── inbound ──> session (GA inside) ── outbound ──> client

Settings are translated key by key, so that the checks of GA hold for all; an error that names a place in GA names the
client's own place instead. A client that sends GA's keys to a preview address is told that they are unknown, as the
services do: "Unknown parameter: 'session.type'."

Sources: the ``openai`` package's beta types for preview, the ``azure-ai-voicelive`` package's models for Voice Live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from assistant.local.checks import EventError, is_mapping
from assistant.realtime.dialects import GA_NAMES, Dialect
from assistant.types import SPEAKER_RATE

Event = Mapping[str, Any]

_FLAT_NAMES: Final = {ga: flat for flat, ga in GA_NAMES.items()} | {
    "conversation.item.added": "conversation.item.created"
}
_UNKNOWN: Final = {
    Dialect.PREVIEW: frozenset({"conversation.item.done"}),
    Dialect.VOICE_LIVE: frozenset({"conversation.item.done", "rate_limits.updated"}),
}

_FORMATS: Final = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_LIVE_OUTPUTS: Final = {"pcm16_8000hz": 8_000, "pcm16_16000hz": 16_000}

# Flat key -> where GA has it.
_SESSION_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "model": ("model",),
    "instructions": ("instructions",),
    "modalities": ("output_modalities",),
    "tools": ("tools",),
    "tool_choice": ("tool_choice",),
    "temperature": ("temperature",),
    "max_response_output_tokens": ("max_output_tokens",),
    "voice": ("audio", "output", "voice"),
    "output_audio_format": ("audio", "output", "format"),
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
}
_PREVIEW_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "speed": ("audio", "output", "speed"),
    "tracing": ("tracing",),
}
_LIVE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "input_audio_sampling_rate": ("audio", "input", "format", "rate"),
    "input_audio_echo_cancellation": ("input_audio_echo_cancellation",),
    "output_audio_timestamp_types": ("output_audio_timestamp_types",),
    "interim_response": ("interim_response",),
    "include": ("include",),
    "metadata": ("metadata",),
    "parallel_tool_calls": ("parallel_tool_calls",),
    "reasoning_effort": ("reasoning_effort",),
}
_RESPONSE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "instructions": ("instructions",),
    "modalities": ("output_modalities",),
    "tools": ("tools",),
    "tool_choice": ("tool_choice",),
    "temperature": ("temperature",),
    "max_output_tokens": ("max_output_tokens",),
    "max_response_output_tokens": ("max_output_tokens",),
    "voice": ("audio", "output", "voice"),
    "output_audio_format": ("audio", "output", "format"),
    "conversation": ("conversation",),
    "metadata": ("metadata",),
    "input": ("input",),
}


class GaWire:
    """GA as it is; also what the other dialects are made of."""

    dialect = Dialect.GA

    def inbound(self, event: Event) -> Event:
        """What a client sent, in the words of GA. Raises EventError."""
        return event

    def outbound(self, event: Event) -> Event | None:
        """An event of GA's for the client; None when its dialect has none such."""
        return event

    def error(self, error: EventError) -> EventError:
        """The error, with the client's name for the place that is wrong."""
        return error


class FlatWire(GaWire):
    """The preview dialect, or Voice Live."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        is_live = dialect is Dialect.VOICE_LIVE
        self._session_keys = {**_SESSION_KEYS, **(_LIVE_KEYS if is_live else _PREVIEW_KEYS)}
        self._outputs = _LIVE_OUTPUTS if is_live else {}
        self._places = _places("session", self._session_keys) + _places("response", _RESPONSE_KEYS)

    def inbound(self, event: Event) -> Event:
        match event.get("type"):
            case "session.update" if "session" in event:
                return {**event, "session": {"type": "realtime", **self._session_patch(event["session"])}}
            case "response.create" if event.get("response") is not None:
                return {**event, "response": self._response_patch(event["response"])}
            case "conversation.item.create" if "item" in event:
                return {**event, "item": _item_in(event["item"])}
        return event

    def outbound(self, event: Event) -> Event | None:
        kind = event["type"]
        if kind in _UNKNOWN[self.dialect]:
            return None
        shown = dict(event) | {"type": _FLAT_NAMES.get(kind, kind)}
        if kind in ("session.created", "session.updated"):
            shown["session"] = self._session_out(event["session"])
        elif "response" in event:
            shown["response"] = self._response_out(event["response"])
        elif "item" in event:
            shown["item"] = _item_out(event["item"])
        return shown

    def error(self, error: EventError) -> EventError:
        for ga, flat in self._places:
            if error.param is not None and f"{error.param}.".startswith(f"{ga}."):
                param = flat + error.param[len(ga) :]
                return EventError(error.code, error.message.replace(f"'{error.param}'", f"'{param}'"), param)
        return error

    # -- in ----------------------------------------------------------------------------------------------------------

    def _session_patch(self, raw: Any) -> dict[str, Any]:
        patch = self._nested(raw, "session", self._session_keys)
        if (sound := patch.get("audio", {}).get("input", {}).get("format")) is not None and "type" not in sound:
            sound["type"] = "audio/pcm"  # the rate alone was given
        return patch

    def _response_patch(self, raw: Any) -> dict[str, Any]:
        patch = self._nested(raw, "response", _RESPONSE_KEYS)
        if isinstance(patch.get("input"), list):
            patch["input"] = [_item_in(item) for item in patch["input"]]
        return patch

    def _nested(self, raw: Any, path: str, keys: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
        nested: dict[str, Any] = {}
        for key, value in is_mapping(raw, path).items():
            if key not in keys:
                raise EventError("unknown_parameter", f"Unknown parameter: '{path}.{key}'.", f"{path}.{key}")
            read = _READERS.get(key)
            value = self._format_in(value, f"{path}.{key}") if key.endswith("_audio_format") else value
            _put(nested, keys[key], value if read is None else read(value, f"{path}.{key}"))
        return nested

    def _format_in(self, value: Any, path: str) -> dict[str, Any]:
        outputs = self._outputs if "output" in path else {}
        if isinstance(value, str) and value in outputs:
            return {"type": "audio/pcm", "rate": outputs[value]}
        if not isinstance(value, str) or value not in _FORMATS:
            names = ", ".join(f"'{name}'" for name in (*_FORMATS, *outputs))
            raise EventError("invalid_value", f"Invalid value for '{path}'. Supported values are: {names}.", path)
        return {"type": _FORMATS[value]}

    # -- out ---------------------------------------------------------------------------------------------------------

    def _session_out(self, session: Event) -> dict[str, Any]:
        shown = {"id": session["id"], "object": session["object"], "expires_at": session["expires_at"]}
        for key, place in self._session_keys.items():
            value, found = _get(session, place)
            if found:
                shown[key] = value
        shown["modalities"] = _modalities_out(shown["modalities"])
        shown["input_audio_format"] = self._format_out(shown["input_audio_format"], {})
        shown["output_audio_format"] = self._format_out(shown["output_audio_format"], self._outputs)
        if shown["turn_detection"] is not None:
            detection = shown["turn_detection"]
            shown["turn_detection"] = {key: value for key, value in detection.items() if key != "idle_timeout_ms"}
        shown["tool_choice"] = _tool_choice_out(shown["tool_choice"])
        return shown

    def _response_out(self, response: Event) -> dict[str, Any]:
        kept = ("object", "id", "status", "status_details", "conversation_id", "metadata", "max_output_tokens")
        output = response["audio"]["output"]
        return {
            **{key: response[key] for key in kept},
            "output": [_item_out(item) for item in response["output"]],
            "modalities": _modalities_out(response["output_modalities"]),
            "voice": output["voice"],
            "output_audio_format": self._format_out(output["format"], self._outputs),
            "temperature": response["temperature"],
            "usage": _usage_out(response["usage"]),
        }

    @staticmethod
    def _format_out(sound: Event, outputs: Mapping[str, int]) -> str:
        names = {rate: name for name, rate in outputs.items()}
        if sound["type"] == "audio/pcm" and sound["rate"] != SPEAKER_RATE and sound["rate"] in names:
            return names[sound["rate"]]
        return next(flat for flat, ga in _FORMATS.items() if ga == sound["type"])


def wire(dialect: Dialect) -> GaWire:
    """The translation for one connection."""
    return GaWire() if dialect is Dialect.GA else FlatWire(dialect)


def _places(root: str, keys: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Where GA has something, and where the flat settings have it; only those that differ."""
    pairs = [
        (f"{root}.{'.'.join(place)}", f"{root}.{key}") for key, place in keys.items() if ".".join(place) not in keys
    ]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def _put(nested: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for key in place[:-1]:
        nested = nested.setdefault(key, {})
    old = nested.get(place[-1])
    # The rate may come before the format or after it.
    nested[place[-1]] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value


def _get(session: Event, place: tuple[str, ...]) -> tuple[Any, bool]:
    value: Any = session
    for key in place:
        if not isinstance(value, Mapping) or key not in value:
            return None, False
        value = value[key]
    return value, True


def _modalities_in(value: Any, path: str) -> Any:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        if sorted(value) == ["audio", "text"]:
            return ["audio"]
        if value == ["text"]:
            return value
        raise EventError(
            "invalid_value",
            f"Invalid modalities: {value!r}. Supported combinations are: ['text'] and ['audio', 'text'].",
            path,
        )
    raise EventError("invalid_value", f"Invalid value for '{path}': expected a list of strings.", path)


def _modalities_out(value: list[str]) -> list[str]:
    return ["text", "audio"] if value == ["audio"] else ["text"]


def _turn_detection_in(value: Any, path: str) -> Any:
    """Azure also takes ``{"type": "none"}`` for null; GA's silence timeout is none of the preview's settings."""
    if isinstance(value, Mapping):
        if value.get("type") == "none":
            return None
        if "idle_timeout_ms" in value:
            where = f"{path}.idle_timeout_ms"
            raise EventError("unknown_parameter", f"Unknown parameter: '{where}'.", where)
    return value


def _tool_choice_in(value: Any, path: str) -> Any:
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        return {"type": "function", **value["function"]}
    return value


def _tool_choice_out(value: Any) -> Any:
    return {"type": "function", "function": {"name": value["name"]}} if isinstance(value, Mapping) else value


_READERS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "modalities": _modalities_in,
    "turn_detection": _turn_detection_in,
    "tool_choice": _tool_choice_in,
}

_PARTS_IN: Final = {"text": "output_text", "audio": "output_audio"}
_PARTS_OUT: Final = {ga: flat for flat, ga in _PARTS_IN.items()}


def _item_in(item: Any) -> Any:
    """An assistant's message has parts of other names; what is wrong with an item is found by others."""
    if not isinstance(item, Mapping) or item.get("role") != "assistant" or not isinstance(item.get("content"), list):
        return item
    return {**item, "content": [_renamed(part, _PARTS_IN, refuse=_PARTS_OUT) for part in item["content"]]}


def _item_out(item: Event) -> Event:
    if item.get("role") != "assistant":
        return item
    return {**item, "content": [_renamed(part, _PARTS_OUT) for part in item["content"]]}


def _renamed(part: Any, names: Mapping[str, str], refuse: Mapping[str, str] | None = None) -> Any:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(kind, str):
        return part
    if refuse is not None and kind in refuse:
        raise EventError(
            "invalid_value", f"Invalid value: '{kind}'. Supported values are: 'text' and 'audio'.", "item.content"
        )
    return {**part, "type": names.get(kind, kind)}


def _usage_out(usage: Any) -> Any:
    """Preview knows no images."""
    if isinstance(usage, Mapping):
        return {key: _usage_out(value) for key, value in usage.items() if key != "image_tokens"}
    return usage
