"""A real systemd for the package: ``make test-systemd`` (as root; Debian with systemd-container).

Builds the package in three versions (this one, the next one, and one that never becomes ready), boots systemd in
systemd-nspawn over an overlay of this machine's ``/`` without a network, and has
``tests/real_systemd_inside.py`` install, use, break, upgrade and remove them there, package and checkout. In the middle
of an upgrade it cuts the power, and boots again. Nothing of this machine is changed: what is written goes to a tmpfs of
a mount namespace of its own.

Prints one line a check; ends with 1 if one failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEXT, BROKEN = "0.2.0", "0.3.0"
BOOT_LIMIT_S = 1200

NEVER_READY = """
import os, pathlib, sys, time
pathlib.Path(os.environ["STATE_DIRECTORY"], "scribble").write_text("what a new version does to state")
if pathlib.Path("/etc/hearth/refuse").exists():
    sys.exit(78)
time.sleep(3600)
"""

TARGET = """\
[Unit]
Requires=basic.target hearth-probe.service
After=basic.target
AllowIsolate=yes
"""

PROBE = """\
[Unit]
After=basic.target
[Service]
Type=oneshot
TimeoutStartSec={limit}
Environment=PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
ExecStart=/usr/bin/python3 /hearth-test/real_systemd_inside.py
StandardOutput=append:/hearth-test/out.log
StandardError=append:/hearth-test/out.log
ExecStopPost=systemctl poweroff -ff
"""

# Runs in a mount namespace of its own: $1 = scratch mount point, $2 = what goes to /hearth-test, $3 = for the results,
# $4 = seconds a boot may last. It boots as often as the file "boot" is left there.
BOOT = """\
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
root=$1/root
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
rm -rf "$root"/etc/systemd/system/* "$root/usr/sbin/policy-rc.d"
mkdir "$root/hearth-test"
cp -r "$2"/. "$root/hearth-test"
mv "$root"/hearth-test/hearth-probe.* "$root/etc/systemd/system/"
touch "$root/hearth-test/boot"
while rm "$root/hearth-test/boot" 2>/dev/null; do
  timeout "$4" systemd-nspawn --register=no --keep-unit --private-network -q -b -D "$root" \
    systemd.unit=hearth-probe.target </dev/null >>"$3/console.log" 2>&1 || true
done
cp "$root"/hearth-test/out.log "$root"/hearth-test/results.jsonl "$3/" 2>/dev/null || true
"""


def build(folder: Path, version: str, breakage: str = "") -> None:
    """Build the package of this checkout as another version; the wheels of others are built once."""
    source = folder / "inside" / f"checkout-{version}"
    for name in ("assistant", "plugins", "docs", "systemd"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "config.yaml", "README.md", "SECURITY.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / file, source / file)
    init = source / "assistant" / "__init__.py"
    init.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', init.read_text("utf-8")), "utf-8")
    if breakage:
        daemon = source / "assistant" / "daemon.py"
        text = daemon.read_text("utf-8")
        future = "from __future__ import annotations\n"
        assert future in text
        daemon.write_text(text.replace(future, future + breakage, 1), "utf-8")
    environment = {**os.environ, "HEARTH_SOURCE": str(source), "HEARTH_WHEELS": str(folder / "wheels")}
    subprocess.run([ROOT / "systemd/build-deb", folder / "inside"], env=environment, check=True)


def download(target: Path) -> None:
    """All that an installation from a checkout takes from PyPI, PyAudio as source, and an extra; downloaded once."""
    locks = [ROOT / "systemd" / name for name in ("build.lock", "requirements.lock", "extras/media.lock")]
    stamp = target / hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    if stamp.exists():
        return
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as tools:
        subprocess.run(["/usr/bin/python3", "-m", "venv", tools], check=True)
        pip = [f"{tools}/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--require-hashes", "--no-deps", "-r", locks[0]], check=True)
        options = ["--dest", target, "--require-hashes", "--no-deps", "--no-build-isolation", "--only-binary", ":all:"]
        for lock in locks:
            subprocess.run([*pip, "download", *options, "--no-binary", "pyaudio", "-r", lock], check=True)
    stamp.touch()


def main() -> int:
    if os.geteuid() != 0 or not shutil.which("systemd-nspawn"):
        print("make test-systemd boots a systemd of its own: run it as root, after apt-get install systemd-container.")
        print("Without root, tests/test_service.py runs the daemon under a socket that stands for systemd.")
        return 2
    with tempfile.TemporaryDirectory(prefix="hearth-systemd-") as name:
        folder = Path(name)
        inside, results, scratch = folder / "inside", folder / "results", folder / "scratch"
        for part in (inside, results, scratch):
            part.mkdir()
        subprocess.run([ROOT / "systemd/fetch-wheels", ROOT / "build/wheels"], check=True)
        shutil.copytree(ROOT / "build/wheels", folder / "wheels")
        current = re.search(r'__version__ = "(.*)"', (ROOT / "assistant/__init__.py").read_text("utf-8"))
        assert current
        for version, breakage in ((current[1], ""), (NEXT, ""), (BROKEN, NEVER_READY)):
            build(folder, version, breakage)
        download(ROOT / "build/downloads")
        shutil.copytree(ROOT / "build/downloads", inside / "downloads")
        for script in ("real_systemd_inside.py", "real_systemd_guest.py"):
            shutil.copy(Path(__file__).with_name(script), inside)
        (inside / "hearth-probe.target").write_text(TARGET)
        (inside / "hearth-probe.service").write_text(PROBE.format(limit=BOOT_LIMIT_S - 30))
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", BOOT, "boot"]
        subprocess.run([*command, scratch, inside, results, str(BOOT_LIMIT_S)], check=True)
        return report(results)


def report(results: Path) -> int:
    """Print the table; 0 if every check was made and held."""
    file = results / "results.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    for row in rows:
        print(f"{'ok  ' if row['ok'] else 'FAIL'}  {row['check']:<58}  {row['seen']}")
    if rows and rows[-1]["check"] == "the end" and all(row["ok"] for row in rows):
        print(f"{len(rows) - 1} checks under a real systemd, all of them held")
        return 0
    log = results / ("out.log" if rows else "console.log")  # without one result it did not even boot
    if log.exists():
        print(f"--- {log.name}\n{log.read_text('utf-8', 'replace')[-6000:]}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
