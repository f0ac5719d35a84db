"""The tools for music and radio. They are offered only where there is a player."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol

from assistant.plugin import Field, tool

from .player import Player

Percent = Annotated[int, Field(ge=0, le=100)]
Words = Annotated[str, Field(max_length=200)]
TIME_LIMIT_S = 30.0
CHANGES = {"up": "(up|louder)", "down": "(down|quieter|softer)"}
_KNOWN = {"known_artist": "artists", "known_album": "albums"}


class _Owner(Protocol):
    @property
    def player(self) -> Player: ...

    async def set_volume(self, level: int | None, change: Literal["up", "down"] | None) -> dict[str, object]: ...


async def play_radio(self: _Owner, station: Words | None = None) -> dict[str, object]:
    """Play a radio station.

    station: which one; leave out if the user named none
    """
    return await self.player.play_station(station)


async def play_music(
    self: _Owner, artist: Words | None = None, album: Words | None = None, title: Words | None = None
) -> dict[str, object]:
    """Play music of this house, found by artist, album or title; all of it if nothing is named.

    artist: who plays or sings it
    album: the name of the album
    title: the name of the song
    """
    return await self.player.play_music(artist, album, title)


async def pause_music(self: _Owner) -> dict[str, object]:
    """Pause the music or radio. Also when the user just says "stop" while it plays."""
    return await self.player.pause()


async def resume_music(self: _Owner) -> dict[str, object]:
    """Go on with the music or radio that was paused or stopped."""
    return await self.player.resume()


async def stop_music(self: _Owner) -> dict[str, object]:
    """Stop the music or radio for good."""
    return await self.player.stop()


async def next_song(self: _Owner) -> dict[str, object]:
    """Play the next song."""
    return await self.player.skip("next")


async def previous_song(self: _Owner) -> dict[str, object]:
    """Play the song before this one."""
    return await self.player.skip("previous")


async def now_playing(self: _Owner) -> dict[str, object]:
    """Tell which song or station is playing."""
    return await self.player.now()


async def music_volume(
    self: _Owner, level: Percent | None = None, change: Literal["up", "down"] | None = None
) -> dict[str, object]:
    """Set the volume of the music or radio, or change it a little. Not that of the assistant's voice.

    level: percent
    change: instead of a level
    """
    return await self.set_volume(level, change)


def offered() -> list[Callable[..., Any]]:
    """All tools of the player."""
    what = "(music|radio|song|playback)"
    named = tool(
        sentences=[
            "(play|listen to|put on|turn on) [the] [radio] [station] {station}",
            "(play|start|put on|turn on|listen to) [the|some] radio",
            "(turn|switch) the radio on",
        ],
        lists={"station": "stations"},
        time_limit_s=TIME_LIMIT_S,
    )
    found = tool(
        sentences=[
            "(play|put on) [some|my|the] music",
            "(play|put on) [some|the] (music|songs|something) (by|of|from) {known_artist:artist}",
            "(play|put on) {known_artist:artist}",
            "(play|put on) [the] album {known_album:album} [by {known_artist:artist}]",
            "(play|put on) the song {title}",
        ],
        lists=_KNOWN,
        time_limit_s=TIME_LIMIT_S,
    )
    spoken: dict[Callable[..., Any], list[str]] = {
        pause_music: ["pause", f"pause [the] {what}"],
        resume_music: ["resume", f"(resume|continue|unpause) [the] {what}", "(go on|keep) playing"],
        stop_music: [f"(stop|end) [the] {what}", "stop playing", "(turn|switch) off the (music|radio)"],
        next_song: ["next", "[play] [the] next (song|track)", "skip [this] [song|track]"],
        previous_song: ["[play] [the] (previous|last) (song|track)", "go back (a|one) (song|track)"],
        now_playing: [
            "(what is|what's) playing [now|right now]",
            "(what is|what's) (this|that) song",
            "(what|which) (song|station) is (this|that|playing)",
            "who (sings|plays) this",
        ],
    }
    volume = tool(
        sentences=[
            "(turn|make) [the] (music|radio) {change}",
            "turn {change} [the] (music|radio)",
            "set [the] (music|radio) [volume] to {level} [percent]",
            "set [the] volume of the (music|radio) to {level} [percent]",
        ],
        lists={"change": CHANGES},
    )
    plain = [tool(sentences=sentences, time_limit_s=TIME_LIMIT_S)(function) for function, sentences in spoken.items()]
    return [named(play_radio), found(play_music), *plain, volume(music_volume)]
