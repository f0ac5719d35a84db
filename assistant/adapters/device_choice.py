"""Which of the devices that PortAudio lists is the one that the config means.

By the system's default, by a name without the numbers that change (:mod:`assistant.adapters.alsa_cards`), or by a USB
port; never by an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from assistant.adapters.alsa_cards import USB_PREFIX, alsa_devices, holder, stable_name
from assistant.errors import DeviceError


class Direction(Enum):
    INPUT = "microphone"
    OUTPUT = "speaker"

    @property
    def key(self) -> str:
        """The setting that names the device."""
        return "audio.input.device" if self is Direction.INPUT else "audio.output.device"


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One device as PortAudio lists it, or one that is not in its list since another program holds it.

    name: without the numbers of card and device. inputs, outputs: its channels. rate: the one that it prefers.
    card: of ALSA hardware. usb: the port that it is plugged into. held_by: the program that has it open.
    """

    name: str
    inputs: int
    outputs: int
    rate: int
    default_input: bool = False
    default_output: bool = False
    card: int | None = None
    usb: str | None = None
    held_by: str | None = None

    def channels(self, direction: Direction) -> int:
        return self.inputs if direction is Direction.INPUT else self.outputs


Listed: TypeAlias = tuple[int, DeviceInfo]
"""A device with PortAudio's index, which holds until the next look."""


class DeviceAbsent(DeviceError):
    """No such device is listed."""


def choose(devices: Sequence[Listed], direction: Direction, wanted: str | None) -> Listed:
    """The device in the port of ``usb:PORT``, else the one of that name, else the only one whose name contains it.
    None is the system's default.

    Raises DeviceAbsent if none is listed, or DeviceError if several could be meant. Both say what there is.
    """
    what = direction.value
    usable = [(index, info) for index, info in devices if info.channels(direction)]
    if wanted is None:
        return _default(usable, direction)
    if wanted.startswith(USB_PREFIX):
        found = [each for each in usable if each[1].usb == wanted.removeprefix(USB_PREFIX)]
    else:
        name = stable_name(wanted)
        found = [each for each in usable if each[1].name == name]
        found = found or [each for each in usable if name.lower() in each[1].name.lower()]
    if not found:
        raise DeviceAbsent(f"{what} {wanted!r}: {_why_absent(direction, wanted, usable)}")
    if len({(info.name, info.card) for _, info in found}) == 1 or wanted.startswith(USB_PREFIX):
        return found[0]  # the first of one card's equals, in ALSA's order
    if len({info.name for _, info in found}) == 1 and all(info.usb for _, info in found):
        ports = ", ".join(f"{USB_PREFIX}{info.usb}" for _, info in found)
        raise DeviceError(f"{what} {wanted!r}: there are several; {direction.key} can be the port: {ports}")
    raise DeviceError(f"{what} {wanted!r}: fits several; write more of the name in {direction.key}: {_names(found)}")


def _default(usable: Sequence[Listed], direction: Direction) -> Listed:
    what = direction.value
    for index, info in usable:
        if info.default_input if direction is Direction.INPUT else info.default_output:
            return index, info
    if usable:
        raise DeviceError(f"{what}: the system has no default; name one in {direction.key}: {_names(usable)}")
    if held := who_holds(direction, ""):
        raise DeviceAbsent(f"{what}: {held}")
    raise DeviceAbsent(
        f"{what}: none found; plug one in, or name one in {direction.key} (`assistant devices` lists them)"
    )


def _why_absent(direction: Direction, wanted: str, usable: Sequence[Listed]) -> str:
    if held := who_holds(direction, wanted):
        return held
    if not usable:
        return f"not found, nor any other {direction.value}; is it plugged in?"
    return f"not found; {direction.key} can be: {_names(usable)}"


def who_holds(direction: Direction, wanted: str) -> str | None:
    """One line about the program that holds the device which is wanted; None if no program does."""
    for device in alsa_devices():
        meant = device.capture == (direction is Direction.INPUT) and device.fits(wanted)
        if meant and (found := holder(device)) is not None:
            return f"{found.program} (process {found.pid}) holds it; end that, or let a sound server share the device"
    return None


def held_devices() -> list[DeviceInfo]:
    """The hardware that other programs hold right now, and PortAudio therefore does not list."""
    return [
        DeviceInfo(
            device.name,
            int(device.capture),
            int(not device.capture),
            0,
            card=device.card,
            usb=device.usb,
            held_by=found.program,
        )
        for device in alsa_devices()
        if (found := holder(device)) is not None
    ]


def _names(devices: Sequence[Listed]) -> str:
    return ", ".join(dict.fromkeys(repr(info.name) for _, info in devices))
