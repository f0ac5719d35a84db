"""Keyless sign-in: tokens of Microsoft Entra ID, through ``azure.identity``, which is imported only when it is used.

A token is fetched before somebody needs it: at start, and again ten minutes before it expires. So a wake word finds one
in memory. Tokens are examined only when a socket opens, and a session outlives its token.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeAlias

from assistant.errors import AuthenticationError, ConnectError, HearthError

log = logging.getLogger(__name__)

CredentialKind: TypeAlias = Literal["default", "managed_identity", "workload_identity", "environment", "cli"]

REFRESH_AHEAD: Final = 600.0
"""Seconds before its end at which a token is replaced: time enough for a sign-in service that is down for a while."""

LAST_USE: Final = 60.0
"""A token with less than this many seconds left is not shown to anybody: clocks differ."""

LONGEST_WAIT: Final = 300.0
"""A clock may be set while we wait, so the time left is looked at this often."""

SHORTEST_LIFE: Final = 60.0
FIRST_RETRY: Final = 15.0
FETCH_TIMEOUT: Final = 30.0


class Token(Protocol):
    """``expires_on``: seconds since the epoch."""

    @property
    def token(self) -> str: ...
    @property
    def expires_on(self) -> int: ...


class Credential(Protocol):
    """What we need of ``azure.core.credentials_async.AsyncTokenCredential``."""

    async def get_token(self, *scopes: str) -> Token: ...
    async def close(self) -> None: ...


class TokenSource:
    """One identity's token for one scope, kept fresh by :meth:`run`.

    make: builds a credential; called on a thread, as it imports much. Each token gets a credential of its own, since
        one that has a token would hand out the same again until its last minutes.
    name: what messages call the service.
    """

    def __init__(
        self,
        make: Callable[[], Credential],
        scope: str,
        name: str,
        *,
        hint: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._make = make
        self._scope = scope
        self._name = name
        self._hint = hint
        self._clock = clock
        self._token: Token | None = None
        self._failure: HearthError | None = None
        self._failures = 0
        self._refresh_at = 0.0
        self._asked = asyncio.Event()
        self._fetched = asyncio.Event()
        self._over = False

    async def token(self) -> str:
        """The token, at once if there is one. All who ask while it is fetched wait for the same request.

        Raises AuthenticationError if we are not let in, ConnectError if nobody answers. Cancelling leaves the request
        to the others.
        """
        if (usable := self._usable()) is not None:
            return usable
        if self._over:
            raise AuthenticationError(f"{self._name}: signing in is over: the daemon is stopping")
        fetched = self._fetched
        self._asked.set()
        await fetched.wait()
        if (usable := self._usable()) is not None:
            return usable
        failure = self._failure or AuthenticationError(f"{self._name}: the token that we got has already expired")
        raise type(failure)(str(failure))

    def reject(self) -> None:
        """A service did not accept the token: another is fetched at once, for the next who asks."""
        self._token = None
        self._asked.set()

    async def run(self) -> None:
        """Keep a token at hand until cancelled; who still waits then is told that it is over."""
        try:
            while True:
                if self._asked.is_set() or self._clock() >= self._refresh_at:
                    await self._fetch()
                    self._announce()
                pause = min(max(self._refresh_at - self._clock(), 1.0), LONGEST_WAIT)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._asked.wait()
        finally:
            self._over = True
            self._announce()

    def _announce(self) -> None:
        self._asked.clear()
        self._fetched.set()
        self._fetched = asyncio.Event()

    def _usable(self) -> str | None:
        if self._token is None or self._token.expires_on - self._clock() < LAST_USE:
            return None
        return self._token.token

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                token = await self._request()
        except Exception as error:
            self._failure = _explain(error, self._name, self._hint)
            self._refresh_at = self._clock() + min(FIRST_RETRY * 2**self._failures, LONGEST_WAIT)
            if self._failures == 0:
                log.warning("%s", self._failure)
            self._failures = min(self._failures + 1, 10)
            return
        left = token.expires_on - self._clock()
        log.info("%s: signed in, for %d minutes", self._name, left // 60)
        # A sign-in service may hand out a cached token that has little time left: ask again, but not at once.
        self._refresh_at = self._clock() + max(left - min(REFRESH_AHEAD, left / 2), SHORTEST_LIFE)
        self._token, self._failure, self._failures = token, None, 0

    async def _request(self) -> Token:
        credential = await asyncio.to_thread(self._make)
        try:
            return await credential.get_token(self._scope)
        finally:
            await credential.close()


_HINTS: Final[dict[CredentialKind, str]] = {
    "default": "run 'az login', give this machine a managed identity, or name a key",
    "managed_identity": "this machine needs a managed identity, and that a role on the resource",
    "workload_identity": "AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE must be set",
    "environment": "AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET must be set, and right",
    "cli": "run 'az login' as the user whom the daemon runs as",
}


def entra(kind: CredentialKind, client_id: str | None, scope: str, name: str) -> TokenSource:
    """A token source with a credential of ``azure.identity``. ``client_id``: of a user-assigned identity."""

    def make() -> Credential:
        from azure.identity import aio

        # Its warnings are many lines long; ours say the same in one.
        logging.getLogger("azure").setLevel(logging.ERROR)
        chosen: dict[str, Any] = {} if client_id is None else {"client_id": client_id}
        match kind:
            case "default":
                return aio.DefaultAzureCredential(
                    **({} if client_id is None else {"managed_identity_client_id": client_id})
                )
            case "managed_identity":
                return aio.ManagedIdentityCredential(**chosen)
            case "workload_identity":
                return aio.WorkloadIdentityCredential(**chosen)
            case "environment":
                return aio.EnvironmentCredential()
            case "cli":
                return aio.AzureCliCredential()

    return TokenSource(make, scope, name, hint=_HINTS[kind])


def _explain(error: Exception, name: str, hint: str) -> HearthError:
    """One line of our own: what the library says is long, and may quote what it was given."""
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    if isinstance(error, TimeoutError | OSError | ServiceRequestError | ServiceResponseError):
        return ConnectError(f"{name}: the sign-in service of Microsoft Entra ID does not answer")
    code = re.search(r"AADSTS\d{4,8}", str(error))
    return AuthenticationError(
        f"{name}: Microsoft Entra ID does not let us in ({code[0] if code else type(error).__name__}): {hint}"
    )
