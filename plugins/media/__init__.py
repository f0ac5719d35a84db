"""Internet radio and the music of the house, through the Music Player Daemon (https://www.musicpd.org).

Settings (``plugins.media`` in config.yaml); docs/media.md is the guide::

    plugins:
      media:
        host: 127.0.0.1
        stations:
          radio swiss jazz: {url: "http://stream.srg-ssr.ch/m/rsj/mp3_128", names: [swiss jazz, jazz radio]}

Without ``host`` it does nothing. It needs the package python-mpd2: ``pip install 'hearth-assistant[media]'``.

While the assistant listens, thinks, speaks or rings, the music is softer: :mod:`ducking` has the rules, and
:meth:`Media._settle` alone sets the volume. What was lowered is kept in the database, so that an assistant that was
killed meanwhile raises it when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict

from assistant.plugin import BaseModel, Context, Field, Plugin, ToolError

from .ducking import Ducking, Lowered, Normal, choose, step, wanted

if TYPE_CHECKING:
    from .link import Link
    from .player import Player

CHECK_WAIT_S = 4.5
FAREWELL_S = 1.0
VOLUME_STEP = 10
SAME_STOP_S = 15.0
"""The wake word ends a ring before "stop" can be said: within this time and turn, it was meant for the ring."""

Name = Annotated[str, Field(min_length=1, max_length=60)]


class Station(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(pattern=r"^\S+$", max_length=500)]
    names: list[Name] = Field(default_factory=list)


class Media(Plugin):
    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")

        host: str = ""
        port: Annotated[int, Field(ge=1, le=65535)] = 6600
        password_env: str = "MPD_PASSWORD"
        password_file: Path | None = None
        stations: Annotated[dict[Name, Station], Field(max_length=100)] = Field(default_factory=dict)
        duck_percent: Annotated[int, Field(ge=0, le=100)] = 50

    config: Config
    player: Player

    @classmethod
    def configured_tools(cls, config: Config) -> Iterable[Callable[..., Any]]:
        if not config.host:
            return ()
        _needs_library()
        from .tools import offered

        return offered()

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.link: Link | None = None
        self.ducking: Ducking = Normal()
        self._state = "idle"
        self._alerts: set[str] = set()
        self._dismissed_at: float | None = None
        self._look = asyncio.Event()
        self._anew = False
        self._names_changed = False
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        if not self.config.host:
            return
        from .link import Link
        from .player import Player

        config = self.config
        self.link = Link(
            config.host,
            config.port,
            self._password,
            on_change=self._changed,
            sleep=self.context.sleep,
            logger=self.context.logger,
        )
        self.player = Player(self.link, {name: station.url for name, station in config.stations.items()})
        spoken = {name: [name, *station.names] for name, station in config.stations.items()}
        self.context.entities("stations", {name: forms for name, said in spoken.items() if (forms := _sayable(said))})
        self.ducking = await self.context.in_thread(self._load)
        if self.context.house is not None:
            self._state = str(self.context.house.status().get("state", "idle"))
        self.context.on("state", self._about)
        self.context.on("alert", self._alert)
        self.context.on("turn", self._turn)
        self.context.on("stop", self._stop_wanted)
        self.context.spawn(self.link.run(), "connection to MPD")
        self.context.spawn(self._keep_volume(), "volume of the music")

    async def check(self) -> str | None:
        if self.link is None:
            return None
        await self.link.attempted(CHECK_WAIT_S)
        return f"MPD at {self.config.host}: {self.link.problem}" if self.link.problem else None

    async def stop(self) -> None:
        if self.link is not None:
            self._state, self._alerts = "idle", set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._settle()

    # --- what happens -------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether the assistant listens, thinks, speaks or rings."""
        return self._state != "idle" or bool(self._alerts)

    def _about(self, facts: Mapping[str, Any]) -> None:
        self._state = str(facts["state"])
        self._look.set()

    def _alert(self, facts: Mapping[str, Any]) -> None:
        (self._alerts.add if facts["state"] == "started" else self._alerts.discard)(str(facts["alert"]))
        if facts.get("dismissed"):
            self._dismissed_at = self.context.clock.monotonic()
        self._look.set()

    def _turn(self, facts: Mapping[str, Any]) -> None:
        if facts["state"] == "ended":
            self._dismissed_at = None

    def _changed(self, changes: Collection[str]) -> None:
        from .link import CONNECTED

        self._anew |= CONNECTED in changes
        self._names_changed |= CONNECTED in changes or "database" in changes
        self.player.changed()
        self._look.set()

    def _stop_wanted(self, _: Mapping[str, Any]) -> None:
        now, dismissed_at = self.context.clock.monotonic(), self._dismissed_at
        for_a_ring = dismissed_at is not None and now - dismissed_at < SAME_STOP_S
        if not self._alerts and not for_a_ring:
            self.context.spawn(self._hush(), "stop")

    async def _hush(self) -> None:
        if self.link is not None and self.link.problem is None:
            with contextlib.suppress(ToolError):
                await self.player.pause_if_playing()

    # --- the volume ---------------------------------------------------------------------------------------------------

    async def set_volume(self, level: int | None, change: Literal["up", "down"] | None) -> dict[str, object]:
        """For the tool: raises ToolError."""
        if (level is None) == (change is None):
            raise ToolError("Give either a level or a change.")
        await self.player.ready()
        async with self._lock:
            volume = wanted(self.ducking, await self._volume())
            if volume is None:
                raise ToolError("The volume of the music cannot be set now: the player has no mixer, or is silent.")
            if level is None:
                level = max(0, min(100, volume + (VOLUME_STEP if change == "up" else -VOLUME_STEP)))
            ducking, now = choose(self.ducking, level, busy=self.busy, percent=self.config.duck_percent)
            await self._set(ducking, now)
        return {"say": f"The music is at {level} percent.", "level": level}

    async def _keep_volume(self) -> None:
        """Look at the volume whenever something has happened here or in MPD."""
        while True:
            await self._look.wait()
            self._look.clear()
            await self._settle()
            if self._names_changed:
                await self._learn_names()

    async def _settle(self) -> None:
        """Make the volume what it should be now. While MPD is away, nothing: it is looked at when it is back."""
        assert self.link is not None
        if self.link.problem is not None:
            return
        async with self._lock:
            with contextlib.suppress(ToolError):
                volume = await self._volume()
                ducking, now = step(
                    self.ducking,
                    busy=self.busy,
                    volume=volume,
                    percent=self.config.duck_percent,
                    anew=self._anew,
                )
                if volume is not None:
                    self._anew = False
                await self._set(ducking, now)

    async def _set(self, ducking: Ducking, volume: int | None) -> None:
        before, self.ducking = self.ducking, ducking  # first, since the connection may break off in between
        try:
            if volume is not None:
                await self.player.do("setvol", volume)
                if isinstance(ducking, Lowered) and (found := await self._volume()) is not None:
                    self.ducking = Lowered(ducking.normal, found)  # a mixer may know fewer steps than a hundred
        finally:
            if self.ducking != before:
                await self.context.in_thread(self._save, self.ducking)

    async def _volume(self) -> int | None:
        volume = int((await self.player.do("status")).get("volume", -1))
        return volume if volume >= 0 else None

    def _save(self, ducking: Ducking) -> None:
        try:
            with self.context.database() as db:
                db.execute("DELETE FROM lowered")
                if isinstance(ducking, Lowered):
                    db.execute("INSERT INTO lowered VALUES (?, ?)", (ducking.normal, ducking.lowered))
        except sqlite3.Error as error:  # a full disk, say: the music must get louder again all the same
            self.context.logger.warning("the lowered volume cannot be kept: %s", error)

    def _load(self) -> Ducking:
        with self.context.database() as db:
            db.execute("CREATE TABLE IF NOT EXISTS lowered (normal INTEGER, lowered INTEGER)")
            row = db.execute("SELECT normal, lowered FROM lowered").fetchone()
        return Lowered(*row) if row else Normal()

    # --- settings -----------------------------------------------------------------------------------------------------

    async def _learn_names(self) -> None:
        with contextlib.suppress(ToolError):  # there is no connection now: they are asked for with the next one
            self._names_changed = False
            self.context.entities("artists", await self.player.names("artist"))
            self.context.entities("albums", await self.player.names("album"))

    def _password(self) -> str | None:
        from .link import Offline

        if (path := self.config.password_file) is not None:
            try:
                return path.expanduser().read_text("utf-8").strip()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                raise Offline(f"plugins.media.password_file: {path} cannot be read ({reason})") from None
        return os.environ.get(self.config.password_env) or None


def _needs_library() -> None:
    try:
        import mpd.asyncio  # type: ignore[import-untyped]  # noqa: F401
    except ModuleNotFoundError as error:
        raise ToolError(
            f"it needs {error.name}: pip install 'hearth-assistant[media]' into Hearth's environment"
        ) from None


def _sayable(names: Iterable[str]) -> list[str]:
    """The words of names, without what would be a sign of the sentence templates."""
    return [said for name in names if (said := " ".join(re.sub(r"[^\w']+", " ", name.lower()).split()))]
