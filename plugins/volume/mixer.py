"""The system's mixer, through its own commands: pactl for PulseAudio and PipeWire, else amixer for ALSA.

Everything here blocks for a moment: use it on a thread.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

LIMIT_S = 5.0


class MixerError(Exception):
    """In one line: what the mixer says."""


@dataclass(frozen=True)
class Mixer:
    """A mixer's volume, by the commands that read and set it; {percent} is filled in."""

    read: tuple[str, ...]
    write: tuple[str, ...]

    def level(self) -> int:
        """Percent, at most 100. Raises MixerError."""
        text = _run(self.read)
        if (found := re.search(r"(\d+)%", text)) is None:
            raise MixerError(f"{' '.join(self.read)} tells no volume: set mixer_control, or mixer: false")
        return min(int(found[1]), 100)

    def set(self, percent: int) -> None:
        """Raises MixerError."""
        _run(tuple(word.format(percent=percent) for word in self.write))


def find_mixer(control: str) -> Mixer | None:
    """The mixer of this machine; None if there is none. ``control``: what ALSA calls it."""
    if shutil.which("pactl"):
        sink = "@DEFAULT_SINK@"
        return Mixer(("pactl", "get-sink-volume", sink), ("pactl", "set-sink-volume", sink, "{percent}%"))
    if shutil.which("amixer"):  # -M: by ear, as alsamixer shows it
        return Mixer(("amixer", "-M", "sget", control), ("amixer", "-M", "sset", control, "{percent}%"))
    return None


def _run(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MixerError(f"{command[0]} does not answer: {type(error).__name__}") from error
    if done.returncode:
        raise MixerError(f"{command[0]} says: {' '.join((done.stderr or done.stdout).split())[:200]}")
    return done.stdout
