"""Sounds of plugins from the context to the speaker: played whole, softer under a conversation, ended by "stop"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from assistant import wiring
from assistant.assembly import Assistant
from assistant.audio.player import Player
from assistant.config import load
from assistant.core.events import StopRequested, TextSubmitted
from assistant.core.media import LIMIT_TRACKS
from assistant.core.policy import State
from assistant.errors import ToolError
from assistant.journal import Journal
from assistant.plugin import Plugin, SoundEnd
from assistant.sounds import SoundBoard
from assistant.testing.plugins import InlineThreads
from assistant.testing.virtual_time import run
from assistant.tools.loading import from_object
from assistant.tools.registry import ToolRegistry
from assistant.types import ItemId
from tests.audio.test_player import BufferedSpeaker

SECOND = 24_000


class Radio(Plugin):
    """Has a context; the tests do the rest."""


class Place:
    """A plugin, the board and the player, with a speaker that pulls in virtual time."""

    def __init__(self, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        self.speaker = BufferedSpeaker()
        self.player = Player(self.speaker, lambda event: None, loop)
        self.journal = Journal()
        self.registry = ToolRegistry(folder, threads=InlineThreads())  # real ones know nothing of virtual time
        self.registry.sounds = board = SoundBoard(self.player)
        self.journal.subscribe(board.hear)
        self.registry.load_candidates([from_object("radio", Radio)])

    @property
    def context(self) -> Any:
        instance = self.registry._entries["radio"].instance
        assert instance is not None
        return instance.context

    @property
    def level(self) -> int:
        """The loudest sample of the last 20 ms."""
        return int(np.abs(np.frombuffer(self.speaker.pulled[-960:], "<i2").astype(int)).max())

    def pulled(self) -> list[int]:
        return np.trim_zeros(np.frombuffer(bytes(self.speaker.pulled), "<i2")).tolist()

    async def stream(self, chunks: int, *, samples: int = 2400, value: int = 8000) -> AsyncIterator[bytes]:
        for number in range(chunks):
            self.asked = number + 1
            yield np.full(samples, value, "<i2").tobytes()


def at_place(folder: Path, scene: Callable[[Place], Awaitable[None]]) -> None:
    async def main() -> None:
        place = Place(folder)
        place.player.start()
        await place.registry.start()
        try:
            await scene(place)
        finally:
            await place.registry.stop()
            place.player.stop()

    run(main(), limit_s=600)


def test_a_stream_is_played_whole_and_asked_only_for_what_fits(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        sound = await place.context.play(place.stream(100))  # 10 s
        await asyncio.sleep(1.0)
        assert not sound.done
        assert 25 <= place.asked <= 33  # the second that was heard, two that wait, and the one in hand
        assert await sound.wait() is SoundEnd.FINISHED
        assert place.pulled()[: 10 * SECOND] == [8000] * 10 * SECOND

    at_place(tmp_path, scene)


def test_a_chunk_of_any_size_is_taken_in_pieces(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        sound = await place.context.play(place.stream(1, samples=8 * SECOND))
        assert await sound.wait() is SoundEnd.FINISHED
        assert place.pulled()[: 8 * SECOND] == [8000] * 8 * SECOND

    at_place(tmp_path, scene)


@pytest.mark.parametrize(("suffix", "rate", "channels"), [("wav", 24_000, 1), ("flac", 44_100, 2), ("ogg", 16_000, 1)])
def test_a_file_of_any_kind_is_heard_as_it_sounds(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(2 * rate) / rate)
    soundfile.write(tmp_path / f"tone.{suffix}", np.stack([tone] * channels, axis=1), rate)

    async def scene(place: Place) -> None:
        sound = await place.context.play(tmp_path / f"tone.{suffix}")
        assert await sound.wait() is SoundEnd.FINISHED
        heard = np.array(place.pulled()) / 32768
        assert abs(heard.size - 2 * SECOND) < 300
        spectrum = np.abs(np.fft.rfft(heard[SECOND // 2 : SECOND * 3 // 2]))
        assert int(spectrum.argmax()) == 500
        assert 0.45 < np.abs(heard).max() < 0.55

    at_place(tmp_path, scene)


def test_it_is_softer_while_there_is_a_conversation_and_below_an_answer(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        await place.context.play(place.stream(200))
        await asyncio.sleep(1.0)
        assert place.level == 8000
        for state in (State.LISTENING, State.THINKING, State.FOLLOW_UP):
            place.journal.state(state, 0.0)
            await asyncio.sleep(0.5)
            assert place.level == round(8000 * 10 ** (-15 / 20))
        place.journal.state(State.IDLE, 0.0)
        await asyncio.sleep(1.0)
        assert place.level == 8000
        place.player.play(ItemId("answer"), bytes(2 * SECOND))
        await asyncio.sleep(0.5)
        assert place.level == round(8000 * 10 ** (-15 / 20))

    at_place(tmp_path, scene)


@pytest.mark.parametrize("how", ["stop requested", "hush", "handle"])
def test_stop_ends_it_also_while_the_stream_stalls(tmp_path: Path, how: str) -> None:
    closed = []

    async def stalling(place: Place) -> AsyncIterator[bytes]:
        try:
            yield np.full(4800, 8000, "<i2").tobytes()
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def scene(place: Place) -> None:
        sound = await place.context.play(stalling(place))
        await asyncio.sleep(0.1)
        assert place.level == 8000
        if how == "handle":
            sound.stop()
        elif how == "hush":
            place.journal.note("hush", 0.0)
        else:
            place.journal.event(StopRequested(0.0))
        assert sound.done
        assert await sound.wait() is (SoundEnd.STOPPED if how == "handle" else SoundEnd.DISMISSED)
        await asyncio.sleep(0.06)
        assert place.level == 0
        assert closed == [True]

    at_place(tmp_path, scene)


def test_a_stream_that_stalls_is_silent_and_goes_on(tmp_path: Path) -> None:
    async def halting() -> AsyncIterator[bytes]:
        for _ in range(2):
            yield np.full(2400, 8000, "<i2").tobytes()
            await asyncio.sleep(1.0)

    async def scene(place: Place) -> None:
        sound = await place.context.play(halting())
        await asyncio.sleep(0.5)
        assert place.level == 0
        assert not sound.done
        assert await sound.wait() is SoundEnd.FINISHED
        heard = np.array(place.pulled())
        assert (heard == 8000).sum() == 2400 + 2400 - 120, "all but the ramp up"

    at_place(tmp_path, scene)


def test_a_stream_that_breaks_shows_in_the_status_and_hurts_nobody(tmp_path: Path) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield bytes(4800)
        raise SystemExit(3)

    async def scene(place: Place) -> None:
        sound = await place.context.play(breaking())
        other = await place.context.play(place.stream(3))
        assert await sound.wait() is SoundEnd.FAILED
        assert await other.wait() is SoundEnd.FINISHED
        [info] = place.registry.plugins
        assert "playing a sound crashed: SystemExit" in info.reason

    at_place(tmp_path, scene)


def test_there_is_room_for_a_few_and_what_cannot_be_played_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "not.wav").write_text("no sound")

    async def scene(place: Place) -> None:
        with pytest.raises(ToolError, match=r"not\.wav: cannot be read as sound"):
            await place.context.play(tmp_path / "not.wav")
        with pytest.raises(ToolError, match="samples per second"):
            await place.context.play(place.stream(1), rate=3)
        sounds = [await place.context.play(place.stream(100)) for _ in range(LIMIT_TRACKS)]
        with pytest.raises(ToolError, match="sounds play already"):
            await place.context.play(place.stream(1))
        sounds[0].stop()
        await place.context.play(place.stream(1))

    at_place(tmp_path, scene)


def test_the_end_of_the_plugin_ends_its_sounds(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        sound = await place.context.play(place.stream(100))
        await asyncio.sleep(0.3)
        await place.registry.stop()
        assert sound.ended is SoundEnd.STOPPED
        await asyncio.sleep(0.06)
        assert place.level == 0

    at_place(tmp_path, scene)


def test_plugins_hear_that_quiet_is_wanted_and_what_volumes_were_set(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        place.journal.subscribe(place.registry.hear)
        heard = []
        place.context.on("stop", lambda facts: heard.append(dict(facts)))
        place.context.on("volume", lambda facts: heard.append(dict(facts)))
        place.journal.event(StopRequested(0.0))
        place.journal.note("hush", 0.0)
        place.journal.note("volume", 0.0, percent=30, channel="media")
        assert heard == [{}, {}, {"percent": 30, "channel": "media"}]

    at_place(tmp_path, scene)


def test_it_goes_on_after_the_speaker_was_away(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        sound = await place.context.play(place.stream(30))
        await asyncio.sleep(0.5)
        place.player.stop()
        await asyncio.sleep(60)
        assert not sound.done
        place.player.start()
        assert await sound.wait() is SoundEnd.FINISHED
        assert sum(1 for sample in place.pulled() if sample == 8000) == 3 * SECOND

    at_place(tmp_path, scene)


SEA = """
from assistant.plugin import Plugin, tool


class Sea(Plugin):
    @tool(sentences=["let me hear the sea"])
    async def hear_sea(self) -> str:
        \"""Play the sound of the sea.\"""
        self.sound = await self.context.play(self._waves())
        return "Here it is."

    @tool(sentences=["how was the sea"])
    def how_it_was(self) -> str:
        \"""Tell what became of the sound.\"""
        return str(self.sound.ended)

    async def _waves(self):
        while True:
            yield b"\\x01\\x02" * 2400
"""


@pytest.mark.daemon
def test_a_bare_stop_said_to_the_offline_brain_ends_it(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "sea.py").write_text(SEA)
    (tmp_path / "config.yaml").write_text(
        "provider: local\nstate_dir: state\ntools: {folders: [plugins]}\n"
        "audio: {output: {device: none}}\nfollow_up: {mode: never}\n"
    )

    async def main() -> None:
        loop, journal, answers = asyncio.get_running_loop(), Journal(), list[str]()
        journal.subscribe(lambda entry: answers.append(entry["delta"]) if entry["name"] == "answer_text" else None)
        assistant = Assistant(load(tmp_path / "config.yaml"), journal, wiring.speaker("none", loop))
        async with assistant.running():
            assistant.controls.set_volume(40, "media")
            assistant.controls.set_volume(90)
            assert assistant.controls.status()["volumes"] == {"answers": 100, "alerts": 100, "media": 40}
            assert assistant.controls.status()["volume"] == 90
            for text in ("let me hear the sea", "how was the sea", "stop", "how was the sea"):
                assistant.engine.dispatch(TextSubmitted(loop.time(), text))
                await assistant.engine.idle.wait()
        assert "".join(answers) == "Here it is.None.Okay.SoundEnd.DISMISSED."

    asyncio.run(main())
