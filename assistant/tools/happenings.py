"""From the journal's entries to the events that plugins may hear of. PURE.

Plugins are told that something happens, never what was said: only the fields named here are passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistant.plugin.context import HomeEvent


def happening(entry: Mapping[str, Any]) -> tuple[HomeEvent, dict[str, Any]] | None:
    """The event of an entry and its facts, or None if plugins do not hear of it."""
    match entry:
        case {"kind": "event", "name": "woken", "word": word}:
            return "wake", {"word": word}
        case {"kind": "command", "name": "begin_turn", "turn": turn}:
            return "turn", {"turn": turn, "state": "begun"}
        case {"kind": "command", "name": "end_turn", "turn": turn, "outcome": outcome}:
            return "turn", {"turn": turn, "state": "ended", "outcome": outcome}
        case {"kind": "event", "name": "playback_started"}:
            return "playback", {"state": "started"}
        case {"kind": "event", "name": "playback_stopped", "interrupted": interrupted}:
            return "playback", {"state": "stopped", "interrupted": interrupted}
        case {"kind": "note", "name": "mute", "muted": muted}:
            return "mute", {"muted": muted}
        case {"kind": "note", "name": "volume", "percent": percent, "channel": channel}:
            return "volume", {"percent": percent, "channel": channel}
        case {"kind": "note", "name": "link", "state": state, "persona": persona}:
            return "link", {"state": state, "persona": persona}
        case {"kind": "event", "name": "stop_requested"} | {"kind": "note", "name": "hush"}:
            return "stop", {}
        case {"kind": "command", "name": "start_alert", "alert": alert}:
            return "alert", {"alert": alert, "state": "started"}
        case {"kind": "command", "name": "stop_alert", "alert": alert, "dismissed": dismissed}:
            return "alert", {"alert": alert, "state": "stopped", "dismissed": dismissed}
        case {"kind": "state", "name": state}:
            return "state", {"state": state}
    return None
