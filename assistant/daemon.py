"""The daemon: opens the devices, puts the parts together, says that it is ready, and ends in order.

It only wires. What is said and done is decided in :mod:`assistant.core`, and carried out by the engine.

Life::

    start: speaker, models, microphone ──> READY ──> frames, watchdog ──> stop (signal, or end of a recording)
    a device that cannot be opened at the start ends the daemon; one that is lost later is opened again, for ever
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

from assistant import wiring
from assistant.adapters.sd_notify import Notifier
from assistant.assembly import Assistant
from assistant.audio.analysis import AnalysisThread, Heard
from assistant.audio.ports import Microphone, Speaker
from assistant.config import Config
from assistant.core.backoff import retry_delay
from assistant.core.liveness import Liveness
from assistant.errors import EXIT_RESTART, DeviceError, HearthError
from assistant.journal import Journal
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, AudioFrame

log = logging.getLogger(__name__)

STALL_AFTER_S = 5.0
"""Seconds without a microphone frame after which the watchdog is no longer fed."""

TRAILING_SILENCE_S = 3.0
"""A recording that ends in the middle of a request is followed by this much silence, so that the request ends too."""


class Deaf(HearthError):
    """Analysis of the microphone has died. The process leaves, and systemd starts it again."""

    exit_status = EXIT_RESTART


class Daemon:
    """One assistant with ears. ``run`` it once."""

    def __init__(self, config: Config, journal: Journal, microphone: Microphone, speaker: Speaker) -> None:
        self._config = config
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._microphone = microphone
        self._assistant = Assistant(config, journal, speaker)
        self._notifier = Notifier()
        self._liveness = Liveness(stall_after_s=STALL_AFTER_S, at=self._loop.time())
        self._lost: asyncio.Queue[DeviceError | None] = asyncio.Queue()
        self._stop = asyncio.Event()
        self._death: BaseException | None = None
        self._recording_end: int | None = None  # where a recording and the silence after it end, once that is known
        self._heard_all = asyncio.Event()
        self._captured = 0  # one past the last sample that the microphone gave, whether or not it is analysed yet

    def stop(self) -> None:
        """End in order: the turn without a sound, the session with a goodbye, then everything else."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until :meth:`stop`, a signal, or the end of a recording.

        Raises DeviceError or ModelLoadError if it cannot start, and Deaf if it cannot hear any more.
        """
        began = self._loop.time()
        with self._signals():
            analyzer = asyncio.ensure_future(
                asyncio.to_thread(wiring.analyzer, self._config, self._assistant.reference)
            )
            try:
                async with self._assistant.running(), asyncio.TaskGroup() as group:
                    analysis = AnalysisThread(await analyzer, self._heard, self._deaf, self._loop)
                    analysis.start()
                    try:
                        await asyncio.to_thread(self._open_microphone, analysis)
                        helpers = [
                            group.create_task(self._keep_microphone(analysis), name="microphone"),
                            group.create_task(self._keep_speaker(), name="speaker"),
                            group.create_task(self._feed_watchdog(), name="watchdog"),
                        ]
                        self._notifier.ready(f"listening on {self._microphone.description}")
                        log.info("ready after %.2f s: %s", self._loop.time() - began, self._microphone.description)
                        self._journal.note("ready", self._loop.time(), pid=os.getpid())
                        await self._stop.wait()
                        self._notifier.stopping()
                        for helper in helpers:
                            helper.cancel()
                    finally:
                        self._microphone.stop()
                        analysis.stop()
            finally:
                analyzer.cancel()
        if self._death is not None:
            raise Deaf(f"analysis of the microphone died: {type(self._death).__name__}") from self._death
        log.info("stopped")

    # --- hearing ----------------------------------------------------------------------------------------------------

    def _heard(self, heard: Heard) -> None:
        self._liveness.frame(heard.frame.start, self._loop.time())
        self._assistant.hearing.hear(heard)
        if self._recording_end is not None and heard.frame.end >= self._recording_end:
            self._heard_all.set()

    def _deaf(self, error: BaseException) -> None:
        self._death = error
        self.stop()

    def _open_microphone(self, analysis: AnalysisThread) -> None:
        def on_end(error: DeviceError | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._lost.put_nowait, error)

        # A stream that is opened again counts from 0; for everybody else the samples go on.
        offset = self._captured

        def on_frame(frame: AudioFrame) -> None:
            frame = replace(frame, start=frame.start + offset) if offset else frame
            self._captured = frame.end
            analysis.put(frame)

        self._microphone.start(on_frame, on_end)

    async def _keep_microphone(self, analysis: AnalysisThread) -> None:
        """Open the microphone again whenever it is lost; a recording that has ended ends the daemon."""
        while True:
            error = await self._lost.get()
            if error is None:
                await self._finish_recording(analysis)
                return
            log.error("microphone lost: %s", error)
            self._notifier.status("microphone lost")
            await asyncio.to_thread(self._microphone.stop)
            await self._reopen("microphone", lambda: self._open_microphone(analysis))
            self._notifier.status(f"listening on {self._microphone.description}")

    async def _keep_speaker(self) -> None:
        """Open the speaker again whenever it is lost."""
        lost = self._assistant.engine.speaker_lost
        while True:
            await lost.wait()
            lost.clear()
            log.error("speaker lost")
            await self._reopen("speaker", self._assistant.player.start)

    async def _reopen(self, what: str, start: Callable[[], None]) -> None:
        """Try to open a device until it works. A device may block while it opens, so it is opened on a thread."""
        for attempt in itertools.count(1):
            await asyncio.sleep(retry_delay(attempt))
            try:
                await asyncio.to_thread(start)
            except DeviceError as error:
                if error.exit_status == EXIT_RESTART:
                    raise  # the sound system hangs, and only a new process gets out of it
                log.debug("%s: %s", what, error)
            else:
                log.info("%s open again", what)
                return

    async def _finish_recording(self, analysis: AnalysisThread) -> None:
        silence = bytes(FRAME_BYTES)
        start = self._captured
        self._recording_end = start + round(TRAILING_SILENCE_S * 50) * FRAME_SAMPLES
        for index in range(round(TRAILING_SILENCE_S * 50)):
            analysis.put(AudioFrame(start + index * FRAME_SAMPLES, silence, self._loop.time()))
            await asyncio.sleep(0.001)  # as fast as analysis can take it, without overrunning its queue
        await self._heard_all.wait()  # analysis may be behind, with a request still in it
        await self._assistant.engine.idle.wait()
        log.info("the recording is over")
        self.stop()

    # --- systemd and signals ----------------------------------------------------------------------------------------

    async def _feed_watchdog(self) -> None:
        """Tell systemd that we hear. A microphone that stands still is not hearing."""
        interval = self._notifier.watchdog_interval_s
        while interval is not None:
            if self._liveness.alive(self._loop.time()):
                self._notifier.watchdog()
            await asyncio.sleep(interval)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.remove_signal_handler(number)
