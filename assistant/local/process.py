"""The embedded server as a child of the daemon: started with it, restarted when it dies or hangs, gone when it goes.

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
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from assistant.core.backoff import retry_delay
from assistant.memory import resident_mb

log = logging.getLogger(__name__)

KEY_VARIABLE: Final = "HEARTH_SERVE_KEY"
"""The environment variable in which the child gets the key that its clients must show."""

SERVE_COMMAND: Final = (sys.executable, "-m", "assistant", "serve")

READY_PREFIX: Final = "listening on "
"""What the child prints on standard output, followed by its address, once it takes connections."""

STOP_GRACE: Final = 1.5
START_TIMEOUT: Final = 20.0

LOOK_EVERY: Final = 5.0
ANSWER_TIMEOUT: Final = 10.0
"""It is asked for a sign of life so often, and one that gives none for so long is ended."""

STABLE_AFTER: Final = 60.0
"""Seconds of life after which a death counts as the first one again."""


class LocalServerProcess:
    """Keeps one ``assistant serve`` running."""

    def __init__(
        self,
        arguments: Sequence[str],
        on_trouble: Callable[[str | None], None],
        *,
        command: Sequence[str] = SERVE_COMMAND,
    ) -> None:
        """arguments: its options, such as the config file. on_trouble: told in one line why it does not serve, and
        None once it does. command: how to start it."""
        self._command = (*command, *arguments)
        self._on_trouble = on_trouble
        self._url = ""
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._replacing: str | None = None
        self._ready_mb = 0.0
        self.key = secrets.token_urlsafe(16)
        """What clients must show; new in each life of the daemon."""

    async def address(self) -> str:
        """The server's URL; waits while it starts."""
        await self._ready.wait()
        return self._url

    @property
    def pid(self) -> int | None:
        """None while it starts."""
        return self._process.pid if self._process is not None and self._ready.is_set() else None

    @property
    def grown_mb(self) -> float:
        """By how much more memory it has in RAM than when it began to serve; 0 while it starts."""
        return resident_mb(self.pid) - self._ready_mb if self.pid is not None else 0.0

    def stop(self) -> None:
        """Let the child end, and :meth:`run` return."""
        self._stopping.set()
        self._close_input()

    def replace(self, why: str) -> None:
        """Let the child end, and start another one at once. Sessions are closed as by a server that restarts."""
        if self.pid is not None:
            self._replacing = why
            self._close_input()

    def _close_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def run(self) -> None:
        """Keep the server running until :meth:`stop`. Cancelling kills the child."""
        loop = asyncio.get_running_loop()
        deaths = 0
        while not self._stopping.is_set():
            started = loop.time()
            why = await self._run_once()
            if self._stopping.is_set():
                return
            if self._replacing is not None:
                self._on_trouble(self._replacing)
                self._replacing = None
                continue
            deaths = deaths + 1 if loop.time() - started < STABLE_AFTER else 1
            delay = retry_delay(deaths)
            self._on_trouble(f"{why}; starting it again in {delay:.1f} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def _run_once(self) -> str:
        """One child from its start to its end; says why it has ended."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            "--until-eof",
            f"--log-level={logging.getLevelName(log.getEffectiveLevel()).lower()}",
            stdin=asyncio.subprocess.PIPE,  # it ends when this closes: also when the daemon is killed
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, KEY_VARIABLE: self.key},
            start_new_session=True,  # Ctrl-C is for the daemon, which says goodbye to its session first
        )
        self._process = process
        try:
            if self._stopping.is_set():
                return "stopped"
            if not await self._wait_until_ready(process):
                return "did not start; see the log for its error"
            return await self._watch(process)
        finally:
            self._ready.clear()
            self._process = None
            await self._end(process)

    async def _watch(self, process: asyncio.subprocess.Process) -> str:
        """Until it has gone or stands still; says which."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await process.wait()
            if process.returncode is None and not await self._answers():
                await asyncio.sleep(0)  # its end may be known only now
                if process.returncode is None:
                    return f"does not answer for {ANSWER_TIMEOUT:.0f} s"
            if process.returncode is not None:
                return f"died with status {process.returncode}"

    async def _answers(self) -> bool:
        """Whether it says anything: that there is nothing at this address would do."""
        url = urlsplit(self._url)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                reader, writer = await asyncio.open_connection(url.hostname, url.port)
                try:
                    writer.write(b"GET / HTTP/1.1\r\n\r\n")
                    return bool(await reader.read(1))
                finally:
                    writer.close()
        except OSError:  # TimeoutError is one of them
            return False

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> bool:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while line := await process.stdout.readline():
                    text = line.decode(errors="replace").strip()
                    if text.startswith(READY_PREFIX):
                        self._url = text.removeprefix(READY_PREFIX)
                        self._ready_mb = resident_mb(process.pid)
                        self._ready.set()
                        self._on_trouble(None)
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
