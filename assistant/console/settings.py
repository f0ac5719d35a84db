"""The settings that people change while they live with the assistant: shown, checked, written into the config file.

The models of the config check them, all together and with the rest of the file. What cannot be used is refused with its
line, and the file stays as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from assistant.config import Config
from assistant.config.document import read_document
from assistant.config.editing import Value, edit
from assistant.config.loading import parse
from assistant.controls import ControlError
from assistant.errors import ConfigError

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Who it is": ("session.instructions", "session.voice", "session.speed", "session.temperature"),
    "When you have finished speaking": (
        "session.turn_detection",
        "endpointing.end_silence_ms",
        "endpointing.no_speech_timeout_s",
        "session.server_vad.threshold",
        "session.server_vad.prefix_padding_ms",
        "session.server_vad.silence_duration_ms",
        "session.semantic_vad.eagerness",
    ),
    "Going on": ("follow_up.mode", "follow_up.window_s", "barge_in.mode"),
    "Sound": ("audio.output.volume", "audio.earcons"),
    "What is kept": ("session.transcription.model", "wake.keep_audio", "log.transcripts"),
}
"""What is offered, in this order. Keys, addresses and folders are not: those are for whoever owns the file."""

AT_ONCE: Final = frozenset(
    {
        "session.instructions",
        "session.voice",
        "session.speed",
        "session.temperature",
        "session.server_vad.threshold",
        "session.server_vad.prefix_padding_ms",
        "session.server_vad.silence_duration_ms",
        "session.semantic_vad.eagerness",
        "session.transcription.model",
        "audio.output.volume",
    }
)
"""What holds from the next turn on. The rest needs a restart."""

_OFFERED: Final = frozenset(key for keys in GROUPS.values() for key in keys)


class SettingsPart:
    """Answers for ``/api/settings``. ``config`` is the one in force."""

    def __init__(self, config: Config, apply: Callable[[Config], None], restart: Callable[[], None] | None) -> None:
        """apply: takes a new configuration, of which only AT_ONCE is different. restart: None where nobody would start
        the assistant again."""
        self._config = config
        self._apply = apply
        self._restart = restart
        self._waiting: set[str] = set()  # written down, and not in force before a restart
        self._writing = asyncio.Lock()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/api/settings", self._show),
            web.post("/api/settings", self._change),
            web.post("/api/restart", self._start_anew),
        ]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        groups = [
            {"title": title, "settings": [self._described(key) for key in keys]} for title, keys in GROUPS.items()
        ]
        file = self._config.file
        return web.json_response(
            {
                "groups": groups,
                "file": str(file) if file else None,
                "waiting": sorted(self._waiting),
                "can_restart": self._restart is not None,
            }
        )

    async def _change(self, request: web.Request) -> web.StreamResponse:
        """``{"session.voice": "cedar"}``: all of it, or nothing."""
        changes = await request.json() if request.content_type == "application/json" else None
        if not isinstance(changes, dict) or not changes.keys() <= _OFFERED:
            raise ControlError("settings by their names are needed, of those that are shown")
        if not all(value is None or isinstance(value, str | int | float | bool) for value in changes.values()):
            raise ControlError("a setting is a text, a number, true, false or null")
        file = self._config.file
        if file is None:
            raise ControlError("there is no config file to write to: start the assistant with --config FILE")
        async with self._writing:
            try:
                new = await asyncio.to_thread(rewrite, file, changes)
            except ConfigError as error:
                problems = [{"key": each.key, "line": each.line, "message": each.message} for each in error.problems]
                return web.json_response({"ok": False, "error": str(error), "problems": problems}, status=422)
            except OSError as error:
                raise ControlError(f"{file}: cannot be written: {error.strerror}") from None
            self._take(new, changes)
        return web.json_response({"ok": True, "waiting": sorted(self._waiting)})

    def _take(self, new: Config, changes: Mapping[str, Value]) -> None:
        live = self._config.model_copy(deep=True)
        for key in changes:
            if key in AT_ONCE:
                live = _with(live, key.split("."), _value(new, key))
            elif _value(new, key) != _value(self._config, key):
                self._waiting.add(key)
            else:
                self._waiting.discard(key)
        if live != self._config:
            self._config = live
            self._apply(live)

    async def _start_anew(self, request: web.Request) -> web.StreamResponse:
        if self._restart is None:
            raise ControlError("nobody would start the assistant again: restart it where you have started it")
        self._restart()
        return web.json_response({"ok": True})

    def _described(self, key: str) -> dict[str, Any]:
        """A setting for a form: its kind, range and value."""
        schema = Config.model_json_schema()
        node: dict[str, Any] = schema
        for part in key.split("."):
            node = node["properties"][part]
            node = {**schema["$defs"][node["$ref"].rpartition("/")[2]], **node} if "$ref" in node else node
        options = node.get("anyOf", [node])
        shape = next(each for each in options if each.get("type") != "null")
        return {
            "key": key,
            "about": node.get("description", ""),
            "kind": "choice" if "enum" in shape else "lines" if key == "session.instructions" else shape["type"],
            "choices": shape.get("enum", []),
            "minimum": shape.get("minimum"),
            "maximum": shape.get("maximum"),
            "optional": len(options) > 1,
            "value": _value(self._config, key),
            "at_once": key in AT_ONCE,
        }


def _value(config: Config, key: str) -> Any:
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


def _with(section: Any, path: list[str], value: Any) -> Any:
    """A copy of a section with another value somewhere in it."""
    name, *rest = path
    return section.model_copy(update={name: _with(getattr(section, name), rest, value) if rest else value})


def rewrite(file: Path, changes: Mapping[str, Value]) -> Config:
    """Write the changes into the file. Blocks. Raises ConfigError if they cannot be used; OSError."""
    before = file.read_text("utf-8-sig")
    parse(before, file)  # somebody may have broken it meanwhile
    after = edit(before, changes)
    new = parse(after, file)
    wanted = read_document(before).data
    for key, value in changes.items():
        _put(wanted, key.split("."), value)
    if read_document(after).data != wanted:
        raise ControlError(f"{file}: this file is written in a way that cannot be changed here: change it by hand")
    _replace(file, after)
    return new


def _put(data: dict[str, Any], path: list[str], value: Value) -> None:
    *sections, name = path
    for section in sections:
        if not isinstance(data.get(section), dict):
            data[section] = {}
        data = data[section]
    data[name] = value


def _replace(file: Path, text: str) -> None:
    """The whole new text or the whole old one, also after a power failure; with the old one's rights and owner."""
    file = file.resolve()
    known = file.stat()
    handle, new = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as out:  # noqa: PTH123
            out.write(text)
            out.flush()
            os.fchmod(out.fileno(), known.st_mode & 0o7777)
            with contextlib.suppress(PermissionError):
                os.fchown(out.fileno(), known.st_uid, known.st_gid)
            os.fsync(out.fileno())
        Path(new).replace(file)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise
