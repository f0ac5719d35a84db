"""The dialects of the realtime protocol, and how each of them writes the settings of a session. PURE.

GA nests the settings; the preview dialect is flat and has other names for some events; Azure Voice Live speaks the
preview dialect with more settings. All other messages are the same (:mod:`assistant.realtime.codec`).

Sources: the ``openai`` package's types for GA, its older beta types and Azure's reference for preview, the
``azure-ai-voicelive`` package's models for Voice Live.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, assert_never

from assistant.realtime.settings import (
    AzureSemanticVad,
    Persona,
    SemanticVad,
    ServerVad,
    SessionSettings,
    TurnDetection,
)
from assistant.types import SPEAKER_RATE


class Dialect(Enum):
    GA = "ga"
    PREVIEW = "preview"
    VOICE_LIVE = "voice_live"


OFFLINE_KEY: Final = "x-offline"
"""What only Hearth's own embedded server understands in a tool; it never goes to a cloud provider."""

GA_NAMES: Final[Mapping[str, str]] = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
}
"""Server events of the preview dialects that GA has under another name, with the same fields."""

_PCM: Final = {"type": "audio/pcm", "rate": SPEAKER_RATE}

_AZURE_VOICE: Final = re.compile(r"[a-z]{2,3}-[A-Z]{2}-\S+")
"""``en-US-AvaNeural``: how voices of Azure Speech are named; those of the models are single words."""


def is_azure_voice(voice: str) -> bool:
    return _AZURE_VOICE.fullmatch(voice) is not None


def session_object(settings: SessionSettings, dialect: Dialect, *, offline_tools: bool = False) -> dict[str, Any]:
    """The ``session`` of the ``session.update`` that opens a session."""
    tools = _tools(settings.persona, offline_tools)
    match dialect:
        case Dialect.GA:
            return _ga(settings, tools)
        case Dialect.PREVIEW | Dialect.VOICE_LIVE:
            return _flat(settings, tools, dialect)
        case _:
            assert_never(dialect)


def persona_object(persona: Persona, dialect: Dialect, *, offline_tools: bool = False) -> dict[str, Any]:
    """The ``session`` of a later update. It never holds a voice: a session that has spoken would refuse the whole."""
    changes = {"instructions": persona.instructions, "tools": _tools(persona, offline_tools)}
    return {"type": "realtime", **changes} if dialect is Dialect.GA else changes


def _ga(settings: SessionSettings, tools: list[dict[str, Any]]) -> dict[str, Any]:
    audio_in: dict[str, Any] = {"format": _PCM, "turn_detection": _turn_detection(settings.turn_detection)}
    if settings.transcription is not None:
        audio_in["transcription"] = _transcription(settings)
    if settings.noise_reduction is not None:
        audio_in["noise_reduction"] = {"type": settings.noise_reduction}
    truncation: Any = settings.truncation
    if isinstance(truncation, float):
        truncation = {"type": "retention_ratio", "retention_ratio": truncation}
    return _present(
        {
            "type": "realtime",
            "output_modalities": [settings.output],
            "instructions": settings.instructions or None,
            "audio": {
                "input": audio_in,
                "output": _present({"format": _PCM, "voice": settings.voice, "speed": settings.speed}),
            },
            "tools": tools,
            "tool_choice": "auto",
            "max_output_tokens": settings.max_output_tokens,
            "parallel_tool_calls": settings.parallel_tool_calls,
            "reasoning": {"effort": settings.reasoning_effort} if settings.reasoning_effort else None,
            "truncation": truncation,
            "tracing": "auto" if settings.tracing else None,
        }
    )


def _flat(settings: SessionSettings, tools: list[dict[str, Any]], dialect: Dialect) -> dict[str, Any]:
    voice: str | dict[str, Any] | None = settings.voice
    speed = settings.speed
    echo_cancellation = None
    if dialect is Dialect.VOICE_LIVE:
        if settings.voice is not None and is_azure_voice(settings.voice):
            rate = None if speed is None else f"{speed:g}"
            voice = _present({"type": "azure-standard", "name": settings.voice, "rate": rate})
        speed = None  # it has none but the rate of such a voice
        if settings.echo_cancellation:
            echo_cancellation = {"type": "server_echo_cancellation"}
    noise_reduction = {"type": settings.noise_reduction} if settings.noise_reduction else None
    flat = _present(
        {
            "modalities": ["text", "audio"] if settings.output == "audio" else ["text"],
            "instructions": settings.instructions or None,
            "voice": voice,
            "speed": speed,
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "input_audio_transcription": _transcription(settings),
            "input_audio_noise_reduction": noise_reduction,
            "input_audio_echo_cancellation": echo_cancellation,
            "tools": tools,
            "tool_choice": "auto",
            "temperature": settings.temperature,
            "max_response_output_tokens": settings.max_output_tokens,
        }
    )
    return flat | {"turn_detection": _turn_detection(settings.turn_detection)}  # null is a value here


def _turn_detection(detection: TurnDetection | None) -> dict[str, Any] | None:
    """What interrupts is decided by us, who know the echo; so the server never does (``interrupt_response``)."""
    begin = {"create_response": True, "interrupt_response": False}
    match detection:
        case None:
            return None
        case ServerVad(threshold, padding, silence):
            own = {"threshold": threshold, "prefix_padding_ms": padding, "silence_duration_ms": silence}
            return {"type": "server_vad", **own, **begin}
        case SemanticVad(eagerness):
            return {"type": "semantic_vad", "eagerness": eagerness, **begin}
        case AzureSemanticVad(model, silence, remove_filler_words, languages):
            azure: dict[str, Any] = {"silence_duration_ms": silence, "remove_filler_words": remove_filler_words}
            if languages:
                azure["languages"] = list(languages)
            name = "azure_semantic_vad" if model == "default" else f"azure_semantic_vad_{model}"
            return {"type": name, **azure, **begin}
        case _:
            assert_never(detection)


def _transcription(settings: SessionSettings) -> dict[str, Any] | None:
    asked = settings.transcription
    if asked is None:
        return None
    return _present({"model": asked.model, "language": asked.language, "prompt": asked.prompt})


def _tools(persona: Persona, offline: bool) -> list[dict[str, Any]]:
    return [{key: value for key, value in tool.items() if offline or key != OFFLINE_KEY} for tool in persona.tools]


def _present(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}
