"""The conversation of a session: its items, their audio, and the bounds on both. PURE."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from assistant.local.checks import EventError, is_mapping, is_string, required
from assistant.local.protocol import BYTES_PER_MS, text_tokens

MAX_ITEMS: Final = 1_000
"""More than this, and the oldest are forgotten."""

MAX_AUDIO_BYTES: Final = 24 * 1024 * 1024
"""Audio kept for ``conversation.item.retrieve``; the oldest audio goes first, its item stays."""

MAX_TEXT_CHARS: Final = 256 * 1024

_CONTENT: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("input_text", "input_audio", "input_image"),
    "system": ("input_text",),
    "assistant": ("output_text", "output_audio"),
}


@dataclass(slots=True)
class Part:
    """One content part. ``text`` is None for audio whose words are not known (yet)."""

    type: str
    text: str | None = None
    audio: bytearray = field(default_factory=bytearray)
    audio_ms: int = 0
    """Length of the audio, also after the bytes were dropped to save memory."""
    cut: bool = False
    """Truncated: what is still generated for it does not belong to it any more."""

    def extend(self, pcm: bytes) -> None:
        """More generated audio."""
        if not self.cut:
            self.audio += pcm
            self.audio_ms += len(pcm) // BYTES_PER_MS

    def to_json(self, *, audio: bool = False) -> dict[str, Any]:
        key = "text" if self.type.endswith("text") else "transcript"
        shown: dict[str, Any] = {"type": self.type, key: self.text}
        if audio and self.type.endswith("audio"):
            shown["audio"] = base64.b64encode(self.audio).decode("ascii")
        return shown


@dataclass(slots=True)
class Item:
    """One item. Which fields matter depends on ``type``: message, function_call or function_call_output."""

    id: str
    type: str
    status: str = "completed"
    role: str | None = None
    parts: list[Part] = field(default_factory=list)
    name: str = ""
    call_id: str = ""
    arguments: str = ""
    output: str = ""
    spoken: Mapping[str, str] = field(default_factory=dict)
    """The words that filled each slot of a call, for the reply; never sent."""
    rejected: bool = False
    """A user's audio that is none of the known sentences; never sent."""
    failed: bool = False
    """A user's audio that the recogniser could not take; never sent."""
    guess: str = ""
    """What a rejected audio most likely was, if that is worth a question; never sent."""

    def to_json(self, *, audio: bool = False) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": self.id, "object": "realtime.item", "type": self.type, "status": self.status}
        match self.type:
            case "message":
                shown["role"] = self.role
                shown["content"] = [part.to_json(audio=audio) for part in self.parts]
            case "function_call":
                shown |= {"name": self.name, "call_id": self.call_id, "arguments": self.arguments}
            case _:
                shown |= {"call_id": self.call_id, "output": self.output}
        return shown

    @property
    def text(self) -> str:
        """The words of all parts, as far as they are known."""
        return " ".join(part.text for part in self.parts if part.text)

    @property
    def audio_bytes(self) -> int:
        return sum(len(part.audio) for part in self.parts)

    def tokens(self) -> tuple[int, int]:
        """Text and audio tokens that this item costs as input: audio 1 per 100 ms."""
        words = (
            self.arguments
            + self.output
            + " ".join(part.text or "" for part in self.parts if part.type.endswith("text"))
        )
        return text_tokens(words), sum(-(-part.audio_ms // 100) for part in self.parts)


class Conversation:
    """Items in order, bounded."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def last_id(self) -> str | None:
        return self._items[-1].id if self._items else None

    def find(self, item_id: str) -> Item | None:
        return next((item for item in self._items if item.id == item_id), None)

    def call(self, call_id: str) -> Item | None:
        return next((item for item in self._items if item.type == "function_call" and item.call_id == call_id), None)

    def insert(self, item: Item, previous: str | None = None) -> str | None:
        """Add an item after ``previous`` (None: at the end, "root": at the beginning); gives the id before it.

        Raises EventError for an unknown ``previous`` or an id that is taken.
        """
        if self.find(item.id) is not None:
            raise EventError("item_create_duplicate_item_id", f"Item with id '{item.id}' already exists.", "item.id")
        if previous is None:
            place = len(self._items)
        elif previous == "root":
            place = 0
        else:
            before = self.find(previous)
            if before is None:
                raise EventError(
                    "invalid_value", f"Previous item with id '{previous}' does not exist.", "previous_item_id"
                )
            place = self._items.index(before) + 1
        self._items.insert(place, item)
        self.trim()
        return self.before(item.id)

    def before(self, item_id: str) -> str | None:
        """Id of the item before this one."""
        previous = None
        for item in self._items:
            if item.id == item_id:
                break
            previous = item.id
        return previous

    def delete(self, item_id: str) -> None:
        item = self.find(item_id)
        if item is None:
            raise EventError("item_delete_invalid_item_id", f"Item with id '{item_id}' does not exist.", "item_id")
        self._items.remove(item)

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Forget what was not heard of an answer: its audio beyond ``audio_end_ms``, and its transcript."""
        item = self.find(item_id)
        if item is None:
            raise EventError("item_truncate_invalid_item_id", f"Item with id '{item_id}' does not exist.", "item_id")
        if item.type != "message" or item.role != "assistant":
            raise EventError("invalid_value", "Only model output audio messages can be truncated.", "item_id")
        if not 0 <= content_index < len(item.parts) or item.parts[content_index].type != "output_audio":
            raise EventError("invalid_value", f"Item has no audio at content index {content_index}.", "content_index")
        part = item.parts[content_index]
        if audio_end_ms > part.audio_ms:
            raise EventError(
                "invalid_value",
                f"Audio content of {part.audio_ms}ms is already shorter than {audio_end_ms}ms",
                "audio_end_ms",
            )
        del part.audio[audio_end_ms * BYTES_PER_MS :]
        part.cut = True
        part.audio_ms = audio_end_ms
        part.text = ""

    def trim(self) -> None:
        """Keep the bounds: drop the oldest items, then the oldest audio."""
        del self._items[: max(0, len(self._items) - MAX_ITEMS)]
        excess = sum(item.audio_bytes for item in self._items) - MAX_AUDIO_BYTES
        for item in self._items:
            for part in item.parts:
                if excess <= 0:
                    return
                excess -= len(part.audio)
                part.audio = bytearray()


def read_item(raw: Any, new_id: str, path: str = "item") -> Item:
    """An item that a client sent; ``new_id`` is its id if it brings none. Raises EventError."""
    raw = is_mapping(raw, path)
    item_id = raw.get("id") or new_id
    is_string(item_id, f"{path}.id")
    match required(raw, "type", path):
        case "message":
            return _message(raw, item_id, path)
        case "function_call":
            return Item(
                item_id,
                "function_call",
                name=is_string(required(raw, "name", path), f"{path}.name"),
                call_id=is_string(raw.get("call_id") or item_id, f"{path}.call_id"),
                arguments=_bounded(required(raw, "arguments", path), f"{path}.arguments"),
            )
        case "function_call_output":
            return Item(
                item_id,
                "function_call_output",
                call_id=is_string(required(raw, "call_id", path), f"{path}.call_id"),
                output=_bounded(required(raw, "output", path), f"{path}.output"),
            )
    raise EventError(
        "invalid_value",
        f"Invalid value for '{path}.type'. Supported values are: 'message', 'function_call', 'function_call_output'.",
        f"{path}.type",
    )


def _message(raw: Mapping[str, Any], item_id: str, path: str) -> Item:
    role = required(raw, "role", path)
    if not isinstance(role, str) or role not in _CONTENT:
        raise EventError(
            "invalid_value",
            f"Invalid value for '{path}.role'. Supported values are: 'user', 'system', 'assistant'.",
            f"{path}.role",
        )
    content = required(raw, "content", path)
    if not isinstance(content, list):
        raise EventError("invalid_value", f"Invalid value for '{path}.content': expected a list.", f"{path}.content")
    parts = [_part(part, role, f"{path}.content[{index}]") for index, part in enumerate(content)]
    return Item(item_id, "message", role=role, parts=parts)


def _part(raw: Any, role: str, path: str) -> Part:
    raw = is_mapping(raw, path)
    kind = required(raw, "type", path)
    if kind not in _CONTENT[role]:
        names = ", ".join(repr(name) for name in _CONTENT[role])
        raise EventError(
            "invalid_value", f"Invalid value for '{path}.type'. Supported values are: {names}.", f"{path}.type"
        )
    if kind == "input_image":
        raise EventError("invalid_value", "This server cannot look at images.", path)
    if kind.endswith("text"):
        return Part(kind, _bounded(required(raw, "text", path), f"{path}.text"))
    transcript = raw.get("transcript")
    audio = read_audio(raw["audio"], f"{path}.audio") if raw.get("audio") is not None else b""
    return Part(
        kind,
        _bounded(transcript, f"{path}.transcript") if transcript is not None else None,
        bytearray(audio),
        len(audio) // BYTES_PER_MS,
    )


def read_audio(value: Any, path: str) -> bytes:
    """Audio from base64. Raises EventError."""
    try:
        return base64.b64decode(is_string(value, path), validate=True)
    except ValueError:
        raise EventError("invalid_value", f"Invalid '{path}'. Expected base64-encoded audio bytes.", path) from None


def _bounded(value: Any, path: str) -> str:
    if len(is_string(value, path)) > MAX_TEXT_CHARS:
        raise EventError("invalid_value", f"'{path}' is longer than {MAX_TEXT_CHARS} characters.", path)
    return str(value)
