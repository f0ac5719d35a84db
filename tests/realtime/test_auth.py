"""Tokens: one request for all who ask, a fresh one before the old one ends, one line when it fails. On virtual time."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from assistant.errors import AuthenticationError, ConnectError
from assistant.realtime.auth import REFRESH_AHEAD, TokenSource
from assistant.testing.virtual_time import run

EPOCH = 1_800_000_000


@dataclass
class FakeToken:
    token: str
    expires_on: int


class Entra:
    """The sign-in service: a request takes 2 s, a token lives for an hour."""

    def __init__(self) -> None:
        self.requests: list[float] = []
        self.open = 0
        self.error: Exception | None = None
        self.lifetime = 3600.0
        self.expires_on: int | None = None

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    def credential(self) -> Entra:
        self.open += 1
        return self

    async def get_token(self, *scopes: str) -> FakeToken:
        assert scopes == ("scope",)
        self.requests.append(asyncio.get_running_loop().time())
        await asyncio.sleep(2)
        if self.error is not None:
            raise self.error
        return FakeToken(f"token-{len(self.requests)}", self.expires_on or int(self.now() + self.lifetime))

    async def close(self) -> None:
        self.open -= 1


def with_source(act: Callable[[TokenSource, Entra], Coroutine[Any, Any, None]]) -> Entra:
    async def main() -> Entra:
        entra = Entra()
        source = TokenSource(entra.credential, "scope", "azure", hint="do this", clock=entra.now)
        running = asyncio.create_task(source.run())
        try:
            await act(source, entra)
        finally:
            running.cancel()
            await asyncio.wait({running})
        with pytest.raises(AuthenticationError, match="stopping"):
            source.reject()
            await source.token()
        assert entra.open == 0, "every credential is closed"
        return entra

    return run(main(), limit_s=100_000)


def test_all_who_ask_share_one_request() -> None:
    async def act(source: TokenSource, entra: Entra) -> None:
        assert await asyncio.gather(*(source.token() for _ in range(5))) == ["token-1"] * 5

    assert len(with_source(act).requests) == 1


def test_who_stops_waiting_leaves_the_request_to_the_others() -> None:
    async def act(source: TokenSource, entra: Entra) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await source.token()
        assert await source.token() == "token-1"

    assert len(with_source(act).requests) == 1


def test_a_token_is_replaced_before_it_ends_and_nobody_waits_for_it() -> None:
    async def act(source: TokenSource, entra: Entra) -> None:
        loop = asyncio.get_running_loop()
        await source.token()
        for _ in range(24 * 12):
            began = loop.time()
            await source.token()
            assert loop.time() - began < 0.5
            await asyncio.sleep(300)

    times = with_source(act).requests
    lives = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 24 <= len(times) <= 30, "a day of tokens"
    assert all(3600 - REFRESH_AHEAD - 5 < life < 3600 - 300 for life in lives), "at least five minutes ahead"


def test_a_cached_token_with_little_time_left_is_not_asked_for_without_end() -> None:
    async def act(source: TokenSource, entra: Entra) -> None:
        entra.expires_on = int(entra.now() + 400)
        await source.token()
        await asyncio.sleep(390)
        entra.expires_on = None

    assert len(with_source(act).requests) < 10


def test_a_failure_reaches_all_who_ask_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def act(source: TokenSource, entra: Entra) -> None:
        entra.error = ClientAuthenticationError("AADSTS7000215: Invalid client secret 'hunter2'.\nTrace: x")
        results = await asyncio.gather(*(source.token() for _ in range(3)), return_exceptions=True)
        assert {str(result) for result in results} == {
            "azure: Microsoft Entra ID does not let us in (AADSTS7000215): do this"
        }
        assert {type(result) for result in results} == {AuthenticationError}
        await asyncio.sleep(3600)
        entra.error = None
        await asyncio.sleep(600)
        assert await source.token() == f"token-{len(entra.requests)}"

    entra = with_source(act)
    assert 5 < len(entra.requests) < 25, "it tries again, ever more slowly"
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    assert "hunter2" not in caplog.text and "token-" not in caplog.text


def test_a_request_that_fails_does_not_take_away_a_token_that_still_works() -> None:
    async def act(source: TokenSource, entra: Entra) -> None:
        await source.token()
        entra.error = ServiceRequestError("no route")
        await asyncio.sleep(3600 - 120)
        assert await source.token() == "token-1"
        await asyncio.sleep(120)
        with pytest.raises(ConnectError, match="does not answer"):
            await source.token()

    with_source(act)


def test_a_service_that_hangs_is_given_up() -> None:
    async def act(source: TokenSource, entra: Entra) -> None:
        async def hang(*_: str) -> FakeToken:
            await asyncio.sleep(1e6)
            raise AssertionError

        began = asyncio.get_running_loop().time()
        entra.get_token = hang  # type: ignore[method-assign]
        with pytest.raises(ConnectError, match="does not answer"):
            await source.token()
        assert asyncio.get_running_loop().time() - began < 60

    with_source(act)


def test_a_rejected_token_is_not_shown_again() -> None:
    async def act(source: TokenSource, entra: Entra) -> None:
        assert await source.token() == "token-1"
        source.reject()
        await asyncio.sleep(3)
        assert len(entra.requests) == 2, "before anybody asks"
        assert await source.token() == "token-2"

    with_source(act)
