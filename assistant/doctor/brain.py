"""Can the brain be reached, and does it answer?"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

from assistant.core import events as ev
from assistant.core.events import Event, Failure
from assistant.doctor.findings import Finding, advice, ok, problem, skipped
from assistant.errors import HearthError
from assistant.realtime.failures import system_reason
from assistant.realtime.session import Endpoint, RealtimeSession
from assistant.realtime.settings import SessionSettings

REQUEST = "Say the word yes, and nothing else."
CONNECT_S = 5.0
READY_S = 10.0
ANSWER_S = 20.0
_SOON_DAYS = 14

WHAT_TO_DO = {
    Failure.CONNECT: "check the network, and the address in config.yaml",
    Failure.RATE_LIMITED: "wait, or ask the provider for a higher limit",
    Failure.EXPIRED: "try again",
    Failure.PROTOCOL: "is it the right address? see docs/providers.md",
    Failure.AUTHENTICATION: "docs/providers.md says where keys and sign-in are set",
    Failure.QUOTA: "check the provider's billing, or money in config.yaml",
    Failure.REFUSED: "docs/providers.md shows what each provider wants",
}


async def network(url: str) -> list[Finding]:
    """Name, connection and TLS of a server, one after the other."""
    address = urlsplit(url)
    host, secure = address.hostname or "", address.scheme in ("wss", "https")
    port = address.port or (443 if secure else 80)
    if any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")):
        return [skipped("a proxy is set: what lies behind it is seen by the next check only")]
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    try:
        async with asyncio.timeout(CONNECT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        return [problem(f"{host} has no address: {_reason(error)}", "check the network, DNS, and the address")]
    findings = [ok(f"{host} is {found[0][4][0]} ({_ms(began)})")]
    began = time.monotonic()
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context() if secure else None)
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or type(error).__name__
        return [*findings, problem(f"TLS: {reason}", "check the machine's clock, and what sits in between")]
    except (OSError, TimeoutError) as error:
        what_to_do = (
            "nothing listens there: check the address, and whether that server runs"
            if _reason(error) == os.strerror(errno.ECONNREFUSED)
            else "check the network, and firewalls on the way"
        )
        return [*findings, problem(f"port {port} cannot be reached: {_reason(error)}", what_to_do)]
    findings.append(ok(f"connected{' with TLS' if secure else ''} ({_ms(began)})"))
    if secure and (ssl_object := writer.get_extra_info("ssl_object")) is not None:
        findings += _certificate(ssl_object.getpeercert() or {})
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
    return findings


def _certificate(certificate: dict[str, object]) -> list[Finding]:
    until = certificate.get("notAfter")
    if not isinstance(until, str):
        return []
    left = datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC) - datetime.now(UTC)
    if left.days < _SOON_DAYS:
        return [advice(f"its certificate ends in {left.days} days", "whoever runs that server should renew it")]
    return []


async def round_trip(name: str, endpoint: Callable[[], Awaitable[Endpoint]]) -> list[Finding]:
    """Open a session, ask for a word in writing, and say how long that took. Costs a few tokens."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Event] = asyncio.Queue()
    session = RealtimeSession(
        1, endpoint, SessionSettings("Answer in one word."), events.put_nowait, ready_timeout=READY_S
    )
    began = loop.time()
    running = asyncio.ensure_future(session.run())
    session.say(REQUEST)
    session.create_response(tools=False)
    findings: list[Finding] = []
    try:
        async with asyncio.timeout(READY_S + ANSWER_S):
            while True:
                event = await events.get()
                match event:
                    case ev.SessionReady(at):
                        findings.append(ok(f"{name}: a session after {(at - began) * 1000:.0f} ms"))
                        began = at
                    case ev.SessionLost(failure=failure):
                        return [*findings, problem(f"{name}: {session.lost_because}", WHAT_TO_DO[failure])]
                    case ev.ResponseRefused():
                        return [*findings, problem(f"{name}: refused to answer", WHAT_TO_DO[Failure.REFUSED])]
                    case ev.AnswerAudio(at) | ev.AnswerText(at):
                        return [*findings, ok(f"{name}: answers after {(at - began) * 1000:.0f} ms")]
                    case ev.ResponseDone(status=status, reason=reason):
                        what = f"{name}: the answer was {status.value}{f' ({reason})' if reason else ''}"
                        return [*findings, problem(what, "check model, voice and quota")]
                    case _:
                        pass
    except TimeoutError:
        return [*findings, problem(f"{name}: no answer", "try again; the provider may be overloaded")]
    except HearthError as error:
        return [*findings, problem(str(error), "")]
    finally:
        session.close()
        await asyncio.wait({running}, timeout=2.0)
        running.cancel()


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no reply"
    return system_reason(error) if isinstance(error, OSError) else type(error).__name__


def _ms(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.0f} ms"
