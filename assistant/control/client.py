"""The commands' side of the control socket. Blocking: a command does nothing else meanwhile."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assistant.control.addresses import reachable
from assistant.errors import EXIT_UNAVAILABLE, HearthError

SERVICE = Path("/opt/hearth/current")
SERVICE_STATE = Path("/var/lib/hearth")
"""Where systemd/install puts it."""

TIMEOUT_S = 30.0
"""A tool may take its time; a frozen daemon must not freeze the command."""


class NotRunning(HearthError):
    """No assistant serves this socket."""

    exit_status = EXIT_UNAVAILABLE


class Refused(HearthError):
    """The assistant has said no, in one line."""


def request(path: Path, do: str, *, timeout: float = TIMEOUT_S, **fields: Any) -> dict[str, Any]:
    """Ask the running assistant; gives its answer. Raises NotRunning or Refused."""
    with _connected(path, timeout) as connection, connection.makefile("rwb") as stream:
        try:
            stream.write(json.dumps({"do": do, **fields}).encode() + b"\n")
            stream.flush()
            line = stream.readline()
        except TimeoutError:
            raise Refused(f"the assistant did not answer within {timeout:.0f} s: see its log") from None
        except OSError as error:
            raise NotRunning(f"the assistant has gone: {error}") from None
    if not line:
        raise NotRunning("the assistant has gone without an answer: see its log")
    answer = json.loads(line)
    if not answer.pop("ok"):
        raise Refused(answer["error"])
    return dict(answer)


def running(path: Path) -> bool:
    """Whether an assistant serves this socket."""
    try:
        _connected(path, TIMEOUT_S).close()
    except NotRunning:
        return False
    return True


def events(path: Path) -> Iterator[dict[str, Any]]:
    """What happens, from now on, until the assistant ends. Raises NotRunning."""
    with _connected(path, None) as connection, connection.makefile("rwb") as stream:
        stream.write(b'{"do": "events"}\n')
        stream.flush()
        for line in stream:
            event = json.loads(line)
            if event.get("ok") is False:
                raise Refused(event["error"])
            yield event


def _connected(path: Path, timeout: float | None) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection.settimeout(timeout)
    try:
        with reachable(path) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        service = "; for the service's: sudo hearth status" if SERVICE.exists() and path.parent != SERVICE_STATE else ""
        raise NotRunning(f"no assistant is running with this state folder ({path.parent}): start it{service}") from None
    except OSError as error:
        connection.close()
        raise NotRunning(f"{path}: {error.strerror or error}: run this as the user of the assistant") from None
    return connection
