"""Those who live in the house: they carry out the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from assistant.controls import Controls
from assistant.errors import ToolError
from tests.simulation.cloud import Cloud, label_of
from tests.simulation.plan import Item
from tests.simulation.watch import Watch
from tests.simulation.world import SPEECH, WAKE, Sound

PATIENCE_S = 130.0


class People:
    """One thing after the other: nobody talks while somebody else does."""

    def __init__(self, sound: Sound, cloud: Cloud, watch: Watch, controls: Callable[[], Controls | None]) -> None:
        self._sound = sound
        self._cloud = cloud
        self._watch = watch
        self._controls = controls
        self._loop = asyncio.get_running_loop()
        self.refused: list[str] = []
        """Requests that should have been answered, and were not, far from any trouble."""

    async def visit(self, item: Item) -> None:
        match item.kind:
            case "television":
                self._sound.say(label_of("television"), item.amount)
                await asyncio.sleep(item.amount)
            case "nothing":
                await self._wake()
                await self._turn_ends()
            case "interrupted":
                self._cloud.seconds = item.amount
                if await self._ask("chat", wait=False) and await self._speaks():
                    await asyncio.sleep(min(item.amount / 3, 4.0))
                    await self._ask("time", after_trouble=True)
            case "question":
                if await self._ask("question", wait=False) and await self._until(
                    lambda: self._watch.state == "follow_up" or not self._watch.turn
                ):
                    await asyncio.sleep(0.8)
                    if self._watch.state == "follow_up":
                        await self._speak("answer")
                        await self._turn_ends()
            case "button":
                if (controls := self._controls()) is not None:
                    try:
                        controls.listen()
                    except ToolError:
                        return  # muted
                    await asyncio.sleep(0.3)
                    await self._speak("time")
                    await self._turn_ends()
            case "written":
                if (controls := self._controls()) is not None:
                    controls.ask("time")
                    await self._turn_ends()
            case "stopped":
                self._cloud.seconds = item.amount
                if await self._ask("chat", wait=False) and await self._speaks():
                    await asyncio.sleep(1.5)
                    if (controls := self._controls()) is not None:
                        controls.stop()
            case kind:
                self._cloud.minutes = self._cloud.seconds = item.amount
                await self._ask(kind)

    async def silence_alert(self) -> None:
        """Somebody comes when it rings."""
        await asyncio.sleep(7.0)
        await self._wake()

    # --- what a visit is made of ------------------------------------------------------------------------------------

    async def _ask(self, request: str, *, wait: bool = True, after_trouble: bool = False) -> bool:
        """Wake word and request in one breath. Says whether it was understood."""
        watch = self._watch
        sure = watch.up and not watch.muted and not watch.near_trouble and not after_trouble and not watch.busy
        understood = len(self._cloud.understood)
        await self._wake()
        await asyncio.sleep(0.15)
        await self._speak(request)
        heard = await self._until(lambda: len(self._cloud.understood) > understood or not self._watch.turn)
        arrived = request in self._cloud.understood[understood:]
        if wait:
            await self._turn_ends()
        if sure and not watch.near_trouble and not watch.muted and watch.up:
            if watch.detail == "quota":
                pass  # the day's money is spent
            elif not arrived:
                self.refused.append(f"{request}: not understood at {self._loop.time() - 1000:.1f} s")
            elif wait and watch.outcome != "answered":
                self.refused.append(f"{request}: {watch.outcome} at {self._loop.time() - 1000:.1f} s")
        return heard and arrived

    async def _wake(self) -> None:
        self._sound.say(WAKE, 0.5)
        await asyncio.sleep(0.5)

    async def _speak(self, request: str, seconds: float = 1.2) -> None:
        assert label_of(request) > SPEECH
        self._sound.say(label_of(request), seconds)
        await asyncio.sleep(seconds)

    async def _speaks(self) -> bool:
        return await self._until(lambda: self._watch.state == "speaking" or not self._watch.turn)

    async def _turn_ends(self) -> bool:
        await asyncio.sleep(0.1)
        return await self._until(lambda: not self._watch.turn)

    async def _until(self, true: Callable[[], bool]) -> bool:
        """Wait for it; patience is longer than any turn."""
        deadline = self._loop.time() + PATIENCE_S
        while not true():
            self._watch.changed.clear()
            if not await _within(self._watch.changed.wait(), deadline - self._loop.time()):
                return False
        return True


async def _within(wait: Awaitable[object], seconds: float) -> bool:
    try:
        await asyncio.wait_for(wait, seconds)
    except TimeoutError:
        return False
    return True
