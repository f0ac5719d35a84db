"""A small HTTP client for plugins: JSON from a service, within bounds of time and size.

On ``urllib``, since a plugin needs no more and a dependency saved is one less to keep safe. Proxies of the
environment are not used: what a daemon talks to should not depend on the shell that started it.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from assistant.errors import ToolError

_USER_AGENT: Final = "hearth-assistant"
_CHUNK: Final = 64 * 1024


def fetch(
    url: str,
    *,
    params: Mapping[str, object] | None = None,
    limit_s: float = 5.0,
    limit_bytes: int = 1_000_000,
) -> bytes:
    """The body of a GET. Blocks: call it in a plain ``def`` tool, or through ``Context.in_thread``.

    params: the query, encoded for the URL. limit_s: for the whole answer. limit_bytes: the longest body.
    Raises ToolError, in words for the user that name the host alone, and ValueError if ``url`` is not http(s).
    """
    host = urlsplit(url).hostname
    if urlsplit(url).scheme not in ("http", "https") or not host:
        raise ValueError("fetch needs a URL such as https://example.org/path")
    full = f"{url}{'&' if '?' in url else '?'}{urlencode(params, doseq=True)}" if params else url
    request = urllib.request.Request(full, headers={"User-Agent": _USER_AGENT, "Accept": "application/json, */*"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + limit_s
    body = bytearray()
    try:
        with opener.open(request, timeout=limit_s) as answer:
            while chunk := answer.read1(_CHUNK):
                body += chunk
                if len(body) > limit_bytes:
                    raise ToolError(f"{host} sent more than {limit_bytes} bytes.")
                if time.monotonic() > deadline:
                    raise TimeoutError
    except urllib.error.HTTPError as error:
        error.close()
        raise ToolError(f"{host} answered with error {error.code}.") from None
    except TimeoutError:
        raise ToolError(f"{host} did not answer within {limit_s:g} seconds.") from None
    except (OSError, HTTPException) as error:
        late = isinstance(getattr(error, "reason", None), TimeoutError)
        raise ToolError(
            f"{host} did not answer within {limit_s:g} seconds." if late else f"{host} cannot be reached."
        ) from None
    return bytes(body)


def fetch_json(url: str, **options: Any) -> Any:
    """As :func:`fetch`, decoded. Raises ToolError also when the body is not JSON."""
    body = fetch(url, **options)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ToolError(f"{urlsplit(url).hostname} sent something that is not JSON.") from None
