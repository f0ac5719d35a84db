"""Echo: how well it is cancelled, and whether the assistant hears people over its own voice and never itself.

usage (in a source checkout): python -m bench.echo [--minutes N]

Everything happens in simulated rooms (``assistant.testing.room``), with the daemon's own playout, reference, canceller,
evidence and endpointing, frame by frame, ducking included. Levels are echo over near-end speech at the microphone. A
talker says "stop" or a wake word while the assistant reads a long answer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import cycle
from pathlib import Path

import numpy as np

from assistant.adapters.livekit_aec import WebRtcEchoCanceller
from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.analysis import Analyzer
from assistant.audio.echo import EchoPath, level_db
from assistant.audio.reference import ReferenceBuffer
from assistant.core.barge_in import Suspicion
from assistant.core.endpointing import Endpointer, EndpointingSettings, Expect, SpeechStart
from assistant.core.playout import Playout
from assistant.testing.room import DESK, FAR_FRAME, ROOMS, RoomSettings, SimulatedRoom
from assistant.types import FRAME_MS, FRAME_SAMPLES, AudioFrame, ItemId
from bench.wake_gate import RECORDINGS, Wave, active_level, db, int16, recording
from tests import speech

NEAR_DBFS = -34.0
LEVELS = (0, 10, 20)
DUCK_DB = 15.0
WORD = "hey_jarvis"
SILENT_FRAMES = 100  # between an interruption and the next answer
ANSWER_TEXT = (
    "The weather today is mostly sunny with a light breeze from the west. "
    "Tomorrow there will be showers in the morning, and it clears up after noon. "
    "I have set a timer for ten minutes. Your shopping list holds milk, bread, and a dozen eggs. "
    "The recipe needs two eggs, a cup of flour and a pinch of salt; bake it for half an hour at medium heat. "
    "The next train leaves at a quarter past eight from platform seven. "
)
TALKERS = ("en-us+f3", "en-us+Storm", "en-us+m3", "en-us+f2")


@dataclass(slots=True)
class Counts:
    """What happened, in frames since the beginning."""

    suspicions: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    wakes: list[int] = field(default_factory=list)
    raw_wakes: list[int] = field(default_factory=list)  # of a detector that hears the microphone as it is
    cleaned_wakes: list[int] = field(default_factory=list)  # of one behind AEC3


class Scene:
    """One assistant that reads an endless answer in one room."""

    def __init__(
        self,
        room: RoomSettings,
        level: int,
        *,
        duck: bool,
        cancel: bool = True,
        compare_wake: bool = False,
        speech_stops: bool = True,
        word: str = WORD,
    ) -> None:
        self.room = SimulatedRoom(replace(room, echo_dbfs=NEAR_DBFS + level), 1)
        self.reference = ReferenceBuffer()
        canceller = WebRtcEchoCanceller()
        echo = EchoPath(canceller, self.reference, (WebRtcVad(2), WebRtcVad(2))) if cancel else None
        self.analyzer = Analyzer(OpenWakeWordDetector([word]), WebRtcVad(2), echo)
        self._word = word
        self.endpointer = Endpointer(EndpointingSettings())
        self.endpointer.expect(Expect.BARGE_IN if speech_stops else Expect.NOTHING, 0)
        self.playout = Playout()
        self.duck = duck
        self.frame = 0
        self.counts = Counts()
        self._others = [OpenWakeWordDetector([word]) for _ in range(2)] if compare_wake else []
        self._suspected = False
        self._silent_until = 0
        self._item = ItemId("answer")
        self._answer = cycle(_answer())

    def step(self, *, playing: bool = True) -> None:
        """20 ms."""
        if playing and self.frame >= self._silent_until and self.playout.available < FAR_FRAME:
            self.playout.append(self._item, next(self._answer))
        far = self.playout.pull(FAR_FRAME)
        now = self.frame * FRAME_MS / 1000
        self.reference.played(far, now, 0.0)
        mic = self.room.hear(far)
        self.frame += 1
        start = (self.frame - 1) * FRAME_SAMPLES
        heard = self.analyzer.analyze(AudioFrame(start, mic, now + FRAME_MS / 1000))
        self._note_wake(heard.scores, self.counts.wakes)
        sounds = ((mic, self.counts.raw_wakes), (heard.frame.pcm, self.counts.cleaned_wakes))
        for detector, (pcm, hits) in zip(self._others, sounds, strict=False):
            self._note_wake(detector.process(pcm), hits)
        evidence = heard.evidence
        self._judge(evidence is not None and evidence.suspicion is Suspicion.SUSPECTED)
        speech_now = heard.speech if evidence is None else evidence.speech
        if isinstance(self.endpointer.hear(start, speech_now), SpeechStart):
            self.counts.starts.append(self.frame)
            self.playout.stop()  # as the conversation does; the next answer comes after the utterance
            self._item = ItemId(f"answer after frame {self.frame}")
            self._silent_until = self.frame + SILENT_FRAMES
            self.endpointer.expect(Expect.BARGE_IN, start + FRAME_SAMPLES * SILENT_FRAMES)

    def _note_wake(self, scores: Mapping[str, float] | None, hits: list[int]) -> None:
        refractory = bool(hits) and self.frame - hits[-1] < 100
        if scores and scores[self._word] >= 0.5 and not refractory:
            hits.append(self.frame)

    def _judge(self, suspected: bool) -> None:
        if suspected != self._suspected:
            self._suspected = suspected
            if suspected:
                self.counts.suspicions.append(self.frame)
            if self.duck:
                self.playout.duck(DUCK_DB if suspected else 0.0)


@lru_cache(maxsize=1)
def _answer() -> list[bytes]:
    pcm = speech.say(ANSWER_TEXT, voice="en-us", speed=165, rate=24_000).tobytes()
    return [pcm[at : at + FAR_FRAME * 2] for at in range(0, len(pcm) - FAR_FRAME * 2, FAR_FRAME * 2)]


# --- the canceller alone ---------------------------------------------------------------------------------------------


def canceller() -> None:
    print("\necho removed (ERLE, dB) in the first second / 2-4 s / 6-12 s / 20-25 s; near-end level change and CPU")
    for room in ROOMS:
        for level in LEVELS:
            sizes, cpu = _removed(room, level)
            print(f"  {room.name:8} +{level:2} dB: {' / '.join(f'{size:5.1f}' for size in sizes)}   {cpu:.1f} ms/s")
    print(f"  near-end speech alone: {_near_change():+.1f} dB")
    print(f"  after 5 s in which it rested: {_after_rest():.1f} dB in the first second of playback")


def _removed(room: RoomSettings, level: int) -> tuple[list[float], float]:
    simulated, cancel = SimulatedRoom(replace(room, echo_dbfs=NEAR_DBFS + level), 1), WebRtcEchoCanceller()
    heard, left, cpu = [], [], 0.0
    for far in _take(cycle(_answer()), 25):
        heard.append(simulated.hear(far))
        began = time.process_time()
        left.append(cancel.process(heard[-1], far))
        cpu += time.process_time() - began
    sizes = [_level(heard, *span) - _level(left, *span) for span in ((0, 1), (2, 4), (6, 12), (20, 25))]
    return sizes, cpu / 25 * 1000


def _near_change() -> float:
    simulated, cancel = SimulatedRoom(DESK, 1), WebRtcEchoCanceller()
    for far in _take(cycle(_answer()), 5):
        cancel.process(simulated.hear(far), far)
    silence = bytes(FAR_FRAME * 2)
    for far in [silence] * 50:
        cancel.process(simulated.hear(far), far)
    simulated.say(speech.say("turn on the light in the kitchen please", level_dbfs=NEAR_DBFS))
    heard = [simulated.hear(silence) for _ in range(110)]
    left = [cancel.process(mic, silence) for mic in heard]
    return level_db(b"".join(left)) - level_db(b"".join(heard))


def _after_rest() -> float:
    """The canceller sees nothing for a while, as EchoPath does it; then playback comes back."""
    scene = Scene(DESK, 10, duck=False)
    for playing, seconds in ((True, 8), (False, 5)):
        for _ in range(seconds * 50):
            scene.step(playing=playing)
    heard, left = [], []
    path = scene.analyzer._echo
    assert path is not None
    for far in _take(cycle(_answer()), 1):
        now = scene.frame * FRAME_MS / 1000
        scene.reference.played(far, now, 0.0)
        heard.append(scene.room.hear(far))
        frame = AudioFrame(scene.frame * FRAME_SAMPLES, heard[-1], now + FRAME_MS / 1000)
        left.append(path.clean(frame).frame.pcm)
        scene.frame += 1
    return level_db(b"".join(heard)) - level_db(b"".join(left))


def _take(frames: Iterator[bytes], seconds: float) -> Iterator[bytes]:
    for _ in range(round(seconds * 50)):
        yield next(frames)


def _level(frames: list[bytes], begin: int, end: int) -> float:
    return level_db(b"".join(frames[begin * 50 : end * 50]))


# --- hearing itself --------------------------------------------------------------------------------------------------


def itself(minutes: float) -> None:
    """Whatever interrupts or wakes here becomes a turn that is made of echo."""
    print(f"\n{minutes:g} min of its own speech in each row: suspicions (ducks), false interruptions, self-wakes")
    print("                        without AEC (30 s)    with AEC, ducking")
    total = np.zeros(3, int)
    for room in ROOMS:
        for level in LEVELS:
            cells = []
            for cancel in (False, True):
                scene = Scene(room, level, duck=cancel, cancel=cancel)
                for _ in range(round((minutes if cancel else min(minutes, 0.5)) * 3000)):
                    scene.step()
                found = [len(scene.counts.suspicions), len(scene.counts.starts), len(scene.counts.wakes)]
                total += np.array(found) * cancel
                cells.append("{:3} {:4} {:3}".format(*found))
            print(f"  {room.name:8} +{level:2} dB:      {'            '.join(cells)}", flush=True)
    print(f"  in all, with AEC: {total[0]} suspicions, {total[1]} false interruptions, {total[2]} self-wakes")


# --- hearing people --------------------------------------------------------------------------------------------------


def people(trials: int) -> None:
    print(f"\n{trials} times each over its own speech, ducking: found, ms from its first sound to silence (p50/p95)")
    print("                     'stop please'        'wait a moment'      wake word            (raw, behind AEC3)")
    for room in ROOMS:
        for level in LEVELS:
            cells = [_interrupted(room, level, text, trials) for text in ("stop please", "wait a moment")]
            # The wake word interrupts only where speech does not: its scenes go on playing.
            scene = Scene(room, level, duck=True, compare_wake=True, speech_stops=False)
            woken = list(_over_speech("hey jarvis", trials)(scene))
            cells.append(_cell([(counts.wakes[0] - began) * FRAME_MS for began, counts in woken if counts.wakes]))
            others = [
                sum(map(bool, wakes)) for wakes in zip(*((c.raw_wakes, c.cleaned_wakes) for _, c in woken), strict=True)
            ]
            print(f"  {room.name:8} +{level:2} dB:     {''.join(cells)} {others[0]:3} {others[1]:3}", flush=True)


def _interrupted(room: RoomSettings, level: int, text: str, trials: int) -> str:
    said = _over_speech(text, trials)(Scene(room, level, duck=True))
    return _cell([(counts.starts[0] - began) * FRAME_MS for began, counts in said if counts.starts])


def recorded(people: int) -> None:
    """Recordings of people who say "alexa" into the answer: what hears them."""
    files = sorted((RECORDINGS / "alexa").glob("*.flac"))
    if not files:
        print(f"\nrecorded people: skipped, there is nothing in {RECORDINGS}")
        return
    words = [recording(file) for file in files[:: max(1, len(files) // people)][:people]]
    print(f"\n{len(words)} people saying 'alexa' over its own speech, ducking: heard behind the linear canceller")
    print("                     linear (the daemon)     raw     AEC3")
    for room in ROOMS:
        for level in LEVELS:
            scene = Scene(room, level, duck=True, compare_wake=True, speech_stops=False, word="alexa")
            found = np.zeros(3, int)
            for _, counts in _over_speech_of(words)(scene):
                found += [bool(hits) for hits in (counts.wakes, counts.raw_wakes, counts.cleaned_wakes)]
            print(f"  {room.name:8} +{level:2} dB:   {found[0]:13} {found[1]:14} {found[2]:8}", flush=True)


def _cell(delays: list[int]) -> str:
    times = "/".join(f"{np.percentile(delays, q):.0f}" for q in (50, 95)) if delays else "-"
    return f"{len(delays):3} {times:>10}       "


def _over_speech(text: str, trials: int) -> Callable[[Scene], Iterator[tuple[int, Counts]]]:
    """Somebody says ``text`` again and again into the answer: when each one began, and what it brought about."""
    return _over_speech_of(
        [
            speech.say(text, voice=TALKERS[trial % len(TALKERS)], level_dbfs=NEAR_DBFS).astype(np.float64) / 32768
            for trial in range(trials)
        ]
    )


def _over_speech_of(said: list[Wave]) -> Callable[[Scene], Iterator[tuple[int, Counts]]]:
    def run(scene: Scene) -> Iterator[tuple[int, Counts]]:
        for _ in range(250):
            scene.step()
        for trial, wave in enumerate(said):
            words = int16(wave * (db(NEAR_DBFS) / active_level(wave)))
            for _ in range(100 + 7 * trial % 50):
                scene.step()
            began, scene.counts = scene.frame, Counts()
            scene.room.say(words)
            for _ in range(words.size // FRAME_SAMPLES + 40):
                scene.step()
            yield began, scene.counts
            for _ in range(SILENT_FRAMES):
                scene.step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=0.5, help="of its own speech, per room and level")
    parser.add_argument("--trials", type=int, default=6, help="interruptions, per room and level")
    parser.add_argument("--people", type=int, default=6, help="recordings of people, per room and level")
    options, _ = parser.parse_known_args()  # make bench names the benches to run
    began = time.monotonic()
    canceller()
    itself(options.minutes)
    people(options.trials)
    recorded(options.people)
    status = Path("/proc/self/status").read_text()
    print(f"\n{time.monotonic() - began:.0f} s; peak memory {_peak_mb(status):.0f} MB with models and rooms")


def _peak_mb(status: str) -> float:
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
