"""The daemon: opens the devices, puts the parts together, says that it is ready, and ends in order.

It only wires. What is said and done is decided in :mod:`assistant.core`, and carried out by the engine.

Life::

    start: speaker, models, microphone ──> READY ──> frames, watchdog ──> stop (signal, or end of a recording)
    a device that cannot be opened at the start ends the daemon; one that is lost later is opened again, for ever
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator

from assistant.adapters.sd_notify import Notifier
from assistant.assembly import Assistant
from assistant.audio.analysis import Heard
from assistant.audio.meter import Meter
from assistant.audio.ports import Microphone, Speaker
from assistant.config import Config
from assistant.control import server as control_server
from assistant.control import socket_path
from assistant.controls import Controls
from assistant.core import events as ev
from assistant.core.capture_health import CaptureFault
from assistant.core.liveness import Liveness
from assistant.ears import Ears, MuteFile
from assistant.errors import EXIT_RESTART, HearthError
from assistant.happenings import Happenings
from assistant.health import Health
from assistant.journal import Journal
from assistant.mouth import Mouth
from assistant.supervision import Supervisor
from assistant.surroundings import Analysis, Surroundings
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, AudioFrame

log = logging.getLogger(__name__)

STALL_AFTER_S = 5.0
"""Seconds without a microphone frame after which the watchdog is no longer fed."""

MUTE_FILE = "muted"
"""In the state folder."""

TRAILING_SILENCE_S = 3.0
"""A recording that ends in the middle of a request is followed by this much silence, so that the request ends too."""


class Deaf(HearthError):
    """Analysis of the microphone has died. The process leaves, and systemd starts it again."""

    exit_status = EXIT_RESTART


class NewStart(HearthError):
    """Somebody wants the assistant to start anew, with other settings."""

    exit_status = EXIT_RESTART


class Daemon:
    """One assistant with ears. ``run`` it once."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        microphone: Microphone,
        speaker: Speaker,
        surroundings: Surroundings | None = None,
    ) -> None:
        surroundings = surroundings or Surroundings()
        self._load_analysis = surroundings.load_analysis
        self._config = config
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._happenings = Happenings(journal, surroundings.wall)
        self._health = Health(surroundings.wall, self._health_changed)
        self._speaker = speaker
        self._ears = Ears(microphone, MuteFile(config.state_folder / MUTE_FILE), self._health, self._mute_changed)
        self._assistant = Assistant(config, journal, speaker, self._health, self._ears, surroundings)
        self._mouth = Mouth(self._assistant.player, self._assistant.engine.speaker_lost, self._health)
        self._supervisor = Supervisor(
            self._health,
            journal,
            surroundings.clock,
            self._ears,
            self._assistant.engine,
            self._assistant.tools,
            self._assistant.local,
            state_folder=config.state_folder,
            memory_limit_mb=config.health.memory_limit_mb,
            analysed=lambda: self._assistant.hearing.uplink.position,
        )
        self._meter = Meter()
        self._notifier = Notifier()
        self._liveness = Liveness(stall_after_s=STALL_AFTER_S, at=self._loop.time())
        self._stop = asyncio.Event()
        self._death: BaseException | None = None
        self._new_start = False
        self._recording_end: int | None = None  # where a recording and the silence after it end, once that is known
        self._heard_all = asyncio.Event()

    @property
    def controls(self) -> Controls:
        """What may be asked of it while it runs."""
        return self._assistant.controls

    @property
    def sent_bytes(self) -> int:
        """PCM bytes of the microphone that have left so far."""
        return self._assistant.hearing.uplink.sent_bytes

    def stop(self) -> None:
        """End in order: the turn without a sound, the session with a goodbye, then everything else."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until :meth:`stop`, a signal, or the end of a recording.

        Raises DeviceError or ModelLoadError if it cannot start, and Deaf if it cannot hear any more;
        and NewStart if that was asked for.
        """
        began = self._loop.time()
        with self._signals():
            loading = asyncio.ensure_future(
                self._load_analysis(self._config, self._assistant.reference, self._heard, self._deaf)
            )
            try:
                async with self._assistant.running(), asyncio.TaskGroup() as group:
                    analysis = await loading
                    analysis.start()
                    try:
                        await self._ears.start(analysis.put)
                        helpers = [
                            group.create_task(self._keep_ears(analysis), name="microphone"),
                            group.create_task(self._mouth.keep(), name="speaker"),
                            group.create_task(self._supervisor.run(), name="supervisor"),
                            group.create_task(self._feed_watchdog(), name="watchdog"),
                            group.create_task(self._serve_control(), name="control"),
                            group.create_task(self._serve_console(), name="console"),
                            group.create_task(self._serve_metrics(analysis), name="metrics"),
                        ]
                        self._notifier.ready(self._listening)
                        log.info("ready after %.2f s: %s", self._loop.time() - began, self._listening)
                        self._journal.note("ready", self._loop.time(), pid=os.getpid())
                        await self._stop.wait()
                        self._notifier.stopping()
                        for helper in helpers:
                            helper.cancel()
                    finally:
                        self._ears.stop()
                        analysis.stop()
            finally:
                loading.cancel()
        if self._death is not None:
            raise Deaf(f"analysis of the microphone died: {type(self._death).__name__}") from self._death
        if self._new_start:
            raise NewStart("a new start was asked for")
        log.info("stopped")

    # --- hearing ----------------------------------------------------------------------------------------------------

    def _heard(self, heard: Heard) -> None:
        self._liveness.frame(heard.frame.start, self._loop.time())
        self._assistant.hearing.hear(heard)
        self._meter.hear(heard)
        if heard.faults:
            self._health.trouble("microphone sound", "; ".join(heard.faults))
            if CaptureFault.SILENT.value in heard.faults:
                self._ears.reopen("it gives digital silence")  # what hangs in a driver or a sound server comes back
        elif heard.faults is not None:
            self._health.well("microphone sound")
        if self._recording_end is not None and heard.frame.end >= self._recording_end:
            self._heard_all.set()

    def _deaf(self, error: BaseException) -> None:
        self._death = error
        self.stop()

    async def _keep_ears(self, analysis: Analysis) -> None:
        """Keep the microphone open; a recording that has ended ends the daemon."""
        await self._ears.keep()
        await self._finish_recording(analysis)

    def _mute_changed(self, muted: bool) -> None:
        at = self._loop.time()
        self._liveness.muted(at, muted)
        self._assistant.hearing.mute(muted)
        self._assistant.engine.dispatch(ev.MuteChanged(at, muted))
        self._journal.note("mute", at, muted=muted)
        self._notifier.status(self._listening)
        log.info("muted: the microphone is closed" if muted else "no longer muted")

    def _health_changed(self, part: str, trouble: str | None) -> None:
        self._journal.note("health", self._loop.time(), part=part, trouble=trouble)
        self._notifier.status(f"{part}: {trouble}" if trouble else self._listening)

    @property
    def _listening(self) -> str:
        return "muted" if self._ears.muted else f"listening on {self._ears.description}"

    async def _serve_control(self) -> None:
        path = socket_path(self._config.state_folder)
        await control_server.serve(path, self._assistant.controls, self._happenings)

    async def _serve_console(self) -> None:
        if self._config.console.enabled:
            from assistant.console.running import run  # a web server is not loaded for nothing

            restart = self._start_anew if "INVOCATION_ID" in os.environ else None  # systemd starts us again
            await run(self._assistant, self._happenings, self._meter, self._devices, restart)

    def _start_anew(self) -> None:
        self._new_start = True
        self.stop()

    def _devices(self) -> dict[str, str]:
        return {"microphone": self._ears.description, "speaker": self._speaker.description}

    async def _serve_metrics(self, analysis: Analysis) -> None:
        if (where := self._config.health.metrics) is None:
            return
        from assistant.metrics.collect import Metrics
        from assistant.metrics.server import serve  # a web server is not loaded for nothing

        def audio() -> dict[str, int]:
            return {
                "microphone_frames": self._ears.captured // FRAME_SAMPLES,
                "analysed_frames": self._assistant.hearing.uplink.position // FRAME_SAMPLES,
                "dropped_frames": analysis.dropped_frames,
                "answer_underruns": self._assistant.player.stats.underruns,
            }

        metrics = Metrics(self._assistant.controls.status, audio)
        self._journal.subscribe(metrics)
        host, _, port = where.rpartition(":")
        await serve(host.strip("[]"), int(port), metrics.page)

    async def _finish_recording(self, analysis: Analysis) -> None:
        silence = bytes(FRAME_BYTES)
        start = self._ears.captured
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
