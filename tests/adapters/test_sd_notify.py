"""The messages that really arrive at a real Unix socket, as systemd would open it."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assistant.adapters.sd_notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket, and its name as it stands in $NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@hearth-test-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        listener.setblocking(False)
        yield listener, name


@pytest.mark.parametrize(
    ("send", "message"),
    [
        (lambda notifier: notifier.ready(), b"READY=1"),
        (lambda notifier: notifier.ready("listening for hey jarvis"), b"READY=1\nSTATUS=listening for hey jarvis"),
        (lambda notifier: notifier.status("offline,\nretrying\tin 5 s "), b"STATUS=offline, retrying in 5 s"),
        (lambda notifier: notifier.status("Küche"), "STATUS=Küche".encode()),
        (lambda notifier: notifier.watchdog(), b"WATCHDOG=1"),
        (lambda notifier: notifier.stopping(), b"STOPPING=1"),
    ],
)
def test_messages(manager: tuple[socket.socket, str], send: Callable[[Notifier], bool], message: bytes) -> None:
    listener, name = manager
    assert send(Notifier({"NOTIFY_SOCKET": name})) is True
    assert listener.recv(4096) == message
    with pytest.raises(BlockingIOError):
        listener.recv(4096)


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_does_nothing_without_a_service_manager(environ: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({**environ, "WATCHDOG_USEC": "1000000"})
    assert not notifier.active
    assert notifier.watchdog_interval_s is None
    assert not any([notifier.ready(), notifier.status("x"), notifier.watchdog(), notifier.stopping()])
    assert caplog.records == []


@pytest.mark.parametrize("name", ["/nonexistent/notify", "/" + "x" * 200, "/a\0b"])
def test_a_manager_that_is_gone_is_logged_not_raised(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert Notifier({"NOTIFY_SOCKET": name}).ready("secret plans") is False
    assert "READY" in caplog.text
    assert "secret plans" not in caplog.text


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.adapters.sd_notify.SEND_TIMEOUT_S", 0.01)
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        assert any(not notifier.watchdog() for _ in range(10_000))  # until the queue is full


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_interval(environ: dict[str, str], interval: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/run/notify", **environ}, pid=42).watchdog_interval_s == interval


def test_reads_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert Notifier().watchdog_interval_s == 1.0
