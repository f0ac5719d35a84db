"""What may be asked of the running assistant, as JSON: the same over the control socket and in the console."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from assistant.controls import ControlError, Controls
from assistant.errors import ToolError

log = logging.getLogger(__name__)

CALLER_LIMIT: Final = 60
"""Characters of a caller's name in the audit log."""

Answer: TypeAlias = Mapping[str, Any]


class Requests:
    """Answers requests such as ``{"do": "status"}``; see docs/control.md."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._verbs: dict[str, Callable[[Mapping[str, Any]], Awaitable[Answer]]] = {
            "status": self._status,
            "mute": lambda request: self._mute(True),
            "unmute": lambda request: self._mute(False),
            "listen": self._listen,
            "stop": self._stop,
            "ask": self._ask,
            "say": self._say,
            "volume": self._volume,
            "tools": self._tools,
            "call": self._call,
            "reload": self._reload,
        }

    async def answer(self, request: Mapping[str, Any]) -> Answer:
        """The answer, ready for JSON. Never raises but CancelledError: a failure is ``ok: false`` with its line."""
        try:
            return {"ok": True, **await self._answer(request)}
        except ToolError as error:
            return {"ok": False, "error": str(error)}
        except Exception as error:  # our own fault; the assistant goes on all the same
            log.exception("a request failed")
            return {"ok": False, "error": f"{type(error).__name__} in the assistant: see its log"}

    async def _answer(self, request: Mapping[str, Any]) -> Answer:
        verb = self._verbs.get(request["do"])
        if verb is None:
            known = ", ".join([*self._verbs, "events"])
            raise ControlError(f"{str(request['do'])[:50]!r} is nothing that can be asked: try one of {known}")
        return await verb(request)

    async def _status(self, request: Mapping[str, Any]) -> Answer:
        return {"status": self._controls.status()}

    async def _mute(self, muted: bool) -> Answer:
        await self._controls.mute(muted)
        return {"muted": self._controls.muted}

    async def _listen(self, request: Mapping[str, Any]) -> Answer:
        self._controls.listen()
        return {}

    async def _stop(self, request: Mapping[str, Any]) -> Answer:
        self._controls.stop()
        return {}

    async def _ask(self, request: Mapping[str, Any]) -> Answer:
        self._controls.ask(_field(request, "text", str))
        return {}

    async def _say(self, request: Mapping[str, Any]) -> Answer:
        self._controls.announce(_field(request, "text", str))
        return {}

    async def _volume(self, request: Mapping[str, Any]) -> Answer:
        self._controls.set_volume(_field(request, "percent", int))
        return {}

    async def _tools(self, request: Mapping[str, Any]) -> Answer:
        return {"tools": self._controls.tool_list()}

    async def _call(self, request: Mapping[str, Any]) -> Answer:
        arguments = _field(request, "arguments", str) if "arguments" in request else "{}"
        caller = _field(request, "caller", str)[:CALLER_LIMIT] if "caller" in request else ""
        outcome = await self._controls.call_tool(
            _field(request, "tool", str), arguments, by_owner=request.get("yes") is True, caller=caller
        )
        return {"status": outcome.status, "output": outcome.output, "known": self._controls.tools}

    async def _reload(self, request: Mapping[str, Any]) -> Answer:
        return {"lines": await self._controls.reload_plugins(request.get("plugin"))}


def parse(line: bytes | str) -> dict[str, Any]:
    """A request out of its JSON. Raises ControlError."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise ControlError('a line of JSON is needed, such as {"do": "status"}') from None
    if not isinstance(request, dict) or not isinstance(request.get("do"), str):
        raise ControlError('"do" is missing: {"do": "status"} asks for the status')
    return request


def _field(request: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = request.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ControlError(f"{name}: a {'text' if kind is str else 'whole number'} is needed")
    return value
