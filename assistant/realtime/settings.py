"""What a person can set for a realtime session, free of any dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ServerVad:
    """The server decides when the user has finished (turn_detection "server_vad")."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


@dataclass(frozen=True, slots=True)
class Transcription:
    """Ask the server to write down what the user said, by a separate recogniser."""

    model: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Sent as ``session.update`` when a session opens. None means: the server's default.

    turn_detection: None means that Hearth itself ends the utterance, and commits it.
    tools: function tools as the protocol has them; ``x-offline`` is removed for servers that do not know it.
    """

    instructions: str = ""
    voice: str | None = None
    speed: float | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    turn_detection: ServerVad | None = None
    transcription: Transcription | None = None
    noise_reduction: Literal["near_field", "far_field"] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    output: Literal["audio", "text"] = "audio"
