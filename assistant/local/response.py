"""One response: from what the brain decides to the events that a client sees.

A brain may decide several things in a row, and take its time between them: sentences that follow each other become one
message, and are spoken as they come; each tool call is an output item of its own.

Events are put into the outbox without waiting, so ``cancel`` closes the response at once, whatever it was doing.
Cancelling the task of ``run`` from outside (the connection ends) sends nothing more.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from assistant.errors import HearthError
from assistant.local.brain import CallTool, Decision, Say, SayNothing
from assistant.local.conversation import Conversation, Item, Part
from assistant.local.limits import RateLimits
from assistant.local.protocol import BYTES_PER_MS, SessionConfig, text_tokens
from assistant.local.sound_format import SoundEncoder
from assistant.local.voice import split_sentences

_log = logging.getLogger(__name__)

MS_PER_AUDIO_TOKEN: Final = 50
_LEAD_S: Final = 0.3  # how far ahead of real time paced audio is sent
_ARGUMENTS_PIECE: Final = 32

Pacing = Literal["burst", "realtime"]


class ResponseError(Exception):
    """This response cannot be made; ``code`` is for the client."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Speech(Protocol):
    """Text to speech, shared by all sessions, one sentence at a time."""

    def sentence(self, text: str, voice: str, speed_factor: float) -> AsyncGenerator[bytes, None]:
        """The sentence as it is made, in chunks of at most 100 ms: 24 kHz, 16 bit, mono."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What a response works with. ``conversation`` is None for a response out of band."""

    config: SessionConfig
    conversation: Conversation | None
    context: Sequence[Item]
    """The items it answers, for the count of tokens."""
    decide: Callable[[], AsyncGenerator[Decision, None]]
    speech: Speech
    emit: Callable[..., None]
    """``emit(type, **fields)``"""
    room: Callable[[], Awaitable[None]]
    new_id: Callable[[str], str]
    pacing: Pacing
    metadata: dict[str, str] | None
    limits: RateLimits


class Response:
    """See the module. ``on_done`` is called once, when the response is over."""

    def __init__(self, setting: Setting, on_done: Callable[[Response], None]) -> None:
        self.id = setting.new_id("resp")
        self.task: asyncio.Task[None] | None = None
        self._setting = setting
        self._on_done = on_done
        self._status = "in_progress"
        self._details: dict[str, Any] | None = None
        self._output: list[Item] = []
        self._message: Item | None = None  # the one being spoken
        self._encoder = SoundEncoder(setting.config.output_format)  # a new one for each message
        self._sent_ms = 0  # of audio
        self._speaks_since = 0.0
        self._input_tokens = self._count_input()

    @property
    def is_done(self) -> bool:
        return self._status != "in_progress"

    @property
    def spoken_ms(self) -> int:
        """Length of the audio that was sent."""
        return self._sent_ms

    @property
    def in_conversation(self) -> bool:
        return self._setting.conversation is not None

    def begin(self) -> None:
        """Announce it; ``run`` must follow."""
        self._setting.emit("response.created", response=self._to_json())

    async def run(self) -> None:
        try:
            async with aclosing(self._setting.decide()) as decisions:
                async for decision in decisions:
                    match decision:
                        case CallTool() as call:
                            self._close_message("completed")
                            self._call(call)
                        case Say(text):
                            await self._say(text)
                        case SayNothing():
                            pass
                    if self.is_done:  # the limit of tokens was met
                        return
            self._close_message("completed")
            self._finish("completed", None)
        except ResponseError as error:
            self._fail(str(error), error.code)
        except HearthError as error:
            _log.error("a response failed: %s", error)
            self._fail(str(error))
        except Exception:
            _log.exception("a response failed")
            self._fail("The server had an error while it made the response.")

    def cancel(self, reason: Literal["client_cancelled", "turn_detected"]) -> None:
        """End it now. What was sent so far stays in the conversation, marked incomplete."""
        if self.is_done:
            return
        self._close_message("incomplete")
        self._finish("cancelled", {"type": "cancelled", "reason": reason})
        if self.task is not None:
            self.task.cancel()

    # -- output ------------------------------------------------------------------------------------------------------

    def _call(self, call: CallTool) -> None:
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
        item = Item(
            self._setting.new_id("item"),
            "function_call",
            "in_progress",
            name=call.tool,
            call_id=self._setting.new_id("call"),
            spoken=call.spoken,
        )
        place = self._add(item)
        place["call_id"] = item.call_id
        for start in range(0, len(arguments), _ARGUMENTS_PIECE):
            piece = arguments[start : start + _ARGUMENTS_PIECE]
            self._setting.emit("response.function_call_arguments.delta", **place, delta=piece)
        item.arguments, item.status = arguments, "completed"
        self._setting.emit("response.function_call_arguments.done", **place, name=item.name, arguments=arguments)
        self._item_done(item)

    async def _say(self, text: str) -> None:
        """Add to the message in progress, or begin one."""
        if self._message is None:
            self._begin_message()
        item = self._message
        assert item is not None
        part, place = item.parts[0], self._place(item)
        if part.type == "output_audio":
            complete = await self._speak(text, part, place)
        else:
            complete = self._write(text, part, place)
        if not complete:
            self._close_message("incomplete")
            self._finish("incomplete", {"type": "incomplete", "reason": "max_output_tokens"})

    def _begin_message(self) -> None:
        item = Item(self._setting.new_id("item"), "message", "in_progress", role="assistant")
        place = self._add(item)
        item.parts.append(Part("output_audio" if self._setting.config.wants_audio else "output_text", ""))
        self._message = item
        self._encoder = SoundEncoder(self._setting.config.output_format)
        self._speaks_since = asyncio.get_running_loop().time() - self._sent_ms / 1000
        self._setting.emit("response.content_part.added", **place, content_index=0, part=_part_json(item.parts[0], ""))

    def _write(self, text: str, part: Part, place: dict[str, Any]) -> bool:
        """Send text; False when the limit of tokens was met."""
        limit = self._setting.config.max_output_tokens
        before = part.text or ""
        delta = f" {text}" if before else text
        kept = delta if limit is None else delta[: max(0, limit * 4 - len(before))]
        part.text = before + kept
        self._setting.emit("response.output_text.delta", **place, content_index=0, delta=kept)
        return kept == delta

    async def _speak(self, text: str, part: Part, place: dict[str, Any]) -> bool:
        """Send audio and transcript, sentence by sentence; False when the limit of tokens was met."""
        setting = self._setting
        limit = setting.config.max_output_tokens
        room_ms = None if limit is None else limit * MS_PER_AUDIO_TOKEN
        for sentence in split_sentences(text):
            delta = f" {sentence}" if part.text else sentence
            if not part.cut:
                part.text = (part.text or "") + delta
            setting.emit("response.output_audio_transcript.delta", **place, content_index=0, delta=delta)
            async with aclosing(
                setting.speech.sentence(sentence, setting.config.voice, setting.config.speed)
            ) as chunks:
                async for chunk in chunks:
                    if room_ms is not None:
                        chunk = chunk[: max(0, room_ms - self._sent_ms) * BYTES_PER_MS]
                        if not chunk:
                            return False
                    part.extend(chunk)
                    self._sent_ms += len(chunk) // BYTES_PER_MS
                    self._send_audio(self._encoder.encode(chunk), place)
                    await self._keep_pace()
        return True

    async def _keep_pace(self) -> None:
        """Wait for a client that reads slowly, or for one that wants no more than it plays."""
        await self._setting.room()
        if self._setting.pacing == "realtime":
            ahead = self._speaks_since + self._sent_ms / 1000 - _LEAD_S - asyncio.get_running_loop().time()
            await asyncio.sleep(max(0.0, ahead))

    def _send_audio(self, data: bytes, place: dict[str, Any]) -> None:
        if data:
            delta = b64encode(data).decode("ascii")
            self._setting.emit("response.output_audio.delta", **place, content_index=0, delta=delta)

    def _close_message(self, status: str) -> None:
        """The closing events of the message in progress, if there is one."""
        item, self._message = self._message, None
        if item is None:
            return
        part = item.parts[0]
        place = self._place(item) | {"content_index": 0}
        text = part.text or ""
        if part.type == "output_audio":
            self._send_audio(self._encoder.flush(), self._place(item))
            self._setting.emit("response.output_audio.done", **place)
            self._setting.emit("response.output_audio_transcript.done", **place, transcript=text)
        else:
            self._setting.emit("response.output_text.done", **place, text=text)
        self._setting.emit("response.content_part.done", **place, part=_part_json(part, text))
        item.status = status
        self._item_done(item)

    def _add(self, item: Item) -> dict[str, Any]:
        """Announce an output item; gives the keys that its events share."""
        self._output.append(item)
        place = self._place(item)
        self._setting.emit(
            "response.output_item.added", response_id=self.id, output_index=place["output_index"], item=item.to_json()
        )
        if self._setting.conversation is not None:
            previous = self._setting.conversation.insert(item)
            self._setting.emit("conversation.item.added", previous_item_id=previous, item=item.to_json())
        return place

    def _item_done(self, item: Item) -> None:
        place = self._place(item)
        conversation = self._setting.conversation
        if conversation is not None and conversation.find(item.id) is not None:  # the client may have deleted it
            previous = conversation.before(item.id)
            self._setting.emit("conversation.item.done", previous_item_id=previous, item=item.to_json())
            conversation.trim()
        self._setting.emit(
            "response.output_item.done", response_id=self.id, output_index=place["output_index"], item=item.to_json()
        )

    def _place(self, item: Item) -> dict[str, Any]:
        return {"response_id": self.id, "item_id": item.id, "output_index": self._output.index(item)}

    # -- the end -----------------------------------------------------------------------------------------------------

    def _fail(self, message: str, code: str = "server_error") -> None:
        self._close_message("incomplete")
        kind = "server_error" if code == "server_error" else "invalid_request_error"
        error = {"type": kind, "code": code, "message": message}
        self._finish("failed", {"type": "failed", "error": error})

    def _finish(self, status: str, details: dict[str, Any] | None) -> None:
        if self.is_done:
            return
        self._status, self._details = status, details
        response = self._to_json()
        self._setting.emit("response.done", response=response)
        now = time.monotonic()
        self._setting.limits.spend(response["usage"]["total_tokens"], now)
        self._setting.emit("rate_limits.updated", rate_limits=self._setting.limits.to_json(now))
        self._on_done(self)

    def _to_json(self) -> dict[str, Any]:
        config = self._setting.config
        conversation = self._setting.conversation
        audio = config.json["audio"]["output"]
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self._status,
            "status_details": self._details,
            "output": [item.to_json() for item in self._output],
            "conversation_id": conversation.id if conversation is not None else None,
            "output_modalities": list(config.json["output_modalities"]),
            "max_output_tokens": config.json["max_output_tokens"],
            "audio": {"output": {"format": audio["format"], "voice": audio["voice"]}},
            "metadata": self._setting.metadata,
            **({"temperature": config.json["temperature"]} if "temperature" in config.json else {}),
            "usage": self._usage() if self.is_done else None,
        }

    def _count_input(self) -> tuple[int, int]:
        config = self._setting.config
        text = text_tokens(config.instructions) + (text_tokens(json.dumps(config.tools)) if config.tools else 0)
        counts = [item.tokens() for item in self._setting.context]
        return text + sum(count[0] for count in counts), sum(count[1] for count in counts)

    def _usage(self) -> dict[str, Any]:
        text_in, audio_in = self._input_tokens
        text_out = sum(text_tokens(item.text + item.arguments) for item in self._output)
        audio_out = sum(-(-part.audio_ms // MS_PER_AUDIO_TOKEN) for item in self._output for part in item.parts)
        none_cached = {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0}
        return {
            "total_tokens": text_in + audio_in + text_out + audio_out,
            "input_tokens": text_in + audio_in,
            "output_tokens": text_out + audio_out,
            "input_token_details": {
                "text_tokens": text_in,
                "audio_tokens": audio_in,
                "image_tokens": 0,
                "cached_tokens": 0,
                "cached_tokens_details": none_cached,
            },
            "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
        }


def _part_json(part: Part, text: str) -> dict[str, Any]:
    """A part as ``content_part`` events name it: "text" and "audio", unlike items."""
    if part.type == "output_audio":
        return {"type": "audio", "transcript": text}
    return {"type": "text", "text": text}
