"""From journal entries to the ledger, and from the caps to a session that is not opened."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from assistant.core.pricing import Price
from assistant.errors import QuotaExhausted
from assistant.ledger import Bookkeeper, Caps, bookkeeper, open_ledger
from assistant.ledger.bookkeeper import Brain
from assistant.scribe import Scribe

PRICES = {
    "gpt-realtime": Price.per_million(
        {"text_in": 4, "cached_text_in": 0.4, "audio_in": 32, "cached_audio_in": 0.4, "text_out": 16, "audio_out": 64}
    )
}
NOON = 1_770_000_000.0


def usage(audio_out: int) -> dict[str, Any]:
    return {"output_tokens": audio_out, "output_token_details": {"audio_tokens": audio_out}}


def response(name: str, turn: int, audio_out: int) -> list[dict[str, Any]]:
    return [
        {"kind": "note", "name": "usage", "at": 1.0, "turn": turn, "usage": usage(audio_out)},
        {"kind": "event", "name": "response_done", "at": 1.0, "response": name},
    ]


class Desk:
    """A bookkeeper and what it was told."""

    def __init__(self, books: Bookkeeper, brain: Brain, scribe: Scribe, path: Path) -> None:
        self.books, self.brain, self.scribe, self.path = books, brain, scribe, path
        books.opening(brain)
        self.opened = 0

    def hear(self, *entries: dict[str, Any]) -> None:
        for entry in entries:
            self.books(entry)

    async def open_session(self) -> None:
        async def find() -> str:
            self.opened += 1
            return "endpoint"

        assert await self.books.guard(find, self.brain)() == "endpoint"

    def rows(self) -> list[tuple[int, str | None, int | None]]:
        """Turn, model and cost of each row, once everything is written."""
        self.books.finish()
        assert self.scribe.close(5)
        ledger = open_ledger(self.path, PRICES)
        try:
            return ledger._connection.execute("SELECT turn, model, cost FROM usage ORDER BY id").fetchall()
        finally:
            ledger.close()


@asynccontextmanager
async def desk(
    folder: Path,
    *,
    caps: Caps | None = None,
    brain: Brain | None = None,
    on_exhausted: Callable[[], None] | None = None,
) -> AsyncIterator[Desk]:
    scribe = Scribe()
    path = folder / "ledger.sqlite3"
    books = Bookkeeper(
        path,
        prices=PRICES,
        caps=caps or Caps(),
        scribe=scribe,
        run=1,
        on_exhausted=on_exhausted,
        wall_clock=lambda: NOON,
    )
    try:
        yield Desk(books, brain or Brain("openai", "gpt-realtime-2025-08-28"), scribe, path)
    finally:
        books.finish()
        assert scribe.close(5)


def test_each_response_is_a_row_of_the_turn_that_asked_for_it(tmp_path: Path) -> None:
    """The response of an interrupted turn ends within the next one."""

    async def main() -> None:
        async with desk(tmp_path) as it:
            it.hear(
                {"kind": "command", "name": "begin_turn", "at": 0, "turn": 1},
                {"kind": "command", "name": "open_session", "at": 0, "session": 1},
                {"kind": "command", "name": "create_response", "at": 0},
                {"kind": "event", "name": "response_created", "at": 0, "session": 1, "response": "a"},
                {"kind": "command", "name": "end_turn", "at": 0, "turn": 1},
                {"kind": "command", "name": "begin_turn", "at": 0, "turn": 2},
                *response("a", 2, 1000),
                *response("never seen", 2, 1),
            )
            assert it.rows() == [(1, "gpt-realtime-2025-08-28", 64_000_000), (2, "gpt-realtime-2025-08-28", 64_000)]

    asyncio.run(main())


def test_the_last_response_is_written_at_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            it.hear(response("a", 4, 10)[0])
            assert [turn for turn, _, _ in it.rows()] == [4]

    asyncio.run(main())


def test_a_cap_refuses_the_next_session_and_says_so_once_per_response(tmp_path: Path) -> None:
    async def main() -> None:
        reached: list[int] = []
        caps = Caps.of(daily=0.10, monthly=None, currency="USD")
        async with desk(tmp_path, caps=caps, on_exhausted=lambda: reached.append(1)) as it:
            await it.open_session()
            it.hear(*response("a", 1, 1000))  # 0.064
            await it.open_session()
            assert reached == []
            it.hear(*response("b", 2, 1000))  # 0.128
            with pytest.raises(QuotaExhausted, match=r"daily cap of 0\.10 USD reached \(0\.13 spent\)"):
                await it.open_session()
            assert (it.opened, reached) == (2, [1])

    asyncio.run(main())


def test_the_embedded_brain_is_free_and_never_capped(tmp_path: Path) -> None:
    async def main() -> None:
        caps = Caps.of(daily=0.0000001, monthly=None, currency="USD")
        async with desk(tmp_path, caps=caps, brain=Brain("local", None, free=True)) as it:
            it.hear(*response("a", 1, 100_000))
            await it.open_session()
            assert it.rows() == [(1, None, 0)]

    asyncio.run(main())


def test_an_unknown_price_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        caps = Caps.of(daily=1, monthly=None, currency="USD")
        async with desk(tmp_path, caps=caps, brain=Brain("azure", "kitchen")) as it:
            it.hear(*response("a", 1, 10), *response("b", 1, 10))
            assert it.rows() == [(1, "kitchen", None), (1, "kitchen", None)]

    asyncio.run(main())
    assert caplog.text.count("no price is known for kitchen") == 1


def test_a_deployment_has_the_price_of_the_model_that_it_runs(tmp_path: Path) -> None:
    async def main() -> None:
        async with desk(tmp_path, brain=Brain("azure", "kitchen")) as it:
            note, done = response("a", 1, 1000)
            it.hear({**note, "model": "gpt-realtime-2025-08-28"}, done)
            it.hear({**note, "model": None}, done)
            assert it.rows() == [(1, "gpt-realtime-2025-08-28", 64_000_000), (1, "kitchen", None)]

    asyncio.run(main())


def test_a_usage_that_cannot_be_is_not_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with desk(tmp_path) as it:
            it.hear(*response("a", 1, 10**12))
            assert it.rows() == []

    asyncio.run(main())
    assert "not believable" in caplog.text


def test_caps_hold_where_nothing_can_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        (tmp_path / "state").write_text("a file where the folder should be")
        caps = Caps.of(daily=0.05, monthly=None, currency="USD")
        async with desk(tmp_path / "state", caps=caps) as it:
            it.hear(*response("a", 1, 1000))
            with pytest.raises(QuotaExhausted):
                await it.open_session()

    asyncio.run(main())
    assert caplog.text.count("costs are kept in memory") == 1


def test_a_disk_that_hangs_does_not_make_the_assistant_dumb(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeper, "CHECK_TIMEOUT_S", 0.05)

    async def main() -> None:
        release = threading.Event()
        async with desk(tmp_path, caps=Caps.of(daily=None, monthly=1, currency="USD")) as it:
            it.scribe.put(release.wait)
            try:
                await it.open_session()
            finally:
                release.set()
            assert it.opened == 1

    asyncio.run(main())
    assert "the caps could not be checked" in caplog.text
