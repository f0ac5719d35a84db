"""Everything that answers, put together: conversation, session, tools, speaker and, if need be, the embedded server.

The daemon gives it ears; ``assistant ask`` uses it as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from assistant import wiring
from assistant.alerts import AlertBoard
from assistant.audio.hearing import Hearing
from assistant.audio.player import Player
from assistant.audio.ports import Microphone, Speaker
from assistant.audio.reference import ReferenceBuffer
from assistant.brains import Brains
from assistant.config import Config
from assistant.controls import Controls, MuteSwitch
from assistant.core.conversation import Conversation
from assistant.core.events import Event
from assistant.core.pricing import NANOS
from assistant.engine import Engine, UsageSink
from assistant.health import Health
from assistant.journal import Journal
from assistant.realtime.local_first import LocalFirstSession, NearMemory
from assistant.realtime.session import RealtimeSession
from assistant.records import Records
from assistant.room import Room, Shared
from assistant.sounds import SoundBoard
from assistant.surroundings import Surroundings
from assistant.tools.registry import ToolRegistry
from assistant.tools.watching import watch


class Assistant:
    """The parts, wired. Owns all of them but the speaker's device, which the player owns.

    Use :meth:`running`; the parts may be used inside it.
    """

    def __init__(
        self,
        config: Config,
        journal: Journal,
        speaker: Speaker,
        health: Health | None = None,
        switch: MuteSwitch | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        """switch: closes the microphone, where there is one."""
        around = surroundings or Surroundings()
        loop = asyncio.get_running_loop()
        self.config = config
        health = health or Health(around.wall)
        self.local = wiring.local_server(config, partial(health.report, "embedded server"))
        """The embedded server, if it is used and ours."""
        self._brains = Brains(config, self.local)
        self._around = around
        self._near_memory = NearMemory()
        self._records = wiring.records(
            config, journal, lambda: self.engine.retire_session(), around.wall, around.scribe()
        )
        self._alerts = AlertBoard(self._emit, loop.time)
        self.tools: ToolRegistry = wiring.tool_registry(config, self._alerts, around.clock, around.threads(8, "plugin"))
        journal.subscribe(self.tools.hear)
        self._runner = wiring.tool_runner(config, self.tools, around.threads(8, "tool"), around.clock)
        self._phrases = wiring.phrasebook(config)
        self.hearing: Hearing = wiring.hearing(
            config,
            self._send_audio,
            self._emit,
            loop.time,
            around.wall,
            lambda tell: self.engine.ask_completeness(tell),
        )
        self.reference = ReferenceBuffer()
        """What the speaker plays, for whoever cancels its echo."""
        self.player = Player(speaker, lambda event: self.engine.playback(event), loop, self.reference)
        self.player.set_volume(config.audio.output.volume / 100)
        self.engine = Engine(
            Conversation(wiring.conversation_settings(config, self.tools)),
            sessions=partial(self._new_session, self._records),
            personas=lambda name: wiring.session_settings(self.config, self.tools, name).persona,
            hearing=self.hearing,
            player=self.player,
            alerts=self._alerts,
            tools=self._runner,
            phrases=self._phrases,
            journal=journal,
        )
        self.controls = Controls(
            self.engine,
            self.tools,
            self._runner,
            health,
            self.player,
            config.audio.output.volume,
            position=lambda: self.hearing.uplink.position,
            facts=self._facts,
            switch=switch,
        )
        self.tools.house = self.controls
        self.tools.sounds = sounds = SoundBoard(self.player)
        journal.subscribe(sounds.hear)

    def reconfigure(self, config: Config) -> None:
        """Take another configuration for the sessions to come, and its volume. Nothing else of it is looked at."""
        if config.session != self.config.session:
            self.engine.retire_session()
        if config.audio.output.volume != self.config.audio.output.volume:
            self.controls.set_volume(config.audio.output.volume)
        self.config = config

    def room(self, config: Config, journal: Journal, microphone: Microphone, speaker: Speaker) -> Room:
        """A further conversation, beside the one here. Its journal and its devices are its own."""
        sessions = partial(partial, self._new_session)
        return Room(
            config,
            journal,
            microphone,
            speaker,
            Shared(self.tools, self._runner, self._phrases, sessions, self._around),
        )

    def _facts(self) -> dict[str, Any]:
        """For the status: what the parts know that only this class knows."""
        spending, currency = self._records.money.spending, self.config.money.currency
        return {
            "provider": self.config.provider,
            "sent_bytes": self.hearing.uplink.sent_bytes,
            "last_turn": self._records.turns.last,
            "money": {"today": spending.today / NANOS, "month": spending.month / NANOS, "currency": currency}
            if spending
            else None,
        }

    def _emit(self, event: Event) -> None:
        self.engine.dispatch(event)

    def _send_audio(self, pcm: bytes) -> None:
        self.engine.send_audio(pcm)

    def _new_session(
        self, records: Records, number: int, persona: str, emit: Callable[[Event], None], usage: UsageSink
    ) -> RealtimeSession:
        brain = wiring.billed(self.config, wiring.provider_of(self.config, persona))
        records.opening(brain)
        make: Callable[..., RealtimeSession] = RealtimeSession
        if (near := wiring.near_settings(self.config, self.tools, persona)) is not None:
            make = partial(LocalFirstSession, near=(self._brains.endpoint("local"), near), memory=self._near_memory)
        return make(
            number,
            records.guard(self._brains.endpoint(brain.provider), brain),
            wiring.session_settings(self.config, self.tools, persona),
            emit,
            ready_timeout=self.config.session.connect_timeout_s,
            usage=usage,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it all: speaker first, tools, engine. Leaving ends the turn and the session, then everything else.

        Raises DeviceError if the speaker cannot be opened. Cancelling the body ends everything within 2 s.
        """
        async with asyncio.TaskGroup() as group:
            local = group.create_task(self.local.run(), name="local-server") if self.local else None
            tokens = group.create_task(self._brains.run(), name="tokens")
            try:
                await asyncio.to_thread(self.player.start)  # a device may take seconds to open
                await self.tools.start()
                watcher = group.create_task(watch(self.tools), name="watch") if self.config.tools.watch else None
                engine = group.create_task(self.engine.run(), name="engine")
                phrases = group.create_task(self._phrases.prepare(), name="phrasebook")
                try:
                    yield
                finally:
                    phrases.cancel()
                    if watcher is not None:
                        watcher.cancel()
                    self.engine.stop()
                    await asyncio.wait({engine})
            finally:
                tokens.cancel()
                await self.tools.stop()
                await self._runner.close()
                self.player.stop()
                await self._records.close()
                if self.local is not None and local is not None:
                    self.local.stop()
                    await asyncio.wait({local})
