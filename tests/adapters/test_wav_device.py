"""What is special about files as devices; what they share with sound cards is in test_device_contract.py."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assistant.adapters.wav_device import WavMicrophone, WavSpeaker
from assistant.audio.player import PlaybackStopped, Player, PlayerEvent
from assistant.audio.wav import wav_header
from assistant.errors import DeviceError
from assistant.testing.virtual_time import VirtualTimeLoop, run
from assistant.types import FRAME_BYTES, AudioFrame, ItemId


def noise(samples: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).integers(-9000, 9000, samples, dtype="<i2").tobytes()


def write_wav(path: Path, pcm: bytes, rate: int = 16_000, channels: int = 1) -> Path:
    path.write_bytes(wav_header(rate, len(pcm), channels) + pcm)
    return path


class Ear:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.frames: list[AudioFrame] = []
        self.ended: asyncio.Future[DeviceError | None] = self.loop.create_future()

    def on_frame(self, frame: AudioFrame) -> None:
        self.frames.append(frame)

    def on_end(self, error: DeviceError | None) -> None:
        self.loop.call_soon_threadsafe(self.ended.set_result, error)

    @property
    def pcm(self) -> bytes:
        return b"".join(frame.pcm for frame in self.frames)


def hear(path: str | Path, *, paced: bool = True) -> tuple[Ear, float]:
    """Everything that a microphone delivers until it ends by itself, and how long that took."""

    async def main() -> tuple[Ear, float]:
        ear = Ear()
        began = ear.loop.time()
        microphone = WavMicrophone(path, loop=ear.loop, paced=paced)
        microphone.start(ear.on_frame, ear.on_end)
        error = await ear.ended
        microphone.stop()
        assert error is None
        return ear, ear.loop.time() - began

    return run(main())


def test_a_file_is_heard_in_audio_time_without_drift(tmp_path: Path) -> None:
    pcm = noise(16_000 * 600)
    ear, took = hear(write_wav(tmp_path / "ten minutes.wav", pcm))
    assert ear.pcm == pcm
    assert took == pytest.approx(600, abs=1e-6)
    began = ear.frames[0].captured_at - 0.02
    assert all(abs(f.captured_at - began - f.end / 16_000) < 1e-6 for f in ear.frames)


def test_unpaced_it_takes_no_time_at_all(tmp_path: Path) -> None:
    ear, took = hear(write_wav(tmp_path / "a.wav", noise(16_000)), paced=False)
    assert ear.pcm == noise(16_000)
    assert took == 0


def test_the_last_frame_is_filled_up_with_silence(tmp_path: Path) -> None:
    ear, _ = hear(write_wav(tmp_path / "a.wav", noise(330)))
    assert ear.pcm == noise(330) + bytes(2 * FRAME_BYTES - 660)


def test_a_file_without_samples_just_ends(tmp_path: Path) -> None:
    ear, _ = hear(write_wav(tmp_path / "a.wav", b""))
    assert ear.frames == []


def test_other_rates_and_channels_are_converted(tmp_path: Path) -> None:
    time_axis = np.arange(44_100) / 44_100
    tone = np.rint(8000 * np.sin(2 * np.pi * 440 * time_axis)).astype("<i2")
    stereo = np.stack((tone, tone), axis=1)
    ear, _ = hear(write_wav(tmp_path / "a.wav", stereo.tobytes(), 44_100, 2))
    heard = np.frombuffer(ear.pcm, "<i2").astype(float)
    assert abs(heard.size - 16_000) <= 320
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert np.abs(heard[2000:14_000] - expected[2000:14_000]).max() < 80


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"Lorem ipsum dolor"), "is not a WAV file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(wav_header(16_000, 8)[:34] + b"\x08\0data\0\0\0\0"), "8-bit PCM; convert it"),
    ],
)
def test_a_file_that_cannot_be_heard_is_refused_in_one_line(
    tmp_path: Path, prepare: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "a.wav"
    prepare(path)

    async def main() -> None:
        ear = Ear()
        microphone = WavMicrophone(path, loop=ear.loop)
        with pytest.raises(DeviceError, match=message) as caught:
            microphone.start(ear.on_frame, ear.on_end)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        microphone.stop()

    run(main())


# --- pipes ---------------------------------------------------------------------------------------------------------


def with_fifo(tmp_path: Path, scene: Callable[[Path, Ear, WavMicrophone], object]) -> Ear:
    """Run ``scene`` (on a thread, since it may block) beside a microphone that listens to a FIFO."""
    path = tmp_path / "fifo"
    os.mkfifo(path)

    async def main() -> Ear:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        ear = Ear()
        microphone = WavMicrophone(path, loop=loop)
        microphone.start(ear.on_frame, ear.on_end)
        try:
            await asyncio.to_thread(scene, path, ear, microphone)
            with loop.hold():
                await ear.ended
        finally:
            microphone.stop()
        return ear

    return run(main())


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_pipe_is_heard_as_it_comes_and_may_not_know_its_length(tmp_path: Path, size: int) -> None:
    pcm = noise(16_000)

    def scene(path: Path, ear: Ear, microphone: WavMicrophone) -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(wav_header(16_000, 0)[:40] + size.to_bytes(4, "little"))
            for start in range(0, len(pcm), 999):
                pipe.write(pcm[start : start + 999])

    ear = with_fifo(tmp_path, scene)
    assert ear.pcm == pcm
    assert [frame.start for frame in ear.frames] == list(range(0, 16_000, 320))
    assert ear.ended.result() is None


def test_a_pipe_that_is_no_wav_ends_with_an_error(tmp_path: Path) -> None:
    ear = with_fifo(tmp_path, lambda path, ear, microphone: path.write_bytes(b"Lorem ipsum"))
    assert "is not a WAV file" in str(ear.ended.result())
    assert ear.frames == []


@pytest.mark.parametrize("writer", ["absent", "silent"])
def test_stopping_waits_for_no_writer(tmp_path: Path, writer: str) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    async def main() -> float:
        ear = Ear()
        microphone = WavMicrophone(path, loop=ear.loop)
        microphone.start(ear.on_frame, ear.on_end)  # with nobody at the other end yet
        other_end = os.open(path, os.O_WRONLY) if writer == "silent" else None
        began = time.monotonic()
        microphone.stop()
        took = time.monotonic() - began
        if other_end is not None:
            os.close(other_end)
        assert not ear.ended.done()
        return took

    assert run(main()) < 1


def test_standard_input_is_a_pipe_or_a_file(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import asyncio, sys
        from assistant.adapters.wav_device import WavMicrophone

        async def main():
            loop = asyncio.get_running_loop()
            heard, ended = [], asyncio.Event()
            microphone = WavMicrophone("-", loop=loop, paced=False)
            microphone.start(heard.append, lambda error: loop.call_soon_threadsafe(ended.set))
            await ended.wait()
            microphone.stop()
            sys.stdout.buffer.write(b"".join(frame.pcm for frame in heard))

        asyncio.run(main())
    """)
    path = write_wav(tmp_path / "a.wav", noise(3200))
    command = [sys.executable, "-c", program]
    piped = subprocess.run(command, input=path.read_bytes(), stdout=subprocess.PIPE, check=True)
    assert piped.stdout == noise(3200)
    with path.open("rb") as file:
        redirected = subprocess.run(command, stdin=file, stdout=subprocess.PIPE, check=True)
    assert redirected.stdout == noise(3200)


# --- the speaker ---------------------------------------------------------------------------------------------------


def recorded(path: Path) -> bytes:
    with wave.open(str(path)) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (24_000, 1, 2)
        return reader.readframes(reader.getnframes())


def test_the_recording_is_continuous_and_readable_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"

    async def main() -> None:
        speaker = WavSpeaker(path, loop=asyncio.get_running_loop())
        speaker.start(lambda samples: b"\x01\x00" * samples, lambda error: None)
        await asyncio.sleep(3.5)
        assert len(recorded(path)) >= 3 * 48_000  # right to a second even if the process were killed now
        speaker.stop()

    run(main())
    assert recorded(path) == b"\x01\x00" * (176 * 480)


def test_a_killed_process_leaves_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    program = textwrap.dedent("""
        import asyncio, sys
        from assistant.adapters.wav_device import WavSpeaker
        from assistant.testing.virtual_time import run

        async def main():
            speaker = WavSpeaker(sys.argv[1], loop=asyncio.get_running_loop())
            speaker.start(lambda samples: b"ab" * samples, print)
            await asyncio.sleep(2.5)
            print("ready", flush=True)
            sys.stdin.read()

        run(main())
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert recorded(path) == b"ab" * 48_000  # two whole seconds


def test_without_a_path_the_speaker_still_keeps_time() -> None:
    async def main() -> int:
        pulled: list[int] = []

        def source(samples: int) -> bytes:
            pulled.append(samples)
            return bytes(2 * samples)

        speaker = WavSpeaker(None, loop=asyncio.get_running_loop())
        speaker.start(source, lambda error: None)
        await asyncio.sleep(60)
        speaker.stop()
        return sum(pulled)

    assert run(main()) == pytest.approx(60 * 24_000, abs=480)


def test_a_second_start_goes_on_where_the_first_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    path.write_bytes(b"something older")

    async def main() -> None:
        speaker = WavSpeaker(path, loop=asyncio.get_running_loop())
        for sample in (b"\x01\x00", b"\x02\x00"):
            speaker.start(lambda samples, sample=sample: sample * samples, lambda error: None)
            await asyncio.sleep(0.05)
            speaker.stop()

    run(main())
    sound = recorded(path)
    assert sound == b"\x01\x00" * 1440 + b"\x02\x00" * 1440


def test_with_available_only_the_sound_is_written_and_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "answer.wav"
    pcm = noise(24_000 * 20 + 7)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[PlayerEvent] = loop.create_future()

        def handle(event: PlayerEvent) -> None:
            if isinstance(event, PlaybackStopped):
                stopped.set_result(event)

        speaker = WavSpeaker(path, loop=loop, available=lambda: player.available())
        player = Player(speaker, handle, loop)
        player.start()
        began = loop.time()
        for start in range(0, len(pcm), 9_999):
            player.play(ItemId("a"), pcm[start : start + 9_999])
            await asyncio.sleep(0.1)  # slower than it is played: no gap may be written
        player.finish(ItemId("a"))
        event = await stopped
        assert isinstance(event, PlaybackStopped)
        assert not event.interrupted
        assert event.played_ms == 20_000
        player.stop()
        return loop.time() - began

    assert run(main()) < 0.1 * (len(pcm) / 9_999 + 2)
    assert recorded(path) == pcm


@pytest.mark.parametrize(("path", "message"), [("absent/out.wav", "No such file"), ("folder", "is not a regular file")])
def test_a_file_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "folder").mkdir()

    async def main() -> None:
        speaker = WavSpeaker(tmp_path / path, loop=asyncio.get_running_loop())
        with pytest.raises(DeviceError, match=message):
            speaker.start(lambda samples: bytes(2 * samples), lambda error: None)
        speaker.stop()

    run(main())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_stream_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.wav"

    async def main() -> DeviceError | None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[DeviceError | None] = loop.create_future()
        speaker = WavSpeaker(path, loop=loop)
        speaker.start(lambda samples: b"ab" * samples, ended.set_result)
        await asyncio.sleep(0.1)
        assert speaker._file is not None
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, speaker._file.fileno())  # from here on every write fails, as on a full disk
        os.close(full)
        async with asyncio.timeout(5):
            error = await ended
        speaker.stop()
        return error

    assert "No space left" in str(run(main()))
