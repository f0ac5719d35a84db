"""The server's edges: doors and keys, nonsense on the socket, clients that do not read, a recogniser that dies."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import random
import signal
import socket
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from assistant.errors import ConfigError, ConnectError
from assistant.local import outbox
from assistant.local.checks import EventError
from assistant.local.protocol import new_session, response_overrides
from tests.local.client import client, run, server, spoken
from tests.local.household import TOOLS, tool

KEY = "s3cret"


async def receive(connection: ClientConnection, event_type: str) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(await connection.recv())
        if event["type"] == event_type:
            return event


async def refused(url: str, **options: Any) -> int:
    with pytest.raises(InvalidStatus) as caught:
        await connect(url, **options)
    return caught.value.response.status_code


@pytest.mark.parametrize("path", ["/v1/realtime", "/openai/v1/realtime"])
@pytest.mark.parametrize(
    ("query", "headers", "subprotocols"),
    [
        ("", {"Authorization": f"Bearer {KEY}"}, []),
        ("", {"Authorization": f"bearer {KEY}"}, []),
        ("", {"api-key": KEY}, []),
        (f"?model=m&api-key={KEY}", {}, []),
        ("", {}, ["realtime", f"openai-insecure-api-key.{KEY}"]),
    ],
)
def test_ways_to_show_the_key(path: str, query: str, headers: dict[str, str], subprotocols: list[str]) -> None:
    async def main() -> None:
        async with server(key=KEY) as port:
            url = f"ws://127.0.0.1:{port}{path}{query}"
            options: dict[str, Any] = {"subprotocols": subprotocols} if subprotocols else {}
            async with connect(url, additional_headers=headers, **options) as connection:
                await receive(connection, "session.created")
                assert connection.subprotocol == ("realtime" if subprotocols else None)

    run(main)


def test_a_wrong_key_and_a_wrong_path_are_refused() -> None:
    async def main() -> None:
        async with server(key=KEY) as port:
            base = f"ws://127.0.0.1:{port}"
            assert await refused(f"{base}/v1/realtime") == 401
            for wrong in ("", "s3cre", "s3cretx", "Ünicode"):
                assert await refused(f"{base}/v1/realtime?api-key={wrong}") == 401
            assert await refused(f"{base}/v1/realtime", additional_headers={"Authorization": f"Basic {KEY}"}) == 401
            for path in (
                "/",
                "/v1",
                "/v1/realtime/x",
                "/openai/realtime",
                "/voice-live/realtime",
                "/v1/chat/completions",
            ):
                assert await refused(f"{base}{path}?api-key={KEY}") == 404

    run(main)


def test_there_is_room_for_so_many_sessions_and_again_when_one_leaves() -> None:
    async def main() -> None:
        async with server(max_sessions=1) as port:
            url = f"ws://127.0.0.1:{port}/v1/realtime"
            async with connect(url) as connection:
                await receive(connection, "session.created")
                assert await refused(url) == 503
            async with connect(url) as connection:
                await receive(connection, "session.created")

    run(main)


def test_the_key_reaches_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with server(key=KEY) as port:
            await refused(f"ws://127.0.0.1:{port}/v1/realtime?api-key=x{KEY}")
            async with connect(f"ws://127.0.0.1:{port}/v1/realtime?api-key={KEY}") as connection:
                await receive(connection, "session.created")

    with caplog.at_level(logging.DEBUG, logger="assistant"):
        run(main)
    assert KEY not in caplog.text
    from assistant.local.server import LocalServerSettings

    assert KEY not in repr(LocalServerSettings(key=KEY))


@pytest.mark.parametrize("transcripts", [False, True])
def test_what_was_said_reaches_the_log_only_when_asked_for(transcripts: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with server(log_transcripts=transcripts) as port, client(port) as session:
            await session.manual()
            await session.type("xylophone")
            await session.speak(spoken("turn on the kitchen light"))
            await session.send("input_audio_buffer.commit")
            await session.respond()

    with caplog.at_level(logging.DEBUG, logger="assistant"):
        run(main)
    assert "xylophone" not in caplog.text
    assert ("kitchen" in caplog.text) == transcripts


NONSENSE = [
    b"\x00\xff",
    "",
    "null",
    "[]",
    "{}",
    '{"type": null}',
    '{"type": []}',
    '{"type": "session.update", "session": null}',
    '{"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "function", "name": 1}]}}',
    '{"type": "input_audio_buffer.append", "audio": 5}',
    '{"type": "conversation.item.create", "item": {"type": [], "id": {}}}',
    '{"type": "conversation.item.create", "item": {"type": "message", "role": {}, "content": 1}}',
    '{"type": "conversation.item.truncate", "item_id": [], "content_index": -1, "audio_end_ms": "x"}',
    '{"type": "response.create", "response": {"input": [null]}}',
    '{"type": "response.create", "response": 5}',
    "[" * 100_000,
    '{"type": "' + "x" * 10_000 + '"}',
]


def test_nonsense_is_answered_with_errors_and_harms_nobody() -> None:
    async def main() -> None:
        async with server() as port, connect(f"ws://127.0.0.1:{port}/v1/realtime") as connection:
            await receive(connection, "session.created")
            for message in NONSENSE:
                await connection.send(message)
                error = (await receive(connection, "error"))["error"]
                assert error["type"] == "invalid_request_error"
                assert len(error["message"]) < 1_000
            await connection.send('{"type": "input_audio_buffer.clear"}')
            await receive(connection, "input_audio_buffer.cleared")

    run(main)


def test_bytes_that_are_no_websocket_leave_the_server_alive(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with server() as port:
            for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(200), b"hello\n" * 50, b""):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(junk)
                writer.write_eof()
                await reader.read(10_000)
                writer.close()
                await writer.wait_closed()
            async with client(port) as session:
                await session.manual()

    run(main)
    assert "Traceback" not in caplog.text


def test_a_message_that_is_too_large_ends_only_its_own_session() -> None:
    async def main() -> None:
        async with server() as port, client(port) as other:
            raw = await _raw_session(port)
            loop = asyncio.get_running_loop()
            with raw:
                await loop.sock_sendall(raw, bytes([0x81, 0xFF]) + (17 * 1024 * 1024).to_bytes(8, "big") + bytes(4))
                answer = b""
                while chunk := await loop.sock_recv(raw, 65_536):
                    answer += chunk
            assert (1009).to_bytes(2, "big") + b"frame" in answer  # the close frame
            await other.manual()

    run(main)


def test_a_client_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_MAX_BYTES", 1_000_000)

    async def main() -> None:
        async with server() as port:
            raw = await _raw_session(port)
            loop = asyncio.get_running_loop()
            update = json.dumps(
                {"type": "session.update", "session": {"type": "realtime", "instructions": "x" * 60_000}}
            )
            frame = _frame(update.encode())
            with raw:
                with pytest.raises(ConnectionError):
                    for _ in range(500):
                        await loop.sock_sendall(raw, frame)
                async with client(port) as session:
                    await session.manual()

    run(main)


async def _raw_session(port: int) -> socket.socket:
    """A session over a bare socket with a small receive buffer."""
    loop = asyncio.get_running_loop()
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await loop.sock_connect(raw, ("127.0.0.1", port))
    key = base64.b64encode(bytes(16)).decode()
    request = (
        "GET /v1/realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(raw, request.encode())
    answer = b""
    while b"session.created" not in answer:
        answer += await loop.sock_recv(raw, 65_536)
    return raw


def _frame(payload: bytes) -> bytes:
    """A masked text frame with a mask of zeros."""
    head = bytes([0x81, 0x80 | 126]) + len(payload).to_bytes(2, "big")
    return head + bytes(4) + payload


def test_the_recogniser_may_die_while_somebody_speaks() -> None:
    async def main() -> None:
        async with server() as port, client(port) as session:
            await session.manual()
            pcm = spoken("turn the bedroom light off")
            await session.speak(pcm[: len(pcm) // 2])
            (child,) = [
                process
                for process in psutil.Process().children()
                if "assistant.local.recognizer_worker" in process.cmdline()
            ]
            os.kill(child.pid, signal.SIGKILL)
            await session.speak(pcm[len(pcm) // 2 :])
            await session.send("input_audio_buffer.commit")
            response = await session.respond()
            assert json.loads(response.output[0].arguments) == {"state": "off", "area": "bedroom"}

    run(main)


def test_the_microphone_is_remembered(tmp_path: Path) -> None:
    async def main() -> None:
        async with server(state_folder=tmp_path / "state") as port, client(port) as session:
            await session.manual()
            await session.speak(spoken("what time is it"))
            await session.send("input_audio_buffer.commit")
            assert (await session.respond()).output[0].name == "time_get"

    run(main)
    assert any((tmp_path / "state" / "means").iterdir())


def test_a_tool_with_a_mistake_is_reported_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with server() as port, client(port) as session:
            await session.manual(tools=[tool("broken", {}, ["do (this", "do that"]), *TOOLS])
            await session.type("do that")
            assert (await session.respond()).output[0].name == "broken"

    run(main)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith("tool broken: sentence 'do (this': not a valid template")


def test_a_port_in_use_is_one_clear_line() -> None:
    async def main() -> None:
        async with server() as port:
            with pytest.raises(ConnectError, match=f"cannot listen on 127.0.0.1:{port}: ") as caught:
                async with server(port=port):
                    pass
            assert "\n" not in str(caught.value)

    run(main)


def test_an_unknown_voice_is_a_config_error() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="no-such-voice"):
            async with server(voice="no-such-voice"):
                pass

    run(main)


def test_importing_the_server_loads_no_recogniser() -> None:
    """The engine belongs to the child, and the command line must start fast."""
    late = ("pocketsphinx", "soxr", "espeakng_loader", "webrtcvad")
    code = f"import sys, assistant.local.server; print([m for m in {late} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=string.printable, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
PATHS = [
    ["tools"], ["audio", "input", "turn_detection"], ["audio", "input", "format"], ["audio", "output", "speed"],
    ["output_modalities"], ["tool_choice"], ["max_output_tokens"], ["instructions"], ["audio"], [],
]  # fmt: skip


@settings(max_examples=300)
@given(JSON, st.sampled_from(PATHS), st.randoms(use_true_random=False))
def test_no_value_anywhere_breaks_the_settings(value: Any, path: list[str], chance: random.Random) -> None:
    patch: Any = value
    for key in reversed(path):
        patch = {key: patch}
    if path:
        patch["type"] = "realtime"
    session = new_session("s", None, "v", 0)
    try:
        changed = session.updated(patch, voice_is_fixed=chance.random() < 0.5)
    except EventError as error:
        assert error.code in ("invalid_value", "unknown_parameter", "missing_required_parameter", "cannot_update_voice")
    else:
        assert set(changed.json) >= set(session.json)
        assert changed.json["id"] == "s"
    try:
        response_overrides({"response": patch})
    except EventError as error:
        assert "\n" not in error.message
