"""Echo: how well it is cancelled, and whether the assistant hears people over its own voice and never itself.

usage (in a source checkout): python -m bench.echo [--minutes N]

Everything happens in simulated rooms (``assistant.testing.room``), with the daemon's own playout, reference, canceller,
evidence and endpointing, frame by frame, ducking included. Levels are echo over near-end speech at the microphone. A
talker says "stop" or a wake word while the assistant reads a long answer.

Desk, kitchen and hall are those of ``assistant.testing.room``. Study, bath and loft have other answers in other voices,
and loudspeakers that distort in a way that no part of Hearth has a model of; only the line of the evidence
(``assistant.core.barge_in.TALKER``) was chosen with a little of them, too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import cycle
from pathlib import Path
from types import MappingProxyType

import numpy as np

from assistant.adapters.livekit_aec import WebRtcEchoCanceller
from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.analysis import Analyzer
from assistant.audio.echo import EchoPath, level_db
from assistant.audio.hearing import Hearing
from assistant.audio.ports import EchoCanceller
from assistant.audio.reference import ReferenceBuffer
from assistant.audio.uplink import Uplink
from assistant.config.sections import BargeIn
from assistant.core import events as ev
from assistant.core.endpointing import Endpointer, EndpointingSettings, Expect
from assistant.core.events import Event
from assistant.core.linear_canceller import LinearCanceller
from assistant.core.playout import Playout
from assistant.core.policy import HOLD
from assistant.core.wake_gate import WakeGate, WakeWordSettings
from assistant.testing.room import DESK, FAR_FRAME, HALL, KITCHEN, RoomSettings, SimulatedRoom, TwoClocks
from assistant.types import FRAME_MS, FRAME_SAMPLES, AudioFrame, ItemId
from bench.wake_gate import RECORDINGS, Wave, active_level, db, int16, recording
from tests import speech

NEAR_DBFS = -34.0
LEVELS = (0, 10, 20)
WORD = "hey_jarvis"
BARGE_IN = BargeIn()  # as the config has it by default
BEGINNINGS = 8
SILENT_FRAMES = 100  # between an interruption and the next answer
ANSWER_TEXT = (
    "The weather today is mostly sunny with a light breeze from the west. "
    "Tomorrow there will be showers in the morning, and it clears up after noon. "
    "I have set a timer for ten minutes. Your shopping list holds milk, bread, and a dozen eggs. "
    "The recipe needs two eggs, a cup of flour and a pinch of salt; bake it for half an hour at medium heat. "
    "The next train leaves at a quarter past eight from platform seven. "
)
OTHER_TEXT = (
    "Once upon a time there lived a miller who had three sons, a donkey and a cat. "
    "The eldest took the mill, the second took the donkey, and nothing was left for the youngest but the cat. "
    "It said: get me a pair of boots and a bag, and you will see that your share is not so bad. "
    "Sure, I can do that. Which of the lights shall I switch off, the one over the table, or all of them? "
)
TALKERS = (
    "en-us+f3",
    "en-us+Storm",
    "en-us+m3",
    "en-us+f2",
    "en-gb-x-rp+f3",
    "en-gb-scotland",
    "en-029",
    "en-us+Annie",
)


@dataclass(frozen=True, slots=True)
class Place:
    """A room, and what is said in it."""

    room: RoomSettings
    seed: int = 1
    voice: str = "en-us"
    text: str = ANSWER_TEXT
    speed: int = 165

    @property
    def name(self) -> str:
        return self.room.name

    def at(self, level: int) -> SimulatedRoom:
        """With an echo so many dB above people."""
        return SimulatedRoom(replace(self.room, echo_dbfs=NEAR_DBFS + level), self.seed)


KNOWN = (Place(DESK), Place(KITCHEN), Place(HALL))
OTHERS = (
    Place(
        RoomSettings("study", rt60_s=0.35, drr_db=4, delay_ms=110, drive=0.8, drift_ppm=150, noise_dbfs=-62),
        *(11, "en-gb-x-rp", OTHER_TEXT, 150),
    ),
    Place(
        RoomSettings("bath", rt60_s=0.6, drr_db=-3, delay_ms=45, drive=2.5, skew=0.3, drift_ppm=40, noise_dbfs=-58),
        *(12, "en-us+f2", OTHER_TEXT, 150),
    ),
    Place(
        RoomSettings("loft", rt60_s=1.0, drr_db=-4, delay_ms=90, drive=3, skew=-0.2, drift_ppm=60, noise_dbfs=-56),
        *(13, "en-gb-scotland+m7", OTHER_TEXT, 150),
    ),
)
PLACES = KNOWN + OTHERS


@dataclass(slots=True)
class Counts:
    """What happened, in frames since the beginning."""

    suspicions: list[int] = field(default_factory=list)
    holds: list[int] = field(default_factory=list)  # the answer falls silent
    interruptions: list[int] = field(default_factory=list)  # ... for good
    wakes: list[int] = field(default_factory=list)
    raw_wakes: list[int] = field(default_factory=list)  # of a detector that hears the microphone as it is
    cleaned_wakes: list[int] = field(default_factory=list)  # of one behind AEC3


class Scene:
    """One assistant that reads an endless answer in one room."""

    def __init__(
        self,
        place: Place,
        level: int,
        *,
        duck: bool,
        cancel: bool = True,
        compare_wake: bool = False,
        speech_stops: bool = True,
        word: str | None = WORD,
    ) -> None:
        """word: the wake word; None: nobody listens for one."""
        self.room = place.at(level)
        self.reference = ReferenceBuffer()
        canceller = WebRtcEchoCanceller()
        echo = EchoPath(canceller, self.reference, (WebRtcVad(2), WebRtcVad(2))) if cancel else None
        self.analyzer = Analyzer(OpenWakeWordDetector([word]) if word else NoWakeWords(), WebRtcVad(2), echo)
        self._word = word
        endpointer = Endpointer(
            EndpointingSettings(barge_in_ms=BARGE_IN.speech_ms, barge_in_window_ms=BARGE_IN.speech_window_ms)
        )
        self.hearing = Hearing(
            WakeGate([WakeWordSettings(word)] if word else []),
            endpointer,
            Uplink(6.0, lambda _: None),
            self._decide,
            lambda: 0.0,
            confirm_ms=BARGE_IN.confirm_ms,
        )
        self._expected = Expect.BARGE_IN if speech_stops else Expect.NOTHING
        self.hearing.expect(self._expected, 0, 0)
        self.playout = Playout()
        self.duck = duck
        self.frame = 0
        self.counts = Counts()
        self._others = [OpenWakeWordDetector([word]) for _ in range(2)] if compare_wake and word else []
        self._held_until: int | None = None
        self._silent_until = 0
        self._item = ItemId("answer")
        self._place = place
        self._answer = cycle(_answer(place))

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
        sounds = ((mic, self.counts.raw_wakes), (heard.frame.pcm, self.counts.cleaned_wakes))
        for detector, (pcm, hits) in zip(self._others, sounds, strict=False):
            self._note_wake(detector.process(pcm), hits)
        self.hearing.hear(heard)
        if self._held_until is not None and self.frame >= self._held_until:
            self._held_until = None
            self.playout.resume()
            self.hearing.expect(self._expected, start + FRAME_SAMPLES, 0)

    def rest(self, frames: int) -> None:
        """The answer is over, and for a while there is none."""
        self.playout.stop()
        self._held_until = None
        self.hearing.expect(Expect.NOTHING, self.frame * FRAME_SAMPLES, 0)
        for _ in range(frames):
            self.step(playing=False)

    def answer(self, frames: list[bytes]) -> None:
        """Begin another one."""
        self._item = ItemId(f"answer at frame {self.frame}")
        self._answer = cycle(frames)
        self._silent_until = 0
        self.hearing.expect(self._expected, self.frame * FRAME_SAMPLES, 0)

    def _note_wake(self, scores: Mapping[str, float] | None, hits: list[int]) -> None:
        refractory = bool(hits) and self.frame - hits[-1] < 100
        if scores and self._word and scores[self._word] >= 0.5 and not refractory:
            hits.append(self.frame)

    def _decide(self, event: Event) -> None:
        """As the conversation does; after an interruption the next answer comes when the utterance is over."""
        match event:
            case ev.Woken():
                self.counts.wakes.append(self.frame)
            case ev.BargeInSuspected():
                self.counts.suspicions.append(self.frame)
                self.playout.duck(BARGE_IN.duck_db if self.duck else 0.0)
            case ev.BargeInCleared():
                self.playout.duck(0.0)
            case ev.SpeechStarted():
                self.counts.holds.append(self.frame)
                self.playout.hold()
                self._held_until = self.frame + round(HOLD * 1000 / FRAME_MS)
            case ev.BargeInConfirmed():
                self.counts.interruptions.append(self.frame)
                self.playout.stop()
                self._held_until = None
                self._item = ItemId(f"answer after frame {self.frame}")
                self._answer = cycle(_answer(self._place))  # a new one, that begins as speech does
                self._silent_until = self.frame + SILENT_FRAMES
                self.hearing.expect(self._expected, (self.frame + SILENT_FRAMES) * FRAME_SAMPLES, 0)
            case _:
                pass


class NoWakeWords:
    """Hears none."""

    names: tuple[str, ...] = ()
    verified: Mapping[str, float] = MappingProxyType({})

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        return None

    def reset(self) -> None: ...


@cache
def _answer(place: Place) -> list[bytes]:
    pcm = speech.say(place.text, voice=place.voice, speed=place.speed, rate=24_000).tobytes()
    return [pcm[at : at + FAR_FRAME * 2] for at in range(0, len(pcm) - FAR_FRAME * 2, FAR_FRAME * 2)]


# --- the canceller alone ---------------------------------------------------------------------------------------------


def canceller() -> None:
    print("\necho removed (ERLE, dB) in the first second / 2-4 s / 6-12 s / 20-25 s, and CPU ms per second of audio")
    print("                     AEC3                                    linear")
    for place in PLACES:
        for level in LEVELS:
            cells = []
            for make in (WebRtcEchoCanceller, LinearCanceller):
                sizes, cpu = _removed(place, level, make())
                cells.append(f"{' / '.join(f'{size:5.1f}' for size in sizes)}   {cpu:4.1f}")
            print(f"  {place.name:8} +{level:2} dB:   {'      '.join(cells)}", flush=True)
    print(f"  near-end speech alone, AEC3: {_near_change():+.1f} dB")
    print(f"  after 5 s in which it rested, AEC3: {_after_rest():.1f} dB in the first second of playback")


def _removed(place: Place, level: int, cancel: EchoCanceller) -> tuple[list[float], float]:
    simulated = place.at(level)
    heard, left, cpu = [], [], 0.0
    for far in _take(cycle(_answer(place)), 25):
        heard.append(simulated.hear(far))
        began = time.process_time()
        left.append(cancel.process(heard[-1], far))
        cpu += time.process_time() - began
    sizes = [_level(heard, *span) - _level(left, *span) for span in ((0, 1), (2, 4), (6, 12), (20, 25))]
    return sizes, cpu / 25 * 1000


def clocks() -> None:
    print(
        "\nthe linear canceller as in the daemon, clocks apart, stamps up to 4 ms late, pauses of 4 s between answers:"
    )
    print("echo removed (dB) after 10 s / above 3 kHz")
    for place in KNOWN:
        cells = []
        for ppm in (0, 50, 100):
            heard, left = _through_the_reference(place, ppm)
            cells.append(f"{ppm:3} ppm: {_power_db(heard) - _power_db(left):4.1f} / ")
            cells[-1] += f"{_power_db(heard, 3000) - _power_db(left, 3000):4.1f}"
        print(f"  {place.name:8} +10 dB:   {'      '.join(cells)}", flush=True)


def _through_the_reference(place: Place, ppm: float) -> tuple[bytes, bytes]:
    reference = ReferenceBuffer()
    path = EchoPath(WebRtcEchoCanceller(), reference, (WebRtcVad(2), WebRtcVad(2)))
    room = replace(place.room, echo_dbfs=NEAR_DBFS + 10, drift_ppm=ppm)
    devices = TwoClocks(room, reference.played, seed=place.seed)
    heard, left = [], []
    for index, far in enumerate(_take(cycle(_answer(place)), 45)):
        playing = index % 500 < 300
        frame = devices.hear(far if playing else bytes(len(far)))
        words = path.clean(frame).words
        if playing and index >= 500:
            heard.append(frame.pcm)
            left.append(words)
    return b"".join(heard), b"".join(left)


def _power_db(pcm: bytes, lowest_hz: int = 0) -> float:
    """Of the part above this frequency."""
    frames = np.frombuffer(pcm, "<i2").reshape(-1, FRAME_SAMPLES) * np.hanning(FRAME_SAMPLES)
    powers = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    return float(10 * np.log10(powers[:, lowest_hz * FRAME_MS // 1000 :].sum() + 1e-9))


def _near_change() -> float:
    simulated, cancel = SimulatedRoom(DESK, 1), WebRtcEchoCanceller()
    for far in _take(cycle(_answer(KNOWN[0])), 5):
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
    scene = Scene(KNOWN[0], 10, duck=False, word=None)
    for playing, seconds in ((True, 8), (False, 5)):
        for _ in range(seconds * 50):
            scene.step(playing=playing)
    heard, left = [], []
    path = scene.analyzer._echo
    assert path is not None
    for far in _take(cycle(_answer(KNOWN[0])), 1):
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
    print(
        f"\n{minutes:g} min of its own speech in each row: suspicions (ducks), false silences (0.6 s, then it goes on),"
    )
    print("false interruptions, self-wakes")
    print("                        without AEC (30 s)         with AEC, ducking")
    total = np.zeros(4, int)
    for place in PLACES:
        for level in LEVELS:
            cells = []
            for cancel in (False, True):
                scene = Scene(place, level, duck=cancel, cancel=cancel)
                for _ in range(round((minutes if cancel else min(minutes, 0.5)) * 3000)):
                    scene.step()
                counts = scene.counts
                false = len(counts.holds) - len(counts.interruptions)
                found = [len(counts.suspicions), false, len(counts.interruptions), len(counts.wakes)]
                total += np.array(found) * cancel
                cells.append("{:3} {:4} {:4} {:3}".format(*found))
            print(f"  {place.name:8} +{level:2} dB:      {'            '.join(cells)}", flush=True)
    print("  in all, with AEC: {} suspicions, {} false silences, {} interruptions, {} self-wakes".format(*total))


def beginnings() -> None:
    """What a canceller leaves of the first syllable, after a rest, has interrupted answers before they were one."""
    print(f"\n{BEGINNINGS} answers of 4 s after 3 s and more of silence: suspicions, false interruptions")
    for place in PLACES:
        cells = []
        for level in LEVELS:
            scene = Scene(place, level, duck=True, word=None)
            for _ in range(400):
                scene.step()
            scene.counts = Counts()
            for number in range(BEGINNINGS):
                scene.rest(150 + 13 * number)
                scene.answer(_answer(place)[number % 3 * 300 :])
                for _ in range(200):
                    scene.step()
            cells.append(f"+{level:2} dB: {len(scene.counts.suspicions)} {len(scene.counts.interruptions)}")
        print(f"  {place.name:8} {'      '.join(cells)}", flush=True)


# --- hearing people --------------------------------------------------------------------------------------------------


def people(trials: int) -> None:
    print(f"\n{trials} times each over its own speech, ducking: found, ms from its first sound to silence (p50/p95)")
    print("                     'stop please'        'wait a moment'      wake word            (raw, behind AEC3)")
    for place in PLACES:
        for level in LEVELS:
            cells = [_interrupted(place, level, text, trials) for text in ("stop please", "wait a moment")]
            # The wake word interrupts only where speech does not: its scenes go on playing.
            scene = Scene(place, level, duck=True, compare_wake=True, speech_stops=False)
            woken = list(_over_speech("hey jarvis", trials)(scene))
            cells.append(_cell([(counts.wakes[0] - began) * FRAME_MS for began, counts in woken if counts.wakes]))
            others = [
                sum(map(bool, wakes)) for wakes in zip(*((c.raw_wakes, c.cleaned_wakes) for _, c in woken), strict=True)
            ]
            print(f"  {place.name:8} +{level:2} dB:     {''.join(cells)} {others[0]:3} {others[1]:3}", flush=True)


def _interrupted(place: Place, level: int, text: str, trials: int) -> str:
    """Found where it interrupts. Silence begins a little earlier: with the hold that it confirms."""
    said = _over_speech(text, trials)(Scene(place, level, duck=True, word=None))
    silences = []
    for began, counts in said:
        holds = [hold for hold in counts.holds if counts.interruptions and hold <= counts.interruptions[0]]
        if holds:  # else the answer was silent before anything was said
            silences.append((holds[-1] - began) * FRAME_MS)
    return _cell(silences)


def recorded(people: int) -> None:
    """Recordings of people who say "alexa" into the answer: what hears them."""
    files = sorted((RECORDINGS / "alexa").glob("*.flac"))
    if not files:
        print(f"\nrecorded people: skipped, there is nothing in {RECORDINGS}")
        return
    words = [recording(file) for file in files[:: max(1, len(files) // people)][:people]]
    print(f"\n{len(words)} people saying 'alexa' over its own speech, ducking: heard behind the linear canceller")
    print("                     linear (the daemon)     raw     AEC3")
    for place in PLACES:
        for level in LEVELS:
            scene = Scene(place, level, duck=True, compare_wake=True, speech_stops=False, word="alexa")
            found = np.zeros(3, int)
            for _, counts in _over_speech_of(words)(scene):
                found += [bool(hits) for hits in (counts.wakes, counts.raw_wakes, counts.cleaned_wakes)]
            print(f"  {place.name:8} +{level:2} dB:   {found[0]:13} {found[1]:14} {found[2]:8}", flush=True)


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
    clocks()
    itself(options.minutes)
    beginnings()
    people(options.trials)
    recorded(options.people)
    status = Path("/proc/self/status").read_text()
    print(f"\n{time.monotonic() - began:.0f} s; peak memory {_peak_mb(status):.0f} MB with models and rooms")


def _peak_mb(status: str) -> float:
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
