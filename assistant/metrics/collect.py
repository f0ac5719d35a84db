"""What is counted, and how it is called. Nothing that was said, and no name of a person, becomes a label."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from assistant.core.policy import State
from assistant.core.traces import TraceBuilder
from assistant.journal import Entry
from assistant.metrics.exposition import Family, Histogram, Sample, counter, gauge, render

SECONDS: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Upper bounds of the latencies: below a second an answer feels prompt, above three it does not."""

_LATENCIES: Final = {
    "last voiced -> first sample": (
        "hearth_answer_latency_seconds",
        "From the end of what the user said to the first sound of the answer",
    ),
    "commit -> first audio": (
        "hearth_brain_latency_seconds",
        "From the end of the utterance to the first sound from the brain",
    ),
    "wake -> session ready": (
        "hearth_connect_latency_seconds",
        "From the wake word to a session that is ready, where it was not open already",
    ),
}


class Metrics:
    """Subscribe it to the journal; :meth:`page` gives the numbers of the moment. Lives on the event loop."""

    def __init__(self, status: Callable[[], Mapping[str, Any]], audio: Callable[[], Mapping[str, int]]) -> None:
        """status: as of ``assistant status``. audio: counters of the sound path, by their names without prefix."""
        self._status = status
        self._audio = audio
        self._traces = TraceBuilder()
        self._latencies = {span: Histogram(SECONDS) for span in _LATENCIES}
        self._turns: Counter[str] = Counter()
        self._tools: Counter[str] = Counter()
        self._troubles: Counter[str] = Counter()
        self._parts_in_trouble: set[str] = set()
        self._wakes = 0
        self._lost_sessions = 0

    # --- counting ---------------------------------------------------------------------------------------------------

    def __call__(self, entry: Entry) -> None:
        """Take a journal entry."""
        match entry:
            case {"kind": "event", "name": "woken"}:
                self._wakes += 1
            case {"kind": "event", "name": "session_lost"}:
                self._lost_sessions += 1
            case {"kind": "command", "name": "end_turn", "outcome": outcome}:
                self._turns[outcome] += 1
            case {"kind": "note", "name": "tool_result", "status": status}:
                self._tools[status] += 1
            case {"kind": "note", "name": "health", "part": part, "trouble": trouble}:
                self._trouble(part, begins=trouble is not None)
        for trace in self._traces.feed(entry):
            for span, histogram in self._latencies.items():
                if (ms := trace.span(span)) is not None and not (span.startswith("wake") and trace.warm):
                    histogram.observe(ms / 1000)

    def _trouble(self, part: str, *, begins: bool) -> None:
        """A trouble that only gets another text has not begun anew."""
        if begins and part not in self._parts_in_trouble:
            self._troubles[part] += 1
            self._parts_in_trouble.add(part)
        elif not begins:
            self._parts_in_trouble.discard(part)

    # --- telling ----------------------------------------------------------------------------------------------------

    def page(self) -> str:
        """All numbers, as Prometheus wants them."""
        return render([*self._assistant(self._status()), *self._work(), *_process()])

    def _assistant(self, status: Mapping[str, Any]) -> Iterator[Family]:
        about = {"version": status["version"], "provider": status["provider"]}
        yield gauge("hearth_info", "Which program this is; always 1", 1, **about)
        yield gauge("hearth_uptime_seconds", "Time since the start", status["uptime_s"])
        states = tuple(Sample(state.value == status["state"], (("state", state.value),)) for state in State)
        yield Family("hearth_state", "gauge", "1 for the state of the conversation", states)
        yield gauge("hearth_session_ready", "Whether a session with the brain is open", status["link"] == "ready")
        muted = status["muted"]
        yield gauge("hearth_muted", "Whether the microphone is muted", None if muted is None else float(muted))
        troubles = tuple(Sample(1, (("part", trouble["part"]),)) for trouble in status["troubles"])
        yield Family("hearth_trouble", "gauge", "1 for each part that is in trouble right now", troubles)
        if (money := status["money"]) is not None:
            currency = money["currency"]
            yield gauge("hearth_cost_today", "What the cloud has cost today", money["today"], currency=currency)
            yield gauge("hearth_cost_month", "... and this month", money["month"], currency=currency)
        yield counter("hearth_sent_audio_bytes_total", "Microphone audio that has left", status["sent_bytes"])

    def _work(self) -> Iterator[Family]:
        yield counter("hearth_wakes_total", "Wake words heard", self._wakes)
        yield counter("hearth_turns_total", "Turns that have ended, by outcome", self._turns, "outcome")
        yield counter("hearth_tool_calls_total", "Tool calls, by status", self._tools, "status")
        yield counter("hearth_sessions_lost_total", "Sessions that were lost or refused", self._lost_sessions)
        yield counter("hearth_troubles_total", "Troubles that have begun, by part", self._troubles, "part")
        for span, (name, text) in _LATENCIES.items():
            yield Family(name, "histogram", text, tuple(self._latencies[span].samples()))
        audio = self._audio()
        for name, text in _AUDIO.items():
            yield counter(f"hearth_{name}_total", text, audio[name])


_AUDIO: Final = {
    "microphone_frames": "Frames of 20 ms that the microphone gave",
    "analysed_frames": "Frames in which wake words were looked for",
    "dropped_frames": "Frames that were dropped because analysis or the event loop was too slow",
    "answer_underruns": "How often an answer ran dry before its end",
}


def _process() -> Iterator[Family]:
    """What Prometheus' own clients tell of a process, under their names."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    yield gauge("process_resident_memory_bytes", "Memory in RAM", pages * os.sysconf("SC_PAGE_SIZE"))
    yield counter("process_cpu_seconds_total", "Processor time used", time.process_time())
    yield gauge("process_open_fds", "Open files", len(os.listdir("/proc/self/fd")) - 1)  # noqa: PTH208 - names only
    yield gauge("hearth_threads", "Threads of Python", threading.active_count())
