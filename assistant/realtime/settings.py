"""What a person can set for a realtime session, free of any dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class ServerVad:
    """The server ends the utterance after a silence (turn_detection "server_vad"; every dialect has it)."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


@dataclass(frozen=True, slots=True)
class SemanticVad:
    """The server ends the utterance when the words sound complete (turn_detection "semantic_vad").

    eagerness: how soon; "low" waits up to about 8 s, "medium" and "auto" 4 s, "high" 2 s.
    """

    eagerness: Literal["auto", "low", "medium", "high"] = "auto"


@dataclass(frozen=True, slots=True)
class AzureSemanticVad:
    """Azure Voice Live's own turn detection; ``languages`` as in en, de (none: any)."""

    model: Literal["default", "en", "multilingual"] = "default"
    silence_duration_ms: int = 500
    remove_filler_words: bool = False
    languages: Sequence[str] = ()


TurnDetection: TypeAlias = ServerVad | SemanticVad | AzureSemanticVad


@dataclass(frozen=True, slots=True)
class Transcription:
    """Ask the server to write down what the user said, by a separate recogniser.

    language: of the speech, as in en. prompt: words to expect, such as names.
    """

    model: str
    language: str | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Persona:
    """The part of the settings that may change while a session is open."""

    instructions: str = ""
    tools: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Sent as ``session.update`` when a session opens. None means: the server's default.

    A dialect leaves out what it does not have; the config refuses such a setting before it comes this far.

    turn_detection: None means that Hearth itself ends the utterance, and commits it.
    tools: function tools as the protocol has them; ``x-offline`` is removed for servers that do not know it.
    temperature: preview dialects only.
    reasoning_effort, parallel_tool_calls, truncation, tracing: GA only. A number as truncation is the share of the
        conversation (0 to 1) that is kept when it has become too long.
    echo_cancellation: by the server; Voice Live only.
    """

    instructions: str = ""
    voice: str | None = None
    speed: float | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    turn_detection: TurnDetection | None = None
    transcription: Transcription | None = None
    noise_reduction: Literal["near_field", "far_field", "azure_deep_noise_suppression"] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    output: Literal["audio", "text"] = "audio"
    temperature: float | None = None
    reasoning_effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None
    parallel_tool_calls: bool | None = None
    truncation: Literal["auto", "disabled"] | float | None = None
    tracing: bool = False
    echo_cancellation: bool = False

    @property
    def persona(self) -> Persona:
        return Persona(self.instructions, self.tools)
