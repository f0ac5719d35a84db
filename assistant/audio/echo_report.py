"""What the echo test (``assistant doctor --echo``) found out about a room and its devices: one small JSON file.

While ``barge_in.mode`` is ``auto``, the daemon lets speech interrupt an answer only where this says that it may.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

FILE_NAME: Final = "echo.json"
_VERSION: Final = 1

MAX_DELAY_MS: Final = 400.0
"""AEC3 finds delays of up to 500 ms; some of that is kept for the room."""
MIN_REMOVED_DB: Final = 10.0
"""Less than this is no cancellation: the assistant would not interrupt itself, but hear nobody over its echo either."""
INAUDIBLE_DBFS: Final = -55.0  # headphones
OVER_ROOM_DB: Final = 3.0  # no more than this over the room's own noise is not heard either
MAX_SUSPICIONS: Final = 3
"""Ducks in half a minute that a user would put up with."""


class Shortfall(Enum):
    """Why a test was not passed."""

    LATE = "the echo comes too late to be cancelled"
    LEFT = "too much of the echo is left"
    ALARMS = "its own speech is taken for a person's"


@dataclass(frozen=True, slots=True)
class EchoReport:
    """One echo test.

    microphone, speaker: the devices as the config names them; None is the system's default.
    volume: percent at which it was done.
    delay_ms: of the echo at the microphone, after the reference; None if no echo was found.
    echo_dbfs: level of the echo as the microphone gives it.
    removed_db: how much of it the canceller removes (ERLE); None: it was removed before it came, nobody knows how much.
    suspicions, interruptions: how often the assistant's own speech was suspected, and taken, to be a person.
    speech_s: seconds of its own speech in which those were counted.
    passed: speech may interrupt an answer.
    leak_db: what is usually left of playback, relative to it, so that nobody has to learn it again; None: unknown.
    canceller: who cancelled: webrtc or device, as in ``echo.canceller``.
    room_dbfs: level of the room while nothing was played; None: unknown.
    stumbles: how often playback or capture lost step meanwhile, which no canceller can foresee.
    """

    microphone: str | None
    speaker: str | None
    volume: int
    delay_ms: float | None
    echo_dbfs: float
    removed_db: float | None
    suspicions: int
    interruptions: int
    speech_s: float
    passed: bool
    leak_db: float | None = None
    canceller: str = "webrtc"
    room_dbfs: float | None = None
    stumbles: int = 0

    def covers(self, microphone: str | None, speaker: str | None, canceller: str) -> bool:
        """Whether what was found holds for these devices and this canceller, up to the volume of the test."""
        return (microphone, speaker, canceller) == (self.microphone, self.speaker, self.canceller)

    @property
    def left_dbfs(self) -> float:
        """Level of what is left of the echo, the room's noise included."""
        return self.echo_dbfs - (self.removed_db or 0.0)

    @property
    def shortfalls(self) -> tuple[Shortfall, ...]:
        """What stands against letting speech interrupt an answer; nothing if the test was passed."""
        room = -100.0 if self.room_dbfs is None else self.room_dbfs
        heard = self.left_dbfs > max(INAUDIBLE_DBFS, room + OVER_ROOM_DB)
        found = {
            Shortfall.LATE: self.canceller == "webrtc" and self.delay_ms is not None and self.delay_ms > MAX_DELAY_MS,
            Shortfall.LEFT: heard and (self.removed_db is None or self.removed_db < MIN_REMOVED_DB),
            Shortfall.ALARMS: self.interruptions > 0 or self.suspicions > MAX_SUSPICIONS,
        }
        return tuple(shortfall for shortfall, so in found.items() if so)


def save(folder: Path, report: EchoReport) -> Path:
    """Write the report into the state folder, whole or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"version": _VERSION, **dataclasses.asdict(report)}, indent=1) + "\n", "utf-8")
    part.replace(path)
    return path


def load(folder: Path) -> EchoReport | None:
    """The report in the state folder. None if there is none, or none that can be read: then the test was not passed."""
    path = folder / FILE_NAME
    try:
        data = json.loads(path.read_text("utf-8"))
        if data.pop("version") != _VERSION:
            raise ValueError("another version")
        report = EchoReport(**data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("%s cannot be used (%s): run assistant doctor --echo again", path, error)
        return None
    return report
