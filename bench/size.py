"""How large the program is, and how exposed the service: wheel, Debian package, installed tree, systemd's score.

``python -m bench.size``. The installed tree is what the locked wheels unpack to; they are gathered in
build/wheels, which takes a minute the first time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / "build" / "wheels"
MEGABYTE = 1_000_000


def unpacked(wheel: Path) -> int:
    """Bytes of all files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def exposure(*units: str) -> str:
    """systemd's score of a unit of this checkout, with drop-ins appended; 10 is worst."""
    if shutil.which("systemd-analyze") is None:
        return "no systemd-analyze here"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hearth.service"
        file.write_text("\n".join((ROOT / "systemd" / unit).read_text("utf-8") for unit in units), "utf-8")
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(file)]
        judged = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level.*: ([\d.]+)", judged.stdout)
    return found[1] if found else f"not judged: {judged.stderr.strip()}"


def main() -> int:
    """Print the numbers; 1 if the wheels cannot be gathered."""
    gathered = subprocess.run([ROOT / "systemd" / "fetch-wheels", WHEELS], capture_output=True, text=True, check=False)
    if gathered.returncode:
        print(f"bench.size: the wheels cannot be gathered:\n{gathered.stderr}", file=sys.stderr)
        return 1
    wheels = sorted(WHEELS.glob("*.whl"), key=unpacked, reverse=True)
    (own,) = (wheel for wheel in wheels if wheel.name.startswith("hearth_assistant-"))
    total = sum(unpacked(wheel) for wheel in wheels)
    download = sum(wheel.stat().st_size for wheel in wheels)
    print(f"wheel of Hearth          {own.stat().st_size / MEGABYTE:7.2f} MB")
    print(f"all {len(wheels)} wheels            {download / MEGABYTE:7.1f} MB, about the size of the Debian package")
    print(f"installed                {total / MEGABYTE:7.1f} MB, without compiled bytecode and pip; most of it:")
    for wheel in wheels[:6]:
        print(f"  {wheel.name.partition('-')[0]:<22} {unpacked(wheel) / MEGABYTE:7.1f} MB")
    print(f"exposure of the service  {exposure('hearth.service'):>7}  (0 is best, 10 worst)")
    print(f"  without any network    {exposure('hearth.service', 'offline.conf'):>7}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
