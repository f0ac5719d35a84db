"""Devices by what stays: names without numbers, USB ports; and who holds one. The kernel's files are written here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assistant.adapters import alsa_cards
from assistant.adapters.alsa_cards import AlsaDevice, alsa_devices, card_number, stable_name, usb_path
from assistant.adapters.device_choice import DeviceAbsent, DeviceInfo, Direction, Listed, choose, held_devices
from assistant.config.loading import parse
from assistant.errors import ConfigError, DeviceError

STICK = "USB PnP Sound Device: USB Audio"
HUB = "devices/pci0000:00/0000:00:14.0/usb1/1-1"


class Kernel:
    """A machine with an Intel card and two USB sticks of one make behind a hub."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.card(0, "HDA Intel PCH", "devices/pci0000:00/0000:00:1f.3", {"0c": "ALC257 Analog", "0p": "ALC257 Analog"})
        self.card(1, "USB PnP Sound Device", f"{HUB}/1-1.4/1-1.4:1.0", {"0c": "USB Audio", "0p": "USB Audio"})
        self.card(2, "USB PnP Sound Device", f"{HUB}/1-1.2/1-1.2:1.0", {"0c": "USB Audio", "0p": "USB Audio"})

    def card(self, number: int, name: str, device: str, streams: dict[str, str]) -> None:
        asound, sysfs = self.root / "proc/asound", self.root / f"sys/class/sound/card{number}"
        asound.mkdir(parents=True, exist_ok=True)
        with (asound / "cards").open("a") as cards:
            cards.write(f" {number} [Card{number}         ]: Driver - {name}\n{'':22}{name} at somewhere, irq 7\n")
        (self.root / "sys" / device).mkdir(parents=True)
        sysfs.mkdir(parents=True)
        (sysfs / "device").symlink_to(self.root / "sys" / device)
        for stream, title in streams.items():
            pcm = asound / f"card{number}/pcm{stream}"
            (pcm / "sub0").mkdir(parents=True)
            kind = "CAPTURE" if stream.endswith("c") else "PLAYBACK"
            (pcm / "info").write_text(f"card: {number}\ndevice: {stream[0]}\nstream: {kind}\nid: x\nname: {title}\n")
            (pcm / "sub0/status").write_text("closed\n")

    def hold(self, stream: str, *, thread: int, process: int, program: str = "firefox") -> None:
        status = self.root / f"proc/asound/{stream}/sub0/status"
        status.write_text(f"state: RUNNING\nowner_pid   : {thread}\ntrigger_time: 1.5\n")
        for number in (thread, process):
            (self.root / f"proc/{number}").mkdir(exist_ok=True)
        (self.root / f"proc/{thread}/status").write_text(f"Name:\tAudioThread\nTgid:\t{process}\nPid:\t{thread}\n")
        (self.root / f"proc/{process}/comm").write_text(f"{program}\n")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(alsa_cards, "ROOT", tmp_path)
    return Kernel(tmp_path)


def device(name: str, inputs: int = 1, outputs: int = 1, *, default: bool = False) -> DeviceInfo:
    card = card_number(name)
    usb = None if card is None else usb_path(card)
    return DeviceInfo(stable_name(name), inputs, outputs, 48_000, default, default, card, usb)


def listed(*devices: DeviceInfo) -> list[Listed]:
    return list(enumerate(devices))


def test_the_kernel_s_files_are_read(kernel: Kernel) -> None:
    found = alsa_devices()
    assert len(found) == 6
    assert AlsaDevice("HDA Intel PCH: ALC257 Analog", 0, 0, True, None) in found
    assert AlsaDevice(STICK, 1, 0, True, "1-1.4") in found
    assert AlsaDevice(STICK, 2, 0, False, "1-1.2") in found
    assert (usb_path(0), usb_path(1), usb_path(7)) == (None, "1-1.4", None)


def test_a_machine_without_sound_in_its_kernel_has_no_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alsa_cards, "ROOT", tmp_path)
    assert alsa_devices() == []
    assert held_devices() == []


def test_the_number_of_a_card_does_not_matter(kernel: Kernel) -> None:
    """The config was written when the headset was card 1; now something else is."""
    headset = device("Jabra: USB Audio (hw:2,0)")
    devices = listed(device("HDA Intel PCH: ALC257 Analog (hw:1,0)"), headset, device("pulse", default=True))
    for wanted in ("Jabra: USB Audio (hw:1,0)", "Jabra: USB Audio", "jabra"):
        assert choose(devices, Direction.INPUT, wanted) == (1, headset)
    assert choose(devices, Direction.INPUT, None)[0] == 2


def test_two_of_one_make_are_told_apart_by_their_ports(kernel: Kernel) -> None:
    first, second = device(f"{STICK} (hw:1,0)"), device(f"{STICK} (hw:2,0)")
    devices = listed(first, second)
    with pytest.raises(DeviceError, match=r"audio\.output\.device can be the port: usb:1-1\.4, usb:1-1\.2"):
        choose(devices, Direction.OUTPUT, STICK)
    assert choose(devices, Direction.OUTPUT, "usb:1-1.2") == (1, second)
    with pytest.raises(DeviceAbsent, match=r"'usb:1-1': not found"):
        choose(devices, Direction.OUTPUT, "usb:1-1")


def test_the_equals_of_one_card_are_one_device(kernel: Kernel) -> None:
    devices = listed(device(f"{STICK} (hw:1,0)"), device(f"{STICK} (hw:1,1)"))
    assert choose(devices, Direction.INPUT, STICK)[0] == 0


def test_what_another_program_holds_is_not_called_absent(kernel: Kernel) -> None:
    """PortAudio cannot open it, so it does not list it."""
    kernel.hold("card1/pcm0c", thread=4321, process=4300)
    devices = listed(device("HDA Intel PCH: ALC257 Analog (hw:0,0)"), device(f"{STICK} (hw:1,0)", inputs=0))
    for wanted in ("usb:1-1.4", STICK, "pnp"):
        with pytest.raises(DeviceAbsent, match=r"firefox \(process 4300\) holds it") as caught:
            choose(devices, Direction.INPUT, wanted)
        assert "\n" not in str(caught.value)
    assert choose(devices, Direction.OUTPUT, "usb:1-1.4")[0] == 1, "its other direction is free"
    with pytest.raises(DeviceAbsent, match="firefox"):
        choose([], Direction.INPUT, None)
    assert [(held.name, held.inputs, held.outputs, held.held_by) for held in held_devices()] == [
        (STICK, 1, 0, "firefox")
    ]


def test_this_process_is_not_another_program(kernel: Kernel) -> None:
    kernel.hold("card1/pcm0c", thread=4321, process=os.getpid())
    with pytest.raises(DeviceAbsent, match="not found, nor any other microphone; is it plugged in"):
        choose([], Direction.INPUT, STICK)
    assert held_devices() == []


@pytest.mark.parametrize("name", ["usb:", "usb:1", "usb:1-1.4:1.0", "usb:/dev/snd"])
def test_a_port_that_is_none_is_refused_by_the_config(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"such as usb:1-1\.4"):
        parse(f'audio: {{input: {{device: "{name}"}}}}', tmp_path / "config.yaml")
    assert parse("audio: {input: {device: usb:3-2.1.4}}", tmp_path / "config.yaml").audio.input.device == "usb:3-2.1.4"
