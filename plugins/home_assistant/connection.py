"""One connection to Home Assistant's WebSocket API, kept up for ever.

    connect -> token -> registries -> states ... lost -> wait (1 s, doubling up to a minute) -> connect

A single reader takes every message; commands wait for their answer by number. Only :class:`House` holds what was
learned. Cancelling ``run`` closes the socket; commands that wait then fail with :class:`Offline`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import aiohttp

from .model import House, Offline, Refused, read_registry

ANSWER_LIMIT_S, DIAGNOSE_LIMIT_S = 10.0, 2.5
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
REFUSED_WAIT_S = 300.0  # a wrong token does not get better, and Home Assistant bans who tries too often
SETTLE_S = 0.3  # registry changes come in bursts
MESSAGE_LIMIT = 64 * 1024 * 1024
REGISTRIES = ("area_registry_updated", "device_registry_updated", "entity_registry_updated")
ENTRIES_AT_ONCE = 500
BAD_TOKEN = "it refuses the token: make a long-lived one in your Home Assistant profile, under Security"


class TokenRefused(Exception):
    """Home Assistant does not know the token."""


class Connection:
    """Owns the socket and its tasks, inside :meth:`run`."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        house: House,
        *,
        on_things: Callable[[], None],
        sleep: Callable[[float, asyncio.Event | None], Awaitable[object]],
        verify_tls: bool,
        logger: logging.Logger,
    ) -> None:
        """
        url: such as http://homeassistant.local:8123.
        token: reads the long-lived token; raises Offline with one line if there is none.
        on_things: called when things, names or areas may have changed.
        sleep: waits between attempts, not longer than until the event is set.
        """
        self.problem: str | None = "the connection is being made"
        """Why there is no connection, or None."""
        self._url = url.rstrip("/")
        self._token = token
        self._house = house
        self._on_things = on_things
        self._sleep = sleep
        self._verify_tls = verify_tls
        self._log = logger
        self._up = asyncio.Event()
        self._wanted = asyncio.Event()
        self._tried = asyncio.Event()
        self._news = asyncio.Event()
        self._stale = asyncio.Event()
        self._primed = asyncio.Event()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._states_number = 0
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    # --- what others use ----------------------------------------------------------------------------------------------

    async def ready(self, limit_s: float) -> None:
        """Wait until everything is known; an attempt that is due is made now. Raises Offline if it takes longer."""
        self._wanted.set()
        try:
            async with asyncio.timeout(limit_s):
                await self._up.wait()
        except TimeoutError:
            raise Offline(self.problem or "Home Assistant does not answer") from None

    async def attempted(self, limit_s: float) -> None:
        """Wait until the first attempt has succeeded or failed, or the time is over; ``problem`` then tells."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._tried.wait()

    async def command(self, kind: str, **fields: Any) -> Any:
        """Send a command and give its result. Raises Offline or Refused.

        Cancelled while it waits: the command may have been carried out.
        """
        if self._socket is None:
            raise Offline(self.problem or "Home Assistant does not answer")
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        if kind == "subscribe_entities":
            self._states_number = number
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self._socket.send_json({"id": number, "type": kind, **fields})
                return await answer
        except TimeoutError:
            raise Offline("Home Assistant does not answer in time") from None
        except (ConnectionError, aiohttp.ClientError):
            raise Offline("the connection to Home Assistant is lost") from None
        finally:
            self._waiting.pop(number, None)

    async def until(self, holds: Callable[[], bool], limit_s: float) -> bool:
        """Wait for states for which ``holds`` is true; False when the time is over."""
        try:
            async with asyncio.timeout(limit_s):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return holds()
        return True

    async def diagnose(self) -> str:
        """Why there is no connection: over HTTP Home Assistant says more than a WebSocket that was never made."""
        problem = self.problem or "the connection is lost"
        limits = aiohttp.ClientTimeout(total=DIAGNOSE_LIMIT_S)
        try:
            headers = {"Authorization": f"Bearer {self._token()}"}
            async with (
                aiohttp.ClientSession(timeout=limits, headers=headers) as session,
                session.get(f"{self._url}/api/", ssl=self._verify_tls, allow_redirects=False) as answer,
            ):
                status = answer.status
        except Offline as error:
            return str(error)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return _reason(error)
        match status:
            case 200:
                return problem
            case 401:
                return BAD_TOKEN
            case 403:
                return "it has banned this machine after wrong tokens: remove it from ip_bans.yaml"
            case _:
                return f"{self._url} answers with status {status}: is it Home Assistant?"

    # --- the life of the connection -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and connect again whenever it is lost. Ends only by being cancelled."""
        wait = FIRST_WAIT_S
        while True:
            refused = False
            try:
                await self._attend()
            except TokenRefused:
                problem, refused = BAD_TOKEN, True
            except Offline as error:
                problem = str(error)
            except Refused as error:
                problem = f"it refuses what is needed: {error}"
            except Exception as error:  # whatever it may send: the connection is made again
                problem = _reason(error)
                self._log.debug("Home Assistant: the connection has ended", exc_info=error)
            if self._up.is_set():
                wait = FIRST_WAIT_S
            pause = REFUSED_WAIT_S if refused else wait
            self._up.clear()
            if problem != self.problem:
                self._log.warning("Home Assistant: %s; trying again", problem)
            self.problem = problem
            self._tried.set()
            self._wanted.clear()
            await self._sleep(pause * random.uniform(0.8, 1.2), None if refused else self._wanted)
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def _attend(self) -> NoReturn:
        """One connection, from its first to its last message. Raises what ended it."""
        token = self._token()
        limits = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_LIMIT_S)
        async with (
            aiohttp.ClientSession(timeout=limits) as session,
            session.ws_connect(
                f"{self._url}/api/websocket", heartbeat=30, max_msg_size=MESSAGE_LIMIT, ssl=self._verify_tls
            ) as socket,
        ):
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await _greet(socket, token)
            self._socket = socket
            try:
                async with asyncio.TaskGroup() as group:
                    learning = group.create_task(self._learn())
                    await self._read(socket)
                    learning.cancel()
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
            finally:
                self._socket = None
                for answer in self._waiting.values():
                    if not answer.done():
                        answer.set_exception(Offline("the connection to Home Assistant is lost"))
        raise Offline("it has closed the connection")

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise Offline("it speaks another protocol than Home Assistant")
            content = json.loads(message.data)
            for one in content if isinstance(content, list) else [content]:
                self._take(one)

    def _take(self, message: Mapping[str, Any]) -> None:
        number = message.get("id")
        match message.get("type"):
            case "result":
                answer = self._waiting.get(number) if isinstance(number, int) else None
                if answer is None or answer.done():
                    return
                if message.get("success"):
                    answer.set_result(message.get("result"))
                else:
                    answer.set_exception(Refused(str((message.get("error") or {}).get("message") or "no reason given")))
            case "event" if number == self._states_number:
                if self._house.apply(message["event"]) and self._up.is_set():
                    self._on_things()
                self._primed.set()
                self._news.set()
            case "event":
                self._stale.set()

    async def _learn(self) -> None:
        """Everything from the beginning, then the registries again whenever they change."""
        for event in REGISTRIES:
            await self.command("subscribe_events", event_type=event)
        await self._learn_registries()
        self._house.forget_states()
        self._primed.clear()
        await self.command("subscribe_entities")
        await self._primed.wait()
        self.problem = None
        self._up.set()
        self._tried.set()
        self._on_things()
        self._log.info("Home Assistant: %d things in %d areas", len(self._house.things), len(self._house.areas))
        while True:
            await self._stale.wait()
            await asyncio.sleep(SETTLE_S)
            await self._learn_registries()
            self._on_things()

    async def _learn_registries(self) -> None:
        self._stale.clear()
        areas = await self.command("config/area_registry/list")
        devices = await self.command("config/device_registry/list")
        entries = {one["entity_id"]: one for one in await self.command("config/entity_registry/list")}
        wanted = [entity for entity, entry in entries.items() if not entry.get("disabled_by")]
        for start in range(0, len(wanted), ENTRIES_AT_ONCE):  # only these hold the aliases
            some = wanted[start : start + ENTRIES_AT_ONCE]
            full = await self.command("config/entity_registry/get_entries", entity_ids=some)
            entries |= {entity: entry for entity, entry in full.items() if entry}
        try:
            exposed = (await self.command("homeassistant/expose_entity/list"))["exposed_entities"]
            new = await self.command("homeassistant/expose_new_entities/get", assistant="conversation")
            expose_new = bool(new["expose_new"])
        except Refused:  # the token is of a user who is no administrator: Home Assistant's defaults count
            exposed, expose_new = {}, True
        self._house.set_registry(read_registry(areas, devices, entries.values(), exposed, expose_new=expose_new))


async def _greet(socket: aiohttp.ClientWebSocketResponse, token: str) -> None:
    """The handshake: https://developers.home-assistant.io/docs/api/websocket#authentication-phase."""
    if (await socket.receive_json())["type"] != "auth_required":
        raise Offline("it speaks another protocol than Home Assistant")
    await socket.send_json({"type": "auth", "access_token": token})
    if (await socket.receive_json())["type"] != "auth_ok":
        raise TokenRefused


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.WSServerHandshakeError():
            return f"it answers with status {error.status} and no WebSocket: check the url, or the proxy before it"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return "its certificate is not to be trusted: mend it, or set verify_tls: false"
        case aiohttp.ClientConnectorError():
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else "its name is not known" if number < 0 else "no answer"
            return f"cannot connect to {error.host}:{error.port} ({reason})"
        case aiohttp.InvalidURL():
            return "the url is none: write it as http://homeassistant.local:8123"
        case TimeoutError():
            return "it does not answer in time"
        case OSError() | aiohttp.ClientError():
            return "the connection is lost"
        case _:
            return f"it has sent something unexpected ({type(error).__name__})"
