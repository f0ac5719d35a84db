"""When a turn is over: by a fixed silence, and by what was said. ``python -m bench.turn_end``, a minute.

People who pause within a sentence ("set a timer for ... ten minutes"): how many are cut off. People who have finished:
how long until that is known, and until the answer begins to sound. Synthetic voices, with the daemon's VAD,
endpointing and default settings; the sentences of the bundled tools and of a small house.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.analysis import Heard
from assistant.audio.hearing import Hearing
from assistant.audio.uplink import Uplink
from assistant.core import events as ev
from assistant.core.endpointing import Endpointer, EndpointingSettings, Expect, SpeechStart, SpeechStop
from assistant.core.wake_gate import WakeGate
from assistant.local.grammar import DEFAULT_STRICTNESS, Grammar
from assistant.local.language import english
from assistant.local.mind import Mind
from assistant.local.pronounce import arpabet
from assistant.local.recognizer import Utterance
from assistant.local.recognizer_wire import grammar_payload
from assistant.local.recognizer_worker import Decoder
from assistant.local.server import LocalServerSettings, serve
from assistant.local.voice import ipa
from assistant.realtime import providers
from assistant.realtime.session import Endpoint, RealtimeSession
from assistant.realtime.settings import SessionSettings
from assistant.testing.plugins import FakeClock, RecordingRinger
from assistant.tools import loading
from assistant.tools.registry import ToolRegistry
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, MIC_RATE, AudioFrame, TurnId
from bench import _guarded_home as guarded_home
from bench.brain import FOREIGN, WAKE_PHRASES, Samples, espeak, flite, in_room, level

VOICES: Final = ("en-us", "en-gb-x-rp", "en-us+m1")
PAUSES_S: Final = (0.3, 0.6, 0.9, 1.2)
CONDITIONS: Final = {"clean": 40.0, "20 dB": 20.0}
BY_MEANING: Final = EndpointingSettings()
FIXED: Final = EndpointingSettings(
    complete_silence_ms=BY_MEANING.end_silence_ms, unfinished_silence_ms=BY_MEANING.end_silence_ms
)
SETTINGS: Final = {"fixed": FIXED, "by meaning": BY_MEANING}
BEFORE_S: Final = 1.0
"""Quiet before somebody speaks; the VAD adapts to the room in it."""

WITHIN: Final = (
    "set a timer for | ten minutes",
    "set a timer | for half an hour",
    "set a pasta timer for | eight minutes",
    "turn on | the kitchen light",
    "turn off the | bedroom light",
    "set the heating to | twenty degrees",
    "open the | office blinds",
    "hey jarvis turn on | the reading lamp",
    "what's on | the shopping list",
    "wake me up at | seven thirty",
)
AFTER: Final = (
    "what time is it | in london",
    "set a timer for five minutes | thirty seconds",
    "what day is it | tomorrow",
    "turn on the kitchen light | and close the blinds",
)
WHOLE: Final = (
    "turn on the kitchen light",
    "turn the reading lamp off",
    "open the office blinds",
    "lock the front door",
    "what's on the shopping list",
    "cancel the timer",
    "set a timer for twenty minutes",
    "what time is it in london",
    "turn off the bedroom light please",
    "how much time is left",
)


@contextmanager
def household() -> Iterator[list[dict[str, Any]]]:
    """What can be asked."""
    with tempfile.TemporaryDirectory() as folder:
        registry = ToolRegistry(Path(folder), clock=FakeClock(), ringer=RecordingRinger())
        bundled = {candidate.name: candidate for candidate in loading.in_folder(loading.bundled_plugins_folder())}
        chosen = [bundled[name] for name in ("clock", "lists", "timers", "notes")]
        registry.load_candidates([*chosen, loading.from_object("home", guarded_home)])
        yield registry.specs(offline=True)


def speak(voice: str, text: str) -> Samples:
    """A sentence without silence around it."""
    spoken = level(flite(voice[6:], text) if voice.startswith("flite:") else espeak(voice, text))
    loud = np.flatnonzero(np.abs(spoken) > 0.01)
    return spoken[loud[0] : loud[-1] + 1]


# --- in audio time ----------------------------------------------------------------------------------------------------


class _Unheard:
    """Takes the place of the recogniser of a session, for the grammar that it is given."""

    grammar: Grammar

    async def set_grammar(self, grammar: Grammar) -> None:
        self.grammar = grammar

    def begin(self) -> Utterance:
        raise NotImplementedError

    async def close(self) -> None: ...


class Listener:
    """Endpointing and the recogniser, put together as the daemon and the embedded server do."""

    def __init__(self, tools: Sequence[dict[str, Any]]) -> None:
        kept = _Unheard()
        self._mind = Mind(kept, english(), WAKE_PHRASES, DEFAULT_STRICTNESS)
        self._mind.set_tools(tools)
        asyncio.run(self._mind.load())
        self._decoder = Decoder()
        missing = self._decoder.load(json.loads(grammar_payload(kept.grammar, {})))
        spelled = {word: arpabet(ipa(word)) for word in missing}
        self._decoder.load(json.loads(grammar_payload(kept.grammar, spelled)))

    def meet(self, pcm: bytes) -> None:
        """Learn how a voice sounds in its room."""
        self._decoder.open(None)
        self._decoder.begin()
        self._decoder.feed(pcm)
        self._decoder.finish()

    def end_of(self, pcm: bytes, settings: EndpointingSettings) -> SpeechStop | None:
        """When the utterance is over. What is found in a pause counts from the next frame on."""
        vad, endpointer = WebRtcVad(), Endpointer(settings)
        endpointer.expect(Expect.UTTERANCE, 0)
        judged: int | None = None
        for start in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
            frame = pcm[start : start + FRAME_BYTES]
            if endpointer.in_speech and settings.patience.asks:
                self._decoder.feed(frame)
            match endpointer.hear(start // 2, vad.is_speech(frame)):
                case SpeechStart(sample):
                    self._decoder.begin()
                    self._decoder.feed(pcm[sample * 2 : start + FRAME_BYTES])
                case SpeechStop() as stop:
                    return stop
                case None:
                    pause = endpointer.pause
                    if pause is not None and pause != judged:
                        judged = pause
                        endpointer.judge(pause, self._mind.completeness(self._decoder.so_far()))
        return None


@dataclass(slots=True)
class Found:
    """What came of all sentences in one condition. The first key is that of SETTINGS."""

    cut_within: dict[tuple[str, float], list[bool]] = field(default_factory=lambda: defaultdict(list))
    cut_after: dict[tuple[str, float], list[bool]] = field(default_factory=lambda: defaultdict(list))
    waited_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """From the last sound of a whole sentence."""
    held_s: dict[str, float] = field(default_factory=dict)
    """How long a television holds the turn open that begins with a whole sentence."""


def measure(condition: str, voices: Sequence[str], full: bool) -> Found:
    """All sentences in one condition, by all voices if ``full``; runs in a process of its own."""
    found = Found()
    with household() as tools:
        listener = Listener(tools)
    snr = CONDITIONS[condition]
    for index, voice in enumerate(voices):
        listener.meet(in_room(speak(voice, "what time is it"), snr, index))
        for sentences, cut in ((WITHIN, found.cut_within), (AFTER, found.cut_after)):
            for number, text in _share(sentences, index, 1 if full else len(voices)):
                _pauses(listener, voice, text, snr, number, cut)
        for number, text in _share(WHOLE, index, 1 if full else len(voices)):
            _whole(listener, voice, text, snr, number, found)
    if condition == "clean":
        television = [speak(voice, text) for text in FOREIGN[:6]]
        pcm = _room(speak(voices[0], WHOLE[0]), 15.0, 0, television, after_s=25.0)
        for name, settings in SETTINGS.items():
            if (stop := listener.end_of(pcm, settings)) is not None:
                found.held_s[name] = stop.decided_at / MIC_RATE - BEFORE_S
    return found


def _share(sentences: Sequence[str], index: int, voices: int) -> list[tuple[int, str]]:
    """Each sentence is said by one of the voices."""
    return [(number, text) for number, text in enumerate(sentences) if number % voices == index % voices]


def _pauses(
    listener: Listener, voice: str, text: str, snr: float, seed: int, cut: dict[tuple[str, float], list[bool]]
) -> None:
    first, second = (speak(voice, part) for part in text.split(" | "))
    for pause in PAUSES_S:
        gap = np.zeros(int(pause * MIC_RATE))
        pcm = _room(np.concatenate([first, gap, second]), snr, seed)
        goes_on = int(BEFORE_S * MIC_RATE) + len(first) + len(gap)
        for name, settings in SETTINGS.items():
            stop = listener.end_of(pcm, settings)
            cut[name, pause].append(stop is not None and stop.decided_at < goes_on)


def _whole(listener: Listener, voice: str, text: str, snr: float, seed: int, found: Found) -> None:
    spoken = speak(voice, text)
    ends = int(BEFORE_S * MIC_RATE) + len(spoken)
    for name, settings in SETTINGS.items():
        if (stop := listener.end_of(_room(spoken, snr, seed), settings)) is not None:
            found.waited_ms[name].append((stop.decided_at - ends) / (MIC_RATE / 1000))


def _room(spoken: Samples, snr: float, seed: int, others: Sequence[Samples] = (), after_s: float = 3.0) -> bytes:
    """``BEFORE_S`` of the room, the speech, and some of the room after it."""
    margin_s = 0.5  # which ``in_room`` adds
    parts = [np.zeros(int((BEFORE_S - margin_s) * MIC_RATE)), spoken, np.zeros(int(after_s * MIC_RATE))]
    return in_room(np.concatenate(parts), snr, seed, others)


# --- in real time -----------------------------------------------------------------------------------------------------


class Caller:
    """Speaks to the embedded server as the daemon does: uplink, endpointing, a session. Tools answer at once."""

    def __init__(self, url: str, tools: Sequence[dict[str, Any]], settings: EndpointingSettings) -> None:
        self._loop = asyncio.get_running_loop()
        self._frame = 0
        self._turn = 0
        self._vad = WebRtcVad()
        self.committed_at = 0.0
        self.answered: asyncio.Future[float] = self._loop.create_future()
        self.ready = asyncio.Event()

        async def endpoint() -> Endpoint:
            return providers.local(url)

        self.session = RealtimeSession(1, endpoint, SessionSettings(tools=tools), self._take, ready_timeout=20)
        self._hearing = Hearing(
            WakeGate([]),
            Endpointer(settings),
            Uplink(6.0, self.session.append),
            self._take,
            self._loop.time,
            ask=self.session.ask_completeness,
        )

    def _take(self, event: ev.Event) -> None:
        match event:
            case ev.SessionReady():
                self.ready.set()
            case ev.SpeechStarted():
                self._turn += 1
                self._hearing.uplink.open(TurnId(self._turn), event.sample)
            case ev.SpeechStopped():
                self._hearing.uplink.close(TurnId(self._turn))
                self.committed_at = self._loop.time()
                self.session.commit()
                self.session.create_response()
            case ev.ToolCalled():
                self.session.answer_call(event.call, '{"say": "All right."}')
                self.session.create_response()
            case ev.AnswerAudio():
                if not self.answered.done():
                    self.answered.set_result(event.at)

    async def say(self, pcm: bytes, ends: int) -> tuple[float, float]:
        """Speak in real time; seconds from sample ``ends`` to the commit, and to the first sound of the answer."""
        self.answered = self._loop.create_future()
        self._hearing.expect(Expect.UTTERANCE, None, 0)
        began = self._loop.time()
        for start in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
            frame = AudioFrame(self._frame * FRAME_SAMPLES, pcm[start : start + FRAME_BYTES], began)
            self._frame += 1
            await asyncio.sleep(max(0.0, began + (start // 2 + FRAME_SAMPLES) / MIC_RATE - self._loop.time()))
            self._hearing.hear(Heard(frame, self._vad.is_speech(frame.pcm), None))
        ended_at = began + ends / MIC_RATE
        async with asyncio.timeout(10):
            return self.committed_at - ended_at, await self.answered - ended_at


async def latency(turns: int) -> dict[str, list[tuple[float, float]]]:
    """Whole sentences, over the socket: to the commit and to the first sound of the answer, in seconds."""
    found: dict[str, list[tuple[float, float]]] = {}
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(LocalServerSettings(wake_phrases=WAKE_PHRASES), ready=port.set_result))
    with household() as tools:
        url = f"ws://127.0.0.1:{await port}/v1"
        for name, settings in SETTINGS.items():
            caller = Caller(url, tools, settings)
            running = asyncio.create_task(caller.session.run())
            await caller.ready.wait()
            for text in ("what time is it", *WHOLE[:turns]):  # the first is for the microphone to be known
                spoken = speak(VOICES[0], text)
                pcm = _room(spoken, CONDITIONS["clean"], 1, after_s=0.8)
                times = await caller.say(pcm, int(BEFORE_S * MIC_RATE) + len(spoken))
                found.setdefault(name, []).append(times)
            del found[name][0]
            caller.session.close()
            await running
    serving.cancel()
    await asyncio.wait({serving})
    return found


# --- what came of it --------------------------------------------------------------------------------------------------


def main() -> None:
    options = _options()
    voices = [*VOICES, "flite:slt"] if shutil.which("flite") else [*VOICES]
    print(f"Turn end: voices {', '.join(voices)}; silence {BY_MEANING.end_silence_ms} ms, or by meaning", end=" ")
    print(f"{BY_MEANING.complete_silence_ms} after a whole sentence, {BY_MEANING.unfinished_silence_ms} within one")
    with ProcessPoolExecutor(max_workers=2) as processes:
        running = {name: processes.submit(measure, name, voices, options.full) for name in CONDITIONS}
        results = {name: future.result() for name, future in running.items()}
    print("  cut off by a pause of" + "".join(f"{pause:>8} s" for pause in PAUSES_S))
    for condition, found in results.items():
        for where, cut in (("within a sentence", found.cut_within), ("after what may be one", found.cut_after)):
            for name in SETTINGS:
                shares = "".join(f"{statistics.mean(cut[name, pause]):>10.2f}" for pause in PAUSES_S)
                print(f"    {condition}, {where}, {name:<10}".ljust(50) + f"{shares}   of {len(cut[name, 0.3])}")
    print("  last sound of a whole sentence to its end, ms".ljust(50) + f"{'median':>10}{'p95':>10}{'n':>6}")
    for condition, found in results.items():
        for name, waited in found.waited_ms.items():
            p95 = sorted(waited)[round(0.95 * (len(waited) - 1))]
            print(
                f"    {condition}, {name}".ljust(50) + f"{statistics.median(waited):>10.0f}{p95:>10.0f}{len(waited):>6}"
            )
    held = ", ".join(f"{name} {seconds:.1f}" for name, seconds in results["clean"].held_s.items())
    print(f"  a turn beside a television (15 dB below), s: {held}")
    print("  over the socket, from the last sound of a whole sentence, median ms")
    for name, times in asyncio.run(latency(8 if options.full else 4)).items():
        commit, audio = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
        print(f"    {name:<12} commit {commit:6.0f}   first audio {audio:6.0f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.turn_end", description="When a turn is over.")
    parser.add_argument("--full", action="store_true", help="every sentence by every voice")
    return parser.parse_args()


if __name__ == "__main__":
    main()
