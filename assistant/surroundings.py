"""What the assistant lives in: the clock on the wall, the threads for slow work, the thread that hears.

On a real machine these are the machine's own. A simulation brings others, and the assistant in between stays the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from assistant import wiring
from assistant.audio.analysis import AnalysisThread, Heard
from assistant.audio.reference import ReferenceBuffer
from assistant.config import Config
from assistant.plugin import WallClock
from assistant.plugin.services import SystemClock
from assistant.scribe import Scribe
from assistant.tools.threads import DaemonThreads
from assistant.types import AudioFrame


class Analysis(Protocol):
    """Takes microphone frames and gives what is heard in them; see :class:`AnalysisThread`."""

    @property
    def dropped_frames(self) -> int: ...
    def start(self) -> None: ...
    def put(self, frame: AudioFrame) -> None: ...
    def stop(self) -> None: ...


LoadAnalysis: TypeAlias = Callable[
    [Config, ReferenceBuffer, Callable[[Heard], None], Callable[[BaseException], None]], Awaitable[Analysis]
]
"""Loads the models. Arguments as of AnalysisThread; raises ModelLoadError."""


async def load_analysis(
    config: Config,
    reference: ReferenceBuffer,
    on_heard: Callable[[Heard], None],
    on_death: Callable[[BaseException], None],
) -> Analysis:
    """The real models on a thread of their own."""
    analyzer = await asyncio.to_thread(wiring.analyzer, config, reference)
    return AnalysisThread(analyzer, on_heard, on_death, asyncio.get_running_loop())


@dataclass(frozen=True)
class Surroundings:
    """See the module's docstring."""

    clock: WallClock = field(default_factory=SystemClock)
    scribe: Callable[[], Scribe] = Scribe
    threads: Callable[[int, str], DaemonThreads] = DaemonThreads
    load_analysis: LoadAnalysis = load_analysis

    def wall(self) -> float:
        """Unix seconds."""
        return self.clock.now().timestamp()
