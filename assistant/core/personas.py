"""Who answers: one household may call its assistant by several names, and get somebody else by each. PURE."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Persona:
    """Somebody that the assistant can be. ``name`` is "" for the assistant itself.

    kind: what needs a session of its own (provider and voice). An open session can become another persona of the same
        kind; for one of another kind it must be replaced.
    """

    name: str = ""
    kind: str = ""


MAIN = Persona()

FALLBACK = Persona("(fallback)", "(fallback)")
"""The embedded brain, which answers for everybody while the far one cannot be had. No config can use this name."""
