"""The embedded server as a child of the daemon: started with it, restarted when it dies, gone when it goes.

It is a process of its own because the recogniser and the voice would stall the daemon's event loop, and so that a
crash in them costs one turn and not the assistant.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import sys
from collections.abc import Sequence
from typing import Final

from assistant.core.backoff import retry_delay

log = logging.getLogger(__name__)

KEY_VARIABLE: Final = "HEARTH_SERVE_KEY"
"""The environment variable in which the child gets the key that its clients must show."""

READY_PREFIX: Final = "listening on "
"""What the child prints on standard output, followed by its address, once it takes connections."""

STOP_GRACE: Final = 1.5
START_TIMEOUT: Final = 20.0

STABLE_AFTER: Final = 60.0
"""Seconds of life after which a death counts as the first one again."""


class LocalServerProcess:
    """Keeps one ``assistant serve`` running. ``arguments``: its options, such as the config file."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = tuple(arguments)
        self._url = ""
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self.key = secrets.token_urlsafe(16)
        """What clients must show; new in each life of the daemon."""

    async def address(self) -> str:
        """The server's URL; waits while it starts."""
        await self._ready.wait()
        return self._url

    def stop(self) -> None:
        """Let the child end, and :meth:`run` return."""
        self._stopping.set()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def run(self) -> None:
        """Keep the server running until :meth:`stop`. Cancelling kills the child."""
        loop = asyncio.get_running_loop()
        deaths = 0
        while not self._stopping.is_set():
            started = loop.time()
            await self._run_once()
            if self._stopping.is_set():
                return
            deaths = deaths + 1 if loop.time() - started < STABLE_AFTER else 1
            delay = retry_delay(deaths)
            log.error("the embedded server died; starting it again in %.1f s", delay)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def _run_once(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "assistant",
            "serve",
            *self._arguments,
            "--until-eof",
            f"--log-level={logging.getLevelName(log.getEffectiveLevel()).lower()}",
            stdin=asyncio.subprocess.PIPE,  # it ends when this closes: also when the daemon is killed
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, KEY_VARIABLE: self.key},
            start_new_session=True,  # Ctrl-C is for the daemon, which says goodbye to its session first
        )
        self._process = process
        try:
            if self._stopping.is_set() or not await self._wait_until_ready(process):
                return
            await process.wait()
        finally:
            self._ready.clear()
            self._process = None
            await self._end(process)

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> bool:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while line := await process.stdout.readline():
                    text = line.decode(errors="replace").strip()
                    if text.startswith(READY_PREFIX):
                        self._url = text.removeprefix(READY_PREFIX)
                        self._ready.set()
                        return True
        except TimeoutError:
            log.error("the embedded server did not start within %.0f s", START_TIMEOUT)
        return False

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """No child outlives this: asked first, then killed."""
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(STOP_GRACE):
                await process.wait()
        except TimeoutError:
            log.warning("the embedded server did not end when asked; killed")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
