"""What the kernel knows of its sound devices: names that stay, USB ports, and who holds a device right now.

PortAudio calls an ALSA device ``CARD: DEVICE (hw:1,0)``. The number of a card is a matter of luck: after a restart of
the machine, or when something is plugged in, it may be another. What stays is the name without the number; and where
two devices of one make are plugged in, the USB port, as the kernel writes it below ``/sys/class/sound`` (``1-1.4`` is
bus 1, port 1, and port 4 of the hub that is plugged in there).

A device that another program holds is in nobody's list: PortAudio opens each one to look at it. Only the kernel tells.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USB_PREFIX: Final = "usb:"
USB_PORT: Final = r"\d+-\d+(\.\d+)*"

ROOT = Path("/")
"""Where proc and sys are; tests have others."""

_HW: Final = re.compile(r"\s*\(hw:(?P<card>\d+),(?P<device>\d+)\)$")
_CARD: Final = re.compile(r"^\s*(?P<card>\d+) \[[^]]*\]: .+? - (?P<name>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AlsaDevice:
    """One direction of one ALSA device. name: as PortAudio calls it, without the numbers. usb: its port, or None."""

    name: str
    card: int
    device: int
    capture: bool
    usb: str | None = None

    def fits(self, wanted: str) -> bool:
        """Whether the config means this device: by its port, or by its name or a part of it."""
        if wanted.startswith(USB_PREFIX):
            return self.usb is not None and wanted.removeprefix(USB_PREFIX) == self.usb
        return stable_name(wanted).lower() in self.name.lower()


@dataclass(frozen=True, slots=True)
class Holder:
    """A program that has a device open."""

    program: str
    pid: int


def stable_name(name: str) -> str:
    """PortAudio's name without the numbers of card and device."""
    return _HW.sub("", name)


def card_number(name: str) -> int | None:
    """The number of the card in PortAudio's name; None for devices that are no ALSA hardware."""
    match = _HW.search(name)
    return int(match["card"]) if match else None


def usb_path(card: int) -> str | None:
    """The USB port of a card, such as 1-1.4; None if it is not on USB, or not there."""
    with contextlib.suppress(OSError):
        for part in reversed((ROOT / f"sys/class/sound/card{card}/device").resolve(strict=True).parts):
            if re.fullmatch(USB_PORT, part):
                return part
    return None


def alsa_devices() -> list[AlsaDevice]:
    """All ALSA hardware, also what is in use; empty where the kernel has no sound."""
    asound = ROOT / "proc/asound"
    found = []
    with contextlib.suppress(OSError):
        for match in _CARD.finditer((asound / "cards").read_text()):
            card = int(match["card"])
            usb = usb_path(card)
            for info in sorted((asound / f"card{card}").glob("pcm*/info")):
                fields = dict(line.split(": ", 1) for line in info.read_text().splitlines() if ": " in line)
                name = f"{match['name']}: {fields.get('name', '')}"
                found.append(AlsaDevice(name, card, int(fields["device"]), fields["stream"] == "CAPTURE", usb))
    return found


def holder(device: AlsaDevice) -> Holder | None:
    """Which other program has it open; None if nobody has, or this process itself."""
    pcm = ROOT / f"proc/asound/card{device.card}/pcm{device.device}{'c' if device.capture else 'p'}"
    for status in sorted(pcm.glob("sub*/status")):
        with contextlib.suppress(OSError):
            match = re.search(r"^owner_pid\s*: (\d+)$", status.read_text(), re.MULTILINE)
            if match is not None and (found := _program(int(match[1]))).pid != os.getpid():
                return found
    return None


def _program(thread: int) -> Holder:
    """The kernel names the thread that opened it; a person knows the program."""
    with contextlib.suppress(OSError):
        group = re.search(r"^Tgid:\s*(\d+)$", (ROOT / f"proc/{thread}/status").read_text(), re.MULTILINE)
        pid = int(group[1]) if group else thread
        return Holder((ROOT / f"proc/{pid}/comm").read_text().strip(), pid)
    return Holder("a program", thread)
