"""The part of ``tests.real_systemd`` that runs under the booted systemd: as root, with Debian's Python, no network.

It is started at each boot: the first ends in a power cut. The microphone is a pipe into which ``room`` writes quiet
noise and what people say, in real time.
"""

import filecmp
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import traceback
from pathlib import Path

from real_systemd_guest import (
    BROKEN,
    CONFIG,
    DROP_IN,
    FIRST,
    HERE,
    KEY,
    NEXT,
    ROOM,
    SPEAK,
    STATE,
    active,
    events,
    note,
    package,
    ready_s,
    room,
    run,
    show,
    version,
    wait_until,
)


def install() -> None:
    Path("/etc/hearth").mkdir()
    Path("/etc/hearth/config.yaml").write_text(CONFIG)
    key = Path("/etc/hearth/openai_api_key")
    key.touch(0o600)
    key.write_text(KEY)
    secret = Path("/etc/hearth/for-the-group-audio")
    secret.touch(0o640)
    run("chgrp", "audio", str(secret))
    folder = Path("/etc/systemd/system/hearth.service.d")
    folder.mkdir(parents=True)
    (folder / "test.conf").write_text(DROP_IN)
    began = time.monotonic()
    run("dpkg", "-i", package(FIRST))
    note("dpkg -i, without any network", active(), f"{time.monotonic() - began:.0f} s, version {version()}")
    note("READY=1", active(), f"after {ready_s():.1f} s; {show('StatusText')}")
    enabled = run("systemctl", "is-enabled", "hearth").stdout.strip()
    note("starts with the machine", enabled == "enabled", enabled)


def sandbox() -> None:
    status = Path(f"/proc/{show('MainPID')}/status").read_text()
    field = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    uid = run("id", "-u", "hearth").stdout.strip()
    audio = run("getent", "group", "audio").stdout.split(":")[2]
    note(
        "user hearth, group audio",
        field["Uid"].split()[0] == uid and audio in field["Groups"].split(),
        "also read a file of the group, inside the sandbox",
    )
    held = (
        field["NoNewPrivs"] == "1"
        and field["Seccomp"] == "2"
        and int(field["CapEff"], 16) == int(field["CapBnd"], 16) == 0
    )
    note("no privileges, no capabilities, system calls filtered", held, f"CapBnd {field['CapBnd']}")
    judged = run("systemd-analyze", "security", "--offline=true", "--no-pager", "/etc/systemd/system/hearth.service")
    score = re.search(r"exposure level for hearth.service: ([\d.]+)", judged.stdout)
    note("exposure of the installed unit is at most 1.5", score and float(score[1]) <= 1.5, score and score[1])
    devices = show("DevicePolicy"), *show("DeviceAllow").splitlines()
    note("devices", devices[0] == "closed", " ".join(devices))


def without_a_network() -> None:
    """offline.conf, and a request answered under it."""
    added = Path("/etc/systemd/system/hearth.service.d/offline.conf")
    shutil.copy("/usr/share/hearth/systemd/offline.conf", added)
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "hearth")
    spoken_turn("without a network of its own")
    own, ours = (Path(f"/proc/{pid}/ns/net").readlink() for pid in (show("MainPID"), "1"))
    interfaces = run("nsenter", "--net", "--target", show("MainPID"), "ip", "-o", "link").stdout.splitlines()
    alone = own != ours and [line.split()[1] for line in interfaces] == ["lo:"]
    note("offline.conf leaves it nothing but its own loopback", alone, ", ".join(interfaces)[:50])
    added.unlink()
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "hearth")


def credentials() -> None:
    path = Path(f"/proc/{show('MainPID')}/root/run/credentials/hearth.service/openai_api_key")
    refused = run("runuser", "-u", "hearth", "--", "cat", "/etc/hearth/openai_api_key", check=False).returncode != 0
    note(
        "the credential reaches the service, its file only root",
        path.read_text() == KEY and refused,
        oct(path.stat().st_mode & 0o777),
    )
    Path("/etc/hearth/config.yaml").write_text(CONFIG.replace("local", "openai"))
    run("systemctl", "restart", "hearth")
    note("the daemon runs with provider openai", active(), show("StatusText"))
    doctor = run("/usr/bin/hearth", "doctor", "--offline", "--json", check=False).stdout.splitlines()
    (secrets,) = [line for line in map(json.loads, doctor) if line["check"] == "secrets"]
    note("sudo hearth doctor sees the key of the service that runs", secrets["level"] == "ok", secrets["text"])
    leaked = KEY in run("journalctl", "-u", "hearth", "--no-pager").stdout
    note("the key is in no log line", not leaked, "journalctl -u hearth")
    Path("/etc/hearth/config.yaml").write_text(CONFIG)
    run("systemctl", "restart", "hearth")


def wrong_configuration() -> None:
    Path("/etc/hearth/config.yaml").write_text("sesion: {}\n")
    run("systemctl", "restart", "hearth", check=False)
    time.sleep(3)
    seen = show("ActiveState"), show("ExecMainStatus"), show("NRestarts")
    note("a wrong configuration stays down with status 78", seen[:2] == ("failed", "78"), " ".join(seen[:2]))
    Path("/etc/hearth/config.yaml").write_text(CONFIG)
    run("systemctl", "restart", "hearth")


def spoken_turn(where: str = "inside the sandbox") -> None:
    before = events("playback_stopped")
    run("/opt/hearth/current/bin/python", "-c", SPEAK, str(ROOM / "said"), "hey jarvis", "what time is it")
    took = wait_until("a spoken answer", lambda: events("playback_stopped") > before, 40)
    note(
        f"a spoken request is answered {where}",
        True,
        f"{took:.1f} s after it began; {(STATE / 'speaker.wav').stat().st_size} bytes of speech",
    )


def seen_from_outside() -> None:
    status = json.loads(run("/usr/bin/hearth", "status", "--json").stdout)
    note("sudo hearth status --json", bool(status), ", ".join(list(status)[:6]))
    modes = {oct(path.stat().st_mode & 0o077) for path in [STATE, *STATE.rglob("*")] if not path.is_symlink()}
    note(
        "state is for nobody else (0700, 0600)",
        modes == {"0o0"},
        f"{sum(1 for _ in STATE.rglob('*'))} files and folders",
    )
    listening = run("ss", "-Hltnu").stdout.split("\n")
    addresses = {line.split()[4] for line in listening if line.strip()}
    note(
        "every listening socket is on loopback",
        all(a.startswith(("127.", "[::1]")) for a in addresses),
        ", ".join(addresses) or "none",
    )


def restart_after(name: str, number: signal.Signals, within: float) -> None:
    before, pid = int(show("NRestarts")), show("MainPID")
    os.kill(int(pid), number)

    def back() -> bool:
        return int(show("NRestarts")) > before and active() and show("MainPID") not in ("0", pid)

    took = wait_until(f"a restart after {name}", back, within)
    note(f"restart after {name}", True, f"listening again after {took:.1f} s")


def restarts() -> None:
    restart_after("SIGKILL", signal.SIGKILL, 20)
    restart_after("SIGSTOP: hung, the watchdog ends it", signal.SIGSTOP, 40)
    why = run("journalctl", "-u", "hearth", "--no-pager").stdout
    note("the journal names the watchdog", "Watchdog timeout" in why, "Watchdog timeout (limit 6s)!")


def gone_back(what: str, detail: str = "") -> None:
    """The version before is there, with its unit, its configuration, and the state from before."""
    same_unit = filecmp.cmp("/opt/hearth/current/hearth.service", "/etc/systemd/system/hearth.service", shallow=False)
    note(f"{what}: {NEXT} listens", active() and version() == NEXT and same_unit, detail or show("StatusText"))
    whole = (STATE / "marker").read_text() == "kept" and not (STATE / "scribble").exists()
    same = Path("/etc/hearth/config.yaml").read_text() == CONFIG
    no_trial = not Path("/opt/hearth/trial").exists()
    note(
        f"{what}: state from before, same configuration",
        whole and same and no_trial,
        "marker there, what the new version wrote gone",
    )


def begin_broken_upgrade(until) -> subprocess.Popen:
    """Come to where the version that is no good is selected, and a condition holds."""
    upgrading = subprocess.Popen(["dpkg", "-i", package(BROKEN)], start_new_session=True)
    wait_until(f"{BROKEN} is selected", lambda: version() == BROKEN and until(), 200)
    return upgrading


def has_changed_state() -> bool:
    return (STATE / "scribble").exists()


def without_the_installer() -> None:
    """The installer is killed (a lost ssh session, no memory): the service goes back alone."""
    for what, until in (("it hangs", has_changed_state), ("it ends with 78", lambda: True)):
        upgrading = begin_broken_upgrade(until)
        os.killpg(upgrading.pid, signal.SIGKILL)
        upgrading.wait()
        if "78" in what:  # killed before it could start the service: the next start is somebody else's
            Path("/etc/hearth/refuse").touch()
            run("systemctl", "start", "--no-block", "hearth")
        took = wait_until("the version before", lambda: version() == NEXT and active(), 60)
        gone_back(f"installer killed, {what}", f"{took:.1f} s later")
    Path("/etc/hearth/refuse").unlink()


def power_cut() -> None:
    """Everything ends at once, between the selection of the new version and READY. Does not return."""
    run("systemctl", "enable", "hearth")
    wants = Path("/etc/systemd/system/hearth-probe.target.wants")  # this machine boots to the probe's target
    wants.mkdir()
    (wants / "hearth.service").symlink_to("/etc/systemd/system/hearth.service")
    begin_broken_upgrade(has_changed_state)
    os.sync()  # an overlay over a tmpfs has no disk: what was written is there
    (HERE / "boot").touch()
    run("systemctl", "poweroff", "-ff")
    time.sleep(60)
    raise AssertionError("the power is still on")


def after_the_power_cut() -> None:
    wait_until("ready after the boot", active, 60)
    up = int(show("ActiveEnterTimestampMonotonic")) - int(show("InactiveExitTimestampMonotonic"))
    gone_back("power cut before READY, boot", f"{up / 1e6:.1f} s after the service was started")
    shutil.rmtree("/etc/systemd/system/hearth-probe.target.wants")
    state = run("dpkg-query", "-W", "-f", "${Status} ${Version}", "hearth").stdout
    note("dpkg knows that the upgrade is not done", "half-configured" in state, state)
    run("dpkg", "-i", package(NEXT))


def upgrade() -> None:
    (STATE / "marker").write_text("kept")
    config = Path("/etc/hearth/config.yaml").read_text()
    run("dpkg", "-i", package(NEXT))
    down = (
        int(show("ExecMainStartTimestampMonotonic")) - int(show("InactiveEnterTimestampMonotonic"))
    ) / 1e6 + ready_s()
    note(f"upgrade to {NEXT}", active() and version() == NEXT, f"deaf for {down:.1f} s")
    same = (STATE / "marker").read_text() == "kept" and Path("/etc/hearth/config.yaml").read_text() == config
    note("it keeps state and configuration", same, "marker, config.yaml")
    broken = run("dpkg", "-i", package(BROKEN), check=False)
    told = [line for line in broken.stderr.splitlines() if "rolled back" in line]
    note(
        f"{BROKEN} never becomes ready: the upgrade fails and says so",
        broken.returncode != 0 and told,
        *told or [broken.stderr[-300:]],
    )
    gone_back("rolled back")
    program = Path(f"/proc/{show('MainPID')}/cmdline").read_text().split("\0")[0]
    note("the old program runs", f"/{NEXT}-" in program, program)
    run("dpkg", "-i", package(NEXT))
    note(
        "installing the version that runs mends the package",
        active(),
        run("dpkg-query", "-W", "-f", "${Status} ${Version}", "hearth").stdout,
    )


def desktop() -> None:
    """The variant for one person's session, out of the package's own files."""
    run("systemctl", "stop", "hearth")  # one microphone, one listener
    run("useradd", "--create-home", "tester")
    home, number = Path("/home/tester"), run("id", "-u", "tester").stdout.strip()
    folder = home / ".config" / "hearth"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.replace(str(STATE), str(home)))
    run("chown", "-R", "tester:", str(home))
    run("systemctl", "start", "dbus", "systemd-logind")
    run("loginctl", "enable-linger", "tester")
    wait_until("the user's manager", lambda: Path(f"/run/user/{number}/systemd/private").exists(), 20)
    tester = ("runuser", "-u", "tester", "--", "env", f"HOME={home}", f"XDG_RUNTIME_DIR=/run/user/{number}")
    run(*tester, "/usr/share/hearth/systemd/install", "--user")
    state = run(*tester, "systemctl", "--user", "is-active", "hearth", check=False).stdout.strip()
    status = run(*tester, "systemctl", "--user", "show", "-P", "StatusText", "hearth").stdout.strip()
    note("install --user, without root", state == "active", status)
    desktop_upgrade(home, tester)
    run(*tester, "/usr/share/hearth/systemd/uninstall", "--user", "--purge")
    left = run("find", str(home), "-iname", "*hearth*").stdout.split()
    note("uninstall --user --purge leaves nothing", not left, f"left: {left or 'nothing'}")
    run("systemctl", "start", "hearth")


def checkout() -> None:
    """The other way to install, whole: packages from what stands for PyPI, PyAudio compiled, and all that follows."""
    tree = HERE / f"checkout-{FIRST}"
    pip = ("env", "PIP_NO_INDEX=1", f"PIP_FIND_LINKS={HERE}/downloads", "PIP_CONFIG_FILE=/dev/null")
    Path("/etc/hearth").mkdir()
    Path("/etc/hearth/config.yaml").write_text(CONFIG)
    began = time.monotonic()
    run(*pip, str(tree / "systemd/install"))
    sizes = sum(1 for _ in (tree / "build/wheels").glob("*.whl"))
    note(
        "systemd/install from a checkout",
        active() and version() == FIRST,
        f"{time.monotonic() - began:.0f} s, {sizes} wheels",
    )
    run(*pip, str(tree / "systemd/extra"), "media")
    (STATE / "marker").write_text("kept")
    for other, arrives in ((NEXT, True), (BROKEN, False)):
        shutil.rmtree(tree / "assistant")  # what `git pull` does
        shutil.copytree(HERE / f"checkout-{other}" / "assistant", tree / "assistant")
        done = run(*pip, str(tree / "systemd/install"), check=arrives)
        if arrives:
            note(f"checkout: upgrade to {NEXT}", active() and version() == NEXT, done.stdout.splitlines()[-1])
            found = run("/opt/hearth/current/bin/python", "-c", "import mpd; print(mpd.__file__)").stdout.strip()
            note("checkout: an extra stays through an upgrade", found.startswith("/opt/hearth/extras/"), found)
        else:
            gone_back(f"checkout: {BROKEN} is no good", done.stderr.splitlines()[-1])
    run(str(tree / "systemd/uninstall"))
    kept = (STATE / "marker").exists() and Path("/etc/hearth/config.yaml").exists()
    note("checkout: uninstall keeps configuration and state", kept and not Path("/opt/hearth").exists(), "")
    run(str(tree / "systemd/uninstall"), "--purge")
    left = what_is_left()
    note("checkout: uninstall --purge leaves nothing", not left, f"left: {left or 'nothing'}")


def what_is_left() -> list[str]:
    """Files with our name, and the account."""
    places = ["/opt", "/etc", "/var/lib", "/usr/bin", "/usr/local", "/usr/share", "/run/systemd"]
    found = run("find", *places, "-iname", "*hearth*", "-not", "-name", "*hearth-probe*", check=False).stdout.split()
    return found + run("getent", "passwd", "hearth", check=False).stdout.split()


BREAKS = """\
#!/bin/sh
echo "what a new version does to state" >"$HOME/.local/state/hearth/scribble"
exit 1
"""


def desktop_upgrade(home: Path, tester: tuple[str, ...]) -> None:
    """A trial under a manager without rights: one version that arrives, and one that does not."""
    prefix, scribble = home / ".local/share/hearth", home / ".local/state/hearth/scribble"
    for name, breaks in (("good", False), ("broken", True)):
        old = (prefix / "current").resolve()
        new = old.with_name(name)
        run("cp", "-a", str(old), str(new))
        if breaks:
            (new / "bin" / "assistant").write_text(BREAKS)
        run(*tester, str(new / "trial"), "begin", str(old))
        run(*tester, "systemctl", "--user", "restart", "hearth", check=not breaks)

        def settled() -> bool:
            state = run(*tester, "systemctl", "--user", "is-active", "hearth", check=False).stdout.strip()
            return state == "active" and not (prefix / "trial").exists()

        took = wait_until(f"the end of the trial of {name}", settled, 60)
        selected = (prefix / "current").resolve().name
        held = selected == "good" and not scribble.exists()
        note(f"--user: a {name} version's trial", held, f"{selected} runs {took:.1f} s after its start")


def removal() -> None:
    run("dpkg", "-r", "hearth")
    left = [
        path
        for path in ("/opt/hearth", "/etc/systemd/system/hearth.service", "/usr/bin/hearth", "/usr/share/hearth")
        if Path(path).exists()
    ]
    processes = run("pgrep", "-u", "hearth", check=False).stdout.split()
    note(
        "dpkg -r removes program, unit and processes",
        not left and not processes,
        f"left: {left + processes or 'nothing'}",
    )
    note(
        "and keeps configuration and state",
        (STATE / "marker").exists() and Path("/etc/hearth/config.yaml").exists(),
        "/etc/hearth, /var/lib/hearth",
    )
    run("dpkg", "-P", "hearth")
    left = what_is_left()
    note("dpkg -P leaves no file and no account", not left, f"left: {left or 'nothing'}")


FIRST_BOOT = (install, sandbox, credentials, wrong_configuration, spoken_turn, seen_from_outside, without_a_network,
              restarts, upgrade, desktop, without_the_installer, power_cut)  # fmt: skip
SECOND_BOOT = (after_the_power_cut, removal, checkout)


def main() -> None:
    again = ROOM.exists()
    if not again:
        ROOM.mkdir()
        os.mkfifo(ROOM / "microphone")
        (ROOM / "microphone").chmod(0o644)
    threading.Thread(target=room, daemon=True).start()
    for part in SECOND_BOOT if again else FIRST_BOOT:
        try:
            part()
        except Exception:
            traceback.print_exc()
            note(part.__name__, False, "it broke off: see out.log")
    note("the end", True, "")


if __name__ == "__main__":
    main()
