"""From the config to the request that a provider gets: addresses, headers, keys, and keyless sign-in end to end.

The last uses the real ``azure.identity``: its App Service identity endpoint is imitated on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.http11 import Request

from assistant import wiring
from assistant.brains import Brains
from assistant.config import Config, parse
from assistant.core import events as ev
from assistant.core.events import Event, Failure
from assistant.errors import AuthenticationError
from assistant.realtime.dialects import Dialect
from assistant.realtime.session import Endpoint, RealtimeSession
from assistant.realtime.settings import SessionSettings
from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.tools.registry import ToolRegistry

KEY = "very-secret-key"
TOKEN = "very-secret-token"


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *("OPENAI_API_KEY", "OPENAI_MODEL", "OPENAI_API_VERSION", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"),
        *("AZURE_OPENAI_DEPLOYMENT_NAME", "AZURE_VOICELIVE_API_KEY", "AZURE_VOICELIVE_ENDPOINT"),
        *("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_TOKEN_CREDENTIALS"),
        *("AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_SERVER_THUMBPRINT", "CREDENTIALS_DIRECTORY"),
    ):
        monkeypatch.delenv(name, raising=False)


def config_of(text: str) -> Config:
    return parse(text, Path("/etc/hearth/config.yaml"))


def endpoint_of(text: str) -> Endpoint:
    config = config_of(text)
    return asyncio.run(_found(Brains(config, None), config.provider))


async def _found(brains: Brains, provider: str) -> Endpoint:
    return await brains.endpoint(provider)()


@pytest.mark.parametrize(
    ("text", "url", "header", "dialect"),
    [
        (
            "provider: azure\nazure: {endpoint: 'https://r.openai.azure.com/', deployment: my rt}",
            "wss://r.openai.azure.com/openai/v1/realtime?model=my+rt",
            "api-key",
            Dialect.GA,
        ),
        (
            "provider: azure_preview\n"
            "azure: {endpoint: 'https://r.openai.azure.com', deployment: rt, api_version: 2025-04-01-preview}",
            "wss://r.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=rt",
            "api-key",
            Dialect.PREVIEW,
        ),
        (
            "provider: voice_live\nvoice_live: {endpoint: 'https://r.services.ai.azure.com/api/projects/p'}",
            "wss://r.services.ai.azure.com/voice-live/realtime?api-version=2025-10-01&model=gpt-realtime",
            "api-key",
            Dialect.VOICE_LIVE,
        ),
        ("provider: openai", "wss://api.openai.com/v1/realtime?model=gpt-realtime", "Authorization", Dialect.GA),
        (
            "provider: custom\ncustom: {url: 'wss://brain/v1?tenant=1', model: m, dialect: preview, api_key_env: K}",
            "wss://brain/v1/realtime?tenant=1&model=m",
            "Authorization",
            Dialect.PREVIEW,
        ),
    ],
)
def test_the_header_matrix(
    text: str,
    url: str,
    header: str,
    dialect: Dialect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_VOICELIVE_API_KEY", "K"):
        monkeypatch.setenv(name, KEY)
    found = endpoint_of(text)
    assert (found.url, found.dialect) == (url, dialect)
    microsoft = header == "api-key"
    assert found.headers[header] == (KEY if microsoft else f"Bearer {KEY}")
    assert set(found.headers) == ({header, "x-ms-client-request-id"} if microsoft else {header})
    assert KEY not in caplog.text
    assert ("signing in with an API key" in caplog.text) == microsoft


def test_every_connection_has_an_id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    text = "provider: azure\nazure: {endpoint: 'https://r.openai.azure.com/', deployment: rt}"
    assert len({endpoint_of(text).headers["x-ms-client-request-id"] for _ in range(3)}) == 3


def test_openai_has_no_keyless_sign_in() -> None:
    with pytest.raises(
        AuthenticationError, match=r"openai: there is no key: set OPENAI_API_KEY, or openai\.api_key_file"
    ):
        endpoint_of("provider: openai")


# --- keyless ---------------------------------------------------------------------------------------------------------


class IdentityEndpoint:
    """What App Service gives to a program that runs there; it answers who knows the header."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.status = HTTPStatus.OK
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[IdentityEndpoint]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/msi/token"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        self.requests.append((head[0].split(" ")[1], headers.get("x-identity-header")))
        token = {"access_token": f"{TOKEN}-{len(self.requests)}", "expires_on": str(int(time.time()) + 3600)}
        body = json.dumps(
            {**token, "token_type": "Bearer", "resource": "r"} if self.status is HTTPStatus.OK else {}
        ).encode()
        reply = f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\nContent-Type: application/json\r\n"
        writer.write(f"{reply}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def _answer(peer: Peer) -> None:
    await peer.open_session()
    await peer.drain()


async def _sessions(config: Config, count: int) -> list[Event]:
    """Open sessions one after the other, as the daemon would; what came of each."""
    brains = Brains(config, None)
    tokens = asyncio.create_task(brains.run())
    events: list[Event] = []
    for number in range(1, count + 1):
        session: RealtimeSession

        def take(event: Event) -> None:
            events.append(event)
            session.close()  # noqa: B023  # it is called before the next one is made

        session = RealtimeSession(number, brains.endpoint(config.provider), SessionSettings(), take, ready_timeout=30)
        await session.run()
    tokens.cancel()
    await asyncio.wait({tokens})
    return events


def keyless(
    monkeypatch: pytest.MonkeyPatch, count: int, more: str = "", status: HTTPStatus = HTTPStatus.OK
) -> tuple[list[Event], list[Request], IdentityEndpoint]:
    async def main() -> tuple[list[Event], list[Request], IdentityEndpoint]:
        identity = IdentityEndpoint()
        identity.status = status
        refused = HTTPStatus.UNAUTHORIZED if "refused" in more else None
        async with identity.running(), ScriptedServer(_answer, refuse=refused, refusals=1) as server:
            monkeypatch.setenv("IDENTITY_ENDPOINT", identity.url)
            monkeypatch.setenv("IDENTITY_HEADER", "identity-secret")
            address = server.url.replace("ws://", "http://").removesuffix("/v1/realtime")
            settings = f"endpoint: '{address}', deployment: rt, credential: managed_identity{more}"
            events = await _sessions(config_of(f"provider: azure\nazure: {{{settings}}}"), count)
        return events, server.requests, identity

    return asyncio.run(main())


def test_keyless_end_to_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)  # who names a credential wants no key
    events, requests, identity = keyless(monkeypatch, 3, ", client_id: 1234-abcd")
    assert [type(event) for event in events] == [ev.SessionReady] * 3
    for request in requests:
        assert request.path == "/openai/v1/realtime?model=rt"
        assert request.headers["Authorization"] == f"Bearer {TOKEN}-1"
        assert "api-key" not in request.headers and "OpenAI-Beta" not in request.headers
    [(path, header)] = identity.requests
    query = parse_qs(urlsplit(path).query)
    assert (query["resource"], query["client_id"], header) == (
        ["https://cognitiveservices.azure.com"],
        ["1234-abcd"],
        "identity-secret",
    )
    assert "keyless sign-in with Microsoft Entra ID (credential: managed_identity)" in caplog.text
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name != "websockets.server")
    for secret in (TOKEN, KEY, "identity-secret"):
        assert secret not in ours, "not even in a debug log"


@pytest.mark.daemon
def test_the_whole_program_signs_in_keyless(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.expect("conversation.item.create")
        await peer.expect("response.create")
        await peer.answer("Noon.", bytes(4800))
        await peer.drain()

    async def main() -> tuple[int | None, str, list[Request]]:
        async with IdentityEndpoint().running() as identity, ScriptedServer(script) as server:
            address = server.url.replace("ws://", "http://").removesuffix("/v1/realtime")
            text = f"provider: azure\nazure: {{endpoint: '{address}', deployment: rt}}\nstate_dir: state\n"
            (tmp_path / "config.yaml").write_text(text + "log: {level: debug}", "utf-8")
            program = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-m",
                    "assistant",
                    "ask",
                    "--quiet",
                    "--config",
                    str(tmp_path / "config.yaml"),
                    "hello",
                ),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, "IDENTITY_ENDPOINT": identity.url, "IDENTITY_HEADER": "identity-secret"},
            )
            output, _ = await asyncio.wait_for(program.communicate(), 60)
        return program.returncode, output.decode(), server.requests

    status, output, requests = asyncio.run(main())
    assert (status, "Noon." in output) == (0, True), output
    assert [request.headers["Authorization"] for request in requests] == [f"Bearer {TOKEN}-1"]
    assert TOKEN not in output and "identity-secret" not in output


def test_a_token_that_is_refused_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    events, requests, _ = keyless(monkeypatch, 2, ", client_id: refused")
    assert isinstance(events[0], ev.SessionLost) and events[0].failure is Failure.AUTHENTICATION
    assert isinstance(events[1], ev.SessionReady)
    assert [request.headers["Authorization"] for request in requests] == [f"Bearer {TOKEN}-1", f"Bearer {TOKEN}-2"]


def test_no_identity_is_one_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    events, requests, _ = keyless(monkeypatch, 1, status=HTTPStatus.BAD_REQUEST)
    assert requests == []
    assert [event.failure for event in events if isinstance(event, ev.SessionLost)] == [Failure.AUTHENTICATION]
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("assistant")]
    assert lines and all("\n" not in line for line in lines)
    assert any("azure: Microsoft Entra ID does not let us in" in line for line in lines)


def test_keyless_is_chosen_when_there_is_no_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Brains(config_of("provider: azure\nazure: {endpoint: 'https://r.openai.azure.com', deployment: rt}"), None)
    assert "azure: keyless sign-in with Microsoft Entra ID (credential: default)" in caplog.text


# --- who ends the utterance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("session", "server", "grace"),
    [
        ("turn_detection: local", False, 3.0),
        ("turn_detection: server_vad", True, 3.0),
        ("turn_detection: semantic_vad", True, 5.0),
        ("turn_detection: semantic_vad, semantic_vad: {eagerness: low}", True, 9.0),
    ],
)
def test_the_conversation_waits_for_a_server_that_ends_the_utterance(
    session: str, server: bool, grace: float, tmp_path: Path
) -> None:
    config = config_of(f"session: {{{session}}}")
    settings = wiring.conversation_settings(config, ToolRegistry(tmp_path))
    assert (settings.server_turn_detection, settings.server_stop_grace) == (server, grace)
    asked = wiring.session_settings(config, ToolRegistry(tmp_path)).turn_detection
    assert (asked is not None) == server
