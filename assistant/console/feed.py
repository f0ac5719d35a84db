"""What happens in the assistant, to many pages at once: each event is written as JSON once, and waits for nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from assistant.audio.meter import Level, Meter
from assistant.happenings import Happening, Happenings

MAX_WAITING: Final = 500
"""Messages that may wait for a slow page. One that falls further behind is let go, and comes back with a new hello."""


class Page:
    """One reader of events: a queue of messages, in JSON. None is the end."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[str | None] = asyncio.Queue(MAX_WAITING + 1)  # there is always room for the end
        self.wants_level = False
        self.behind = False

    def put(self, message: str) -> None:
        if self.behind:
            return
        if self.messages.qsize() >= MAX_WAITING:
            self.behind = True
            self.end()
        else:
            self.messages.put_nowait(message)

    def end(self) -> None:
        """No more messages come."""
        if not self.messages.full():
            self.messages.put_nowait(None)


class Feed:
    """Listens to the assistant while a page is open, and to the microphone's level while one shows it."""

    def __init__(self, happenings: Happenings, meter: Meter) -> None:
        self._happenings = happenings
        self._meter = meter
        self._pages: set[Page] = set()
        self._unsubscribe: Callable[[], None] | None = None
        self._look_away: Callable[[], None] | None = None
        self.messages = 0
        """Messages handed to pages since the start."""

    @property
    def pages(self) -> int:
        return len(self._pages)

    def open(self) -> Page:
        page = Page()
        self._pages.add(page)
        if self._unsubscribe is None:
            self._unsubscribe = self._happenings.subscribe(self._happened)
        return page

    def close(self, page: Page) -> None:
        self._pages.discard(page)
        self.want_level(page, False)
        if not self._pages and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def close_all(self) -> None:
        """Let every page know that this is the end."""
        for page in self._pages:
            page.end()

    def want_level(self, page: Page, wanted: bool) -> None:
        page.wants_level = wanted
        anybody = any(each.wants_level for each in self._pages)
        if anybody and self._look_away is None:
            self._look_away = self._meter.look(self._measured)
        elif not anybody and self._look_away is not None:
            self._look_away()
            self._look_away = None

    def _happened(self, happening: Happening) -> None:
        message = json.dumps(happening, ensure_ascii=False)
        for page in self._pages:
            page.put(message)
        self.messages += len(self._pages)

    def _measured(self, level: Level) -> None:
        message = json.dumps({"event": "level", **asdict(level)})
        for page in self._pages:
            if page.wants_level:
                page.put(message)
                self.messages += 1
