"""What the echo test (``assistant doctor --echo``) found out about a room and its devices: one small JSON file.

While ``barge_in.mode`` is ``auto``, the daemon lets speech interrupt an answer only where this says that it may.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

FILE_NAME: Final = "echo.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class EchoReport:
    """One echo test.

    microphone, speaker: the devices as the config names them; None is the system's default.
    volume: percent at which it was done.
    delay_ms: of the echo at the microphone, after the reference; None if no echo was found.
    echo_dbfs: level of the echo at the microphone. removed_db: how much of it the canceller removes (ERLE).
    suspicions, interruptions: how often the assistant's own speech was suspected, and taken, to be a person.
    speech_s: seconds of its own speech in which those were counted.
    passed: speech may interrupt an answer.
    leak_db: what AEC3 usually leaves of playback, relative to it, so that nobody has to learn it again; None: unknown.
    """

    microphone: str | None
    speaker: str | None
    volume: int
    delay_ms: float | None
    echo_dbfs: float
    removed_db: float
    suspicions: int
    interruptions: int
    speech_s: float
    passed: bool
    leak_db: float | None = None

    def covers(self, microphone: str | None, speaker: str | None, volume: int) -> bool:
        """Whether what was found holds for these devices, at this volume: not if it is louder than in the test."""
        return (microphone, speaker) == (self.microphone, self.speaker) and volume <= self.volume


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
