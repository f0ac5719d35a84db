"""What every microphone and speaker promises (assistant/audio/ports.py), for files and for a sound card alike."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from assistant.adapters.pyaudio_device import PyAudioMicrophone, PyAudioSpeaker, list_devices
from assistant.adapters.wav_device import WavMicrophone, WavSpeaker
from assistant.audio.ports import Microphone, Speaker
from assistant.audio.wav import HEADER_BYTES, wav_header
from assistant.errors import DeviceError
from assistant.testing.virtual_time import VirtualTimeLoop
from assistant.types import FRAME_BYTES, FRAME_SAMPLES, AudioFrame
from tests.vsound import VSound, virtual_sound


def noise(samples: int, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(-9000, 9000, samples, dtype="<i2").tobytes()


SPOKEN = noise(16_000, seed=1)
PLAYED = noise(12_000, seed=2)
ONE_SIDED = np.stack((np.zeros(160_000, "<i2"), np.frombuffer(noise(160_000, seed=3), "<i2")), axis=1).tobytes()


class Rig(Protocol):
    """A place with a microphone and a speaker."""

    def microphone(self) -> Microphone: ...
    def speaker(self) -> Speaker: ...

    def absent_microphone(self) -> Microphone: ...

    def speak(self) -> None:
        """Let SPOKEN reach the microphone."""

    def lopsided(self) -> Microphone:
        """A microphone that comes in stereo, and hears ONE_SIDED with its right channel alone."""

    def wait(self, until: Callable[[], bool], limit_s: float = 5.0) -> None:
        """Let time pass until something is so."""

    def recording(self) -> contextlib.AbstractContextManager[Callable[[], bytes]]:
        """While inside, the call gives what was heard of the speaker."""


class FileRig:
    """Files on a virtual clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self._loop = loop
        self._in = folder / "in.wav"
        self._out = folder / "out.wav"
        pcm = bytes(9600) + SPOKEN + bytes(32_000)
        self._in.write_bytes(wav_header(16_000, len(pcm)) + pcm)

    def microphone(self) -> Microphone:
        return WavMicrophone(self._in, loop=self._loop)

    def absent_microphone(self) -> Microphone:
        return WavMicrophone(self._in.with_name("absent.wav"), loop=self._loop)

    def speaker(self) -> Speaker:
        return WavSpeaker(self._out, loop=self._loop)

    def speak(self) -> None:
        self.wait(lambda: False, 1.5)

    def lopsided(self) -> Microphone:
        path = self._in.with_name("stereo.wav")
        path.write_bytes(wav_header(16_000, len(ONE_SIDED), channels=2) + ONE_SIDED)
        return WavMicrophone(path, loop=self._loop)

    def wait(self, until: Callable[[], bool], limit_s: float = 5.0) -> None:
        for _ in range(round(limit_s * 100)):
            if until():
                return
            self._loop.run_until_complete(asyncio.sleep(0.01))

    @contextlib.contextmanager
    def recording(self) -> Iterator[Callable[[], bytes]]:
        yield lambda: self._out.read_bytes()[HEADER_BYTES:]


class SoundCardRig:
    """PyAudio on the private sound card, in real time."""

    def __init__(self, sound: VSound, monkeypatch: pytest.MonkeyPatch) -> None:
        self._sound = sound
        self._monkeypatch = monkeypatch
        self._playing: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        for process in self._playing:
            process.kill()
            process.wait()

    def lopsided(self) -> Microphone:
        self._sound.load("module-null-sink", "sink_name=array", "rate=16000", "channels=2", "norewinds=1")
        self._monkeypatch.setenv("PULSE_SOURCE", "array.monitor")
        raw = self._sound.folder / "array.raw"
        raw.write_bytes(ONE_SIDED)
        options = ["--raw", "--device=array", "--rate=16000", "--channels=2", "--format=s16le"]
        self._playing.append(subprocess.Popen(["paplay", *options, raw], env=self._sound.env))
        return PyAudioMicrophone(None)

    def microphone(self) -> Microphone:
        return PyAudioMicrophone(None)

    def absent_microphone(self) -> Microphone:
        return PyAudioMicrophone("absent")

    def speaker(self) -> Speaker:
        return PyAudioSpeaker("pulse")

    def speak(self) -> None:
        self._sound.play(SPOKEN)

    def wait(self, until: Callable[[], bool], limit_s: float = 5.0) -> None:
        deadline = time.monotonic() + limit_s
        while not until() and time.monotonic() < deadline:
            time.sleep(0.01)

    @contextlib.contextmanager
    def recording(self) -> Iterator[Callable[[], bytes]]:
        with self._sound.record() as raw:
            yield raw.read_bytes


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> Iterator[VSound]:
    with virtual_sound() as vsound:
        for name, value in vsound.changed_env.items():
            monkeypatch.setenv(name, value)
        yield vsound


@pytest.fixture(params=["files", pytest.param("sound card", marks=pytest.mark.sound)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "files":
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            yield FileRig(runner.get_loop(), tmp_path)
    else:
        sound, monkeypatch = request.getfixturevalue("sound"), request.getfixturevalue("monkeypatch")
        with contextlib.closing(SoundCardRig(sound, monkeypatch)) as card:
            yield card


class Ear:
    def __init__(self) -> None:
        self.frames: list[AudioFrame] = []
        self.ends: list[DeviceError | None] = []

    def listen(self, microphone: Microphone) -> None:
        microphone.start(self.frames.append, self.ends.append)

    def has_begun(self) -> bool:
        return bool(self.frames)

    def heard(self, pcm: bytes) -> bool:
        return pcm in b"".join(frame.pcm for frame in self.frames)


class Source:
    """PLAYED once, then silence."""

    def __init__(self) -> None:
        self.rest = bytearray(PLAYED)
        self.pulled = 0
        self.ends: list[DeviceError | None] = []

    def __call__(self, samples: int) -> bytes:
        pcm = bytes(self.rest[: 2 * samples])
        del self.rest[: 2 * samples]
        self.pulled += samples
        return pcm + bytes(2 * samples - len(pcm))


def _holds(recording: Callable[[], bytes], pcm: bytes) -> bool:
    return pcm in recording()


ATTEMPTS = 3
"""A machine that is busy with other tests may miss a deadline of the sound server, and then a piece is lost for good.
It does not do so three times in a row; an adapter that drops samples does."""


class TestMicrophone:
    def test_hears_every_bit_in_continuous_frames(self, rig: Rig) -> None:
        for _ in range(ATTEMPTS):
            ear, microphone = Ear(), rig.microphone()
            ear.listen(microphone)
            rig.wait(ear.has_begun)
            rig.speak()
            rig.wait(partial(ear.heard, SPOKEN), 3.0)
            microphone.stop()
            if ear.heard(SPOKEN):
                break
        assert ear.heard(SPOKEN)
        assert [frame.start for frame in ear.frames] == [n * FRAME_SAMPLES for n in range(len(ear.frames))]
        assert {len(frame.pcm) for frame in ear.frames} == {FRAME_BYTES}
        times = [frame.captured_at for frame in ear.frames]
        assert times == sorted(times)

    def test_delivers_nothing_once_stopped_and_stops_quickly(self, rig: Rig) -> None:
        ear, microphone = Ear(), rig.microphone()
        microphone.stop()
        ear.listen(microphone)
        rig.wait(lambda: len(ear.frames) >= 3)
        began = time.monotonic()
        microphone.stop()
        assert time.monotonic() - began < 1
        count = len(ear.frames)
        microphone.stop()
        rig.wait(lambda: len(ear.frames) > count, limit_s=0.2)
        assert len(ear.frames) == count >= 3
        assert ear.ends == []

    def test_starts_again_from_sample_0(self, rig: Rig) -> None:
        microphone = rig.microphone()
        for _ in range(2):
            ear = Ear()
            ear.listen(microphone)
            rig.wait(lambda ear=ear: len(ear.frames) >= 3)
            microphone.stop()
            assert [frame.start for frame in ear.frames][:3] == [0, FRAME_SAMPLES, 2 * FRAME_SAMPLES]

    def test_leaves_a_dead_channel_out_and_says_so(self, rig: Rig) -> None:
        ear, microphone = Ear(), rig.lopsided()
        assert microphone.fault is None
        ear.listen(microphone)
        rig.wait(lambda: microphone.fault is not None, 9.0)
        assert microphone.fault is not None and "left channel is silent, the right one is used" in microphone.fault
        ear.frames.clear()
        rig.wait(lambda: len(ear.frames) > 10)
        microphone.stop()
        assert microphone.fault is None, "nobody knows, once it is closed"
        level = np.std(np.frombuffer(b"".join(frame.pcm for frame in ear.frames[1:10]), "<i2"))
        assert level == pytest.approx(9000 / 3**0.5, rel=0.05), "as loud as on its one channel"

    def test_is_refused_in_one_line_when_absent(self, rig: Rig) -> None:
        with pytest.raises(DeviceError, match="absent") as caught:
            Ear().listen(rig.absent_microphone())
        assert "\n" not in str(caught.value)


class TestSpeaker:
    def test_plays_every_bit(self, rig: Rig) -> None:
        for _ in range(ATTEMPTS):
            source, speaker = Source(), rig.speaker()
            with rig.recording() as heard:
                speaker.start(source, source.ends.append)
                rig.wait(partial(_holds, heard, PLAYED), 3.0)
                speaker.stop()
                whole = PLAYED in heard()
            if whole:
                break
        assert whole
        assert source.ends == []

    def test_pulls_as_fast_as_it_plays(self, rig: Rig) -> None:
        source, speaker = Source(), rig.speaker()
        speaker.start(source, source.ends.append)
        rig.wait(lambda: source.pulled > 0)
        before = source.pulled
        rig.wait(lambda: False, limit_s=0.5)
        pulled = source.pulled - before
        assert 0 <= speaker.latency < 0.2
        speaker.stop()
        assert pulled == pytest.approx(12_000, abs=2400)

    def test_leaves_the_source_alone_once_stopped_and_stops_quickly(self, rig: Rig) -> None:
        source, speaker = Source(), rig.speaker()
        speaker.stop()
        speaker.start(source, source.ends.append)
        rig.wait(lambda: source.pulled > 0)
        began = time.monotonic()
        speaker.stop()
        assert time.monotonic() - began < 1
        pulled = source.pulled
        speaker.stop()
        rig.wait(lambda: source.pulled > pulled, limit_s=0.2)
        assert source.pulled == pulled > 0
        assert source.ends == []

    def test_starts_again(self, rig: Rig) -> None:
        speaker = rig.speaker()
        for _ in range(2):
            source = Source()
            speaker.start(source, source.ends.append)
            rig.wait(lambda source=source: not source.rest)
            speaker.stop()
            assert not source.rest


# --- what can only happen to a sound card ----------------------------------------------------------------------------


@pytest.mark.sound
class TestSoundCard:
    def test_the_loss_of_the_server_is_noticed_and_survived(
        self, sound: VSound, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ear, source = Ear(), Source()
        microphone, speaker = PyAudioMicrophone(None), PyAudioSpeaker(None)
        lost = [threading.Event(), threading.Event()]

        def ends(n: int, kept: list[DeviceError | None]) -> Callable[[DeviceError | None], None]:
            return lambda error: (kept.append(error), lost[n].set())[0]

        microphone.start(ear.frames.append, ends(0, ear.ends))
        speaker.start(source, ends(1, source.ends))
        rig = SoundCardRig(sound, monkeypatch)
        rig.wait(lambda: bool(ear.frames) and source.pulled > 0)
        sound.kill()
        began = time.monotonic()
        assert all(event.wait(1) for event in lost)
        assert time.monotonic() - began < 1
        count = len(ear.frames)
        microphone.stop()
        speaker.stop()
        assert len(ear.ends) == len(source.ends) == 1
        assert "lost" in str(ear.ends[0])

        with pytest.raises(DeviceError, match="none found"):
            microphone.start(ear.frames.append, ear.ends.append)
        sound.start()
        microphone.start(ear.frames.append, ear.ends.append)
        rig.wait(lambda: len(ear.frames) > count)
        microphone.stop()
        assert len(ear.frames) > count
        assert len(ear.ends) == 1

    def test_devices_are_named_and_chosen_by_name(self, sound: VSound) -> None:
        devices = {device.name: device for device in list_devices()}
        assert {"pulse", "default"} <= devices.keys()
        assert devices["default"].default_input
        assert devices["default"].default_output
        microphone = PyAudioMicrophone("PULS")
        microphone.start(lambda frame: None, lambda error: None)
        assert microphone.description == "pulse"
        microphone.stop()
        with pytest.raises(DeviceError, match=r"'loudspeaker 5': not found; audio\.output\.device can be: .*'pulse'"):
            PyAudioSpeaker("loudspeaker 5").start(lambda samples: bytes(2 * samples), lambda error: None)
        with pytest.raises(DeviceError, match=r"fits several; .*'default'"):
            PyAudioMicrophone("u").start(lambda frame: None, lambda error: None)

    def test_a_frozen_server_costs_three_seconds_and_says_what_to_do(self, sound: VSound) -> None:
        program = textwrap.dedent("""
            import logging, os, signal, sys, threading, time
            from assistant.adapters.pyaudio_device import PyAudioMicrophone, PyAudioSpeaker

            logging.basicConfig(format="%(message)s")
            frames, lost = [], threading.Event()
            microphone = PyAudioMicrophone(None)
            microphone.start(frames.append, lambda error: (print(error), lost.set()))
            while not frames:
                time.sleep(0.01)
            os.kill(int(sys.argv[1]), signal.SIGSTOP)
            assert lost.wait(2), "the loss was not noticed"
            began = time.monotonic()
            microphone.stop()
            assert 2.5 < time.monotonic() - began < 4, time.monotonic() - began
            try:
                microphone.start(frames.append, print)
            except Exception as error:
                print(type(error).__name__, error.exit_status, error)
            assert time.monotonic() - began < 4
        """)
        try:
            result = subprocess.run(
                [sys.executable, "-c", program, str(sound.pid)],
                env={**sound.env, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                timeout=30,
            )
        finally:
            os.kill(sound.pid, signal.SIGCONT)
        assert result.returncode == 0, result.stderr
        out = result.stdout.splitlines()
        assert "no sound comes through" in out[0]
        assert out[1].startswith("SoundSystemFrozen 75 sound: the sound system does not answer")
        assert "cannot be closed" in result.stderr
