"""Answers of chat endpoints as they stream in: server-sent events, pieces of text, tool calls in pieces. PURE.

The format is that of OpenAI's ``/chat/completions`` with ``stream: true``, as Ollama, llama.cpp's server and vLLM speak
it: lines ``data: {...}`` with ``choices[0].delta``, and ``data: [DONE]`` at the end. What servers leave out or add is
passed over; what cannot be read is a ChatError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_LINE: Final = 1024 * 1024
MAX_TEXT: Final = 32_000
MAX_ARGUMENTS: Final = 64 * 1024
MAX_CALLS: Final = 16

_SENTENCE_END = re.compile(r"(?<=[.!?:;])[\"')\]]*\s+|\n+")
_MARKUP = re.compile(r"[*_`#]+|^\s*[-•]\s+", re.MULTILINE)
_SHORTEST: Final = 12
"""Characters: "Dr." and "1." are no sentences of their own."""


class ChatError(Exception):
    """The endpoint does not answer as it should; the message is for the log and holds nothing that was said."""


@dataclass(frozen=True, slots=True)
class Call:
    """A whole tool call."""

    name: str
    arguments: Mapping[str, Any]


class EventReader:
    """Takes bytes as they come, and gives the data of whole events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Raises ChatError for a line beyond a megabyte."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise ChatError("it sent a line that does not end")
        for line in lines:
            field, _, value = line.rstrip(b"\r").partition(b":")
            if field == b"data" and value.strip():
                yield value.strip().decode("utf-8", errors="replace")


class Answer:
    """One answer: text is given on as whole sentences, tool calls when they are complete."""

    def __init__(self) -> None:
        self._text = ""
        self._length = 0
        self._calls: dict[int, tuple[str, str]] = {}  # index -> name, arguments so far
        self.is_done = False
        """True once the server said that nothing follows."""

    def feed(self, data: str) -> list[str]:
        """The sentences that are complete now. Raises ChatError."""
        if data == "[DONE]":
            self.is_done = True
            return []
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise ChatError("it sent something that is no JSON") from None
        if not isinstance(chunk, Mapping):
            raise ChatError("it sent something that is no chunk of an answer")
        if chunk.get("error"):
            raise ChatError("it broke the answer off with an error")
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        delta = choice.get("delta") if isinstance(choice, Mapping) else None
        if not isinstance(delta, Mapping):
            return []
        self._take_calls(delta.get("tool_calls"))
        content = delta.get("content")
        return self._take_text(content) if isinstance(content, str) else []

    def end(self) -> tuple[list[str], list[Call]]:
        """What is left when the stream has ended. Raises ChatError for calls that cannot be read."""
        rest = _speakable(self._text)
        self._text = ""
        return ([rest] if rest else []), [_call(name, text) for _, (name, text) in sorted(self._calls.items())]

    def _take_text(self, text: str) -> list[str]:
        self._length += len(text)
        if self._length > MAX_TEXT:
            raise ChatError(f"its answer has more than {MAX_TEXT} characters")
        self._text += text
        sentences = []
        start = 0
        for end in _SENTENCE_END.finditer(self._text):
            if end.end() - start >= _SHORTEST:
                sentences.append(_speakable(self._text[start : end.start()]))
                start = end.end()
        self._text = self._text[start:]
        return [sentence for sentence in sentences if sentence]

    def _take_calls(self, pieces: Any) -> None:
        for piece in pieces if isinstance(pieces, list) else ():
            if not isinstance(piece, Mapping):
                continue
            index = piece.get("index")
            index = index if isinstance(index, int) else len(self._calls)  # some servers send each call in one piece
            function = piece.get("function")
            function = function if isinstance(function, Mapping) else {}
            name, arguments = self._calls.get(index, ("", ""))
            name += str(function.get("name") or "")
            more = function.get("arguments")
            arguments += json.dumps(more) if isinstance(more, Mapping) else str(more or "")
            if len(arguments) > MAX_ARGUMENTS or len(self._calls) >= MAX_CALLS:
                raise ChatError("its tool calls are too many or too long")
            self._calls[index] = (name, arguments)


def _call(name: str, text: str) -> Call:
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not name or not isinstance(arguments, Mapping):
        raise ChatError(f"it calls {name or 'a tool'} with arguments that are no JSON object")
    return Call(name, arguments)


def _speakable(text: str) -> str:
    """Without the marks of Markdown, which models use although nobody sees them."""
    return " ".join(_MARKUP.sub("", text).split())
