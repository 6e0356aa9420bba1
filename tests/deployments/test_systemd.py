"""docs/systemd: the unit, for systemd-analyze, and for a real systemd as PID 1 of its own namespaces."""

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support import Process, command, ended, eventually, unavailable

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "docs" / "systemd" / "health-exporter.service"
PROGRAM = "/opt/health-exporter/bin/health-exporter"
# Units that the shipped one needs, without what a distribution adds to them. Nothing else is started.
UNITS = {
    **dict.fromkeys(("sysinit.target", "basic.target", "shutdown.target"), "[Unit]\nDefaultDependencies=no\n"),
    "test.target": "[Unit]\nDefaultDependencies=no\n",
}
# The program of the tests in place of the installed one; it may take long to start on a busy machine.
DROP_IN = """
[Service]
Environment=PYTHONPATH=/opt/code:/opt/packages LD_LIBRARY_PATH=/opt/python/lib
ExecStart=
ExecStart=/opt/python/bin/{python} -m exporter serve --config.file=/run/health.yml --shutdown-delay=0
StandardOutput=append:/run/log
StandardError=append:/run/log
TimeoutStartSec=500
"""
ONE = "checks: [{name: load, loadAverage: {failRatio: 1000}}]"
TWO = f"{ONE[:-1]}, {{name: memory, memory: {{failRatio: 1}}}}]"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([command("systemd-analyze"), *arguments], capture_output=True, text=True)


@pytest.fixture
def installed(tmp_path):
    """The unit with a program that exists."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, "/bin/true"))
    return unit


def test_systemd_accepts_every_line_of_the_unit(installed):
    done = analyze("verify", "--man=no", str(installed))

    assert [line for line in done.stderr.splitlines() if installed.name in line] == []
    assert done.returncode == 0


def test_the_exposure_of_the_service_is_low(installed):
    """At most 2.0 of 10."""
    assert analyze("security", "--offline=yes", "--threshold=20", str(installed)).returncode == 0


def find_cgroup() -> Path:
    """A new cgroup of version 2."""
    for root in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (root / "cgroup.controllers").exists():
            with suppress(OSError):
                return Path(tempfile.mkdtemp(prefix="health-exporter-", dir=root))
    return unavailable("no cgroup of version 2 that can be written")


def remove(cgroup: Path) -> bool:
    """Remove a cgroup with those below it, as soon as no process is left in them."""
    for path in [*sorted(cgroup.rglob("*/"), reverse=True), cgroup]:
        with suppress(OSError):
            path.rmdir()
    return not cgroup.exists()


class Machine(Process):
    """A machine with systemd that has the unit, and nothing else to start. All but temporary files are read-only."""

    def __init__(self, folder: Path, cgroup: Path) -> None:
        units, root = folder / "units", folder / "root"
        (units / f"{UNIT.name}.d").mkdir(parents=True)
        root.mkdir()
        for name, text in {**UNITS, UNIT.name: UNIT.read_text()}.items():
            (units / name).write_text(text)
        python = Path(sys.executable).resolve()
        (units / f"{UNIT.name}.d" / "test.conf").write_text(DROP_IN.format(python=python.name))
        folders = (root, python.parents[1], sysconfig.get_path("purelib"), ROOT, units)
        boot = [str(Path(__file__).with_name("boot.sh")), *map(str, folders)]
        systemd = ["/lib/systemd/systemd", "--system", "--unit=test.target", "--log-target=null", "--show-status=no"]
        unshare = [command("unshare"), "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork"]
        enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(cgroup)]
        super().__init__([*enter, *unshare, "--kill-child", *boot, *systemd])
        self.init = int(eventually(self._find_init, what="PID 1 of the machine"))
        eventually(lambda: self.run("systemctl", "is-active", "test.target").stdout == "active\n", what="systemd runs")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        enter = [command("nsenter"), "--all", "--target", str(self.init)]
        return subprocess.run([*enter, *arguments], capture_output=True, text=True)

    def show(self, name: str) -> str:
        return self.run("systemctl", "show", "--value", f"--property={name}", UNIT.name).stdout.strip()

    def configure(self, text: str) -> None:
        self.run("sh", "-c", 'echo "$0" > /run/health.yml', text)

    def manage(self, verb: str) -> None:
        done = self.run("systemctl", verb, UNIT.name)
        if done.returncode:
            status = self.run("systemctl", "status", "--full", UNIT.name).stdout
            pytest.fail(f"{verb}: {done.stderr}{status}{self.run('cat', '/run/log').stdout}")

    def main(self) -> int:
        """The PID of the keeper, in the machine."""
        return int(self.show("MainPID"))

    def _find_init(self) -> str:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        found = children.read_text().split()
        is_systemd = found and Path(f"/proc/{found[0]}/comm").read_text() == "systemd\n"
        return found[0] if is_systemd else ""


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> Iterator[Machine]:
    if os.geteuid() != 0 or not Path("/lib/systemd/systemd").exists():
        unavailable("starting systemd needs root, and the package systemd")
    cgroup = find_cgroup()
    try:
        with ended(Machine(tmp_path_factory.mktemp("machine"), cgroup)) as made:
            made.configure(ONE)
            made.manage("start")
            yield made
    finally:
        eventually(lambda: remove(cgroup), what="the cgroup is empty")


def test_the_service_is_started_when_the_exporter_serves(machine):
    assert machine.show("ActiveState") == "active"
    assert machine.show("StatusText") == "1 check"
    assert "msg=listening" in machine.run("cat", "/run/log").stdout


@pytest.mark.parametrize(
    ("text", "status"),
    [(TWO, "2 checks"), ("checks: 1", "2 checks; the configuration is rejected, see the log"), (ONE, "1 check")],
)
def test_after_a_reload_the_status_shows_whether_the_file_is_loaded(machine, text, status):
    """On a busy machine, systemd 252 may end the reload before it has the keeper's message that it has begun."""
    machine.configure(text)
    machine.manage("reload")

    eventually(lambda: machine.show("StatusText") == status, what=status)


def test_the_service_is_not_restarted_when_a_worker_crashes(machine):
    main = machine.main()
    worker = machine.run("cat", f"/proc/{main}/task/{main}/children").stdout.split()[0]
    machine.run("kill", "-SEGV", worker)
    eventually(lambda: "the worker has ended" in machine.run("cat", "/run/log").stdout, what="the crash is logged")
    eventually(lambda: machine.show("StatusText") == "1 check", what="the next worker serves")

    assert (machine.main(), machine.show("NRestarts")) == (main, "0")


def test_the_exporter_has_no_rights_and_sees_the_whole_machine(machine):
    status = machine.run("cat", f"/proc/{machine.main()}/status").stdout

    assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
    assert re.search(r"^Uid:\t(?!0\b)", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)


def test_the_watchdog_restarts_a_service_that_does_not_respond(machine):
    machine.run("sh", "-c", f"printf '[Service]\\nWatchdogSec=2\\n' > /run/units/{UNIT.name}.d/watchdog.conf")
    machine.run("systemctl", "daemon-reload")
    machine.manage("restart")
    main = machine.main()
    machine.run("kill", "-STOP", str(main))

    eventually(lambda: machine.show("NRestarts") != "0", what="the service is restarted")
    eventually(lambda: machine.show("StatusText") == "1 check", what="the service is ready again")
    assert machine.main() != main


def test_a_stop_is_a_success(machine):
    machine.manage("stop")

    assert machine.show("ActiveState") == "inactive"
    assert machine.show("Result") == "success"
