"""From the journal's entries to what is told outside: the events of docs/control.md, for displays, LEDs and scripts.

Unlike the journal these are promised to stay. They hold what was said, since a display shows it; so they go only to
those who may control the assistant, and are kept nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from assistant.journal import Entry, Journal

Happening: TypeAlias = dict[str, Any]
"""Ready for JSON: ``event``, ``at`` (Unix seconds), and the event's own fields."""

Listener: TypeAlias = Callable[[Happening], None]


def happening(entry: Entry) -> Happening | None:
    """What is told of an entry, without its time; None if nothing is."""
    match entry:
        case {"kind": "state", "name": state}:
            return {"event": "state", "state": state}
        case {"kind": "event"}:
            return _of_event(entry)
        case {"kind": "command"}:
            return _of_command(entry)
        case {"kind": "note", "name": "mute", "muted": muted}:
            return {"event": "mute", "muted": muted}
        case {"kind": "note", "name": "link", "state": state, "persona": persona}:
            return {"event": "link", "state": state, "persona": persona}
        case {"kind": "note", "name": "volume"}:
            return {"event": "volume", **_fields(entry)}
        case {"kind": "note", "name": "health", "part": part, "trouble": trouble}:
            return {"event": "health", "part": part, "trouble": trouble}
        case {"kind": "note", "name": "tool_result", "tool": tool, "call": call, "status": status, "duration_ms": ms}:
            return {"event": "tool", "state": "done", "tool": tool, "call": call, "status": status, "duration_ms": ms}
    return None


def _of_event(entry: Entry) -> Happening | None:
    match entry:
        case {"name": "woken", "word": word, "score": score}:
            return {"event": "wake", "word": word, "score": round(score, 3)}
        case {"name": "user_transcript", "text": text}:
            return {"event": "heard", "text": text}
        case {"name": "text_submitted", "text": text}:
            return {"event": "asked", "text": text}
        case {"name": "answer_text", "delta": delta}:
            return {"event": "answer", "delta": delta}
        case {"name": "playback_started"}:
            return {"event": "playback", "state": "started"}
        case {"name": "playback_stopped", "interrupted": interrupted}:
            return {"event": "playback", "state": "stopped", "interrupted": interrupted}
        case {"name": "alert_raised", "alert": alert, "title": title}:
            return {"event": "alert", "state": "raised", "alert": alert, "title": title}
    return None


def _of_command(entry: Entry) -> Happening | None:
    match entry:
        case {"name": "begin_turn", "turn": turn}:
            return {"event": "turn", "state": "begun", "turn": turn}
        case {"name": "end_turn", "turn": turn, "outcome": outcome, "detail": detail}:
            return {"event": "turn", "state": "ended", "turn": turn, "outcome": outcome, "detail": detail}
        case {"name": "run_tool", "turn": turn, "call": call, "tool": tool}:
            return {"event": "tool", "state": "called", "turn": turn, "tool": tool, "call": call}
        case {"name": "create_response", "announce": str(text)}:
            return {"event": "announcement", "text": text}
        case {"name": "start_alert", "alert": alert}:
            return {"event": "alert", "state": "started", "alert": alert}
        case {"name": "stop_alert", "alert": alert}:
            return {"event": "alert", "state": "stopped", "alert": alert}
    return None


def _fields(entry: Entry) -> Mapping[str, Any]:
    return {name: value for name, value in entry.items() if name not in ("at", "kind", "name")}


class Happenings:
    """Tells whoever listens at the moment. Lives on the event loop."""

    def __init__(self, journal: Journal, now: Callable[[], float]) -> None:
        """now: the wall clock."""
        self._now = now
        self._listeners: list[Listener] = []
        journal.subscribe(self._entry)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell everything from now on, until what this returns is called. The listener returns at once."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def tell(self, event: str, **fields: Any) -> None:
        """Something that is in no journal, such as the level of the microphone."""
        self._tell({"event": event, **fields})

    def _entry(self, entry: Entry) -> None:
        if self._listeners and (found := happening(entry)) is not None:
            self._tell(found)

    def _tell(self, found: Happening) -> None:
        found = {"event": found.pop("event"), "at": round(self._now(), 3), **found}
        for listener in tuple(self._listeners):
            listener(found)
