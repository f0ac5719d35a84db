"""What rings, and what was silenced a moment ago: the wake word ends a ring before "snooze" can be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from assistant.plugin import Context, Ring

SNOOZABLE_S = 120.0


@dataclass(eq=False, slots=True)
class Sound:
    """Something that rings.

    text: what it reminds of. snoozed: it will ring again, so nothing more is to be said of it now.
    """

    kind: Literal["alarm", "reminder"]
    title: str
    text: str | None = None
    snoozed: bool = False


class Bell:
    """Owns the rings. ``stop`` and ``snooze`` may be used from any thread, the rest on the event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ringing: dict[Ring, Sound] = {}
        self._over: list[tuple[float, Sound]] = []

    def ring(self, sound: Sound, limit_s: float) -> Ring:
        """Ring until somebody reacts, or the limit."""
        ring = self._context.ring(sound.title, limit_s=limit_s)
        self._ringing[ring] = sound
        self._context.spawn(self._forget(ring, sound), f"the end of the {sound.title}")
        return ring

    def stop(self) -> int:
        """End everything that rings; how much that was."""
        rings = list(self._ringing)
        for ring in rings:
            ring.stop()
        return len(rings)

    def snooze(self) -> list[Sound]:
        """End everything that rings; gives that, or if nothing rings what was over within the last two minutes."""
        now = self._context.clock.monotonic()
        sounds = list(self._ringing.values()) or [sound for at, sound in self._over if now - at <= SNOOZABLE_S]
        fresh = [sound for sound in sounds if not sound.snoozed]
        for sound in fresh:
            sound.snoozed = True  # before its ring ends, which the event loop sees at once
        self.stop()
        return fresh

    async def _forget(self, ring: Ring, sound: Sound) -> None:
        await ring.wait()
        del self._ringing[ring]
        self._over = [*self._over[-9:], (self._context.clock.monotonic(), sound)]
