"""Home Assistant's WebSocket and REST interfaces on 127.0.0.1, as far as the plugin uses them, with faults on demand.

Its answers have the shapes of a real one's, which test_home_assistant_real.py drives in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType, web

TOKEN = "a-long-lived-token"


def entity(name: str, state: str, **attributes: Any) -> dict[str, Any]:
    return {"s": state, "a": {"friendly_name": name, **attributes}}


HOUSE: dict[str, dict[str, Any]] = {
    "light.kitchen_ceiling": entity("Kitchen Ceiling", "off", supported_color_modes=["hs", "color_temp"]),
    "light.worktop": entity("Worktop", "off", supported_color_modes=["brightness"]),
    "light.desk": entity("Desk Lamp", "off", supported_color_modes=["onoff"]),
    "light.dead": entity("Attic Light", "unavailable", supported_color_modes=["onoff"]),
    "switch.coffee": entity("Coffee Machine", "off"),
    "cover.garage": entity("Garage Door", "closed", device_class="garage", current_position=0),
    "cover.blind": entity("Bedroom Blind", "open", device_class="blind", current_position=100),
    "climate.bedroom": entity(
        "Bedroom Heating", "off", hvac_modes=["heat", "off"], min_temp=5, max_temp=30, temperature=5
    ),
    "sensor.bedroom": entity("Bedroom Temperature", "19.53", device_class="temperature", unit_of_measurement="°C"),
    "binary_sensor.window": entity("Kitchen Window", "on", device_class="window"),
    "binary_sensor.back_door": entity("Back Door", "off", device_class="door"),
    "lock.front": entity("Front Door", "locked"),
    "media_player.radio": entity("Radio", "off", volume_level=0.3),
    "scene.movie": entity("Movie Night", "unknown"),
    "sensor.secret": entity("Router Uptime", "3", device_class="duration"),
}
AREAS = {"kitchen": "Kitchen", "bedroom": "Bedroom", "office": "Office"}
PLACES = {
    "light.kitchen_ceiling": "kitchen",
    "light.worktop": "kitchen",
    "binary_sensor.window": "kitchen",
    "light.desk": "office",
    "cover.blind": "bedroom",
    "climate.bedroom": "bedroom",
    "sensor.bedroom": "bedroom",
}
ALIASES = {"light.worktop": ["counter light"]}


class ScriptedHome:
    """Use as an async context manager. What the tests change is public."""

    def __init__(self) -> None:
        self.states = {key: {"s": value["s"], "a": dict(value["a"])} for key, value in HOUSE.items()}
        self.places: dict[str, str] = dict(PLACES)
        self.areas = dict(AREAS)
        self.exposed: dict[str, dict[str, bool]] = {"media_player.radio": {"conversation": True}}
        self.calls: list[dict[str, Any]] = []
        self.connections = 0
        self.deaf: set[str] = set()
        """Entities whose state does not follow."""
        self.refuse: str | None = None
        """The message with which every service call fails."""
        self.admin = True
        self.silent = False
        """Answer no command."""
        self.status = 200
        """Of the WebSocket's handshake and of REST."""
        self._sockets: dict[web.WebSocketResponse, int] = {}
        self._registry_events: dict[web.WebSocketResponse, int] = {}
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> ScriptedHome:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to listen; after ``stop`` on the same port as before."""
        app = web.Application()
        app.router.add_get("/api/websocket", self._serve)
        app.router.add_get("/api/", self._rest)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self.drop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def drop(self) -> None:
        """Close every connection."""
        for socket in list(self._sockets):
            await socket.close()

    async def change(self, name: str, state: str | None, **attributes: Any) -> None:
        """A state changes by itself; None removes the entity."""
        if state is None:
            del self.states[name]
            await self._tell({"r": [name]})
            return
        new = name not in self.states
        entry = self.states.setdefault(name, {"s": state, "a": {}})
        gone = [key for key, value in attributes.items() if value is None]
        entry["s"] = state
        entry["a"].update({key: value for key, value in attributes.items() if value is not None})
        for key in gone:
            entry["a"].pop(key, None)
        more: dict[str, Any] = {"s": state, "a": {k: v for k, v in attributes.items() if v is not None}}
        await self._tell({"a": {name: entry}} if new else {"c": {name: {"+": more, "-": {"a": gone}}}})

    async def registry_changed(self) -> None:
        for socket, number in list(self._registry_events.items()):
            event = {"event_type": "entity_registry_updated", "data": {}}
            await socket.send_json({"id": number, "type": "event", "event": event})

    async def send_raw(self, text: str) -> None:
        """Send anything; STATES stands for the number of the subscription to states."""
        for socket, number in list(self._sockets.items()):
            await socket.send_str(text.replace("STATES", str(number)))

    async def _tell(self, event: Mapping[str, Any]) -> None:
        for socket, number in list(self._sockets.items()):
            if number:
                await socket.send_json({"id": number, "type": "event", "event": event})

    async def _rest(self, request: web.Request) -> web.Response:
        allowed = request.headers.get("Authorization") == f"Bearer {TOKEN}"
        return web.json_response({}, status=self.status if allowed else 401)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.status != 200:
            return web.Response(status=self.status)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[socket] = 0
        try:
            await socket.send_json({"type": "auth_required", "ha_version": "2024.3.3"})
            if (await socket.receive_json())["access_token"] != TOKEN:
                await socket.send_json({"type": "auth_invalid", "message": "Invalid access token or password"})
                return socket
            await socket.send_json({"type": "auth_ok", "ha_version": "2024.3.3"})
            self.connections += 1
            async for message in socket:
                if message.type is WSMsgType.TEXT and not self.silent:
                    await self._answer(socket, message.json())
        finally:
            self._sockets.pop(socket, None)
            self._registry_events.pop(socket, None)
        return socket

    async def _answer(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        number, kind = message["id"], message["type"]
        try:
            result = await self._result(socket, number, kind, message)
        except PermissionError as error:
            failure = {"code": "unauthorized", "message": str(error)}
            await socket.send_json({"id": number, "type": "result", "success": False, "error": failure})
            return
        await socket.send_json({"id": number, "type": "result", "success": True, "result": result})
        if kind == "subscribe_entities":
            self._sockets[socket] = number
            await socket.send_json({"id": number, "type": "event", "event": {"a": self.states}})

    async def _result(self, socket: web.WebSocketResponse, number: int, kind: str, message: dict[str, Any]) -> Any:
        entries = {
            name: {"entity_id": name, "area_id": self.places.get(name), "device_id": None} for name in self.states
        }
        match kind:
            case "config/area_registry/list":
                return [{"area_id": key, "name": name, "aliases": []} for key, name in self.areas.items()]
            case "config/device_registry/list":
                return []
            case "config/entity_registry/list":
                return list(entries.values())
            case "config/entity_registry/get_entries":
                asked = message["entity_ids"]
                return {name: {**entries[name], "aliases": ALIASES.get(name, [])} for name in asked if name in entries}
            case "homeassistant/expose_entity/list" if self.admin:
                return {"exposed_entities": self.exposed}
            case "homeassistant/expose_new_entities/get" if self.admin:
                return {"expose_new": True}
            case "subscribe_events":
                self._registry_events[socket] = number
                return None
            case "subscribe_entities":
                return None
            case "call_service":
                self.calls.append(message)
                if self.refuse is not None:
                    raise PermissionError(self.refuse)
                for name in message["target"]["entity_id"]:
                    if name not in self.deaf:
                        await self._serve_call(name, message["service"], message["service_data"])
                return {"context": {}}
            case _:
                raise PermissionError("Unauthorized")

    async def _serve_call(self, name: str, service: str, data: Mapping[str, Any]) -> None:
        state = self.states[name]["s"]
        match service:
            case "turn_on" if name.startswith("light."):
                level = data.get("brightness_pct")
                changed = {"brightness": round(level * 2.55)} if level is not None else {}
                same = {key: data[key] for key in ("hs_color", "color_temp_kelvin") if key in data}
                await self.change(name, "on", **changed, **same)
            case "turn_on" if name.startswith("scene."):
                await self.change(name, "2026-11-21T05:00:00+00:00")
            case "turn_on" | "turn_off":
                await self.change(name, service.removeprefix("turn_"))
            case "open_cover" | "close_cover":
                await self.change(name, "opening" if service == "open_cover" else "closing")
            case "set_cover_position":
                await self.change(name, "open", current_position=data["position"])
            case "lock" | "unlock":
                await self.change(name, f"{service}ed")
            case "set_hvac_mode":
                await self.change(name, data["hvac_mode"])
            case "set_temperature":
                await self.change(name, data.get("hvac_mode", state), temperature=data["temperature"])
            case "media_play":
                await self.change(name, "playing", media_title="Jazz")
            case "volume_set":
                await self.change(name, state, volume_level=data["volume_level"])
            case _:
                raise AssertionError(f"no script for {service} of {name}")


async def eventually(holds: Any, limit_s: float = 20.0) -> None:
    """Wait until something that happens over a socket has happened."""
    async with asyncio.timeout(limit_s):
        while not holds():  # noqa: ASYNC110 - there is no event for what is inside a plugin
            await asyncio.sleep(0.005)
