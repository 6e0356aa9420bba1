"""Mounts that hang, fill up, become read-only or vanish, and a /proc that hides or shows strange things."""

import signal
import struct
from pathlib import Path

import psutil
import pytest
from faults.fuse import mounted
from faults.namespaces import namespaces
from faults.prober import probing
from faults.samples import sample
from faults.usage import list_statuses
from support import Process, command, ended, eventually


@pytest.fixture
def inside():
    with namespaces("mounts") as made:
        yield made


@pytest.fixture
def tmpfs(inside, tmp_path):
    """Mount a small filesystem in memory: `tmpfs()` returns its path."""
    path = tmp_path / "tmpfs"
    path.mkdir()

    def mount() -> Path:
        inside.run("mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=100", "tmpfs", str(path))
        return path

    return mount


def test_a_hung_mount_costs_one_child_and_keeps_nobody_waiting(start, tmp_path):
    """Not probes, not the first scrape, and not the end of the process."""
    with mounted(tmp_path) as mount:
        exporter = start(
            f"""
            checks:
              - {{name: hung, disk: {{path: {mount.path}}}, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 1}}
              - {{name: ok, exec: {{command: ["true"]}}, periodSeconds: 1, groups: [liveness]}}
            """
        )
        exporter.line("check hung: unknown -> pass")
        mount.hang()
        with probing(f"{exporter.url}/livez"):
            exporter.line("check hung: pass -> fail.* reason=timeout")
            runs = exporter.metrics()[sample("runs_total", "hung", "disk")]
            eventually(lambda: exporter.metrics()[sample("runs_total", "hung", "disk")] >= runs + 3)
            metrics = exporter.metrics()
        assert metrics[sample("up", "ok", "exec")] == 1
        assert metrics[sample("reason", "hung", "disk", reason="timeout")] == 1
        assert mount.waiting() == 1
        assert psutil.STATUS_DISK_SLEEP in list_statuses(exporter)

        exporter.signal(signal.SIGTERM)
        itself = psutil.Process(exporter.pid)
        eventually(lambda: itself.status() == psutil.STATUS_ZOMBIE, what="it ends while the mount hangs")
        assert exporter.wait() == 0  # nothing has its standard error any more
        assert mount.waiting() == 1


def test_a_hung_mount_that_responds_again_is_checked_again(start, tmp_path):
    with mounted(tmp_path) as mount:
        (mount.files / "heartbeat").touch()
        mount.hang("stat")
        exporter = start(
            f"""
            checks:
              - name: file
                file: {{path: {mount.path / "heartbeat"}}}
                periodSeconds: 1
                timeoutSeconds: 1
                failureThreshold: 1
            """
        )
        exporter.line("check file: unknown -> fail.* reason=timeout")
        mount.release()
        exporter.line("check file: fail -> pass")


def test_a_disk_that_is_full_or_read_only_fails_its_checks_and_not_the_exporter(inside, tmpfs, start):
    """Its folder for temporary files and its home are on that disk."""
    path = tmpfs()
    exporter = inside(
        start,
        f"""
        checks:
          - {{name: space, disk: {{path: {path}}}, periodSeconds: 1, failureThreshold: 1}}
          - {{name: inodes, disk: {{path: {path}, failInodesRatio: 0.9}}, periodSeconds: 1, failureThreshold: 1}}
          - {{name: write, exec: {{command: [touch, {path}/written]}}, periodSeconds: 1, failureThreshold: 1}}
        """,
        env={"TMPDIR": str(path), "HOME": str(path)},
    )
    for name in ("space", "inodes", "write"):
        exporter.line(f"check {name}: unknown -> pass")

    inside(lambda: (path / "large").write_bytes(b"x" * 1_000_000))
    exporter.line("check space: pass -> fail.* reason=threshold")
    inside((path / "large").unlink)
    exporter.line("check space: fail -> pass")

    inside(fill_inodes, path)
    exporter.line("check inodes: pass -> fail.* reason=threshold")

    inside.run("mount", "-o", "remount,ro", str(path))
    exporter.line("check write: pass -> fail.* reason=exit .*Read-only")
    inside.run("mount", "-o", "remount,rw", str(path))
    exporter.line("check write: fail -> pass")
    exporter.signal(signal.SIGTERM)
    assert exporter.wait() == 0


def fill_inodes(path: Path) -> None:
    for number in range(95):
        (path / str(number)).touch()


def test_a_mount_that_vanishes_is_missing_and_leaves_no_numbers_behind(inside, tmpfs, start):
    path = tmpfs()
    inside((path / "data").mkdir)
    exporter = inside(
        start,
        f"checks: [{{name: data, disk: {{path: {path}/data}}, periodSeconds: 1, failureThreshold: 1}}]",
    )
    size = 'health_disk_size_bytes{check="data",kind="disk"}'
    exporter.line("check data: unknown -> pass")
    assert exporter.metrics()[size] == 2**20

    inside.run("umount", "-l", str(path))
    exporter.line("check data: pass -> fail.* reason=missing")
    assert size not in exporter.metrics()

    tmpfs()
    inside((path / "data").mkdir)
    exporter.line("check data: fail -> pass")
    assert exporter.metrics()[size] == 2**20


LOAD = struct.pack("<4Q", 60, 1_000_000 << 16, 5 << 16, 1 << 16).hex()


@pytest.mark.parametrize(
    ("injection", "status", "load"),
    [(f"poke_exit=@arg1={LOAD}", "fail", 1_000_000), ("error=ENOSYS", "unknown", None)],
    ids=["huge", "absent"],
)
def test_a_load_average_that_is_huge_or_absent_is_shown_or_unknown(start, injection, status, load):
    """The C library asks the kernel by sysinfo(2)."""
    strace = [command("strace"), "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"inject=sysinfo:{injection}"]
    exporter = start("checks: [{name: load, loadAverage: {}, periodSeconds: 1, failureThreshold: 1}]", prefix=strace)
    eventually(lambda: exporter.metrics()[sample("runs_total", "load", "loadAverage")] >= 1)
    metrics = exporter.metrics()

    assert metrics.get(sample("status", "load", "loadAverage", status=status)) == 1
    assert metrics.get('health_load1{check="load",kind="loadAverage"}') == load
    assert exporter.get("/livez").status == 200


def test_processes_that_proc_hides_make_the_result_unknown(inside, start):
    """A process of another user, with `hidepid` and without the right to see it."""
    ordinary = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    restricted = ["--bounding-set=-all", "--inh-caps=-all", "--regid=65533", "--clear-groups"]
    with ended(Process([command("setpriv"), *ordinary, "sleep", "3600"])):
        inside.run("mount", "-t", "proc", "-o", "hidepid=2,gid=54321", "proc", "/proc")
        exporter = inside(
            start,
            "checks: [{name: other, process: {commandLine: sleep 3600}, periodSeconds: 1, failureThreshold: 1}]",
            prefix=[command("setpriv"), *restricted],
        )
        exporter.line("check other.* reason=permission .*hidden")
        assert exporter.metrics()[sample("status", "other", "process", status="unknown")] == 1


CHURN = "while :; do /bin/true & /bin/true & /bin/true & wait; done"


def test_processes_that_come_and_go_are_not_an_error(start):
    with ended(Process([command("nice"), "sh", "-c", CHURN])):
        exporter = start(
            """
            checks:
              - {name: shell, process: {commandLine: "while :; do /bin/true"}, periodSeconds: 1, timeoutSeconds: 10}
              - {name: nobody, process: {name: never-started, minCount: 0, maxCount: 0}, periodSeconds: 1}
            """
        )
        names = ("shell", "nobody")
        runs = [sample("runs_total", name, "process") for name in names]
        eventually(lambda: min(exporter.metrics()[name] for name in runs) >= 3)
        metrics = exporter.metrics()

    assert [metrics[sample("up", name, "process")] for name in names] == [1, 1]
    assert not [name for name in metrics if name.startswith("health_check_failures_total")]
