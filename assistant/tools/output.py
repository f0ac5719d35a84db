"""What a tool's result becomes for the model: JSON, of bounded length.

A result is data. As a JSON string or object it is quoted, so that the model can tell it from instructions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import to_json

_SAY_LIMIT: Final = 1000


def encode(result: object, limit: int) -> str:
    """A tool's result as JSON, of at most ``limit`` characters. Raises whatever the result's own code raises.

    A result that is too long becomes an object with its beginning, a note, and its ``say`` if it has one.
    """
    if isinstance(result, str) and len(result) > limit:
        text = result  # it will be cut: encoding all of it could hold up every other thread
    elif len(text := to_json(result, inf_nan_mode="null").decode()) <= limit:
        return text
    cut: dict[str, str] = {"note": f"cut: the result has {len(text)} characters", "beginning": ""}
    say = result.get("say") if isinstance(result, dict) else None
    if isinstance(say, str):
        cut["say"] = say[: min(_SAY_LIMIT, limit // 4)]
        if len(dump(cut)) > limit:  # escapes make it longer
            del cut["say"]
    start = result if isinstance(result, str) else text
    size = max(0, limit - len(dump(cut)))
    while size and len(dump({**cut, "beginning": start[:size]})) > limit:
        size = size * 3 // 4
    return dump({**cut, "beginning": start[:size]})


def dump(value: Mapping[str, Any]) -> str:
    """An object of our own as JSON that every socket can encode."""
    # A model can send half a surrogate pair, as "\\ud800"; it must not come back as text that no socket can encode.
    return json.dumps(value, ensure_ascii=False).encode(errors="replace").decode()
