"""The echo path: what the canceller is given, when it rests; and the whole of it in simulated rooms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import cycle
from unittest.mock import Mock

import numpy as np
import pytest

from assistant.adapters.livekit_aec import WebRtcEchoCanceller
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.analysis import Analyzer, Heard
from assistant.audio.echo import DRIFT_KNOWN_FRAMES, IDLE_AFTER_FRAMES, MAX_GAP_FRAMES, NO_SOUND_DB, EchoPath, level_db
from assistant.audio.reference import ReferenceBuffer
from assistant.core.barge_in import Suspicion
from assistant.core.playout import Playout
from assistant.core.wake_gate import NOT_ASKED
from assistant.testing.room import DESK, FAR_FRAME, KITCHEN, RoomSettings, SimulatedRoom, TwoClocks
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, AudioFrame, ItemId
from tests import speech

TALKER_DBFS = -34.0
LOUD = np.full(FAR_FRAME, 8000, "<i2").tobytes()
QUIET = bytes(FAR_FRAME * 2)


class Recorder:
    """A canceller that notes what it is given, and gives a frame of ones."""

    def __init__(self) -> None:
        self.given: list[tuple[bytes, bytes]] = []

    def process(self, mic_frame: bytes, reference: bytes) -> bytes:
        self.given.append((mic_frame, reference))
        return np.ones(FRAME_SAMPLES, "<i2").tobytes()

    def reset(self) -> None: ...


class Path:
    def __init__(self) -> None:
        self.canceller = Recorder()
        self.reference = ReferenceBuffer()
        self.path = EchoPath(self.canceller, self.reference, (WebRtcVad(2), WebRtcVad(2)))
        self.frame = 0

    def step(self, far: bytes, *, lose: bool = False) -> bytes:
        now = 1000.0 + self.frame * 0.02
        self.reference.played(far, now, 0.0)
        mic = AudioFrame(self.frame * FRAME_SAMPLES, np.full(FRAME_SAMPLES, 7, "<i2").tobytes(), now + 0.02)
        self.frame += 1
        return b"" if lose else self.path.clean(mic).frame.pcm


def test_the_canceller_rests_until_something_plays_and_when_the_echo_has_died_away() -> None:
    path = Path()
    for _ in range(10):
        assert path.step(QUIET)[:2] == b"\x07\x00"
    assert path.canceller.given == []
    assert path.step(LOUD)[:2] == b"\x01\x00"
    for _ in range(IDLE_AFTER_FRAMES - 1):
        assert path.step(QUIET)[:2] == b"\x01\x00"
    assert path.step(QUIET)[:2] == b"\x07\x00"
    assert path.path.resting
    assert len(path.canceller.given) == IDLE_AFTER_FRAMES
    assert [far for _, far in path.canceller.given] == [LOUD] + [QUIET] * (IDLE_AFTER_FRAMES - 1)


def test_lost_frames_leave_the_two_streams_in_step() -> None:
    path = Path()
    levels = range(1000, 1000 + 60)
    for index, level in enumerate(levels):
        path.step(np.full(FAR_FRAME, level, "<i2").tobytes(), lose=20 <= index < 25)
    references = [int(np.frombuffer(far, "<i2")[0]) for _, far in path.canceller.given]
    assert references == list(levels)
    silent = [index for index, (mic, _) in enumerate(path.canceller.given) if mic == bytes(FRAME_BYTES)]
    assert silent == [20, 21, 22, 23, 24]


def test_a_long_gap_is_not_made_up_for() -> None:
    path = Path()
    for index in range(20 + MAX_GAP_FRAMES + 1 + 5):
        path.step(LOUD, lose=20 <= index < 20 + MAX_GAP_FRAMES + 1)
    assert len(path.canceller.given) == 25


@pytest.mark.parametrize(("value", "db"), [(32767, 0.0), (3277, -20.0), (0, NO_SOUND_DB)])
def test_levels(value: int, db: float) -> None:
    assert level_db(np.full(320, value, "<i2").tobytes()) == pytest.approx(db, abs=0.01)


# --- in a room -------------------------------------------------------------------------------------------------------


class NoWakeWords:
    names = ()
    verified = NOT_ASKED

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        return None

    def reset(self) -> None: ...


class Scene:
    """The assistant reads an endless answer, and ducks when it suspects somebody."""

    def __init__(
        self, room: RoomSettings, *, over_talker_db: float = 10.0, ducks: bool = True, leak: float | None = None
    ) -> None:
        self.room = SimulatedRoom(replace(room, echo_dbfs=TALKER_DBFS + over_talker_db), 1)
        self.reference = ReferenceBuffer()
        echo = EchoPath(WebRtcEchoCanceller(), self.reference, (WebRtcVad(2), WebRtcVad(2)), leak)
        self.analyzer = Analyzer(NoWakeWords(), WebRtcVad(2), echo)
        self.playout = Playout()
        self.ducks = ducks
        self.answer = cycle(answer())
        self.frame = 0

    def run(self, seconds: float) -> Iterator[Heard]:
        for _ in range(round(seconds * 50)):
            self.playout.append(ItemId("answer"), next(self.answer))
            far = self.playout.pull(FAR_FRAME)
            now = 1000.0 + self.frame * 0.02
            self.reference.played(far, now, 0.0)
            mic = AudioFrame(self.frame * FRAME_SAMPLES, self.room.hear(far), now + 0.02)
            self.frame += 1
            heard = self.analyzer.analyze(mic)
            assert heard.evidence is not None
            if self.ducks:
                self.playout.duck(15.0 if heard.evidence.suspicion else 0.0)
            yield heard


def answer() -> list[bytes]:
    text = "The recipe needs two eggs, a cup of flour and a pinch of salt. Bake it for half an hour at medium heat."
    pcm = speech.say(text, voice="en-us", speed=165, rate=24_000).tobytes()
    return [pcm[at : at + FAR_FRAME * 2] for at in range(0, len(pcm) - FAR_FRAME * 2, FAR_FRAME * 2)]


def suspected(heard: Iterator[Heard]) -> int:
    return sum(frame.evidence is not None and frame.evidence.suspicion is Suspicion.SUSPECTED for frame in heard)


@pytest.mark.parametrize("pause_s", [0, 6])
@pytest.mark.parametrize("lost", [0.0, 0.1])
def test_clocks_of_their_own_cost_nothing(pause_s: int, lost: float) -> None:
    """Without telling the linear canceller of the moves of the reference, 8 to 13 dB are removed."""
    reference, random = ReferenceBuffer(), np.random.default_rng(3)
    devices = TwoClocks(replace(DESK, echo_dbfs=-20.0, drift_ppm=100.0), reference.played, seed=1)
    path = EchoPath(Recorder(), reference, (WebRtcVad(2), WebRtcVad(2)))
    heard, left, far = [], [], cycle(answer())
    for second in range(26):
        for _ in range(50):
            frame = devices.hear(QUIET if 10 <= second < 10 + pause_s else next(far))
            if random.random() >= lost:
                words = path.clean(frame).words
                if second >= 10 + pause_s:
                    heard.append(frame.pcm)
                    left.append(words)
    assert level_db(b"".join(heard)) - level_db(b"".join(left)) > 24


def test_after_a_long_rest_the_drift_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be hours times what it is wrong by; and the moves of the reference mean something only beside it."""
    path, rested, moved = Path(), [], []
    monkeypatch.setattr(path.path, "_linear", Mock(rest=lambda: rested.append(1), move=moved.append))
    for _ in range(DRIFT_KNOWN_FRAMES + 500):
        path.step(QUIET)
    assert 0 < len(moved) <= DRIFT_KNOWN_FRAMES
    assert len(moved) - len(rested) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("room", [DESK, KITCHEN], ids=lambda room: room.name)
def test_it_does_not_suspect_itself(room: RoomSettings) -> None:
    assert suspected(Scene(room).run(20)) == 0


@pytest.mark.parametrize("leak", [None, -60.0], ids=["not known", "known"])
def test_a_leak_that_is_known_lets_people_in_from_the_second_second_on(leak: float | None) -> None:
    scene = Scene(DESK, over_talker_db=0.0, leak=leak)
    assert suspected(scene.run(2)) == 0
    scene.room.say(speech.say("stop please", voice="en-us+f3", level_dbfs=TALKER_DBFS))
    assert (suspected(scene.run(1.5)) > 0) == (leak is not None)


@pytest.mark.parametrize(("room", "over_talker_db"), [(DESK, 10), (KITCHEN, 0)], ids=["desk", "kitchen"])
def test_a_talker_below_the_echo_is_suspected_and_then_heard_better(room: RoomSettings, over_talker_db: float) -> None:
    words = speech.say("stop please, that is enough for now", voice="en-us+f3", level_dbfs=TALKER_DBFS)
    evidence = {}
    for ducks in (False, True):
        scene = Scene(room, over_talker_db=over_talker_db, ducks=ducks)
        for _ in scene.run(6):
            pass
        scene.room.say(words)
        evidence[ducks] = sum(frame.evidence is not None and frame.evidence.speech for frame in scene.run(2.5))
    assert evidence[True] >= 15  # 300 ms: an interruption needs 100
    assert evidence[True] > evidence[False]
