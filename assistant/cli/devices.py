"""``assistant devices``: the microphones and speakers of this machine."""

from __future__ import annotations

import argparse

from assistant.adapters.alsa_cards import USB_PREFIX
from assistant.adapters.device_choice import DeviceInfo, held_devices
from assistant.adapters.pyaudio_device import list_devices
from assistant.cli.common import complain, say
from assistant.errors import EXIT_OK, EXIT_UNAVAILABLE


def main(options: argparse.Namespace) -> int:
    devices = [*list_devices(), *held_devices()]
    for title, key, wanted in (("microphones", "input", "inputs"), ("speakers", "output", "outputs")):
        say(f"{title} (audio.{key}.device):")
        names = [device for device in devices if getattr(device, wanted)]
        for device in names:
            say(f"  {device.name}{_remarks(device, key)}")
        if not names:
            say("  none")
    if not devices:
        complain("assistant devices: no sound device found: plug one in, or use wav:FILE (docs/configuration.md)")
        return EXIT_UNAVAILABLE
    return EXIT_OK


def _remarks(device: DeviceInfo, key: str) -> str:
    remarks = ["(default)"] if getattr(device, f"default_{key}") else []
    if device.usb is not None:
        remarks.append(f"or {USB_PREFIX}{device.usb}, whatever is plugged in there")
    if device.held_by is not None:
        remarks.append(f"(held by {device.held_by})")
    return "".join(f"  {remark}" for remark in remarks)
