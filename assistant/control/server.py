"""The daemon's side of the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from assistant.control.addresses import reachable
from assistant.control.requests import Requests, parse
from assistant.controls import ControlError, Controls
from assistant.happenings import Happening, Happenings

log = logging.getLogger(__name__)

LINE_LIMIT: Final = 65_536
"""Bytes of one request."""

MAX_CLIENTS: Final = 32

MAX_WAITING: Final = 2000
"""Events that may wait for a slow reader. One that falls further behind is let go."""


async def serve(path: Path, controls: Controls, happenings: Happenings) -> None:
    """Serve until cancelled. If the socket cannot be had, one line in the log says why, and the assistant goes on."""
    try:
        listener = _bind(path)
    except OSError as error:
        log.error("%s: no control socket: %s: assistant status and the like will not work", path, error)
        return
    door = ControlServer(controls, happenings)
    server = await asyncio.start_unix_server(door.serve_client, sock=listener, limit=LINE_LIMIT)
    try:
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        server.close()
        await door.close()
        await asyncio.to_thread(_remove, path)


def _bind(path: Path) -> socket.socket:
    """A listening socket that only this user can open. The socket of an assistant that has gone is replaced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with reachable(path) as address:
        if _answers(address):
            raise FileExistsError("another assistant uses it: stop that one, or set another state_dir")
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        mask = os.umask(0o177)  # a socket is born with its rights: it must never have been open to others
        try:
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
        finally:
            os.umask(mask)
    return listener


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _answers(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


class ControlServer:
    """Answers clients. One task for each, which ends with its connection or in :meth:`close`."""

    def __init__(self, controls: Controls, happenings: Happenings) -> None:
        self._controls = controls
        self._happenings = happenings
        self._requests = Requests(controls)
        self._clients: set[asyncio.Task[None]] = set()

    async def serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, line by line, until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > MAX_CLIENTS:
                await _send(writer, {"ok": False, "error": "too many connections: close one"})
            elif not _is_ours(writer):
                await _send(writer, {"ok": False, "error": "this socket belongs to another user"})
            else:
                await self._converse(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the daemon ends: nobody waits for an answer
        finally:
            self._clients.discard(task)
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        clients = tuple(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                await _send(writer, {"ok": False, "error": f"a request has at most {LINE_LIMIT} bytes"})
                return
            try:
                request = parse(line)
            except ControlError as error:
                await _send(writer, {"ok": False, "error": str(error)})
                continue
            if request["do"] == "events":
                await self._stream_events(reader, writer)
                return
            answer = await self._requests.answer(request)
            await _send(writer, answer)

    # --- events -----------------------------------------------------------------------------------------------------

    async def _stream_events(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """First the status, then what happens, until the client closes."""
        waiting: asyncio.Queue[Happening] = asyncio.Queue(MAX_WAITING)
        gone = asyncio.ensure_future(reader.read())

        def listener(happening: Happening) -> None:
            try:
                waiting.put_nowait(happening)
            except asyncio.QueueFull:
                gone.cancel()

        unsubscribe = self._happenings.subscribe(listener)
        try:
            await _send(writer, {"event": "hello", "status": self._controls.status()})
            while not gone.done():
                get = asyncio.ensure_future(waiting.get())
                try:
                    await asyncio.wait({get, gone}, return_when=asyncio.FIRST_COMPLETED)
                    if get.done():
                        await _send(writer, get.result())
                finally:
                    get.cancel()
        finally:
            unsubscribe()
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side is this user or root (SO_PEERCRED of unix(7))."""
    connection = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return user in (0, os.getuid())


async def _send(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    writer.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")
    await writer.drain()
