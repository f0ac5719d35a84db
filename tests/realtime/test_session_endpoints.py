"""Where a session is opened and how it is spoken to: dialects, redirects and keys, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import logging
from http import HTTPStatus
from typing import Any

import pytest

from assistant.core import events as ev
from assistant.core.events import Event, Failure
from assistant.realtime.dialects import Dialect
from assistant.realtime.session import Endpoint, RealtimeSession
from assistant.realtime.settings import Persona, SessionSettings
from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.testing.virtual_time import run


class Talk:
    """A session in the background, and what came of it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.events: list[Event] = []
        self.over = asyncio.Event()

        async def find() -> Endpoint:
            return endpoint

        self.session = RealtimeSession(1, find, SessionSettings(temperature=0.8), self._take, ready_timeout=5)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ev.ResponseDone | ev.SessionLost):
            self.session.close()

    @property
    def failures(self) -> list[Failure]:
        return [event.failure for event in self.events if isinstance(event, ev.SessionLost)]


async def preview(peer: Peer) -> None:
    """A server that speaks the preview dialect, and nothing else."""
    await peer.send("session.created", session={"model": "gpt-4o-realtime-preview"})
    session = (await peer.expect("session.update"))["session"]
    if "type" in session:
        error = {"type": "invalid_request_error", "code": "unknown_parameter", "param": "session.type", "message": "m"}
        await peer.send("error", error=error)
        return await peer.drain()
    assert session["modalities"] == ["text", "audio"] and session["temperature"] == 0.8
    await peer.send("session.updated", session=session)
    changed = (await peer.expect("session.update"))["session"]
    assert changed == {"instructions": "Be a pirate.", "tools": []}
    await peer.expect("response.create")
    ids = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    await peer.send("response.created", response={"id": "r", "status": "in_progress"})
    await peer.send("response.audio_transcript.delta", **ids, delta="Arr.")
    await peer.send("response.audio.delta", **ids, delta=base64.b64encode(bytes(960)).decode())
    await peer.send("response.audio.done", **ids)
    await peer.send("response.done", response={"id": "r", "status": "completed"})
    await peer.drain()
    return None


def test_a_conversation_in_the_preview_dialect() -> None:
    async def main() -> Talk:
        async with ScriptedServer(preview) as server:
            talk = Talk(Endpoint(server.url, dialect=Dialect.PREVIEW))
            talk.session.change_persona(Persona("Be a pirate."))
            talk.session.create_response()
            await talk.session.run()
        return talk

    names = [type(event).__name__ for event in run(main()).events]
    assert names == ["SessionReady", "ResponseCreated", "AnswerText", "AnswerAudio", "AnswerAudioDone", "ResponseDone"]


def test_the_wrong_dialect_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Talk:
        async with ScriptedServer(preview) as server:
            talk = Talk(Endpoint(server.url))
            await talk.session.run()
        return talk

    assert run(main()).failures == [Failure.REFUSED]
    assert "speaks the preview dialect: set provider azure_preview" in caplog.text


async def nobody(peer: Peer) -> None:
    raise AssertionError("the session must not come here")


def test_a_redirect_to_another_server_gets_no_key(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> tuple[Talk, ScriptedServer]:
        async with ScriptedServer(nobody) as thief:
            elsewhere = {"Location": thief.url}
            async with ScriptedServer(nobody, refuse=HTTPStatus.FOUND, refuse_headers=elsewhere) as server:
                talk = Talk(Endpoint(server.url, {"api-key": "very-secret"}))
                await talk.session.run()
        return talk, thief

    talk, thief = run(main())
    assert thief.requests == []
    assert talk.failures == [Failure.REFUSED]
    assert "redirects to another place" in caplog.text and "very-secret" not in caplog.text


def test_a_redirect_within_the_server_is_followed() -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.close()

    async def main() -> tuple[Talk, ScriptedServer]:
        moved: dict[str, Any] = {"refuse": HTTPStatus.TEMPORARY_REDIRECT, "refusals": 1}
        async with ScriptedServer(script, refuse_headers={"Location": "/elsewhere"}, **moved) as server:
            talk = Talk(Endpoint(server.url, {"api-key": "secret"}))
            await talk.session.run()
        return talk, server

    talk, server = run(main())
    assert isinstance(talk.events[0], ev.SessionReady)
    assert [request.path for request in server.requests] == ["/v1/realtime", "/elsewhere"]
    assert server.requests[1].headers["api-key"] == "secret"


def test_the_id_that_support_asks_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        headers = {"apim-request-id": "0a1b-2c3d", "x-other": "y"}
        async with ScriptedServer(nobody, refuse=HTTPStatus.NOT_FOUND, refuse_headers=headers) as server:
            await Talk(Endpoint(server.url)).session.run()

    run(main())
    assert "no such model or deployment there; check address and model (apim-request-id 0a1b-2c3d)" in caplog.text


@pytest.mark.parametrize(("status", "told"), [(HTTPStatus.UNAUTHORIZED, 1), (HTTPStatus.FORBIDDEN, 0)])
def test_who_gave_a_token_hears_that_it_was_refused(
    status: HTTPStatus, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "assistant")
    calls: list[None] = []

    async def main() -> Talk:
        async with ScriptedServer(nobody, refuse=status) as server:
            headers = {"Authorization": "Bearer very-secret"}
            talk = Talk(Endpoint(server.url, headers, on_unauthorized=lambda: calls.append(None)))
            await talk.session.run()
        return talk

    assert run(main()).failures == [Failure.AUTHENTICATION]
    assert len(calls) == told
    assert "very-secret" not in caplog.text
