"""The service manager's side channel: ready, status, watchdog, stopping.

Speaks the protocol of sd_notify(3), https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html:
datagrams of ``KEY=value`` lines to the Unix socket in $NOTIFY_SOCKET. Without that variable (started by hand, in a
container, in a test) everything here does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from typing import Final

SEND_TIMEOUT_S: Final = 0.5
"""A service manager that does not read for this long has worse problems than a lost message."""

_log = logging.getLogger(__name__)


class Notifier:
    """Tells the service manager how we are. Holds no open socket, so there is nothing to close.

    Every method returns True if the message was handed over, and never raises: a daemon does not end because
    nobody wants to hear about it. Call it from one thread at a time.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, *, pid: int | None = None) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # '@' marks the abstract namespace, which the kernel spells with a NUL. Other families are for virtual machines.
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address
        self._usable = address[:1] in ("/", "@")
        self._watchdog_s = _watchdog_s(environ, os.getpid() if pid is None else pid) if self._usable else None

    @property
    def active(self) -> bool:
        """True if a service manager listens."""
        return self._usable

    @property
    def watchdog_interval_s(self) -> float | None:
        """Seconds between two calls of :meth:`watchdog`: half of the limit, as sd_watchdog_enabled(3) advises.

        None if the service manager does not watch this process.
        """
        return None if self._watchdog_s is None else self._watchdog_s / 2

    def ready(self, status: str = "") -> bool:
        """Start-up is complete: microphone, speaker and models are open."""
        return self._send("READY=1", *([f"STATUS={_line(status)}"] if status else []))

    def status(self, text: str) -> bool:
        """One line for ``systemctl status``. Never what somebody said."""
        return self._send(f"STATUS={_line(text)}")

    def watchdog(self) -> bool:
        """Still alive; see :mod:`assistant.core.liveness` for when to say so."""
        return self._send("WATCHDOG=1")

    def stopping(self) -> bool:
        """Shutdown has begun."""
        return self._send("STOPPING=1")

    def _send(self, *lines: str) -> bool:
        if not self._usable:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(SEND_TIMEOUT_S)
                channel.connect(self._address)
                channel.sendall("\n".join(lines).encode())
        except (OSError, ValueError) as error:  # ValueError: a NUL within the path
            _log.warning("the service manager did not take %s: %s", lines[0].partition("=")[0], error)
            return False
        return True


def _line(text: str) -> str:
    return " ".join(text.split())


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """The watchdog's limit in seconds, if it is meant for this process and not for the one that started it."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 1_000_000 if microseconds > 0 else None
