"""Where each provider's realtime endpoint is, and how a key or a token is shown to it. PURE, but for request ids.

Addresses and headers: OpenAI's GA realtime API; Azure OpenAI's GA (``/openai/v1``, which takes the name of the
deployment as ``model`` and must not be sent an ``api-version``) and preview (``/openai``); Azure Voice Live. No service
wants the ``OpenAI-Beta`` header any more.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from assistant.realtime.dialects import Dialect
from assistant.realtime.session import Endpoint

REQUEST_ID: Final = "x-ms-client-request-id"
"""Microsoft's support finds a connection by it."""


@dataclass(frozen=True, slots=True)
class Auth:
    """Who we are. ``rejected`` is called when a service does not believe it."""

    headers: Mapping[str, str] = field(repr=False)
    rejected: Callable[[], None] | None = field(default=None, repr=False)


def api_key(key: str) -> Auth:
    """A key for a service of Microsoft's."""
    return Auth({"api-key": key})


def bearer(token: str, rejected: Callable[[], None] | None = None) -> Auth:
    return Auth({"Authorization": f"Bearer {token}"}, rejected)


def openai(url: str, model: str, key: str) -> Endpoint:
    """OpenAI's own service; ``url`` is the base, such as ``wss://api.openai.com/v1``."""
    return Endpoint(_realtime(url, {"model": model}), bearer(key).headers)


def microsoft(provider: str, origin: str, model: str, api_version: str | None, auth: Auth) -> Endpoint:
    """One of the three services of Microsoft's.

    provider: azure, azure_preview or voice_live. origin: ``wss://host``. model: for Azure OpenAI, the deployment.
    """
    version = api_version or ""
    match provider:
        case "azure":
            path, query, dialect = "/openai/v1/realtime", {"model": model}, Dialect.GA
        case "azure_preview":
            path, query, dialect = "/openai/realtime", {"api-version": version, "deployment": model}, Dialect.PREVIEW
        case "voice_live":
            path, query, dialect = "/voice-live/realtime", {"api-version": version, "model": model}, Dialect.VOICE_LIVE
        case _:
            raise ValueError(f"{provider} is no service of Microsoft's")
    headers = {**auth.headers, REQUEST_ID: str(uuid.uuid4())}
    return Endpoint(f"{origin}{path}?{urlencode(query)}", headers, dialect, on_unauthorized=auth.rejected)


def custom(url: str, model: str | None, key: str | None, dialect: Dialect = Dialect.GA) -> Endpoint:
    """Any server of the same protocol; ``url`` is everything before ``/realtime``, and may have a query."""
    headers = bearer(key).headers if key else {}
    return Endpoint(_realtime(url, {"model": model} if model else {}), headers, dialect)


def local(url: str, key: str | None = None, device: str | None = None) -> Endpoint:
    """Hearth's embedded server, which understands the offline sentences of tools.

    device: the microphone; the server learns how each of them sounds.
    """
    headers = bearer(key).headers if key else {}
    query = {"model": "hearth-local"} | ({"device": device} if device else {})
    return Endpoint(_realtime(url, query), headers, offline_tools=True)


def _realtime(base: str, query: dict[str, str]) -> str:
    """``base`` with ``/realtime`` at the end of its path, and more query."""
    parts = urlsplit(base)
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    path = parts.path.rstrip("/")
    if not path.endswith("/realtime"):
        path += "/realtime"
    merged = urlencode([*parse_qsl(parts.query), *query.items()])
    return urlunsplit((scheme, parts.netloc, path, merged, ""))
