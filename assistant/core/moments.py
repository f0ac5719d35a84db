"""The moments of a turn with names for people: what a waterfall shows, in a terminal and in a browser. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LABELS: Final = {
    "wake": "wake word heard",
    "session_open": "connecting",
    "socket_open": "connected",
    "session_created": "session made",
    "session_ready": "session ready",
    "speech_started": "speech heard",
    "uplink_open": "audio is sent",
    "last_voiced": "last sound of speech",
    "endpoint": "end of speech is sure",
    "commit": "request complete",
    "response_created": "response begun",
    "first_transcript": "first words received",
    "first_audio": "first audio received",
    "first_sample": "speaker begins",
    "response_done": "response complete",
    "playback_end": "speaker has finished",
    "barge_in": "interrupted",
    "end": "turn over",
}
"""What people call the edges of a trace."""


def moments(record: Mapping[str, Any]) -> list[tuple[float, str]]:
    """All that happened in a recorded turn, in order: ms since its beginning, and what it was."""
    found = [(at, LABELS.get(edge, edge)) for edge, at in record["edges"].items() if at is not None]
    for tool in record["tools"]:
        found.append((tool["at"], f"tool {tool['name']}"))
        if tool["ms"] is not None:
            found.append((tool["at"] + tool["ms"], f"tool {tool['name']}: {tool['status']}"))
    found += [(each["at"], f"session lost: {each['cause']}") for each in record["reconnects"]]
    return sorted(found, key=lambda moment: moment[0])
