"""Logging: one line an event on standard error, as systemd's journal wants it."""

from __future__ import annotations

import logging
import os
import sys


def set_up(level: str) -> None:
    """Log to standard error. Under systemd the journal has the time already, and gets the priority instead."""
    handler = logging.StreamHandler(sys.stderr)
    under_systemd = "JOURNAL_STREAM" in os.environ
    handler.setFormatter(_JournalFormatter() if under_systemd else logging.Formatter(_LINE, "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries
    for name in ("assistant", "hearth"):
        logging.getLogger(name).setLevel(level.upper())


_LINE = "%(asctime)s %(levelname)-7s %(message)s"


class _JournalFormatter(logging.Formatter):
    """Prefixes the priority, as sd-daemon(3) describes: ``<3>error``."""

    _PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in self._PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
