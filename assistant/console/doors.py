"""Who may come in: the address that a browser believes it talks to, the page that asks, and the person who signs in.

Three doors, in this order, for every request:

1. *Host.* A foreign web site can point a name of its own at this machine (DNS rebinding) and then counts as "the same
   origin". So only names that are ours are answered: addresses in digits, ``localhost``, this machine's own name, and
   those of the config.
2. *Origin.* Browsers say which page a request comes from (https://fetch.spec.whatwg.org/#origin-header): it must be
   ours, for WebSockets as well, to which no same-origin policy applies.
3. *Token.* Where one is set, a cookie from the sign-in page or ``Authorization: Bearer``.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
import time
from collections.abc import Callable, Collection
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from pydantic import SecretStr

COOKIE: Final = "hearth"

SIGNED_IN_S: Final = 90 * 86_400
"""How long a sign-in holds. It ends earlier when the token changes."""

WRONG_TOKEN_S: Final = 1.0
"""A wrong token is answered after so long, one at a time: a guesser gets 86,400 tries a day, and no more."""

MAX_GUESSING: Final = 20

OPEN_PATHS: Final = frozenset({"/signin", "/static/style.css", "/static/signin.js", "/static/icon.svg"})
"""What may be seen before signing in."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Doors:
    """Checks every request. token: None where everybody who can reach the address may come in."""

    def __init__(
        self, token: SecretStr | None, names: Collection[str] = (), now: Callable[[], float] = time.time
    ) -> None:
        """names: further names under which browsers may reach the console. now: the wall clock."""
        self._token = token
        own = socket.gethostname().lower()
        self._names = {"localhost", own, f"{own}.local", *(name.lower() for name in names)}
        self._now = now
        self._guessing = asyncio.Semaphore(1)
        self._guessers = 0

    @property
    def needs_token(self) -> bool:
        return self._token is not None

    # --- 1 and 2 ----------------------------------------------------------------------------------------------------

    def knows_host(self, request: web.Request) -> bool:
        """Whether the Host header names this machine, and nothing that somebody else could have made up."""
        return self._is_ours(_host_of(f"//{request.headers.get(hdrs.HOST, '')}"))

    def comes_from_here(self, request: web.Request) -> bool:
        """Whether the page that asks is one of ours. A program that is no browser names no page, and passes."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == request.headers.get(hdrs.HOST, "").lower()

    def _is_ours(self, host: str | None) -> bool:
        if not host:
            return False
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host in self._names
        return True  # digits cannot be pointed elsewhere

    # --- 3 ----------------------------------------------------------------------------------------------------------

    def knows_person(self, request: web.Request) -> bool:
        """Whether the request carries the token, or the cookie of somebody who had it."""
        if self._token is None:
            return True
        kind, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(given.strip()):
            return True
        until, _, seal = request.cookies.get(COOKIE, "").partition(".")
        return until.isdecimal() and hmac.compare_digest(seal, self._seal(until)) and int(until) > self._now()

    async def sign_in(self, given: str) -> str | None:
        """The cookie's value for somebody who has the token, else None, after a while.

        Raises web.HTTPTooManyRequests while too many guess at once.
        """
        if self._guessers >= MAX_GUESSING:
            raise web.HTTPTooManyRequests(text="too many attempts at once: wait a minute")
        self._guessers += 1
        try:
            async with self._guessing:
                if not self._is_token(given):
                    await asyncio.sleep(WRONG_TOKEN_S)
                    return None
        finally:
            self._guessers -= 1
        until = str(int(self._now()) + SIGNED_IN_S)
        return f"{until}.{self._seal(until)}"

    def _is_token(self, given: str) -> bool:
        token = self._token.get_secret_value() if self._token else ""
        return bool(token) and hmac.compare_digest(given.encode(), token.encode())

    def _seal(self, until: str) -> str:
        """What only somebody with the token can have written: so cookies outlive a restart, and not a new token."""
        assert self._token is not None
        return hmac.new(self._token.get_secret_value().encode(), f"hearth console {until}".encode(), sha256).hexdigest()


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
