"""A language model instead of the sentences (``local.brain: chat``): any chat endpoint of OpenAI's kind.

Ollama, llama.cpp's server and vLLM have one. It gets the same instructions, the same conversation and the same tools as
a cloud brain. When it cannot be reached, or stops in the middle, the caller goes on without it; see ``mind``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from assistant.local.brain import CallTool, Decision, Say
from assistant.local.chat_stream import Answer, ChatError, EventReader
from assistant.local.conversation import Item

_log = logging.getLogger(__name__)

_CONNECT_S: Final = 3.0
_READ: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Where the model is.

    url: everything before ``/chat/completions``. patience_s: how long it may be silent.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    patience_s: float = 15.0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One turn: who the assistant is, what was said so far, and what it may call."""

    instructions: str
    context: Sequence[Item]
    tools: Sequence[Mapping[str, Any]]
    tool_choice: Any = "auto"

    def to_json(self, model: str) -> dict[str, Any]:
        messages: list[dict[str, Any]] = []
        if self.instructions:
            messages.append({"role": "system", "content": self.instructions})
        messages += _messages(self.context)
        body: dict[str, Any] = {"model": model, "messages": messages, "stream": True}
        if self.tools and self.tool_choice != "none":
            body["tools"] = [_tool(spec) for spec in self.tools]
            body["tool_choice"] = _tool_choice(self.tool_choice)
        return body


class Chat:
    """The endpoint. It says once in the log that it cannot be reached, and once that it can again."""

    def __init__(self, settings: ChatSettings) -> None:
        self._settings = settings
        self._answers = True

    async def answer(self, request: ChatRequest) -> AsyncGenerator[Decision, None]:
        """Sentences as they are complete, then tool calls.

        Raises ChatError; what was given until then stands. Closing the generator ends the request at the server.
        """
        answer = Answer()
        try:
            async for data in self._events(request.to_json(self._settings.model)):
                for sentence in answer.feed(data):
                    yield Say(sentence)
                if answer.is_done:
                    break
            sentences, calls = answer.end()
        except ChatError as error:
            if self._answers:
                _log.warning("the language model at %s: %s (local.chat)", self._settings.url, error)
            self._answers = False
            raise
        if not self._answers:
            _log.info("the language model at %s answers again", self._settings.url)
        self._answers = True
        for sentence in sentences:
            yield Say(sentence)
        for call in calls:
            yield CallTool(call.name, call.arguments)

    async def _events(self, body: Mapping[str, Any]) -> AsyncIterator[str]:
        """The events of an answer. Raises ChatError for whatever goes wrong on the way."""
        import aiohttp  # 0.2 s and 20 MB: only who has a model pays for it

        headers = {"Authorization": f"Bearer {self._settings.key}"} if self._settings.key else {}
        patience = self._settings.patience_s
        timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT_S, sock_read=patience, total=None)
        url = f"{self._settings.url}/chat/completions"
        reader = EventReader()
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.post(url, json=body) as response,
            ):
                if response.status != 200:
                    raise ChatError(_refusal(response.status))
                async for piece in response.content.iter_chunked(_READ):
                    for data in reader.feed(piece):
                        yield data
        except TimeoutError:  # aiohttp's own are of this kind, too
            raise ChatError(f"it was silent for {patience:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ChatError(f"it cannot be reached: {type(error).__name__}") from None


def _refusal(status: int) -> str:
    match status:
        case 401 | 403:
            return f"it refuses the key (status {status}): see local.chat.api_key_env"
        case 404:
            return "it knows no such model, or no chat at this address (status 404): see local.chat.model and url"
        case _:
            return f"it answers with status {status}"


def _messages(context: Sequence[Item]) -> list[dict[str, Any]]:
    """The conversation as chat messages: calls that belong together in one, and none without its output."""
    outputs = {item.call_id for item in context if item.type == "function_call_output"}
    calls = {item.call_id for item in context if item.type == "function_call"}
    messages: list[dict[str, Any]] = []
    for item in context:
        match item.type:
            case "message" if item.text:
                messages.append({"role": item.role, "content": item.text})
            case "function_call" if item.call_id in outputs:
                call = {"name": item.name, "arguments": item.arguments}
                entry = {"id": item.call_id, "type": "function", "function": call}
                if messages and "tool_calls" in messages[-1]:
                    messages[-1]["tool_calls"].append(entry)
                else:
                    messages.append({"role": "assistant", "content": None, "tool_calls": [entry]})
            case "function_call_output" if item.call_id in calls:
                messages.append({"role": "tool", "tool_call_id": item.call_id, "content": item.output})
    return messages


def _tool(spec: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: spec[key] for key in ("name", "description", "parameters") if key in spec}
    return {"type": "function", "function": known}


def _tool_choice(choice: Any) -> Any:
    """``{"type": "function", "name": ...}`` of the realtime protocol is nested in a chat."""
    if isinstance(choice, Mapping) and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice if isinstance(choice, str) else "auto"
