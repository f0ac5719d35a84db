"""Where each provider's realtime endpoint is, and how a key is shown to it. PURE.

Addresses and headers: the GA realtime API of OpenAI, and of Azure OpenAI (``/openai/v1``), which takes the name of the
deployment as ``model`` and must not be sent an ``api-version``.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from assistant.realtime.session import Endpoint


def openai(url: str, model: str, key: str) -> Endpoint:
    """OpenAI's own service; ``url`` is the base, such as ``wss://api.openai.com/v1``."""
    return Endpoint(_realtime(url, {"model": model}), {"Authorization": f"Bearer {key}"})


def azure(endpoint: str, deployment: str, key: str) -> Endpoint:
    """An Azure OpenAI resource; ``endpoint`` as copied from the portal, with or without a path, https or wss."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    url = urlunsplit(("wss", parts.netloc, "/openai/v1/realtime", urlencode({"model": deployment}), ""))
    return Endpoint(url, {"api-key": key})


def custom(url: str, model: str | None, key: str | None) -> Endpoint:
    """Any server of the same protocol; ``url`` is everything before ``/realtime``."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return Endpoint(_realtime(url, {"model": model} if model else {}), headers)


def local(url: str, key: str | None = None) -> Endpoint:
    """Hearth's embedded server, which understands the offline sentences of tools."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return Endpoint(_realtime(url, {"model": "hearth-local"}), headers, offline_tools=True)


def _realtime(base: str, query: dict[str, str]) -> str:
    """``base`` with ``/realtime`` at the end of its path, and more query."""
    parts = urlsplit(base)
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    path = parts.path.rstrip("/")
    if not path.endswith("/realtime"):
        path += "/realtime"
    merged = urlencode([*parse_qsl(parts.query), *query.items()])
    return urlunsplit((scheme, parts.netloc, path, merged, ""))
