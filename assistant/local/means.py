"""The cepstral means of microphones: how each of them and its room sound, kept over sessions and restarts.

With it the recogniser understands the first sentence as well as the tenth. One small file a microphone.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

_SAVE_EVERY_S: Final = 600.0  # spares the SD card; the mean hardly changes
_MAX_DEVICES: Final = 64
_MAX_CHARS: Final = 1_000


class Means:
    """``folder``: None keeps nothing over restarts. ``device`` is whatever tells microphones apart; "" is one, too."""

    def __init__(self, folder: Path | None, now: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._now = now
        self._means: dict[str, str | None] = {}
        self._saved_at: dict[str, float] = {}
        self._unsaved: set[str] = set()

    def get(self, device: str) -> str | None:
        """The mean, if there is one: numbers separated by commas."""
        if device not in self._means and len(self._means) < _MAX_DEVICES:
            self._means[device] = self._read(device)
        return self._means.get(device)

    def learn(self, device: str, mean: str | None) -> None:
        """Keep it from now on. Written at once the first time, then every ten minutes."""
        if not mean or (device not in self._means and len(self._means) >= _MAX_DEVICES):
            return
        self._means[device] = mean
        self._unsaved.add(device)
        if self._now() - self._saved_at.get(device, -math.inf) >= _SAVE_EVERY_S:
            self._save(device)

    def save(self) -> None:
        """Write what is not written yet."""
        for device in sorted(self._unsaved):
            self._save(device)

    def _path(self, device: str) -> Path | None:
        if self._folder is None:
            return None
        name = hashlib.sha256(device.encode()).hexdigest()[:12] if device else "default"
        return self._folder / f"{name}.txt"

    def _save(self, device: str) -> None:
        self._unsaved.discard(device)
        path, mean = self._path(device), self._means[device]
        if path is None or mean is None:
            return
        temporary = path.with_suffix(".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(mean + "\n", encoding="utf-8")
            temporary.replace(path)
            self._saved_at[device] = self._now()
        except OSError as error:
            _log.warning("%s: the cepstral mean cannot be kept: %s", path, error.strerror)

    def _read(self, device: str) -> str | None:
        path = self._path(device)
        try:
            text = path.read_text(encoding="utf-8").strip() if path else ""
            numbers = [float(part) for part in text.split(",")] if 0 < len(text) < _MAX_CHARS else []
        except (OSError, ValueError):
            return None
        return text if numbers and all(math.isfinite(number) for number in numbers) else None
