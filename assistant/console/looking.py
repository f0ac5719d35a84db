"""What the console shows on request: the turns that are over, the wake history, how the assistant is."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from assistant import wiring
from assistant.adapters.openwakeword_models import wake_phrase, wake_word_name
from assistant.audio.wake_history import AUDIO_FOLDER, read_history, tries
from assistant.config import Config
from assistant.controls import ControlError, Controls
from assistant.core.moments import moments
from assistant.core.pricing import NANOS, Price, Tokens, price_of
from assistant.core.traces import SPANS, span_of
from assistant.core.wake_attempts import what_if
from assistant.turnlog import FILE_NAME, TurnLog

MAX_TURNS: Final = 200
MAX_ATTEMPTS: Final = 200

_THRESHOLDS: Final = tuple(step / 20 for step in range(1, 20))

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Looking:
    """Answers from files and from the status. Nothing that was said is in any of it."""

    def __init__(self, config: Config, controls: Controls, devices: Callable[[], Mapping[str, Any]]) -> None:
        self._config = config
        self._controls = controls
        self._devices = devices
        self._prices = wiring.prices(config)
        self._turns = TurnLog(config.state_folder / FILE_NAME)

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/api/turns", self._list_turns),
            web.get("/api/wake", self._wake),
            web.get("/api/wake/audio/{name}", self._wake_audio),
            web.get("/api/health", self._health),
        ]

    async def _list_turns(self, request: web.Request) -> web.StreamResponse:
        """The latest turns, newest first."""
        try:
            records = await asyncio.to_thread(self._turns.read)
        except OSError as error:
            raise ControlError(f"{self._turns.path}: cannot be read: {error.strerror}") from None
        found = [shown_turn(record, self._prices) for record in reversed(records[-MAX_TURNS:])]
        return web.json_response({"turns": found, "currency": self._config.money.currency})

    async def _wake(self, request: web.Request) -> web.StreamResponse:
        entries = await asyncio.to_thread(read_history, self._config.state_folder)
        words = {wake_word_name(word.model): word.threshold for word in self._config.wake.words}
        verifiers = wiring.verifier_thresholds(self._config)
        return web.json_response(
            {
                "words": [
                    {
                        "word": word,
                        "phrase": wake_phrase(word),
                        "threshold": at,
                        "what_if": what_ifs(tries([each for each in entries if each.word == word], verifiers)),
                    }
                    for word, at in words.items()
                ],
                "attempts": [
                    {
                        "at": each.at,
                        "word": each.word,
                        "peak": each.peak,
                        "verified": each.verified,
                        "hit": each.hit,
                        "audio": each.audio,
                    }
                    for each in reversed(entries[-MAX_ATTEMPTS:])
                ],
            }
        )

    async def _wake_audio(self, request: web.Request) -> web.StreamResponse:
        """A recording of an attempt, where ``wake.keep_audio`` keeps them."""
        folder = self._config.state_folder / AUDIO_FOLDER
        name = request.match_info["name"]
        if name != Path(name).name or not name.endswith(".wav") or not (folder / name).is_file():
            raise web.HTTPNotFound
        return web.FileResponse(folder / name)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        money = self._config.money
        return web.json_response(
            {
                "status": self._controls.status(),
                "devices": dict(self._devices()),
                "process": usage(),
                "caps": {"daily": money.daily_cap, "monthly": money.monthly_cap},
                "memory_limit_mb": self._config.health.memory_limit_mb,
            }
        )


def shown_turn(record: Mapping[str, Any], prices: Mapping[str, Price]) -> dict[str, Any]:
    """A recorded turn with its moments by name, its spans and its cost. The cost is None where no price is known."""
    edges = record["edges"]
    return {
        **{
            key: record[key] for key in ("time", "run", "turn", "trigger", "word", "outcome", "detail", "warm", "tools")
        },
        **{key: record[key] for key in ("tokens", "responses", "sent_ms", "provider", "model")},
        "moments": [{"at": round(at, 1), "what": what} for at, what in moments(record)],
        "spans": {name: span_of(edges, name) for name in SPANS},
        "cost": _cost(record, prices),
    }


def _cost(record: Mapping[str, Any], prices: Mapping[str, Price]) -> float | None:
    if record["provider"] in (None, "local") or record["tokens"] is None:
        return 0.0
    price = price_of(record["model"], prices)
    return None if price is None else price.cost(Tokens(**record["tokens"])) / NANOS


def what_ifs(attempts: Sequence[tuple[float, bool]]) -> list[dict[str, Any]]:
    """For each threshold from 0.05 to 0.95: which wakes would have been kept, added and lost."""
    changes = [(threshold, what_if(attempts, threshold)) for threshold in _THRESHOLDS]
    return [
        {"threshold": threshold, "kept": each.kept, "added": each.added, "lost": each.lost}
        for threshold, each in changes
    ]


def usage() -> dict[str, Any]:
    """CPU seconds of this process since its start and its memory in MB, at a moment of the monotonic clock."""
    times = os.times()
    resident = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return {
        "at": round(time.monotonic(), 3),
        "cpu_s": round(times.user + times.system, 2),
        "memory_mb": round(resident * _PAGE_BYTES / 1e6, 1),
    }
