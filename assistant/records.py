"""What Hearth keeps about itself: the ledger of costs and the log of turns, written beside the event loop.

Both follow the journal. Neither holds a word that was said.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from assistant import turnlog
from assistant.core.pricing import Price
from assistant.journal import Journal
from assistant.ledger import store
from assistant.ledger.bookkeeper import Bookkeeper, Brain
from assistant.ledger.budget import Caps
from assistant.scribe import Scribe
from assistant.turnlog import TurnLog, TurnRecorder

T = TypeVar("T")


class Records:
    """Owns the scribe, and through it the files. Made and used on the event loop.

    on_exhausted: called on the event loop after a response that reached a cap; the session should end with its turn.
    """

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        *,
        prices: Mapping[str, Price],
        caps: Caps,
        on_exhausted: Callable[[], None] | None = None,
        wall_clock: Callable[[], float] = time.time,
        scribe: Scribe | None = None,
    ) -> None:
        run = int(wall_clock())
        self._scribe = scribe or Scribe()
        self.money = Bookkeeper(
            folder / store.FILE_NAME,
            prices=prices,
            caps=caps,
            scribe=self._scribe,
            run=run,
            on_exhausted=on_exhausted,
            wall_clock=wall_clock,
        )
        self.turns = TurnRecorder(
            TurnLog(folder / turnlog.FILE_NAME),
            self._scribe,
            run=run,
            now=asyncio.get_running_loop().time,
            wall_clock=wall_clock,
        )
        journal.subscribe(self.money)
        journal.subscribe(self.turns)

    def guard(self, find: Callable[[], Awaitable[T]], brain: Brain) -> Callable[[], Awaitable[T]]:
        """``find`` (the way to a brain's server), refused with QuotaExhausted while a cap is reached."""
        return self.money.guard(find, brain)

    def opening(self, brain: Brain) -> None:
        """Call it for each session that opens: what is used from now on is this brain's."""
        self.money.opening(brain)
        self.turns.opening(brain.provider, brain.model)

    async def close(self) -> None:
        """Write what waits. Takes 2 s at most; a disk that hangs longer is left to it."""
        self.turns.finish()
        self.money.finish()
        await asyncio.to_thread(self._scribe.close)
