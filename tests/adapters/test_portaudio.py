"""PortAudio's bad days, which no real sound card shows on demand: the library itself is scripted here."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from assistant.adapters import portaudio, pyaudio_device
from assistant.adapters.portaudio import SoundSystemFrozen
from assistant.adapters.pyaudio_device import LossEstimate, PyAudioMicrophone, PyAudioSpeaker, list_devices
from assistant.core.channels import ChannelChoice
from assistant.errors import EXIT_RESTART, DeviceError
from assistant.types import AudioFrame


class ScriptedStream:
    def __init__(self, options: dict[str, Any]) -> None:
        self.rate: int = options["rate"]
        self.channels: int = options["channels"]
        self.frames: int = options["frames_per_buffer"]
        self.callback: Callable[..., tuple[bytes | None, int]] = options["stream_callback"]
        self.active = True
        self.closed = False

    def capture(self, pcm: bytes, status: int = 0) -> int:
        """One buffer of input; gives the flag that the callback returned."""
        _, flag = self.callback(pcm, len(pcm) // 2 // self.channels, {}, status)
        return flag

    def play(self) -> bytes:
        pcm, _ = self.callback(None, self.frames, {}, 0)
        assert pcm is not None
        assert len(pcm) == 2 * self.frames * self.channels
        return pcm

    def get_output_latency(self) -> float:
        return 0.04

    def is_active(self) -> bool:
        return self.active

    def close(self) -> None:
        self.closed = True


class ScriptedPortAudio:
    """Stands in for the module ``pyaudio``. Its device list is frozen while any instance lives, as in the real one."""

    paInt16 = 8

    def __init__(self) -> None:
        self.hardware: list[tuple[str, int, int]] = [("USB Mic", 2, 0), ("USB Speaker", 0, 2)]
        self.takes: Callable[[int, int], bool] = lambda rate, channels: True
        self.before_open: Callable[[], object] = lambda: None
        self.initialised = 0
        self.listed: list[tuple[str, int, int]] = []
        self.streams: list[ScriptedStream] = []

    def PyAudio(self) -> ScriptedPortAudio:
        if self.initialised == 0:
            self.listed = list(self.hardware)
        self.initialised += 1
        return self

    def terminate(self) -> None:
        self.initialised -= 1

    def get_device_count(self) -> int:
        return len(self.listed)

    def get_device_info_by_index(self, index: int) -> dict[str, Any]:
        name, inputs, outputs = self.listed[index]
        return {
            "index": index,
            "name": name,
            "maxInputChannels": inputs,
            "maxOutputChannels": outputs,
            "defaultSampleRate": 44_100.0,
        }

    def get_default_input_device_info(self) -> dict[str, Any]:
        return self._first(1)

    def get_default_output_device_info(self) -> dict[str, Any]:
        return self._first(2)

    def _first(self, column: int) -> dict[str, Any]:
        for index, device in enumerate(self.listed):
            if device[column]:
                return self.get_device_info_by_index(index)
        raise OSError("No Default Device Available")

    def open(self, **options: Any) -> ScriptedStream:
        self.before_open()
        if not self.takes(options["rate"], options["channels"]):
            raise OSError(-9997, "Invalid sample rate")
        self.streams.append(ScriptedStream(options))
        return self.streams[-1]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedPortAudio]:
    scripted = ScriptedPortAudio()
    monkeypatch.setitem(sys.modules, "pyaudio", scripted)
    cards = ["one card"]
    monkeypatch.setattr(portaudio, "_cards", lambda: cards[-1] + str(scripted.hardware))
    yield scripted
    assert scripted.initialised == 0, "PortAudio was not terminated as often as it was initialised"
    assert all(stream.closed for stream in scripted.streams)


def ignore(*_: object) -> None:
    pass


def silence(samples: int) -> bytes:
    return bytes(2 * samples)


# --- formats ---------------------------------------------------------------------------------------------------------


def test_a_microphone_that_can_only_do_stereo_at_its_own_rate_is_converted(library: ScriptedPortAudio) -> None:
    library.takes = lambda rate, channels: (rate, channels) == (44_100, 2)
    frames: list[AudioFrame] = []
    microphone = PyAudioMicrophone(None)
    microphone.start(frames.append, ignore)
    stream = library.streams[0]
    assert (stream.rate, stream.channels, stream.frames) == (44_100, 2, 882)
    tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    stereo = np.rint(np.stack((tone * 1.5, tone * 0.5), axis=1)).astype("<i2")  # the mean is the tone
    for start in range(0, 44_100, 882):
        stream.capture(stereo[start : start + 882].tobytes())
    microphone.stop()
    heard = np.frombuffer(b"".join(frame.pcm for frame in frames), "<i2").astype(float)
    assert [frame.start for frame in frames] == [n * 320 for n in range(len(frames))]
    assert 15_000 < heard.size <= 16_000  # the converter holds back some 30 ms
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(heard.size) / 16_000)
    assert np.abs(heard - expected)[1000:-1000].max() < 80


@pytest.mark.parametrize(
    ("device", "inputs", "channel", "opened"),
    [
        ("USB Mic", 1, "auto", 1),
        ("USB Mic", 1, "right", 1),
        ("Stick: USB Audio (hw:1,0)", 2, "auto", 2),
        ("pulse", 32, "auto", 2),  # the sound server makes two out of what there is
        ("Array: USB Audio (hw:1,0)", 6, "auto", 1),  # the first: what the array has worked on
        ("Array: USB Audio (hw:1,0)", 6, "left", 2),
    ],
)
def test_how_many_channels_a_microphone_is_opened_with(
    library: ScriptedPortAudio, device: str, inputs: int, channel: ChannelChoice, opened: int
) -> None:
    library.hardware = [(device, inputs, 0)]
    microphone = PyAudioMicrophone(None, channel)
    microphone.start(ignore, ignore)
    microphone.stop()
    assert [stream.channels for stream in library.streams] == [opened]


@pytest.mark.parametrize(("channel", "value"), [("left", 100), ("right", 300), ("auto", 200)])
def test_the_channel_that_is_asked_for_is_heard(library: ScriptedPortAudio, channel: ChannelChoice, value: int) -> None:
    frames: list[AudioFrame] = []
    microphone = PyAudioMicrophone(None, channel)
    microphone.start(frames.append, ignore)
    library.streams[0].capture(np.tile(np.array([100, 300], "<i2"), 320).tobytes())
    microphone.stop()
    assert frames[0].pcm == np.full(320, value, "<i2").tobytes()


def test_a_speaker_that_can_only_do_48_khz_stereo_is_converted(library: ScriptedPortAudio) -> None:
    library.takes = lambda rate, channels: (rate, channels) == (48_000, 2)
    tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(24_000 * 2) / 24_000)
    rest = bytearray(np.rint(tone).astype("<i2").tobytes())
    pulled = 0

    def source(samples: int) -> bytes:
        nonlocal pulled
        pulled += samples
        pcm = bytes(rest[: 2 * samples])
        del rest[: 2 * samples]
        return pcm

    speaker = PyAudioSpeaker(None)
    assert speaker.latency == 0
    speaker.start(source, ignore)
    stereo = np.frombuffer(b"".join(library.streams[0].play() for _ in range(50)), "<i2").reshape(-1, 2)
    assert speaker.latency == pytest.approx(0.04 + pulled / 24_000 - 1.0)
    speaker.stop()
    assert (stereo[:, 0] == stereo[:, 1]).all()
    expected = 8000 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    assert np.abs(stereo[:, 0] - expected)[2000:-2000].max() < 80


def test_a_device_that_takes_no_format_is_refused_with_the_reason(library: ScriptedPortAudio) -> None:
    library.takes = lambda rate, channels: False
    with pytest.raises(DeviceError, match="microphone 'USB Mic': cannot be opened: Invalid sample rate; is another"):
        PyAudioMicrophone(None).start(ignore, ignore)


# --- devices ---------------------------------------------------------------------------------------------------------


def test_an_exact_name_wins_over_a_longer_one_that_contains_it(library: ScriptedPortAudio) -> None:
    library.hardware = [("USB Mic 2", 1, 0), ("USB Mic", 1, 0)]
    microphone = PyAudioMicrophone("USB Mic")
    microphone.start(ignore, ignore)
    assert microphone.description == "USB Mic"
    microphone.stop()


def test_a_speaker_is_not_a_microphone(library: ScriptedPortAudio) -> None:
    with pytest.raises(DeviceError, match=r"'USB Speaker': not found; audio\.input\.device can be: 'USB Mic'"):
        PyAudioMicrophone("USB Speaker").start(ignore, ignore)


def test_a_device_that_appears_while_another_is_open_is_found_after_both_were_opened_again(
    library: ScriptedPortAudio,
) -> None:
    library.hardware = [("USB Mic", 1, 0)]
    microphone, speaker = PyAudioMicrophone(None), PyAudioSpeaker(None)
    ends: list[DeviceError | None] = []
    # The owner may close it right where it hears of the end.
    microphone.start(ignore, lambda error: (ends.append(error), microphone.stop())[0])
    with pytest.raises(DeviceError, match="speaker: none found"):
        speaker.start(silence, ignore)
    assert ends == []  # nothing has changed, so the microphone is left in peace

    library.hardware = [("USB Mic", 1, 0), ("USB Speaker", 0, 2)]
    with pytest.raises(DeviceError, match="the sound hardware has changed; looking at it again"):
        speaker.start(silence, ignore)
    assert [str(error) for error in ends] == ["sound: USB Mic is opened again, since the sound hardware has changed"]
    microphone.start(ignore, ignore)
    speaker.start(silence, ignore)
    assert speaker.description == "USB Speaker"
    microphone.stop()
    speaker.stop()


def test_a_port_is_looked_up_on_a_list_that_is_no_older_than_the_hardware(
    library: ScriptedPortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = {1: "1-1.4"}
    monkeypatch.setattr(portaudio, "usb_path", ports.get)
    library.hardware = [("Stick: USB Audio (hw:1,0)", 1, 1)]
    microphone, speaker = PyAudioMicrophone("usb:1-1.4"), PyAudioSpeaker("usb:1-1.4")
    ends: list[DeviceError | None] = []
    microphone.start(ignore, ends.append)
    assert microphone.description == "Stick: USB Audio"

    # Another stick takes the number of the first: on the old list the port would lead to the wrong device.
    library.hardware = [("Stick: USB Audio (hw:2,0)", 1, 1), ("Other: USB Audio (hw:1,0)", 1, 1)]
    ports.clear()
    ports.update({1: "1-1.2", 2: "1-1.4"})
    with pytest.raises(DeviceError, match="the sound hardware has changed"):
        speaker.start(silence, ignore)
    assert len(ends) == 1
    microphone.start(ignore, ignore)
    speaker.start(silence, ignore)
    assert speaker.description == microphone.description == "Stick: USB Audio"
    microphone.stop()
    speaker.stop()


def test_a_device_that_is_held_says_by_whom(library: ScriptedPortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    library.hardware = [("Stick: USB Audio (hw:1,0)", 1, 1)]
    library.takes = lambda rate, channels: False
    monkeypatch.setattr(portaudio, "who_holds", lambda direction, wanted: f"firefox holds {wanted}")
    with pytest.raises(DeviceError, match="microphone 'Stick: USB Audio': firefox holds Stick: USB Audio"):
        PyAudioMicrophone(None).start(ignore, ignore)


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(DeviceError, match="apt install libportaudio2") as caught:
        list_devices()
    assert "\n" not in str(caught.value)


# --- loss and hangs --------------------------------------------------------------------------------------------------


def test_an_inactive_stream_is_lost_once(library: ScriptedPortAudio) -> None:
    ends: list[DeviceError | None] = []
    lost = threading.Event()
    microphone = PyAudioMicrophone(None)
    microphone.start(ignore, lambda error: (ends.append(error), lost.set())[0])
    library.streams[0].active = False
    assert lost.wait(2)
    assert library.streams[0].capture(bytes(640)) == 2  # paAbort: nothing is delivered after the end
    microphone.stop()
    assert [str(error) for error in ends] == [
        "microphone 'USB Mic': lost; was it unplugged, or the sound server ended?"
    ]


def test_a_failing_sink_ends_the_stream_instead_of_the_main_thread(
    library: ScriptedPortAudio, caplog: pytest.LogCaptureFixture
) -> None:
    library.hardware = [("USB Mic", 1, 0)]
    microphone = PyAudioMicrophone(None)
    microphone.start(lambda frame: 1 / 0, ignore)  # type: ignore[arg-type, return-value]
    assert library.streams[0].capture(bytes(640)) == 2
    microphone.stop()
    assert "the audio callback failed" in caplog.text


def test_a_call_that_hangs_is_given_up_and_its_late_result_is_closed(
    library: ScriptedPortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    thaw = threading.Event()
    library.before_open = lambda: thaw.wait(10)
    microphone = PyAudioMicrophone(None)
    with monkeypatch.context() as patience:
        patience.setattr(portaudio, "OPEN_LIMIT_S", 0.05)
        for _ in range(2):
            with pytest.raises(SoundSystemFrozen) as caught:
                microphone.start(ignore, ignore)
            assert caught.value.exit_status == EXIT_RESTART
    thaw.set()
    with portaudio._one_at_a_time:  # the hanging call has come back
        assert library.streams[0].closed
    microphone.start(ignore, ignore)
    microphone.stop()


def test_noise_is_dropped_and_other_threads_lines_are_kept() -> None:
    program = textwrap.dedent("""
        import os
        from assistant.adapters.portaudio import _stderr

        with _stderr.caught():
            os.write(2, b"ALSA lib confmisc.c:855:(parse_card) cannot find card '0'\\n")
            os.write(2, b"Expression 'ret' failed in 'src/hostapi/alsa/pa_linux_alsa.c', line: 1736\\n\\n")
            os.write(2, b"WARNING the answer was cut off\\njack server is not running or cannot be started\\n")
            os.write(2, b"INFO ready\\n")
        os.write(2, b"after\\n")
    """)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert result.stderr == b"WARNING the answer was cut off\nINFO ready\nafter\n"


def test_listing_devices_is_silent() -> None:
    pytest.importorskip("pyaudio", exc_type=ImportError)
    program = "from assistant.adapters.pyaudio_device import list_devices; list_devices()"
    env = {**os.environ, "PULSE_SERVER": "unix:/nowhere"}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=env)
    assert result.stderr == b""


# --- lost samples ----------------------------------------------------------------------------------------------------


def test_without_overflow_no_sample_is_ever_lost_however_late_the_callbacks_are() -> None:
    losses = LossEstimate(16_000)
    jitter = itertools.cycle([0.0, 0.004, 0.3, 0.28, 0.26, 0.001])
    assert [losses.count(320, n * 0.02 + next(jitter), overflow=False) for n in range(200)] == [0] * 200


def test_an_overflow_costs_what_the_clock_says() -> None:
    losses = LossEstimate(16_000)
    for n in range(100):
        assert losses.count(320, n * 0.02 + 0.001 * (n % 3), overflow=False) == 0
    # Half a second is gone. Before the flag comes, one old buffer is delivered late.
    assert losses.count(320, 2.5, overflow=False) == 0
    assert losses.count(320, 2.52, overflow=True) == pytest.approx(8000, abs=50)
    assert losses.count(320, 2.54, overflow=False) == 0
    assert losses.count(320, 2.56, overflow=True) <= 50  # flagged again, but nothing more is missing


def test_the_frames_after_an_overflow_carry_the_gap(
    library: ScriptedPortAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.hardware = [("USB Mic", 1, 0)]
    clock = itertools.chain(np.arange(10) * 0.02, [0.18 + 0.52])
    monkeypatch.setattr(pyaudio_device, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    frames: list[AudioFrame] = []
    microphone = PyAudioMicrophone(None)
    microphone.start(frames.append, ignore)
    for n in range(11):
        library.streams[0].capture(bytes(640), status=2 if n == 10 else 0)
    microphone.stop()
    assert [frame.start for frame in frames[:10]] == [n * 320 for n in range(10)]
    assert frames[10].start == pytest.approx(3200 + 8000, abs=2)
