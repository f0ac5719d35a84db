"""What a broken or refused connection means: one place that turns exceptions and error codes into a Failure.

Facts: status codes and error codes as documented by OpenAI and Azure, close codes by RFC 6455 section 7.4.
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    SecurityError,
)
from websockets.frames import Close

from assistant.core.events import Failure
from assistant.errors import (
    AuthenticationError,
    HearthError,
    ProtocolError,
    QuotaExhausted,
    RateLimited,
    SessionExpired,
)
from assistant.realtime.events import ServerError


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a session could not be had or ended. ``message`` is one line for the log, free of secrets and speech."""

    failure: Failure
    message: str
    retry_after: float | None = None


BENIGN_CODES: Final = frozenset(
    {
        "response_cancel_not_active",
        "conversation_already_has_active_response",
        "input_audio_buffer_commit_empty",
        "item_truncate_invalid_item_id",
        "item_delete_invalid_item_id",
        "item_not_found",
    }
)
"""Errors that a right client causes too, since both sides act at the same time."""

_FATAL_CODES: Final = {
    "invalid_api_key": Failure.AUTHENTICATION,
    "insufficient_quota": Failure.QUOTA,
    "model_not_found": Failure.REFUSED,
    "beta_api_shape_disabled": Failure.REFUSED,
    "session_expired": Failure.EXPIRED,
    "rate_limit_exceeded": Failure.RATE_LIMITED,
}

_DIALECT_CODES: Final = {
    "unknown_parameter": "speaks the preview dialect: set provider azure_preview, or dialect preview of a custom one",
    "missing_required_parameter": "speaks the GA dialect: set provider azure, or dialect ga of a custom one",
}
"""A server that gets the settings of the other dialect stumbles over ``session.type``, which only GA has."""


def from_server_error(error: ServerError) -> Loss | None:
    """What an ``error`` event means for the session; None if the session goes on."""
    if error.param == "session.type" and error.code in _DIALECT_CODES:
        return Loss(Failure.REFUSED, _DIALECT_CODES[error.code])
    failure = _FATAL_CODES.get(error.code or "")
    return None if failure is None else Loss(failure, f"the server said {error.code}")


def is_benign(error: ServerError) -> bool:
    if error.code in BENIGN_CODES:
        return True
    # "Audio content of 9250ms is already shorter than 57340ms": we cannot know the server's exact length.
    return error.code == "invalid_value" and "already shorter than" in error.message


def from_exception(error: BaseException, where: str) -> Loss:
    """What an exception of connecting, reading or writing means. ``where`` is host and port for the message."""
    match error:
        case ConnectionClosed():
            return _from_close(error, where)
        case InvalidStatus():
            return _from_status(error, where)
        case TimeoutError():
            return Loss(Failure.CONNECT, f"{where}: no answer in time")
        case ssl.SSLCertVerificationError():
            return Loss(Failure.CONNECT, f"{where}: its TLS certificate is not trusted ({error.verify_message})")
        case ssl.SSLError():
            return Loss(Failure.CONNECT, f"{where}: TLS failed ({error.reason})")
        case SecurityError():
            return Loss(Failure.REFUSED, f"{where}: redirects to another place; check the address in the config")
        case InvalidURI():
            return Loss(Failure.REFUSED, f"{where}: not a WebSocket address; check the address in the config")
        case ProxyError() | InvalidProxy():
            return Loss(Failure.CONNECT, f"{where}: the proxy did not let us through; check HTTPS_PROXY")
        case InvalidHandshake() | ProtocolError():
            return Loss(Failure.PROTOCOL, f"{where}: does not speak the realtime protocol ({type(error).__name__})")
        case AuthenticationError():
            return Loss(Failure.AUTHENTICATION, str(error))
        case QuotaExhausted():
            return Loss(Failure.QUOTA, str(error))
        case RateLimited():
            return Loss(Failure.RATE_LIMITED, str(error), error.retry_after)
        case SessionExpired():
            return Loss(Failure.EXPIRED, str(error))
        case HearthError():
            return Loss(Failure.CONNECT, str(error))
        case OSError():
            return Loss(Failure.CONNECT, f"{where}: {system_reason(error)}")
        case _:
            return Loss(Failure.PROTOCOL, f"{where}: {type(error).__name__}")


def system_reason(error: OSError) -> str:
    """Why, in the system's words. asyncio puts its own in their place, and, after several addresses, into one text."""
    named = re.search(r"\[Errno (\d+)\]", str(error))
    return os.strerror(int(named[1])) if named else error.strerror or type(error).__name__


def _from_status(error: InvalidStatus, where: str) -> Loss:
    status = error.response.status_code
    match status:
        case 401:
            message = f"{where}: HTTP 401: the key or token is not accepted; check the secret{_request_id(error)}"
            return Loss(Failure.AUTHENTICATION, message)
        case 403:
            message = f"{where}: HTTP 403: known, but not allowed; check the roles of the key or identity"
            return Loss(Failure.AUTHENTICATION, message + _request_id(error))
        case 404 | 400:
            message = f"{where}: HTTP {status}: no such model or deployment there; check address and model"
            return Loss(Failure.REFUSED, message + _request_id(error))
        case 429:
            return Loss(
                Failure.RATE_LIMITED,
                f"{where}: HTTP 429: too many requests",
                _retry_after(error.response.headers.get("Retry-After"), error.response.headers.get("Date")),
            )
        case _:
            return Loss(Failure.CONNECT, f"{where}: HTTP {status} instead of a WebSocket")


def _request_id(error: InvalidStatus) -> str:
    """What the services' support asks for, if the answer has it."""
    for name in ("apim-request-id", "x-request-id"):
        value = error.response.headers.get(name, "")
        if re.fullmatch(r"[\w-]{1,64}", value):
            return f" ({name} {value})"
    return ""


def _retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 section 10.2.3: seconds, or a date relative to the response's)."""
    if value is None:
        return None
    try:
        return min(3600.0, max(0.0, float(value)))
    except ValueError:
        pass
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(date or "")
    except (ValueError, TypeError):
        return None
    return min(3600.0, max(0.0, wait.total_seconds()))


def _from_close(error: ConnectionClosed, where: str) -> Loss:
    received: Close | None = error.rcvd
    sent: Close | None = error.sent
    if received is None:
        # Our own side gave up (keepalive, oversize message) or the line broke; what we sent tells which.
        why = f"we closed with {sent.code} {sent.reason}".rstrip() if sent else "the connection broke"
        return Loss(Failure.CONNECT, f"{where}: {why}")
    if received.code == 4000:
        return Loss(Failure.REFUSED, f"{where}: closed with 4000: this server speaks another dialect")
    if received.code == 1001 and "maximum duration" in received.reason:
        return Loss(Failure.EXPIRED, f"{where}: the session reached its maximum duration")
    return Loss(Failure.CONNECT, f"{where}: closed with {received.code}")
