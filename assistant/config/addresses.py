"""What an address says that somebody copied out of the Azure portal.

The portal, the quickstarts and the samples show the same resource in many ways: its bare address, with the path of one
of three realtime APIs, with a deployment or a version in the path or the query, as https or wss.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

Api: TypeAlias = Literal["azure", "azure_preview", "voice_live"]
"""The realtime APIs of an Azure resource, by the provider that uses them."""

OPENAI_HOST: Final = "api.openai.com"

_AZURE_HOSTS: Final = (".azure.com", ".azure.us", ".azure.cn", ".microsoft.com")
_PATHS: Final[tuple[tuple[str, Api | None], ...]] = (
    (r"(/openai)?", None),
    (r"/api/projects/[^/]+", None),  # a project of Azure AI Foundry: its resource is the host
    (r"/openai/v1(/realtime)?", "azure"),
    (r"/openai/realtime", "azure_preview"),
    (r"/openai/deployments/(?P<deployment>[^/]+)(/realtime|/chat/completions)?", "azure_preview"),
    (r"/voice-live(/realtime)?", "voice_live"),
)


@dataclass(frozen=True, slots=True)
class PortalAddress:
    """The parts of a copied address; None where it says nothing.

    origin: ``wss://host`` (``ws://`` only where http was written for a host that is not Microsoft's).
    api: the API that its path belongs to. path: the path if it belongs to none, else "".
    """

    origin: str
    host: str
    api: Api | None = None
    path: str = ""
    deployment: str | None = None
    api_version: str | None = None


def read_portal_address(text: str) -> PortalAddress | None:
    """Take an address apart; None if it is none."""
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    if not host or parts.scheme not in ("https", "wss", "http", "ws") or re.search(r"[\s\0]", text):
        return None
    plain = parts.scheme in ("http", "ws") and not host.endswith(_AZURE_HOSTS)
    netloc = f"[{host}]" if ":" in host else host
    origin = f"{'ws' if plain else 'wss'}://{netloc}" + (f":{port}" if port else "")
    query = parse_qs(parts.query)
    deployment = _last(query, "deployment") or _last(query, "model")
    path = parts.path.rstrip("/")
    for pattern, api in _PATHS:
        if match := re.fullmatch(pattern, path):
            deployment = match.groupdict().get("deployment") or deployment
            return PortalAddress(origin, host, api, "", deployment, _last(query, "api-version"))
    return PortalAddress(origin, host, None, path, deployment, _last(query, "api-version"))


def is_azure(host: str) -> bool:
    return host.endswith(_AZURE_HOSTS)


def _last(query: dict[str, list[str]], key: str) -> str | None:
    return query[key][-1] if key in query else None
