"""The engine with a real session and player, on virtual time, against whatever listens on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from assistant.adapters.wav_device import WavSpeaker
from assistant.alerts import AlertBoard
from assistant.audio.hearing import Hearing
from assistant.audio.player import Player
from assistant.audio.uplink import Uplink
from assistant.core import events as ev
from assistant.core.commands import Phrase
from assistant.core.conversation import Conversation
from assistant.core.endpointing import Endpointer, EndpointingSettings
from assistant.core.policy import ConversationSettings
from assistant.core.wake_gate import WakeGate
from assistant.engine import Engine
from assistant.journal import Entry, Journal
from assistant.realtime.session import Endpoint, RealtimeSession
from assistant.realtime.settings import Persona, SessionSettings
from assistant.tools.registry import ToolRegistry
from assistant.tools.runner import ToolRunner


class Sentences:
    """A phrasebook whose sentences are a tenth of a second of silence."""

    def pcm(self, phrase: Phrase) -> bytes | None:
        return bytes(4800)


class Rig:
    """Asks in writing, and remembers everything that happened."""

    def __init__(self, url: str, folder: Path, *, ready_timeout: float = 6.0, headers: dict[str, str] | None = None):
        self.url = url
        self.headers = headers or {}
        self.entries: list[Entry] = []
        loop = asyncio.get_running_loop()
        journal = Journal()
        journal.subscribe(self.entries.append)
        registry = ToolRegistry(folder)
        self.engine = Engine(
            Conversation(ConversationSettings()),
            sessions=lambda number, persona, emit, usage: RealtimeSession(
                number, self._endpoint, SessionSettings(), emit, ready_timeout=ready_timeout, usage=usage
            ),
            personas=lambda name: Persona(),
            hearing=Hearing(
                WakeGate([]),
                Endpointer(EndpointingSettings()),
                Uplink(1.0, lambda pcm: None),
                self._dispatch,
                loop.time,
            ),
            player=Player(WavSpeaker(None, loop=loop), lambda event: self.engine.playback(event), loop),
            alerts=AlertBoard(self._dispatch, loop.time),
            tools=ToolRunner(registry),
            phrases=Sentences(),  # type: ignore[arg-type]
            journal=journal,
        )

    async def _endpoint(self) -> Endpoint:
        return Endpoint(self.url, self.headers)

    def _dispatch(self, event: ev.Event) -> None:
        self.engine.dispatch(event)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            self.engine._player.start()
            task = group.create_task(self.engine.run())
            try:
                yield
            finally:
                self.engine.stop()
                await asyncio.wait({task})
                self.engine._player.stop()

    async def ask(self, text: str = "hello") -> str:
        """One written request; gives the outcome of its turn."""
        self.engine.dispatch(ev.TextSubmitted(asyncio.get_running_loop().time(), text))
        await self.engine.idle.wait()
        return str(self.all("end_turn")[-1]["outcome"])

    def all(self, name: str) -> list[Entry]:
        return [entry for entry in self.entries if entry["name"] == name]

    @property
    def phrases(self) -> list[str]:
        """What was said without a session."""
        return [entry["phrase"] for entry in self.all("say_phrase")]
