"""Every fault of the table in docs/faults.md, over a real socket: what the user hears, and that the next turn works."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import pytest

from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.testing.virtual_time import run
from tests.engine_rig import Rig

TONE = bytes(4800)
DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"


async def good(peer: Peer) -> None:
    """Answer every request."""
    await peer.open_session()
    await peer.answer_everything("Yes.", TONE)


def fault(*, once: bool, **options: object) -> Callable[[], ScriptedServer]:
    """A server that refuses: the first connection only, or every one."""
    return lambda: ScriptedServer(good, refusals=1 if once else None, **options)  # type: ignore[arg-type]


def script(bad: Callable[[Peer], Awaitable[None]], times: int = 1) -> Callable[[], ScriptedServer]:
    """A server that is bad for the first connections, and good then."""

    async def both(peer: Peer) -> None:
        await (bad(peer) if peer.number <= times else good(peer))

    return lambda: ScriptedServer(both)


async def a_request(peer: Peer) -> None:
    await peer.open_session()
    await peer.expect("conversation.item.create")
    await peer.expect("response.create")


async def close_with(peer: Peer, code: int, reason: str = "") -> None:
    await a_request(peer)
    await peer.close(code, reason)


def closes(code: int, reason: str = "", times: int = 1) -> Callable[[], ScriptedServer]:
    async def bad(peer: Peer) -> None:
        await close_with(peer, code, reason)

    return script(bad, times)


async def break_off(peer: Peer) -> None:
    await a_request(peer)
    peer.abort()


async def stall(peer: Peer) -> None:
    await asyncio.sleep(3600)


async def garbage(peer: Peer) -> None:
    await a_request(peer)
    for _ in range(40):
        await peer.send_raw('{"type": "response.created"}')
    await peer.drain()


async def megabytes(peer: Peer) -> None:
    await a_request(peer)
    await peer.send_raw("[" + "0," * 12_000_000 + "0]")  # 24 MB: more than any event
    await peer.drain()


async def silence(peer: Peer) -> None:
    await peer.open_session()
    await peer.drain()


async def failed_response(peer: Peer) -> None:
    await a_request(peer)
    await peer.send("response.created", response={"id": "r0"})
    details = {"type": "failed", "error": {"code": "rate_limit_exceeded"}}
    await peer.send("response.done", response={"id": "r0", "status": "failed", "status_details": details})
    await peer.answer_everything("Yes.", TONE)


REFUSE = {"retry-after": {"Retry-After": "2"}}
CAPPED = "Your session hit the maximum duration of 60 minutes."

# name in the document -> server, outcome of the turn that meets it, sentence that is heard (None: the answer)
SERVERS: dict[str, tuple[Callable[[], ScriptedServer], str, str | None]] = {
    "captive portal, once": (fault(once=True, refuse=HTTPStatus.OK), "answered", None),
    "captive portal": (fault(once=False, refuse=HTTPStatus.OK), "failed", "unreachable"),
    "redirect to another place": (
        fault(once=False, refuse=HTTPStatus.FOUND, refuse_headers={"Location": "http://portal.invalid/"}),
        "failed",
        "misconfigured",
    ),
    "HTTP 401": (fault(once=False, refuse=HTTPStatus.UNAUTHORIZED), "failed", "not_signed_in"),
    "HTTP 403": (fault(once=False, refuse=HTTPStatus.FORBIDDEN), "failed", "not_signed_in"),
    "HTTP 404": (fault(once=False, refuse=HTTPStatus.NOT_FOUND), "failed", "misconfigured"),
    "HTTP 429, Retry-After 2": (
        fault(once=True, refuse=HTTPStatus.TOO_MANY_REQUESTS, refuse_headers=REFUSE["retry-after"]),
        "answered",
        None,
    ),
    "HTTP 429": (
        fault(once=False, refuse=HTTPStatus.TOO_MANY_REQUESTS, refuse_headers={"Retry-After": "60"}),
        "failed",
        "busy",
    ),
    "HTTP 500, once": (fault(once=True, refuse=HTTPStatus.INTERNAL_SERVER_ERROR), "answered", None),
    "HTTP 500": (fault(once=False, refuse=HTTPStatus.INTERNAL_SERVER_ERROR), "failed", "unreachable"),
    "stall after the upgrade": (script(stall), "answered", None),
    "close 1000": (closes(1000), "answered", None),
    "close 1001, session cap": (closes(1001, CAPPED), "answered", None),
    "close 1006, line broken": (script(break_off), "answered", None),
    "close 1009": (closes(1009), "answered", None),
    "close 1011": (closes(1011), "answered", None),
    "close 1011, always": (closes(1011, times=99), "failed", "unreachable"),
    "close 4000": (closes(4000), "failed", "misconfigured"),
    "no answer": (script(silence), "failed", "too_slow"),
    "garbage events": (script(garbage), "answered", None),
    "an event of 24 MB": (script(megabytes), "answered", None),
    "failed response, rate limit": (script(failed_response), "failed", "busy"),
}


async def turn_and_next(server: ScriptedServer, folder: Path, url: str | None = None) -> tuple[Rig, list[str], float]:
    """A turn that meets the fault, the end of the fault, and another turn; with the seconds that the first one took."""
    rig = Rig(url or server.url, folder)
    loop = asyncio.get_running_loop()
    async with rig.running():
        began = loop.time()
        first = await rig.ask("one")
        took = loop.time() - began
        server._refuse = None
        server._script = good
        rig.url = server.url
        return rig, [first, await rig.ask("two")], took


@pytest.mark.parametrize("name", SERVERS)
def test_the_user_is_told_and_the_next_turn_works(name: str, tmp_path: Path) -> None:
    make, outcome, phrase = SERVERS[name]

    async def main() -> tuple[Rig, list[str], float]:
        async with make() as server:
            return await turn_and_next(server, tmp_path)

    rig, outcomes, took = run(main())
    assert outcomes == [outcome, "answered"]
    assert rig.phrases == ([] if phrase is None else [phrase]), "one sentence a turn, and only if there is no answer"
    assert took < 31, "nobody waits for ever"


def test_refused_connection(tmp_path: Path) -> None:
    async def main() -> tuple[Rig, list[str], float]:
        async with ScriptedServer(good) as server:
            return await turn_and_next(server, tmp_path, url="ws://127.0.0.1:9/v1/realtime")

    rig, outcomes, _ = run(main())
    assert outcomes == ["failed", "answered"]
    assert rig.phrases == ["unreachable"]


def test_dns_failure(tmp_path: Path) -> None:
    async def main() -> tuple[Rig, list[str], float]:
        async with ScriptedServer(good) as server:
            return await turn_and_next(server, tmp_path, url="ws://no-such-host.invalid/v1/realtime")

    rig, outcomes, _ = run(main())
    assert outcomes == ["failed", "answered"]
    assert rig.phrases == ["unreachable"]


@contextlib.asynccontextmanager
async def raw_server(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Anything that listens; gives its port."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_tls_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def main() -> tuple[Rig, list[str], float]:
        async with raw_server(nothing, self_signed(tmp_path)) as port, ScriptedServer(good) as server:
            return await turn_and_next(server, tmp_path, url=f"wss://127.0.0.1:{port}/v1/realtime")

    rig, outcomes, _ = run(main())
    assert outcomes == ["failed", "answered"]
    assert rig.phrases == ["unreachable"]
    assert "certificate is not trusted" in caplog.text


def test_half_open_connection(tmp_path: Path) -> None:
    """The other end is gone and nothing says so: pings go unanswered."""

    async def bad(peer: Peer) -> None:
        await a_request(peer)
        peer.socket.transport.pause_reading()  # neither pongs nor a close come back
        await asyncio.sleep(3600)

    async def main() -> tuple[Rig, list[str], float]:
        async with script(bad)() as server:
            return await turn_and_next(server, tmp_path)

    rig, outcomes, took = run(main())
    assert outcomes == ["answered", "answered"], "the request is replayed on a new connection"
    assert took <= 21
    assert rig.phrases == []


OTHERS = {"connection refused", "DNS failure", "TLS failure", "half-open connection"}


def test_the_document_has_a_line_for_every_fault() -> None:
    of_the_provider = DOCUMENT.read_text(encoding="utf-8").partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \|", of_the_provider, re.MULTILINE)
    assert set(rows) - {"fault", "---"} == set(SERVERS) | OTHERS


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's TLS with a certificate that nobody trusts."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_a_server_that_begins_again_with_the_same_ids_is_heard_in_every_session(tmp_path: Path) -> None:
    async def forgetful(peer: Peer) -> None:
        await peer.open_session()
        while (await peer.receive())["type"] != "response.create":
            pass  # what was said before, and the request
        await peer.answer("Yes.", TONE, response="r1", item="i1")
        await peer.close(1011)

    async def main() -> Rig:
        async with ScriptedServer(forgetful) as server:
            rig = Rig(server.url, tmp_path)
            async with rig.running():
                for _ in range(3):
                    assert await rig.ask() == "answered"
            return rig

    rig = run(main())
    assert [entry["played_ms"] for entry in rig.all("playback_stopped")] == [100, 100, 100]
