"""Devices that speak MQTT, and the assistant itself as a device of Home Assistant.

Settings (``plugins.mqtt`` in config.yaml); docs/mqtt.md is the guide::

    plugins:
      mqtt:
        host: 127.0.0.1
        username: hearth
        password_file: ~/.config/hearth/mqtt-password
        devices:
          desk_lamp: {topic: zigbee2mqtt/desk lamp, kind: light, names: [desk lamp, reading light]}
          back_door: {topic: zigbee2mqtt/back door, kind: contact}
          kettle: {topic: kettle, kind: switch, style: tasmota}
        presence: {name: Kitchen Speaker}

Without ``host`` it does nothing. It needs the package aiomqtt: ``pip install 'hearth-assistant[mqtt]'``.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict

from assistant.plugin import BaseModel, Context, Field, Plugin, ToolError

from .devices import SETTABLE, Action, Device, Message, Reading, describe, orders, proves, questions, read, topics
from .presence import Command, Presence, command_value
from .tools import TIERS, Expected, Tier, configured

if TYPE_CHECKING:
    from .link import Link

CONNECT_WAIT_S, CHECK_WAIT_S = 2.0, 4.5
SETTLE_S = 0.2
"""Events of a conversation come in bursts: the state is published once for all of them."""

REFRESH_S = 15.0
"""How often the state is looked at without an event: the cost of today begins anew at midnight, for one."""

TAKEN: tuple[Command, ...] = ("mute", "volume", "listen", "stop", "say")
"""Commands that are taken unless the owner says otherwise: not ``ask``, which can use every tool of the house."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
MAX_DEVICES = 100
"""Each is a word of the tools' schema in every session: about 1 kB for these many."""


class PresenceSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=60)] = "Hearth"
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")] | None = None
    prefix: Annotated[str, Field(pattern=r"^[^+#\x00]+$")] = "homeassistant"
    commands: list[Command] = Field(default_factory=lambda: [*TAKEN])


class Mqtt(Plugin):
    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")

        host: str = ""
        port: Annotated[int, Field(ge=1, le=65535)] | None = None
        tls: bool = False
        username: str | None = None
        password_env: str = "MQTT_PASSWORD"
        password_file: Path | None = None
        read_back_s: Annotated[float, Field(ge=0, le=30)] = 3.0
        devices: Annotated[dict[Name, Device], Field(max_length=MAX_DEVICES)] = Field(default_factory=dict)
        presence: PresenceSettings | None = None

    config: Config

    @classmethod
    def configured_tools(cls, config: Config) -> Iterable[Callable[..., Any]]:
        return configured(config.devices) if config.host else ()

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.readings: dict[str, Reading] = dict.fromkeys(self.config.devices, Reading())
        self.link: Link | None = None
        self._presence = self._make_presence()
        self._by_command = self._presence.command_topics if self._presence else {}
        self._news = asyncio.Event()
        self._changed = asyncio.Event()
        self._published: Message | None = None

    async def start(self) -> None:
        if not self.config.host:
            return
        self.link = self._make_link()
        names = {key: device.names or [key.replace("_", " ")] for key, device in self.config.devices.items()}
        forms = {key: [said for name in spoken if (said := _sayable(name))] for key, spoken in names.items()}
        self.context.entities("devices", {key: said for key, said in forms.items() if said})
        for tier in TIERS:
            some = {k: forms[k] for k, d in self.config.devices.items() if d.kind in SETTABLE and d.tier == tier}
            self.context.entities(f"devices_{tier}", {key: said for key, said in some.items() if said})
        self.context.spawn(self.link.run(), "connection to the MQTT broker")
        if self._presence is not None:
            for event in ("state", "turn", "mute", "link"):
                self.context.on(event, lambda _: self._changed.set())
            self.context.spawn(self._keep_telling(), "presence")

    async def check(self) -> str | None:
        if self.link is None:
            return None
        await self.link.attempted(CHECK_WAIT_S)
        return f"MQTT broker {self.config.host}: {self.link.problem}" if self.link.problem else None

    async def stop(self) -> None:
        if self.link is not None:
            await self.link.farewell(0.5)

    # --- devices ------------------------------------------------------------------------------------------------------

    async def set_device(self, key: str, action: Action | None, level: int | None, tier: Tier) -> dict[str, object]:
        """Send a wish, wait for the reading that proves it, and tell that. Raises ToolError.

        tier: what the user has consented to; a device of another tier is not touched.
        """
        link, device = await self._ready(), self._device(key)
        if device.kind in SETTABLE and device.tier != tier:
            raise ToolError(f"The {self._name(key)} is set with the tool for its tier, {device.tier}.")
        reading, name = self.readings[key], self._name(key)
        if not reading.available:
            raise ToolError(f"The {name} is not answering.")
        try:
            messages, wanted = orders(device, action, level, reading)
        except ValueError as error:
            raise ToolError(f"The {name} {error}.") from None
        from .link import Offline

        try:
            for message in messages:
                await link.publish(message)
        except Offline as error:
            raise ToolError(f"It is not known whether that was done: {error}.") from None
        if not await self._until(lambda: proves(wanted, self.readings[key])):
            raise ToolError(f"That was sent, but the {name} is still {describe(device, self.readings[key])}.")
        state = describe(device, self.readings[key])
        return {"say": f"The {name} is {state}.", "name": name, "state": state}

    async def tell(self, key: str, expected: Expected | None) -> dict[str, object]:
        """Tell a reading. Raises ToolError."""
        await self._ready()
        device, name = self._device(key), self._name(key)
        await self._until(lambda: self.readings[key].known)  # after a start, the first word may still be on its way
        reading = self.readings[key]
        state = describe(device, reading)
        answer = ""
        if expected is not None and reading.known and reading.state is not None:
            answer = "Yes, the" if reading.state == expected else "No, the"
        return {"say": f"{answer or 'The'} {name} is {state}.", "name": name, "state": state}

    async def _ready(self) -> Link:
        from .link import Offline

        if self.link is None:
            raise ToolError("plugins.mqtt is not set up: it has no host.")
        try:
            await self.link.ready(CONNECT_WAIT_S)
        except Offline as error:
            raise ToolError(f"The MQTT broker cannot be used now: {error}.") from None
        return self.link

    def _device(self, key: str) -> Device:
        if (device := self.config.devices.get(key)) is None:
            raise ToolError(f"There is no device {key}. There are: {', '.join(self.config.devices)}.")
        return device

    def _name(self, key: str) -> str:
        return next(iter(self.config.devices[key].names), key.replace("_", " "))

    async def _until(self, holds: Callable[[], bool]) -> bool:
        try:
            async with asyncio.timeout(self.config.read_back_s):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return holds()
        return True

    # --- the link's side ----------------------------------------------------------------------------------------------

    def _make_link(self) -> Link:
        try:
            from .link import Broker, Link
        except ModuleNotFoundError as error:
            raise ToolError(
                f"it needs {error.name}: pip install 'hearth-assistant[mqtt]' into Hearth's environment"
            ) from None
        config = self.config
        port = config.port or (8883 if config.tls else 1883)
        client_id = f"hearth-{self._identity()}"
        broker = Broker(config.host, port, client_id, config.username, self._password, config.tls)
        # Readings may come twice, but not never; a sentence that is spoken twice is worse than one that is lost.
        subscriptions = {topic: 1 for device in config.devices.values() for topic in topics(device)}
        at_most_once: tuple[Command, ...] = ("listen", "say", "ask")
        subscriptions |= {topic: 0 if command in at_most_once else 1 for topic, command in self._by_command.items()}
        return Link(
            broker,
            subscriptions,
            will=Message(self._presence.availability, "offline") if self._presence else None,
            on_connect=self._greet,
            on_message=self._take,
            sleep=self.context.sleep,
            logger=self.context.logger,
        )

    def _password(self) -> str | None:
        from .link import Offline

        if (path := self.config.password_file) is not None:
            try:
                return path.expanduser().read_text("utf-8").strip()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                raise Offline(f"plugins.mqtt.password_file: {path} cannot be read ({reason})") from None
        return os.environ.get(self.config.password_env) or None

    async def _greet(self) -> None:
        assert self.link is not None
        if self._presence is not None:
            money = self._status().get("money") or {}
            for message in self._presence.discovery(money.get("currency")):
                await self.link.publish(message, retain=True)
            await self.link.publish(Message(self._presence.availability, "online"), retain=True)
            self._published = None
            self._changed.set()
        asked = {message for device in self.config.devices.values() for message in questions(device)}
        for message in sorted(asked, key=lambda one: one.topic):
            await self.link.publish(message, qos=0)

    def _take(self, topic: str, payload: bytes, retained: bool) -> None:
        if (command := self._by_command.get(topic)) is not None:
            # Somebody has kept a command at the broker: it is old, and would come again with every connection.
            if not retained and (value := command_value(command, payload)) is not None:
                self.context.spawn(self._obey(command, value), f"command {command}")
            return
        for key, device in self.config.devices.items():
            if _is_of(device, topic):
                self.readings[key] = read(device, topic, payload, self.readings[key])
        self._news.set()

    # --- presence -----------------------------------------------------------------------------------------------------

    def _identity(self) -> str:
        chosen = self.config.presence.id if self.config.presence else None
        return chosen or re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname())[:40] or "hearth"

    def _make_presence(self) -> Presence | None:
        settings = self.config.presence
        if settings is None or self.context.house is None or not self.config.host:
            return None
        version = str(self._status().get("version", ""))
        commands = tuple(dict.fromkeys(settings.commands))
        return Presence(self._identity(), settings.name, prefix=settings.prefix, commands=commands, version=version)

    def _status(self) -> Mapping[str, Any]:
        return self.context.house.status() if self.context.house is not None else {}

    async def _keep_telling(self) -> None:
        """Publish the state whenever it has changed."""
        from .link import Offline

        assert self.link is not None and self._presence is not None
        while True:
            await self.context.sleep(REFRESH_S, interrupt=self._changed)
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            message = self._presence.state(self._status())
            if message != self._published and self.link.problem is None:
                try:
                    await self.link.publish(message, retain=True)
                except Offline:
                    continue  # told when it is back
                self._published = message

    async def _obey(self, command: Command, value: str | int | bool) -> None:
        house = self.context.house
        assert house is not None
        self.context.logger.info("MQTT: %s", command)
        try:
            match command:
                case "mute":
                    await house.mute(bool(value))
                case "volume":
                    house.set_volume(int(value))
                case "listen":
                    house.listen()
                case "stop":
                    house.stop()
                case "say":
                    self.context.announce(str(value))
                case "ask":
                    house.ask(str(value))
        except ToolError as error:
            self.context.logger.warning("MQTT: %s: %s", command, error)
        self._published = None  # Home Assistant has shown what it wished for: tell it what is
        self._changed.set()


def _is_of(device: Device, topic: str) -> bool:
    if device.style == "tasmota":
        return topic.startswith((f"stat/{device.topic}/", f"tele/{device.topic}/"))
    return topic in topics(device)


def _sayable(name: str) -> str:
    """The words of a name, without what would be a sign of the sentence templates."""
    return " ".join(re.sub(r"[^\w']+", " ", name.lower()).split())
