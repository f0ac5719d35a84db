"""The machine itself: its address, disk and temperature; shutting it down or starting it again, after a yes.

Settings (``plugins.system`` in config.yaml):
    disk: the folder whose disk is asked about
    shutdown_command, reboot_command: what is run, as a list of words; it needs the right to do so
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Annotated

from assistant.plugin import BaseModel, Field, Plugin, ToolError, tool

THERMAL = Path("/sys/class/thermal")
HOT_C = 80.0

Command = Annotated[list[str], Field(min_length=1)]


class System(Plugin):
    class Config(BaseModel):
        disk: Path = Path("/")
        shutdown_command: Command = Field(default_factory=lambda: ["systemctl", "poweroff"])
        reboot_command: Command = Field(default_factory=lambda: ["systemctl", "reboot"])

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
