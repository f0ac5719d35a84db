"""What can be done with MPD: stations and songs, played and told of."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from assistant.plugin import ToolError

from .link import Link, Offline, Refused

CONNECT_WAIT_S = 2.0
BEGIN_LIMIT_S = 8.0
"""For the first sound of a station."""

SONGS = 500
"""The most that are put into the queue at once."""

NAMES = 200
"""Artists and albums that the offline brain knows by ear: each is a word in its grammar."""

NAME_CHARS = 100


class Player:
    """Every method raises ToolError with one line for the user. Belongs to the event loop."""

    def __init__(self, link: Link, stations: Mapping[str, str]) -> None:
        """stations: name -> address."""
        self._link = link
        self._stations = stations
        self._news = asyncio.Event()

    def changed(self) -> None:
        """Something has changed in MPD."""
        self._news.set()

    async def ready(self) -> None:
        """Wait a moment for the connection."""
        try:
            await self._link.ready(CONNECT_WAIT_S)
        except Offline as error:
            _offline(error)

    async def do(self, command: str, *arguments: object) -> Any:
        try:
            return await self._link.do(command, *arguments)
        except Offline as error:
            _offline(error)
        except Refused as error:
            raise ToolError(f"The music player refuses that: {error}.") from None

    async def play_station(self, station: str | None) -> dict[str, object]:
        """Play a station; without a name the one that was played last, if it is still in the queue, or the first."""
        if not self._stations:
            raise ToolError("There are no stations: add some to plugins.media in the config.")
        await self.ready()
        if station is None:
            station = await self._station_now() or next(iter(self._stations))
        if (url := self._stations.get(station)) is None:
            raise ToolError(f"There is no station {station}. There are: {', '.join(self._stations)}.")
        await self.do("clear")
        await self.do("add", url)
        if not await self._begin(f"{station} cannot be played now"):
            return {"say": f"{station} has not begun yet.", "station": station}
        return {"say": f"Playing {station}.", "station": station}

    async def play_music(self, artist: str | None, album: str | None, title: str | None) -> dict[str, object]:
        """Play what is found; in the order of the album if one was named, else shuffled."""
        await self.ready()
        given = {tag: value for tag, value in (("artist", artist), ("album", album), ("title", title)) if value}
        songs, query = await self._find(given)
        if not songs:
            raise ToolError(f"There is no music {_described(given)}." if given else "There is no music here.")
        await self.do("clear")
        await (self.do("searchadd", *query) if query else self.do("add", "/"))
        if not album and not title and len(songs) > 1:
            await self.do("shuffle")
        if not await self._begin("That cannot be played"):
            return {"say": "That has not begun yet.", "songs": len(songs)}
        if len(songs) == 1:
            return {"say": f"Playing {_song(songs[0])}.", "songs": 1}
        what = f"{len(songs)} songs {_described(given)}" if given else "your music, shuffled"
        return {"say": f"Playing {what}.", "songs": len(songs)}

    async def _find(self, given: Mapping[str, str]) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        """The songs, and the query that finds them; by any tag if the named ones lead to nothing."""
        if not given:
            return [song for song in await self.do("listall") if "file" in song][:SONGS], ()
        named = tuple(part for pair in given.items() for part in pair)
        anywhere = tuple(part for value in given.values() for part in ("any", value))
        for query in (named, anywhere):
            limited = (*query, "window", f"0:{SONGS}")
            if songs := await self.do("search", *limited):
                return list(songs), limited
        return [], ()

    async def _begin(self, otherwise: str) -> bool:
        """Play the queue from its start; whether there is sound in time. Raises ToolError with ``otherwise``."""
        await self.do("random", 0)
        await self.do("clearerror")
        await self.do("play", 0)
        try:
            async with asyncio.timeout(BEGIN_LIMIT_S):
                while True:
                    self._news.clear()
                    status = await self.do("status")
                    if status.get("state") == "play" and "audio" in status:
                        return True
                    if status.get("error") or status.get("state") == "stop":
                        raise ToolError(f"{otherwise}.")
                    await self._news.wait()
        except TimeoutError:
            return False

    async def pause(self) -> dict[str, object]:
        if not await self.pause_if_playing():
            raise ToolError("Nothing is playing.")
        return {"say": "Paused."}

    async def pause_if_playing(self) -> bool:
        await self.ready()
        playing = (await self.do("status")).get("state") == "play"
        if playing:
            await self.do("pause", 1)
        return bool(playing)

    async def resume(self) -> dict[str, object]:
        await self.ready()
        status = await self.do("status")
        if status.get("state") == "play":
            return {"say": "It is playing already."}
        if status.get("playlistlength", "0") == "0":
            raise ToolError("There is nothing to go on with.")
        await (self.do("pause", 0) if status.get("state") == "pause" else self.do("play"))
        return {"say": "Okay."}

    async def stop(self) -> dict[str, object]:
        await self.ready()
        if (await self.do("status")).get("state") == "stop":
            raise ToolError("Nothing is playing.")
        await self.do("stop")
        return {"say": "Stopped."}

    async def skip(self, command: str) -> dict[str, object]:
        """command: next or previous."""
        await self.ready()
        status = await self.do("status")
        if status.get("state") == "stop":
            raise ToolError("Nothing is playing.")
        at, length = int(status.get("song", 0)), int(status.get("playlistlength", 0))
        if command == "next" and at + 1 >= length and status.get("repeat") != "1":
            raise ToolError("That is the last one.")
        await self.do(command)
        if status.get("state") == "pause":
            await self.do("pause", 0)
        song = await self.do("currentsong")
        return {"say": f"{self._named(song)}.", **_facts(song)}

    async def now(self) -> dict[str, object]:
        await self.ready()
        status, song = await self.do("status"), await self.do("currentsong")
        state = status.get("state")
        if state == "stop" or not song:
            return {"say": "Nothing is playing.", "state": "stop"}
        named = self._named(song)
        return {"say": f"It is paused: {named}." if state == "pause" else f"{named}.", "state": state, **_facts(song)}

    async def names(self, tag: str) -> dict[str, list[str]]:
        """Artists or albums as a list for sentences: those that are plain words, since others cannot be heard."""
        found = [str(entry.get(tag, "")) for entry in await self.do("list", tag)]
        return {name: [said] for name in found if (said := _sayable(name))} if len(found) <= NAMES else {}

    async def _station_now(self) -> str | None:
        song = await self.do("currentsong")
        return next((name for name, url in self._stations.items() if url == song.get("file")), None)

    def _named(self, song: Mapping[str, Any]) -> str:
        station = next((name for name, url in self._stations.items() if url == song.get("file")), None)
        station = station or (_tag(song, "name") or None)
        if station is None:
            return _song(song)
        title = _tag(song, "title")
        return f"{title}, on {station}" if title else station


def _offline(error: Offline) -> NoReturn:
    raise ToolError(f"The music player cannot be used now: {error}.") from None


def _tag(song: Mapping[str, Any], tag: str) -> str:
    """A tag, which may be there several times; a station sends whatever it likes."""
    value = song.get(tag, "")
    text = " and ".join(str(part) for part in value) if isinstance(value, list) else str(value)
    return " ".join(text.split())[:NAME_CHARS]


def _song(song: Mapping[str, Any]) -> str:
    title, artist = _tag(song, "title"), _tag(song, "artist")
    title = title or re.sub(r"\.\w+$", "", str(song.get("file", "")).rpartition("/")[2])[:NAME_CHARS]
    return f"{title} by {artist}" if artist else title


def _facts(song: Mapping[str, Any]) -> dict[str, object]:
    return {tag: text for tag in ("title", "artist", "album", "name") if (text := _tag(song, tag))}


def _described(given: Mapping[str, str]) -> str:
    words = {"title": "called", "album": "from", "artist": "by"}
    return " ".join(f"{word} {given[tag]}" for tag, word in words.items() if tag in given)


def _sayable(name: str) -> str:
    words = " ".join(re.sub(r"[^\w']+", " ", name.lower()).split())
    return words if len(words) <= NAME_CHARS and not re.search(r"[\d_]", words) else ""
