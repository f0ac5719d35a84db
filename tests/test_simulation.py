"""The simulated house: some hours of it in every test run, and that its watch notices what must not be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

import pytest

from assistant.audio.uplink import Uplink
from assistant.core.conversation import Conversation
from assistant.testing import virtual_time
from assistant.types import AudioFrame
from tests.simulation.plan import DAY, TROUBLES, Item, draw
from tests.simulation.play import play, shrink
from tests.simulation.watch import TURN_LIMIT_S, Watch

MORNING = 0.45
"""Of a day: until ten to eleven."""


def test_a_plan_is_the_same_each_time_and_begins_as_a_longer_one_does() -> None:
    assert draw(5, 2) == draw(5, 2) != draw(6, 2)
    assert draw(5, 3)[: len(draw(5, 2))] == draw(5, 2)
    assert all(item.at < DAY / 2 for item in draw(5, 0.5))


def test_a_morning_with_troubles() -> None:
    report = play(draw(2, MORNING), MORNING)
    assert not report.failed, report.reason
    assert report.counts.turns["answered"] > 5
    assert sum(report.counts.troubles.values()) > 3


def test_every_kind_of_trouble_and_life_after_it() -> None:
    kinds = sorted(TROUBLES)
    troubles = [Item(600.0 + 900 * number, kind, 40.0) for number, kind in enumerate(kinds)]
    visits = [
        Item(620.0 + 900 * number + more, kind, 3.0)
        for number in range(len(kinds))
        for more, kind in ((0, "time"), (300, "timer"), (550, "time"))
    ]
    plan = tuple(sorted(troubles + visits, key=lambda item: item.at))
    report = play(plan, (len(kinds) + 1) / 96)
    assert not report.failed, report.reason
    assert report.counts.rings == len(kinds), "each timer rings once"
    assert report.counts.turns["answered"] >= 2 * len(kinds)


# --- what the watch notices: the product is broken on purpose ---------------------------------------------------------


def quiet_hour(*kinds: str) -> tuple[Item, ...]:
    return tuple(Item(300.0 + 300 * number, kind, 5.0) for number, kind in enumerate(kinds))


def test_audio_that_leaves_outside_of_a_turn_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def hear(self: Uplink, frame: AudioFrame) -> None:
        honest(self, frame)
        if any(frame.pcm):
            self.sent_bytes += len(frame.pcm)

    honest = Uplink.hear
    monkeypatch.setattr(Uplink, "hear", hear)
    report = play(quiet_hour("television", "time"), 0.05)
    assert report.violation is not None and "outside of a turn" in report.violation


def test_a_turn_that_does_not_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conversation, "_state_deadline", lambda self, at: None)
    report = play((Item(200.0, "stalled", 3000.0), *quiet_hour("time", "television")), 0.05)
    assert report.violation is not None and "goes on for" in report.violation


def test_an_assistant_that_has_gone_deaf_is_noticed_and_the_plan_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a trouble with the microphone it never hears again: what peers are known for."""
    monkeypatch.setattr("assistant.ears.reopen_delay", lambda attempt, *_: 1e9)
    plan = (
        *quiet_hour("time", "list", "television", "chat", "time"),
        Item(2500.0, "microphone", 5.0),
        *(replace(item, at=item.at + 3000) for item in quiet_hour("chat", "time", "television")),
    )
    report = play(plan, 0.08)
    assert report.refused
    smallest, found = shrink(plan, 0.08, budget_s=30.0)
    assert found.failed and len(smallest) < len(plan) / 2
    assert "microphone" in [item.kind for item in smallest]


def watched(script: Callable[[Watch, list[int]], Coroutine[Any, Any, None]]) -> str | None:
    """Run a script with a watch and the count of bytes that it looks at; gives what was broken first."""

    async def run() -> str | None:
        sent = [0]
        watch = Watch(lambda: sent[0], lambda: 0.0)
        watch.daemon_is_up()
        await script(watch, sent)
        return str(watch.first).partition(": ")[2] if watch.first else None

    return virtual_time.run(run())


def entry(kind: str, name: str, **fields: Any) -> Mapping[str, Any]:
    return {"at": 0.0, "kind": kind, "name": name, **fields}


BEGIN, END = entry("command", "begin_turn", turn=1), entry("command", "end_turn", turn=1, outcome="answered", detail="")


def test_what_the_watch_calls_broken() -> None:
    async def two_turns(watch: Watch, sent: list[int]) -> None:
        watch.entry(BEGIN)
        watch.entry(entry("command", "begin_turn", turn=2))

    async def late_answer(watch: Watch, sent: list[int]) -> None:
        watch.entry(BEGIN)
        watch.entry(entry("command", "play", item="i1"))
        watch.entry(END)
        watch.entry(entry("event", "playback_started", item="i1"))

    async def ghost(watch: Watch, sent: list[int]) -> None:
        watch.heard(False)
        watch.heard(True)

    async def early(watch: Watch, sent: list[int]) -> None:
        watch.timer_was_set(100)
        await asyncio.sleep(50)
        watch.entry(entry("event", "alert_raised", alert="a", title="t"))

    async def twice(watch: Watch, sent: list[int]) -> None:
        watch.timer_was_set(100)
        await asyncio.sleep(100)
        for _ in range(2):
            watch.entry(entry("event", "alert_raised", alert="a", title="t"))

    async def forgotten(watch: Watch, sent: list[int]) -> None:
        watch.timer_was_set(100)
        await asyncio.sleep(200)
        watch.entry(entry("note", "usage"))

    async def endless(watch: Watch, sent: list[int]) -> None:
        watch.entry(BEGIN)
        await asyncio.sleep(TURN_LIMIT_S + 1)
        watch.entry(entry("note", "usage"))

    async def dear(watch: Watch, sent: list[int]) -> None:
        watch.billed(2.0, 1.0, 0.5)

    assert watched(two_turns) == "turn 2 begins in turn 1"
    assert watched(late_answer) == "an answer of turn 1 is heard in turn 0"
    assert watched(ghost) == "there is sound, and nobody has asked for any"
    assert watched(early) == "a timer rings -50.0 s late"
    assert watched(twice) == "something rings, and no timer is set"
    assert watched(forgotten) == "a timer is 100 s late, and has not rung"
    assert watched(endless) == "turn 1 goes on for 121 s"
    assert (watched(dear) or "").startswith("the day has cost 2.0000")


def test_a_growing_daemon_is_noticed() -> None:
    async def grow(watch: Watch, sent: list[int]) -> None:
        watch.quiet_moment()
        tasks = [asyncio.ensure_future(asyncio.sleep(1000)) for _ in range(10)]
        try:
            watch.quiet_moment()
        finally:
            for task in tasks:
                task.cancel()

    assert (watched(grow) or "").startswith("tasks grow")


def test_the_same_plan_plays_the_same() -> None:
    first, second = (play(quiet_hour("time", "timer", "question", "nothing"), 0.05) for _ in range(2))
    assert first.counts == second.counts
