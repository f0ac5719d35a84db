"""One connection to an MQTT broker, kept up for ever.

    connect -> subscribe -> on_connect ... lost -> wait (1 s, doubling up to a minute) -> connect

The session is clean: what was sent while nobody was here is not delivered later, since a light that goes on or a
sentence that is spoken minutes late is nobody's wish. Cancelling ``run`` closes the connection, and the broker then
publishes the will; :meth:`farewell` comes first where there is time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import aiomqtt

from .devices import Message

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
REFUSED_WAIT_S = 60.0
ANSWER_LIMIT_S = 5.0
KEEPALIVE_S = 20
"""After one and a half times this long the broker gives an assistant up and publishes its will."""

QUEUE = 1000
"""Messages that wait to be read; newer ones are dropped."""

# CONNACK codes of MQTT 3.1.1 (section 3.2.2.3) and paho's numbers for those of version 5.
_PASSWORD = "the user name or the password"
_REFUSED = {2: "the client id", 4: _PASSWORD, 5: _PASSWORD, 134: _PASSWORD, 135: _PASSWORD}


class Offline(Exception):
    """The broker cannot be used now; the message says why, in one line for the user."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is. password: reads it; raises Offline with one line if it cannot."""

    host: str
    port: int
    client_id: str
    username: str | None
    password: Callable[[], str | None]
    tls: bool


class Link:
    """Owns the connection, inside :meth:`run`."""

    def __init__(
        self,
        broker: Broker,
        topics: Mapping[str, int],
        *,
        will: Message | None,
        on_connect: Callable[[], Awaitable[None]],
        on_message: Callable[[str, bytes, bool], None],
        sleep: Callable[[float, asyncio.Event | None], Awaitable[object]],
        logger: logging.Logger,
    ) -> None:
        """
        topics: to subscribe to, each with its QoS.
        will: what the broker publishes, retained, when this connection breaks.
        on_connect: awaited when everything is subscribed; may publish.
        sleep: waits between attempts, not longer than until the event is set.
        on_message: topic, payload, and whether it was a retained one. It must return at once.
        """
        self.problem: str | None = "the connection is being made"
        """Why there is no connection, or None."""
        self._broker = broker
        self._topics = dict(topics)
        self._will = will
        self._on_connect = on_connect
        self._on_message = on_message
        self._sleep = sleep
        self._log = logger
        self._client: aiomqtt.Client | None = None
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
            raise Offline(self.problem or "the MQTT broker does not answer") from None

    async def publish(self, message: Message, *, qos: int = 1, retain: bool = False) -> None:
        """Publish; with QoS 1 it returns when the broker has it. Raises Offline."""
        if self._client is None:
            raise Offline(self.problem or "the MQTT broker does not answer")
        try:
            await self._client.publish(message.topic, message.payload, qos, retain, timeout=ANSWER_LIMIT_S)
        except aiomqtt.MqttError:
            raise Offline("the connection to the MQTT broker is lost") from None

    async def farewell(self, limit_s: float) -> None:
        """Publish the will ourselves: after a connection that ends in good order the broker does not."""
        if self._client is not None and self._will is not None:
            with contextlib.suppress(Offline, TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self.publish(self._will, retain=True)

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is lost. Ends only by being cancelled."""
        wait = FIRST_WAIT_S
        while True:
            refused = False
            try:
                await self._attend()
                problem = "it has closed the connection"
            except Offline as error:
                problem = str(error)
            except aiomqtt.MqttError as error:
                problem, refused = _reason(error)
            except (OSError, TimeoutError, ValueError) as error:
                problem = f"it cannot be reached ({getattr(error, 'strerror', None) or type(error).__name__})"
            if self._up.is_set():
                wait = FIRST_WAIT_S
            pause = REFUSED_WAIT_S if refused else wait
            self._up.clear()
            if problem != self.problem:
                self._log.warning("MQTT broker %s: %s; trying again", self._broker.host, problem)
            self.problem = problem
            self._tried.set()
            self._wanted.clear()
            await self._sleep(pause * random.uniform(0.8, 1.2), None if refused else self._wanted)
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def _attend(self) -> None:
        broker, will = self._broker, self._will
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password(),
            identifier=broker.client_id,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True) if will else None,
            clean_session=True,
            keepalive=KEEPALIVE_S,
            timeout=ANSWER_LIMIT_S,
            tls_context=ssl.create_default_context() if broker.tls else None,
            max_queued_incoming_messages=QUEUE,
            logger=_library_log,
        )
        async with client:
            self._client = client
            try:
                if self._topics:
                    await client.subscribe(list(self._topics.items()))
                async with asyncio.TaskGroup() as group:
                    greeting = group.create_task(self._greet())
                    async for message in client.messages:
                        payload = message.payload if isinstance(message.payload, bytes) else b""
                        self._on_message(message.topic.value, payload, message.retain)
                    greeting.cancel()
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
            finally:
                self._client = None

    async def _greet(self) -> None:
        await self._on_connect()
        self.problem = None
        self._up.set()
        self._tried.set()
        self._log.info("MQTT broker %s: connected", self._broker.host)


def _reason(error: aiomqtt.MqttError) -> tuple[str, bool]:
    """What went wrong, and whether trying again soon is of no use."""
    code = getattr(error, "rc", None)
    number = getattr(code, "value", code)
    if isinstance(number, int) and number in _REFUSED:
        return f"it refuses {_REFUSED[number]}: check username and password under plugins.mqtt", True
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLError):
        return "its certificate is not to be trusted", True
    if isinstance(cause, OSError):
        return f"it cannot be reached ({cause.strerror or type(cause).__name__})", False
    return "the connection is lost", False


_library_log = logging.getLogger("hearth.plugin.mqtt.library")
_library_log.setLevel(logging.CRITICAL)  # it repeats what the link tells already
