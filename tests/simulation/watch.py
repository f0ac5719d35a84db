"""What must always hold, looked at whenever anything happens."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

TURN_LIMIT_S: Final = 120.0
"""The longest turn: an utterance, a few tools with their time limits, and the longest answer."""

ECHO_S: Final = 1.0
"""Sound after everything has ended: the last buffer, a fade, the rest of an earcon."""

ON_TIME_S: Final = 2.0
NEAR_S: Final = 90.0
"""So near to a trouble, a request may fail."""


MORE_OBJECTS: Final = 3000
"""Of 65,000 after the first day: what is held goes up and down by 600."""


class Violation(AssertionError):
    """Something that must never be. The message says what and when."""


@dataclass(slots=True)
class Counts:
    """What happened."""

    turns: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    rings: int = 0
    events: int = 0
    restarts: int = 0


@dataclass(slots=True)
class _Timer:
    due: float
    wrong_s: float  # of the clock when it was set
    told: bool = False


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a daemon that does nothing holds."""

    tasks: int
    threads: int
    files: int
    objects: int
    """That Python's collector knows. What is in RAM says less: it holds what was freed, too, and settles after days."""
    rss_mb: float


class Watch:
    """Follows the journal of one daemon after the other, and remembers the first thing that must not be."""

    def __init__(self, sent_bytes: Callable[[], int], wrong_s: Callable[[], float]) -> None:
        """sent_bytes: audio that left the microphone. wrong_s: how wrong the clock on the wall is."""
        self._loop = asyncio.get_running_loop()
        self._sent_bytes = sent_bytes
        self._wrong_s = wrong_s
        self.counts = Counts()
        self.first: Violation | None = None
        self.turn = 0
        self.state = "idle"
        self.outcome = ""
        self.detail = ""
        self.changed = asyncio.Event()
        """Set at every entry."""
        self.up = False
        self.muted = False
        self._up_since = 0.0
        self._turn_began = 0.0
        self._sent = 0
        self._items: dict[str, int] = {}  # whose answer an item is
        self._alerts: set[str] = set()
        self._noisy_until = 0.0
        self._timers: list[_Timer] = []
        self._trouble_until = 0.0
        self._footprints: list[Footprint] = []

    # --- what others tell -------------------------------------------------------------------------------------------

    def daemon_is_up(self) -> None:
        self.up, self._up_since = True, self._loop.time()

    def daemon_is_down(self) -> None:
        """Whatever it was doing has ended with it."""
        self.up = False
        self.turn, self.state, self._sent = 0, "idle", 0
        self._items, self._alerts = {}, set()
        self._loop.call_soon(self.changed.set)

    def trouble(self, kind: str, seconds: float) -> None:
        self.counts.troubles[kind] += 1
        self._trouble_until = max(self._trouble_until, self._loop.time() + seconds + NEAR_S)

    @property
    def near_trouble(self) -> bool:
        return self._loop.time() < self._trouble_until

    @property
    def busy(self) -> bool:
        """Whether the assistant does anything that needs the microphone's or the speaker's full attention."""
        return self.turn != 0 or bool(self._alerts) or self._loop.time() < self._noisy_until

    def timer_was_set(self, seconds: float) -> None:
        self._timers.append(_Timer(self._loop.time() + seconds, self._wrong_s()))

    # --- at every event ---------------------------------------------------------------------------------------------

    def entry(self, entry: Mapping[str, Any]) -> None:
        """For the journal."""
        self._look(lambda: self._entry(entry))
        self.changed.set()

    def patrol(self) -> None:
        """Call it now and then: what does not end makes no entry."""
        self._look(lambda: None)

    def _look(self, first: Callable[[], None]) -> None:
        with contextlib.suppress(Violation):  # it is remembered; the daemon must not be harmed by whoever looks on
            first()
            self._always()
        self._sent = self._sent_bytes()

    def heard(self, loud: bool) -> None:
        """For the speaker: 20 ms of sound, or of silence."""
        if loud and not self.busy:
            self._note("there is sound, and nobody has asked for any")

    def _broken(self, what: str) -> NoReturn:
        raise self._note(what)

    def _note(self, what: str) -> Violation:
        days, seconds = divmod(self._loop.time() - 1000.0, 86_400)
        violation = Violation(f"day {int(days)}, {seconds:.3f} s: {what}")
        self.first = self.first or violation
        return violation

    def _entry(self, entry: Mapping[str, Any]) -> None:
        self.counts.events += 1
        now = self._loop.time()
        match entry:
            case {"kind": "state", "name": state}:
                self.state = state
            case {"name": "begin_turn", "turn": turn}:
                if self.turn:
                    self._broken(f"turn {turn} begins in turn {self.turn}")
                self.turn, self._turn_began = turn, now
            case {"name": "end_turn", "turn": turn, "outcome": outcome, "detail": detail}:
                if turn != self.turn:
                    self._broken(f"turn {turn} ends in turn {self.turn}")
                self.turn, self.outcome, self.detail = 0, outcome, detail
                self.counts.turns[outcome] += 1
                self._noisy_until = max(self._noisy_until, now + ECHO_S)
            case {"kind": "command", "name": "play", "item": item}:
                if not self.turn or self._items.setdefault(item, self.turn) != self.turn:
                    self._broken(f"an answer of turn {self._items.get(item)} is played in turn {self.turn}")
            case {"kind": "event", "name": "playback_started", "item": item}:
                if item in self._items and self._items[item] != self.turn:
                    self._broken(f"an answer of turn {self._items[item]} is heard in turn {self.turn}")
            case {"kind": "command", "name": "play_earcon"}:
                self._noisy_until = max(self._noisy_until, now + 2 * ECHO_S)
            case {"kind": "command", "name": "say_phrase"}:
                self._noisy_until = max(self._noisy_until, now + 12.0)
            case {"kind": "event", "name": "alert_raised"}:
                self._alert_raised(now)
            case {"kind": "command", "name": "start_alert", "alert": alert}:
                self._alerts.add(alert)
            case {"kind": "command", "name": "stop_alert", "alert": alert}:
                self._alerts.discard(alert)
                self._noisy_until = max(self._noisy_until, now + ECHO_S)
            case {"kind": "note", "name": "mute", "muted": muted}:
                self.muted = muted

    def _alert_raised(self, now: float) -> None:
        self.counts.rings += 1
        waiting = [timer for timer in self._timers if not timer.told]
        due = min(waiting, key=lambda timer: abs(timer.due - now), default=None)
        if due is None:
            self._broken("something rings, and no timer is set")
        late = now - due.due
        was_off = due.due <= self._up_since + 5 and now <= self._up_since + 60
        # Somebody has set the clock meanwhile: the timer looks at it every 30 s.
        tolerance = ON_TIME_S if due.wrong_s == self._wrong_s() else 35.0
        if not was_off and abs(late) > tolerance:
            self._broken(f"a timer rings {late:+.1f} s late")
        due.told = True

    def _always(self) -> None:
        now = self._loop.time()
        if self.turn and now - self._turn_began > TURN_LIMIT_S:
            self._broken(f"turn {self.turn} goes on for {now - self._turn_began:.0f} s")
        if not self.turn and self._sent_bytes() > self._sent:
            self._broken(f"{self._sent_bytes() - self._sent} bytes of audio have left outside of a turn")
        for timer in self._timers:
            if not timer.told and self.up and now > max(timer.due, self._up_since) + 60:
                timer.told = True
                self._broken(f"a timer is {now - timer.due:.0f} s late, and has not rung")
        self._timers = [timer for timer in self._timers if not timer.told or now < timer.due + 3600]

    # --- now and then -----------------------------------------------------------------------------------------------

    def quiet_moment(self) -> None:
        """Nothing goes on: what is held now must not grow from day to day."""
        gc.collect()
        footprint = footprint_now()
        self._footprints.append(footprint)
        if len(self._footprints) < 2:
            return  # the first day may warm up
        first = self._footprints[0]
        for name, more in (("tasks", 4), ("threads", 4), ("files", 4), ("objects", MORE_OBJECTS)):
            before, after = getattr(first, name), getattr(footprint, name)
            if after > before + more:
                self._note(f"{name} grow: {before} after the first day, {after} now")

    @property
    def footprints(self) -> tuple[Footprint, ...]:
        return tuple(self._footprints)

    def billed(self, today: float, cap: float, a_turn: float) -> None:
        """A response was billed: the cap may be passed by the turn that reaches it, and by no more."""
        if today > cap + a_turn:
            self._note(f"the day has cost {today:.4f} already, and the cap is {cap:.4f}")


def footprint_now() -> Footprint:
    process = Path("/proc/self")
    pages = int((process / "statm").read_text().split()[1])
    files = sum(1 for _ in (process / "fd").iterdir())
    rss_mb = pages * resource.getpagesize() / 1e6
    return Footprint(len(asyncio.all_tasks()), threading.active_count(), files, len(gc.get_objects()), rss_mb)
