"""The session against a scripted server, over a real socket, on virtual time."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, TypeVar

import pytest

from assistant.core import events as ev
from assistant.core.completeness import Completeness
from assistant.core.events import Event, Failure, ResponseStatus
from assistant.errors import AuthenticationError
from assistant.realtime.session import MAX_APPEND, Endpoint, RealtimeSession
from assistant.realtime.settings import SemanticVad, SessionSettings
from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.testing.virtual_time import run
from assistant.types import CallId, ItemId, Milliseconds, ResponseId

E = TypeVar("E")


class Client:
    """A session with the events that it emitted."""

    def __init__(
        self, url: str, *, ready_timeout: float = 5.0, settings: SessionSettings | None = None, ours: bool = False
    ) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()
        self.usage: list[Any] = []

        async def endpoint() -> Endpoint:
            return Endpoint(url + "?model=m", {"Authorization": "Bearer secret"}, offline_tools=ours)

        self.session = RealtimeSession(
            1, endpoint, settings or SessionSettings(), self._take, ready_timeout=ready_timeout, usage=self.usage.append
        )

    def _take(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def wait(self, kind: type[E]) -> E:
        while True:
            for event in self.events:
                if isinstance(event, kind):
                    return event
            self._news.clear()
            await self._news.wait()

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


def talk(
    script: Callable[[Peer], Coroutine[Any, Any, None]],
    act: Callable[[Client], Coroutine[Any, Any, None]],
    *,
    ready_timeout: float = 5.0,
    settings: SessionSettings | None = None,
    ours: bool = False,
    **server_options: Any,
) -> tuple[Client, ScriptedServer]:
    """Run a script and a client against each other."""

    async def main() -> tuple[Client, ScriptedServer]:
        async with ScriptedServer(script, **server_options) as server:
            client = Client(server.url, ready_timeout=ready_timeout, settings=settings, ours=ours)
            async with asyncio.TaskGroup() as group:
                running = group.create_task(client.session.run())
                await act(client)
                client.session.close()
                await running
        return client, server

    return run(main())


async def wait_for_loss(client: Client) -> None:
    await client.wait(ev.SessionLost)


async def ready_then_loss(client: Client) -> None:
    await client.wait(ev.SessionReady)
    await client.wait(ev.SessionLost)


# --- the normal case -------------------------------------------------------------------------------------------------


def test_what_is_said_before_ready_goes_out_in_order_after_the_settings() -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.expect("input_audio_buffer.commit")
        await peer.expect("response.create")
        await peer.answer("Noon.", bytes(9600))
        await peer.drain()

    audio = bytes(range(256)) * 480

    async def act(client: Client) -> None:
        for start in range(0, len(audio), 960):
            client.session.append(audio[start : start + 960])
        client.session.commit()
        client.session.create_response()
        await client.wait(ev.ResponseDone)

    client, server = talk(script, act)
    [peer] = server.peers
    assert peer.audio == audio, "not a sample is lost or moved"
    assert client.session.counters.audio_bytes == len(audio)
    appends = [event for event in peer.received if event["type"] == "input_audio_buffer.append"]
    assert all(len(base64.b64decode(event["audio"])) <= MAX_APPEND for event in appends)
    assert len(appends) < 30, "a backlog goes out in large pieces"
    assert [type(event).__name__ for event in client.events] == [
        "SessionReady",
        "ResponseCreated",
        "AnswerText",
        "AnswerAudio",
        "AnswerAudio",
        "AnswerAudioDone",
        "ResponseDone",
    ]
    [request] = server.requests
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.path == "/v1/realtime?model=m"


def test_closing_says_goodbye_and_reports_nothing() -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.drain()

    async def act(client: Client) -> None:
        await client.wait(ev.SessionReady)

    client, server = talk(script, act)
    assert server.peers[0].socket.close_code == 1000
    assert not client.all(ev.SessionLost)


def test_the_other_client_events_arrive_as_they_are() -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.expect("conversation.item.create")
        await peer.expect("conversation.item.create")
        await peer.expect("response.cancel")
        await peer.expect("conversation.item.truncate")
        await peer.expect("input_audio_buffer.clear")
        await peer.send("error", error={"code": "item_truncate_invalid_item_id", "message": "gone"})
        await peer.send("input_audio_buffer.speech_stopped", item_id="i", audio_end_ms=10)
        await peer.drain()

    async def act(client: Client) -> None:
        session = client.session
        session.say("hello")
        session.answer_call(CallId("c"), "1")
        session.cancel_response(ResponseId("r"))
        session.truncate(ItemId("i"), Milliseconds(5))
        session.append(bytes(960))
        session.clear()
        await client.wait(ev.ServerSpeechStopped)

    client, server = talk(script, act)
    assert server.peers[0].audio == b"", "cleared audio is not sent any more"
    assert not client.all(ev.SessionLost), "a benign error changes nothing"


async def knows_sentences(peer: Peer) -> None:
    """Answers every question, the first one late."""
    await peer.open_session()
    asked = [await peer.expect("hearth.completeness.get") for _ in range(2)]
    for question, found in zip(asked, ("complete", "unfinished"), strict=True):
        await peer.send("hearth.completeness", asked_by=question["event_id"], completeness=found)
    await peer.send("hearth.completeness", asked_by=None, completeness="open")
    await peer.send("input_audio_buffer.speech_stopped", item_id="i", audio_end_ms=10)
    await peer.drain()


def test_of_two_questions_about_an_utterance_the_last_is_answered() -> None:
    told: list[tuple[str, Completeness]] = []

    async def act(client: Client) -> None:
        await client.wait(ev.SessionReady)
        client.session.ask_completeness(lambda found: told.append(("first", found)))
        client.session.ask_completeness(lambda found: told.append(("second", found)))
        await client.wait(ev.ServerSpeechStopped)

    talk(knows_sentences, act, ours=True)
    assert told == [("second", Completeness.UNFINISHED)]


@pytest.mark.parametrize("whose", ["another's", "ours, which ends utterances itself"])
def test_a_server_that_cannot_tell_or_need_not_is_not_asked(whose: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.expect("input_audio_buffer.commit")
        await peer.send("input_audio_buffer.speech_stopped", item_id="i", audio_end_ms=10)
        await peer.drain()

    async def act(client: Client) -> None:
        await client.wait(ev.SessionReady)
        client.session.ask_completeness(lambda found: pytest.fail("nobody was asked"))
        client.session.commit()
        await client.wait(ev.ServerSpeechStopped)

    settings = SessionSettings() if whose == "another's" else SessionSettings(turn_detection=SemanticVad())
    _, server = talk(script, act, ours=whose != "another's", settings=settings)
    assert not [event for event in server.peers[0].received if event["type"].startswith("hearth.")]


def test_tool_calls_and_usage_are_passed_on() -> None:
    call = {"type": "function_call", "status": "completed", "call_id": "c1", "name": "clock_time", "arguments": "{}"}

    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.send("response.created", response={"id": "r1"})
        await peer.send("response.output_item.done", response_id="r1", output_index=0, item=call)
        await peer.send("response.done", response={"id": "r1", "status": "completed", "usage": {"total_tokens": 12}})
        await peer.drain()

    async def act(client: Client) -> None:
        done = await client.wait(ev.ResponseDone)
        assert done.status is ResponseStatus.COMPLETED

    client, _ = talk(script, act)
    [called] = client.all(ev.ToolCalled)
    assert (called.call, called.tool, called.arguments) == ("1/c1", "clock_time", "{}")
    assert client.usage == [{"total_tokens": 12}]


def test_a_refused_create_is_told_apart_from_other_errors() -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        for code in ("conversation_already_has_active_response", "invalid_value"):
            create = await peer.expect("response.create")
            await peer.send("error", error={"code": code, "message": "no", "event_id": create["event_id"]})
        await peer.send("error", error={"code": "invalid_value", "message": "other", "event_id": None})
        await peer.send("response.created", response={"id": "r1"})
        await peer.drain()

    async def act(client: Client) -> None:
        client.session.create_response()
        client.session.create_response()
        await client.wait(ev.ResponseCreated)

    client, _ = talk(script, act)
    assert [event.busy for event in client.all(ev.ResponseRefused)] == [True, False]


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "failure", "retry_after"),
    [
        (HTTPStatus.UNAUTHORIZED, {}, Failure.AUTHENTICATION, None),
        (HTTPStatus.FORBIDDEN, {}, Failure.AUTHENTICATION, None),
        (HTTPStatus.NOT_FOUND, {}, Failure.REFUSED, None),
        (HTTPStatus.BAD_REQUEST, {}, Failure.REFUSED, None),
        (HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": "7"}, Failure.RATE_LIMITED, 7.0),
        (HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": "nonsense"}, Failure.RATE_LIMITED, None),
        (HTTPStatus.INTERNAL_SERVER_ERROR, {}, Failure.CONNECT, None),
        (HTTPStatus.OK, {}, Failure.CONNECT, None),
    ],
)
def test_refused_upgrades(
    status: HTTPStatus, headers: dict[str, str], failure: Failure, retry_after: float | None
) -> None:
    async def script(peer: Peer) -> None:
        raise AssertionError("nobody gets here")

    client, _ = talk(script, wait_for_loss, refuse=status, refuse_headers=headers)
    [lost] = client.all(ev.SessionLost)
    assert (lost.failure, lost.retry_after) == (failure, retry_after)


@pytest.mark.parametrize(
    ("code", "reason", "failure"),
    [
        (1000, "", Failure.CONNECT),
        (1001, "The session hit the maximum duration of 60 minutes.", Failure.EXPIRED),
        (1001, "", Failure.CONNECT),
        (1009, "", Failure.CONNECT),
        (1011, "", Failure.CONNECT),
        (4000, "", Failure.REFUSED),
    ],
)
def test_closes(code: int, reason: str, failure: Failure) -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.close(code, reason)

    client, _ = talk(script, ready_then_loss)
    assert [lost.failure for lost in client.all(ev.SessionLost)] == [failure]


def test_a_broken_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        peer.abort()

    client, _ = talk(script, ready_then_loss)
    assert [lost.failure for lost in client.all(ev.SessionLost)] == [Failure.CONNECT]


def test_a_server_that_stalls_after_the_upgrade_is_given_up_in_time() -> None:
    async def script(peer: Peer) -> None:
        await peer.send("session.created", session={"type": "realtime"})
        await peer.drain()

    async def act(client: Client) -> None:
        began = asyncio.get_running_loop().time()
        lost = await client.wait(ev.SessionLost)
        assert lost.at - began == pytest.approx(5.0, abs=0.2)

    client, _ = talk(script, act)
    assert [lost.failure for lost in client.all(ev.SessionLost)] == [Failure.CONNECT]


def test_a_session_that_became_ready_may_be_silent_for_long() -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.drain()

    async def act(client: Client) -> None:
        await client.wait(ev.SessionReady)
        await asyncio.sleep(600)

    client, _ = talk(script, act)
    assert not client.all(ev.SessionLost)


def test_refused_settings_are_fatal_and_named(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer) -> None:
        await peer.send("session.created", session={"type": "realtime"})
        await peer.expect("session.update")
        await peer.send("error", error={"code": "unknown_parameter", "param": "session.speed", "message": "secret"})
        await peer.drain()

    client, _ = talk(script, wait_for_loss)
    assert [lost.failure for lost in client.all(ev.SessionLost)] == [Failure.REFUSED]
    assert "unknown_parameter (session.speed)" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("session_expired", Failure.EXPIRED),
        ("invalid_api_key", Failure.AUTHENTICATION),
        ("insufficient_quota", Failure.QUOTA),
        ("model_not_found", Failure.REFUSED),
    ],
)
def test_fatal_error_events(code: str, failure: Failure) -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.send("error", error={"code": code, "message": "m"})
        await peer.drain()

    client, _ = talk(script, ready_then_loss)
    assert [lost.failure for lost in client.all(ev.SessionLost)] == [failure]


def test_some_nonsense_is_passed_over_and_too_much_ends_the_session() -> None:
    nonsense: list[str | bytes] = ["{", b"\0", "[]", '{"type": "response.created"}', '{"type": "error"}']

    async def script(peer: Peer) -> None:
        await peer.open_session()
        for message in nonsense:
            await peer.send_raw(message)
        await peer.send_raw(json.dumps({"type": "response.telepathy"}))
        await peer.answer("Still here.", bytes(4800))
        await peer.expect("conversation.item.create")
        for message in nonsense * 5:
            await peer.send_raw(message)
        await peer.drain()

    async def act(client: Client) -> None:
        await client.wait(ev.ResponseDone)
        assert client.session.counters.malformed == len(nonsense)
        assert client.session.counters.unknown == 1
        client.session.say("go on")
        await client.wait(ev.SessionLost)

    client, _ = talk(script, act)
    assert [lost.failure for lost in client.all(ev.SessionLost)] == [Failure.PROTOCOL]


def test_megabyte_events_are_taken() -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.send("response.output_audio.delta", response_id="r", item_id="i", delta="A" * 4_000_000)
        await peer.drain()

    async def act(client: Client) -> None:
        audio = await client.wait(ev.AnswerAudio)
        assert len(audio.pcm) == 3_000_000

    talk(script, act)


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    async def main() -> Client:
        client = Client(f"ws://127.0.0.1:{port}/v1/realtime")
        await client.session.run()
        return client

    client = run(main())
    assert [lost.failure for lost in client.all(ev.SessionLost)] == [Failure.CONNECT]


def test_something_else_listens() -> None:
    async def main() -> Client:
        async def serve_mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve_mail, "127.0.0.1", 0)
        async with server:
            client = Client(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime")
            await client.session.run()
        return client

    client = run(main())
    assert [lost.failure for lost in client.all(ev.SessionLost)] == [Failure.PROTOCOL]


def test_a_missing_key_is_an_authentication_failure_without_a_connection() -> None:
    async def endpoint() -> Endpoint:
        raise AuthenticationError("openai: there is no key: set OPENAI_API_KEY")

    async def main() -> list[Event]:
        events: list[Event] = []
        await RealtimeSession(1, endpoint, SessionSettings(), events.append, ready_timeout=5).run()
        return events

    [lost] = run(main())
    assert isinstance(lost, ev.SessionLost) and lost.failure is Failure.AUTHENTICATION


def test_a_session_that_is_over_takes_what_it_is_told_and_keeps_nothing() -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.close(1011)

    async def act(client: Client) -> None:
        await client.wait(ev.SessionLost)
        client.session.append(bytes(960))
        client.session.commit()

    client, _ = talk(script, act)
    assert not client.session._outbox


def test_headers_never_show_in_a_repr() -> None:
    assert "secret" not in repr(Endpoint("wss://host/realtime", {"api-key": "secret"}))
    assert Endpoint("wss://user:pw@host:1/realtime?api-key=secret").where == "host:1"


def test_ids_are_the_session_s_own_and_go_back_as_the_server_knows_them() -> None:
    """A server that counts from 1 in each session must not have its second answer taken for the first."""

    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.answer("Noon.", bytes(4800), response="r1", item="i1")
        cancelled = await peer.expect("response.cancel")
        truncated = await peer.expect("conversation.item.truncate")
        answered = await peer.expect("conversation.item.create")
        assert cancelled["response_id"] == "r1"
        assert truncated["item_id"] == "i1"
        assert answered["item"]["call_id"] == "c1"
        await peer.send("input_audio_buffer.speech_stopped", item_id="i", audio_end_ms=10)
        await peer.drain()

    async def act(client: Client) -> None:
        audio = await client.wait(ev.AnswerAudio)
        assert (audio.response, audio.item) == ("1/r1", "1/i1")
        client.session.cancel_response(audio.response)
        client.session.truncate(audio.item, Milliseconds(5))
        client.session.answer_call(CallId("1/c1"), "null")
        await client.wait(ev.ServerSpeechStopped)

    talk(script, act)
