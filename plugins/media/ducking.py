"""When the music is lowered and raised again, and to what. PURE.

::

    NORMAL ──the assistant is busy──> LOWERED ──it is not──> NORMAL, with the volume from before
                                         └── somebody else sets the volume ──> HANDS_OFF ──> NORMAL, as it was set

Volumes are those of MPD, 0 to 100. The volume is read each time before it is set, so that what somebody has chosen
meanwhile stays; and what a restarted MPD remembers of a lowered volume is not taken for a wish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Normal:
    """Nothing is lowered. last: what was lowered before, for an MPD that comes back with that volume."""

    last: Lowered | None = None


@dataclass(frozen=True, slots=True)
class Lowered:
    """normal: the volume to come back to. lowered: the one that was set, as it was read back."""

    normal: int
    lowered: int


@dataclass(frozen=True, slots=True)
class HandsOff:
    """Somebody has set the volume while it was lowered: it stays as it is."""


Ducking: TypeAlias = Normal | Lowered | HandsOff


def step(
    now: Ducking, *, busy: bool, volume: int | None, percent: int, anew: bool = False
) -> tuple[Ducking, int | None]:
    """The next state, and the volume to set, if any.

    busy: the assistant listens, thinks, speaks or rings. volume: as MPD has it; None if it cannot be known now.
    percent: of the volume that is left while it is lowered. anew: MPD was away, so it may have forgotten.
    """
    if volume is None:
        return now, None
    match now:
        case Normal(last):
            if anew and last is not None and volume == last.lowered:
                volume = last.normal
                return _lower(volume, percent) if busy else (Normal(last), volume)
            if busy:
                return _lower(volume, percent)
            return (now if last is None or volume == last.normal else Normal()), None
        case Lowered(normal, lowered):
            if not busy:
                return (Normal(now), normal) if volume == lowered else (Normal(), None)
            if volume == lowered:
                return now, None
            return _lower(volume, percent) if anew else (HandsOff(), None)
        case HandsOff():
            return (now if busy else Normal()), None


def choose(now: Ducking, volume: int, *, busy: bool, percent: int) -> tuple[Ducking, int]:
    """The user has asked for a volume: the next state, and what to set right now."""
    if not busy:
        return Normal(), volume
    state, lowered = _lower(volume, percent)
    return state, volume if lowered is None else lowered


def wanted(now: Ducking, volume: int | None) -> int | None:
    """The volume that the music has, or will have again when the assistant is done."""
    return now.normal if isinstance(now, Lowered) and volume is not None else volume


def _lower(volume: int, percent: int) -> tuple[Ducking, int | None]:
    lowered = volume * percent // 100
    return (Lowered(volume, lowered), lowered) if lowered < volume else (Normal(), None)
