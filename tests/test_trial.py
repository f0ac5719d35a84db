"""systemd/trial, cut off at every step: the next starts end with a good version and the state from before.

What stands for the service manager here is :class:`Machine`; ``make test-systemd`` does the same with a real one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from assistant.errors import EXIT_CONFIG

SYSTEMD = Path(__file__).resolve().parents[1] / "systemd"

CUTTER = """\
#!/bin/sh
# Stands for each tool that changes the disk. At its turn the power is cut: before it, or when it is half done.
echo ${0##*/} >>"$HOME/steps"
tool=/usr/bin/${0##*/} step=0
while read -r _; do step=$((step + 1)); done <"$HOME/steps"
if [ $step != "${CUT_AT:-never}" ]; then exec $tool "$@"; fi
for last; do :; done
case $HALF-${0##*/} in
  yes-cp) $tool "$@"; /usr/bin/find "$last" -type f | tail -1 | xargs -r /usr/bin/rm ;;
  yes-rm) /usr/bin/find "$last" | tail -1 | xargs -r /usr/bin/rm -rf ;;
  yes-find) "$tool" "$1" -type f | head -1 | xargs -r /usr/bin/rm ;;
esac
kill -9 $PPID
"""

TOOLS = {
    **dict.fromkeys(("cp", "rm", "find", "mv", "ln", "mkdir", "touch", "install"), CUTTER),
    "id": "#!/bin/sh\necho 1000\n",  # also for root, this is the installation of somebody's home folder
    "systemctl": '#!/bin/sh\necho "$*" >>"$HOME/asked"\n',
    "sleep": "#!/bin/sh\n",
    "sync": "#!/bin/sh\n",
}


class PowerCut(Exception):
    pass


class Machine:
    """A home folder with two versions, of which the first is good and selected, and what starts them."""

    def __init__(self, home: Path, *, second_is_good: bool) -> None:
        self.home = home
        self.second_is_good = second_is_good
        self.prefix = home / ".local/share/hearth"
        self.state = home / ".local/state/hearth"
        self.unit = home / ".config/systemd/user/hearth.service"
        for version in ("1", "2"):
            folder = self.prefix / "versions" / version
            folder.mkdir(parents=True)
            for name in ("trial", "common.sh"):
                shutil.copy(SYSTEMD / name, folder)
            (folder / "hearth.service").write_text(f"the unit of {version}")
        (self.prefix / "current").symlink_to("versions/1")
        self.unit.parent.mkdir(parents=True)
        self.unit.write_text("the unit of 1")
        for name in ("timers", "lists/shopping", "lists/to_do"):
            (self.state / name).parent.mkdir(parents=True, exist_ok=True)
            (self.state / name).write_text(f"{name} from before")
        self.before = self.contents()
        (home / "bin").mkdir()
        for name, text in TOOLS.items():
            (home / "bin" / name).write_text(text)
            (home / "bin" / name).chmod(0o755)
        self.variables = {"HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin", "MAINPID": str(os.getpid())}

    def contents(self) -> dict[str, str]:
        return {str(file.relative_to(self.state)): file.read_text() for file in self.state.rglob("*") if file.is_file()}

    @property
    def selected(self) -> str:
        return (self.prefix / "current").resolve().name

    @property
    def steps(self) -> list[str]:
        """The tools that have changed the disk, in order."""
        return (self.home / "steps").read_text().split()

    @property
    def asked(self) -> list[str]:
        """What the service manager was asked for."""
        file = self.home / "asked"
        return file.read_text().splitlines() if file.exists() else []

    def trial(self, *line: str, of: str = "current", **variables: str) -> int:
        """Call a version's script; gives its status. Raises PowerCut."""
        command = ["bash", self.prefix / of / "trial", *line]
        done = subprocess.run(
            command, env={**self.variables, **variables}, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode == -signal.SIGKILL:
            raise PowerCut
        assert done.returncode == 0 or variables, done.stderr
        return done.returncode

    def upgrade(self) -> None:
        """What systemd/install does while the service is stopped."""
        self.trial("begin", str(self.prefix / "versions/1"), of="versions/2")

    def start(self) -> bool:
        """Start what is selected; whether it becomes ready."""
        self.trial("start")
        if self.selected == "2" and not self.second_is_good:
            (self.state / "timers").unlink(missing_ok=True)
            (self.state / "scribble").write_text("what a new version does to state")
            return False
        self.trial("ready")
        return True

    def until_ready(self) -> None:
        while not self.start():
            pass

    def check(self, selected: str) -> None:
        assert self.selected in selected
        assert self.unit.read_text() == f"the unit of {self.selected}"
        assert self.contents() == self.before
        assert not (self.prefix / "trial").exists()


@pytest.mark.parametrize("second_is_good", [True, False], ids=["good", "bad"])
def test_cut_off_at_any_step(second_is_good: bool, tmp_path: Path) -> None:
    """Of an upgrade, and of the way back if the new version is no good."""
    machine = Machine(tmp_path / "uncut", second_is_good=second_is_good)
    machine.upgrade()
    selected = len(machine.steps)  # up to here a good version is like a bad one
    machine.until_ready()
    machine.check("2" if second_is_good else "1")
    steps = machine.steps
    assert len(steps) > selected + 5 > 10, "a test that cuts nothing shows nothing"
    cuts = [(number, "no") for number in range(selected if second_is_good else 1, len(steps) + 1)]
    cuts += [(number, "yes") for number, _ in cuts if steps[number - 1] in ("cp", "find", "rm")]
    for number, half in cuts:
        machine = Machine(tmp_path / f"{number}-{half}", second_is_good=second_is_good)
        machine.variables |= {"CUT_AT": str(number), "HALF": half}
        with pytest.raises(PowerCut):
            machine.upgrade()
            machine.until_ready()
        del machine.variables["CUT_AT"]
        machine.until_ready()
        machine.check("12" if second_is_good else "1")


def test_a_version_that_falls_soon_after_it_was_ready_has_not_arrived(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", second_is_good=True)
    machine.upgrade()
    machine.trial("start")
    (machine.state / "timers").unlink()
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert machine.trial("ready", MAINPID=str(gone.pid)) != 0
    machine.until_ready()
    machine.check("1")


def test_a_version_that_refuses_the_configuration_is_not_left_at_that(tmp_path: Path) -> None:
    """systemd does not start it again after this status, so it is asked to."""
    machine = Machine(tmp_path / "home", second_is_good=False)
    machine.upgrade()
    machine.start()
    machine.trial("stopped", EXIT_STATUS="1")
    assert machine.selected == "2", "the next start goes back; systemd comes to it by itself"
    machine.trial("stopped", EXIT_STATUS=str(EXIT_CONFIG))
    machine.check("1")
    assert machine.asked[-1] == "--user --no-block restart hearth"
    machine.trial("stopped", EXIT_STATUS=str(EXIT_CONFIG))
    assert machine.asked.count(machine.asked[-1]) == 1, "a good version that refuses its configuration stays down"


def test_state_that_cannot_be_copied_is_not_risked(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "home", second_is_good=True)
    machine.upgrade()
    (machine.home / "bin" / "cp").write_text("#!/bin/sh\necho No space left on device >&2\nexit 1\n")
    machine.until_ready()
    machine.check("1")
