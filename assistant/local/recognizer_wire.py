"""Frames between the server and its recogniser child: a header, then a payload. PURE.

::

    server -> child   OPEN {cmn}  GRAMMAR {...}  BEGIN  AUDIO pcm  ASK  FINISH  ABANDON  CLOSE
    child -> server   READY   LOADED {missing}   SO_FAR {text}   RESULT {text, rejected, guess, cmn}   FAILED {message}

A *stream* is one session with a decoder of its own; an *utterance* numbers what is said on it. The child says READY
when its models are loaded, and handles frames strictly in order, so nothing needs an acknowledgement but GRAMMAR
(LOADED), ASK (SO_FAR) and FINISH (RESULT); FAILED may answer each of them.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from assistant.local.grammar import Grammar

HEADER: Final = struct.Struct(">IBII")
"""Length of the payload, kind, stream, utterance."""

MAX_PAYLOAD: Final = 8 * 1024 * 1024
RATE: Final = 16_000
"""Samples per second of AUDIO: 16 bit, mono, little endian."""


class Kind(IntEnum):
    OPEN = 1
    GRAMMAR = 2
    BEGIN = 3
    AUDIO = 4
    FINISH = 5
    ABANDON = 6
    CLOSE = 7
    ASK = 8
    READY = 64
    LOADED = 65
    RESULT = 66
    FAILED = 67
    SO_FAR = 68


@dataclass(frozen=True, slots=True)
class Frame:
    kind: Kind
    stream: int
    utterance: int = 0
    payload: bytes = b""

    def encode(self) -> bytes:
        return HEADER.pack(len(self.payload), self.kind, self.stream, self.utterance) + self.payload

    def json(self) -> Any:
        """The payload of every kind but AUDIO. Raises ValueError if it is damaged."""
        return json.loads(self.payload or b"{}")


def decode_header(raw: bytes) -> tuple[int, Frame]:
    """Length of the payload that follows, and the frame without it. Raises ValueError if this is no header."""
    length, kind, stream, utterance = HEADER.unpack(raw)
    if length > MAX_PAYLOAD:
        raise ValueError(f"a frame of {length} bytes; the limit is {MAX_PAYLOAD}")
    return length, Frame(Kind(kind), stream, utterance)


def pack(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def grammar_payload(grammar: Grammar, pronunciations: dict[str, str]) -> bytes:
    """A grammar as the child wants it; ``pronunciations`` for words that its dictionary lacks."""
    arcs = [(state, target, word) for state, row in enumerate(grammar.graph.arcs) for word, target in row.items()]
    return pack(
        {
            "states": len(grammar.graph.arcs),
            "finals": sorted(grammar.graph.finals),
            "arcs": arcs,
            "garbage": grammar.garbage,
            "strictness": grammar.strictness,
            "pronunciations": pronunciations,
        }
    )
