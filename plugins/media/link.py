"""One connection to the Music Player Daemon, kept up for ever.

    connect -> on_change ... MPD tells of a change -> on_change ... lost -> wait (1 s, doubling to 30) -> connect

The protocol: https://mpd.readthedocs.io/en/stable/protocol.html. Cancelling ``run`` closes the connection; a command
that was sent is carried out all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import mpd  # type: ignore[import-untyped]
from mpd.asyncio import MPDClient  # type: ignore[import-untyped]

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
ANSWER_LIMIT_S = 5.0
PING_S = 30.0
"""How often an answer is asked for: a machine that was switched off closes no connection."""

WATCHED = ("player", "mixer", "output", "database")
CONNECTED = "connected"
"""Told in place of a part of MPD: it may have forgotten everything."""


class Offline(Exception):
    """MPD cannot be used now; the message says why, in one line for the user."""


class Refused(Exception):
    """MPD has said no; the message is its own."""


class _Client(MPDClient):  # type: ignore[misc]
    def _MPDClient__idle_result(self, result: asyncio.Future[Any]) -> None:
        # The library lets the loss of a connection escape into the event loop's log, besides telling it.
        if result.cancelled() or isinstance(result.exception(), mpd.ConnectionError | mpd.ProtocolError | OSError):
            return
        super()._MPDClient__idle_result(result)


class Link:
    """Owns the connection, inside :meth:`run`."""

    def __init__(
        self,
        host: str,
        port: int,
        password: Callable[[], str | None],
        *,
        on_change: Callable[[Collection[str]], None],
        sleep: Callable[[float, asyncio.Event | None], Awaitable[object]],
        logger: logging.Logger,
    ) -> None:
        """
        password: reads it; raises Offline with one line if it cannot.
        on_change: these parts of MPD have changed (WATCHED), or CONNECTED. It must return at once.
        sleep: waits between attempts, not longer than until the event is set.
        """
        self.problem: str | None = "the connection is being made"
        """Why there is no connection, or None."""
        self._host, self._port, self._password = host, port, password
        self._on_change = on_change
        self._sleep = sleep
        self._log = logger
        self._client: _Client | None = None
        self._up = asyncio.Event()
        self._wanted = asyncio.Event()
        self._tried = asyncio.Event()

    async def attempted(self, limit_s: float) -> None:
        """Wait until the first attempt has succeeded or failed, or the time is over; ``problem`` then tells."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._tried.wait()

    async def ready(self, limit_s: float) -> None:
        """Wait for the connection; an attempt that is due later is made now. Raises Offline if it takes longer."""
        self._wanted.set()
        try:
            async with asyncio.timeout(limit_s):
                await self._up.wait()
        except TimeoutError:
            raise Offline(self.problem or "it does not answer") from None

    async def do(self, command: str, *arguments: object) -> Any:
        """A command of the protocol and its answer, as the library decodes it. Raises Offline, Refused.

        Cancelling gives up the wait; a command that was sent is carried out.
        """
        if (client := self._client) is None:
            raise Offline(self.problem or "it does not answer")
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                return await getattr(client, command)(*arguments)
        except mpd.CommandError as error:
            raise Refused(str(error.msg or error)) from None
        except (mpd.MPDError, OSError, TimeoutError, asyncio.QueueFull):
            raise Offline("the connection is lost") from None

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is lost. Ends only by being cancelled."""
        wait = FIRST_WAIT_S
        while True:
            try:
                await self._attend()
                problem = "it has closed the connection"
            except (Offline, Refused) as error:
                problem = str(error)
            except mpd.MPDError:
                problem = "the connection is lost"
            except (OSError, TimeoutError) as error:
                problem = f"it cannot be reached ({_reason(error)})"
            if self._up.is_set():
                wait = FIRST_WAIT_S
            self._up.clear()
            if problem != self.problem:
                self._log.warning("MPD at %s: %s; trying again", self._host, problem)
            self.problem = problem
            self._tried.set()
            self._wanted.clear()
            await self._sleep(wait * random.uniform(0.8, 1.2), self._wanted)
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def _attend(self) -> None:
        client = _Client()
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await client.connect(self._host, self._port)
            self._client = client
            if password := self._password():
                try:
                    await self.do("password", password)
                except Refused:
                    raise Offline("it refuses the password: check it under plugins.media") from None
            await self.do("status")
            self.problem = None
            self._up.set()
            self._tried.set()
            self._log.info("MPD at %s: connected", self._host)
            self._on_change((CONNECTED,))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_asking())
                group.create_task(self._watch(client))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._client = None
            client.disconnect()
            await asyncio.sleep(0)  # for the library's own task to end

    async def _watch(self, client: _Client) -> None:
        async with contextlib.aclosing(client.idle(WATCHED)) as changes:
            async for changed in changes:
                self._on_change(changed)
        raise Offline("it has closed the connection")

    async def _keep_asking(self) -> None:
        while True:
            await self._sleep(PING_S, None)
            await self.do("ping")


def _reason(error: OSError | TimeoutError) -> str:
    number = error.errno
    if number is not None and number > 0:
        return os.strerror(number).lower()  # asyncio puts addresses into its own words
    return error.strerror or "it takes too long"
