"""A further room: a conversation of its own, with its own ears and mouth, that shares everything else with the first.

What is shared are the brains, the tools with their state, the sentences for when nobody answers, the caps on costs and
the files of turns. What rings, rings in the first room only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from assistant import wiring
from assistant.alerts import AlertBoard
from assistant.audio.analysis import Heard
from assistant.audio.player import Player
from assistant.audio.ports import Microphone, Speaker
from assistant.audio.reference import ReferenceBuffer
from assistant.config import Config
from assistant.core import events as ev
from assistant.core.conversation import Conversation
from assistant.core.events import Event
from assistant.engine import Engine, SessionFactory
from assistant.errors import DeviceError
from assistant.journal import Journal
from assistant.phrasebook import Phrasebook
from assistant.records import Records
from assistant.surroundings import Surroundings
from assistant.tools.registry import ToolRegistry
from assistant.tools.runner import ToolRunner


@dataclass(frozen=True, slots=True)
class Shared:
    """What all rooms have in common."""

    tools: ToolRegistry
    runner: ToolRunner
    phrases: Phrasebook
    sessions: Callable[[Records], SessionFactory]
    surroundings: Surroundings


class Room:
    """Use :meth:`running`; everything else may be called inside it."""

    def __init__(
        self, config: Config, journal: Journal, microphone: Microphone, speaker: Speaker, shared: Shared
    ) -> None:
        loop = asyncio.get_running_loop()
        around = shared.surroundings
        self._config = config
        self._load_analysis = around.load_analysis
        self._microphone = microphone
        self._now = loop.time
        self._records = wiring.records(
            config, journal, lambda: self.engine.retire_session(), around.wall, around.scribe()
        )
        self.hearing = wiring.hearing(
            config,
            lambda pcm: self.engine.send_audio(pcm),
            self._emit,
            loop.time,
            around.wall,
            lambda tell: self.engine.ask_completeness(tell),
        )
        self._reference = ReferenceBuffer()
        self.player = Player(speaker, lambda event: self.engine.playback(event), loop, self._reference)
        self.engine = Engine(
            Conversation(wiring.conversation_settings(config, shared.tools)),
            sessions=shared.sessions(self._records),
            personas=lambda name: wiring.session_settings(config, shared.tools, name).persona,
            hearing=self.hearing,
            player=self.player,
            alerts=AlertBoard(self._emit, loop.time),
            tools=shared.runner,
            phrases=shared.phrases,
            journal=journal,
        )

    def listen(self) -> None:
        """As if the wake word had been said."""
        self.engine.dispatch(ev.ListenRequested(self._now(), self.hearing.uplink.position))

    def _emit(self, event: Event) -> None:
        self.engine.dispatch(event)

    @contextlib.asynccontextmanager
    async def running(self, on_heard: Callable[[Heard], None]) -> AsyncIterator[None]:
        """Run it. Leaving ends the turn and the session. A failure of the models or the engine ends the body.

        on_heard: told every analysed frame, before it is decided upon.
        Raises ModelLoadError, DeviceError.
        """
        died: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def heard(each: Heard) -> None:
            on_heard(each)
            self.hearing.hear(each)

        def over(error: BaseException | None) -> None:
            if error is not None and not died.done():
                died.set_exception(DeviceError(f"the room has lost its ears: {type(error).__name__}"))

        analysis = await self._load_analysis(self._config, self._reference, heard, over)
        analysis.start()
        try:
            async with asyncio.TaskGroup() as group:
                await asyncio.to_thread(self.player.start)
                self._microphone.start(analysis.put, over)
                engine = group.create_task(self.engine.run(), name="room")
                watch = group.create_task(_until(died), name="room-ears")
                try:
                    yield
                finally:
                    watch.cancel()
                    self.engine.stop()
                    await asyncio.wait({engine})
        finally:
            died.cancel()
            self._microphone.stop()
            analysis.stop()
            self.player.stop()
            await self._records.close()


async def _until(future: asyncio.Future[None]) -> None:
    await future
