"""The machine itself: its address, disk and temperature; after a yes, closing its microphone, whether there is a newer
version, shutting it down and starting it again.

Settings (``plugins.system`` in config.yaml):
    disk: the folder whose disk is asked about
    shutdown_command, reboot_command: what is run, as a list of words; it needs the right to do so
    update_url: where the newest version is asked for, in the form of PyPI's JSON; nothing is installed
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

from assistant.plugin import BaseModel, Field, Plugin, ToolError, fetch_json, tool

THERMAL = Path("/sys/class/thermal")
HOT_C = 80.0
DISTRIBUTION = "hearth-assistant"
RELEASE = re.compile(r"\d+(\.\d+){0,5}")

Command = Annotated[list[str], Field(min_length=1)]


class System(Plugin):
    class Config(BaseModel):
        disk: Path = Path("/")
        shutdown_command: Command = Field(default_factory=lambda: ["systemctl", "poweroff"])
        reboot_command: Command = Field(default_factory=lambda: ["systemctl", "reboot"])
        update_url: str = Field(default=f"https://pypi.org/pypi/{DISTRIBUTION}/json", pattern="^https?://")

    config: Config

    @tool(sentences=["what is your [i p] address", "(what is|what's) (the|your) i p address"])
    def ip_address(self) -> str:
        """Tell the IP address of this machine in the home's network."""
        try:
            # A UDP socket that is "connected" sends nothing; the kernel picks the address it would use.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(("192.0.2.1", 9))
                address: str = probe.getsockname()[0]
        except OSError:
            raise ToolError("This machine has no network.") from None
        return f"My address is {address}."

    @tool(sentences=["how much (disk|space|disk space) is (free|left)", "how full is the disk"])
    def free_disk(self) -> dict[str, object]:
        """Tell how much room is left on the disk."""
        try:
            usage = shutil.disk_usage(self.config.disk)
        except OSError as error:
            raise ToolError(f"{self.config.disk} cannot be read: {error.strerror}.") from None
        percent = round(100 * usage.used / usage.total)
        return {
            "say": f"{usage.free / 1e9:.1f} gigabytes are free; the disk is {percent} percent full.",
            "free_bytes": usage.free,
            "used_percent": percent,
        }

    @tool(sentences=["how (hot|warm) are you", "(what is|what's) your temperature"])
    def processor_temperature(self) -> dict[str, object]:
        """Tell the temperature of this machine's processor."""
        readings = []
        for file in sorted(THERMAL.glob("thermal_zone*/temp")):
            try:
                readings.append(int(file.read_text("ascii")) / 1000)
            except (OSError, ValueError):  # a sensor that sleeps cannot be read
                continue
        if not readings:
            raise ToolError("This machine has no thermometer that I can read.")
        warmest = max(readings)
        hot = " That is too hot." if warmest >= HOT_C else ""
        return {"say": f"I am at {warmest:.0f} degrees.{hot}", "celsius": warmest}

    @tool(
        sentences=["(mute|close|turn off) (the|your) microphone", "stop listening [to (me|us)]"],
        tier="confirm",
        question="Shall I close the microphone? Then I hear nothing until somebody opens it by hand.",
    )
    async def mute_microphone(self) -> str:
        """Close the microphone. The assistant hears nothing until somebody opens it by hand, not by voice."""
        if self.context.house is None:
            raise ToolError("There is no microphone here.")
        await self.context.house.mute(True)
        return "The microphone is closed. The console opens it again, and so does assistant control unmute."

    @tool(
        sentences=["(check|look) for (updates|an update|a new version)", "is there (an update|a new version)"],
        tier="confirm",
        question="Shall I ask on the internet for a newer version?",
    )
    def check_for_update(self) -> dict[str, object]:
        """Tell whether there is a newer version of the assistant. It is not installed."""
        try:
            installed = version(DISTRIBUTION)
        except PackageNotFoundError:
            raise ToolError("I do not know which version I am: I run from a folder.") from None
        answer = fetch_json(self.config.update_url)
        info = answer.get("info") if isinstance(answer, dict) else None
        newest = info.get("version") if isinstance(info, dict) else None
        if not isinstance(newest, str) or not RELEASE.match(newest):
            raise ToolError("The answer about the newest version makes no sense.")
        newest = newest[:40]
        newer = _release(newest) > _release(installed)
        say = f"Version {newest} is there; I am {installed}." if newer else f"I am up to date, at version {installed}."
        return {"say": say, "installed": installed, "newest": newest, "newer": newer}

    @tool(
        sentences=["(shut down|turn off|power off) the (machine|computer|system)"],
        tier="confirm",
        question="Shall I shut this machine down?",
    )
    def shut_down(self) -> str:
        """Shut this machine down. It must be switched on by hand afterwards."""
        return self._order(self.config.shutdown_command, "I am shutting down.")

    @tool(
        sentences=["(restart|reboot) the (machine|computer|system)"],
        tier="confirm",
        question="Shall I restart this machine?",
    )
    def reboot(self) -> str:
        """Restart this machine."""
        return self._order(self.config.reboot_command, "I am restarting.")

    def _order(self, command: list[str], say: str) -> str:
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5.0, check=False)
        except subprocess.TimeoutExpired:
            return say  # it waits for us to end
        except OSError as error:
            raise ToolError(f"{command[0]} cannot be run: {error.strerror}.") from None
        if done.returncode != 0:
            self.context.logger.error("%s ended with status %d", command[0], done.returncode)
            raise ToolError(f"The machine refused: {command[0]} ended with status {done.returncode}.")
        return say


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a version, without zeros at the end: 1.2.0 is 1.2. What comes after them is not looked at."""
    found = RELEASE.match(text)
    numbers = [int(number) for number in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
