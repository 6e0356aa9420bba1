"""The container of another process, with real namespaces, cgroups and users."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from faults.containers import choose_name, container
from faults.fuse import mounted
from support import PATIENCE, command, eventually, unavailable, within

from exporter.host.path import PathError, PathQuery
from exporter.kinds.disk import Disk
from exporter.kinds.file import File
from exporter.model import ProbeError, Reason, Status
from exporter.probe.of import Of

MIB = 2**20


@pytest.fixture
def app(tmp_path):
    with container(tmp_path) as made:
        yield made


def of(app) -> Of:
    return Of(process=app.name)


def check_file(app, path="/tmp/healthy"):
    return File(path=path, of=of(app)).probe(within(PATIENCE))


def explain(app, path="/tmp/healthy"):
    """The reason and the message with which a check cannot run."""
    with pytest.raises(ProbeError) as caught:
        check_file(app, path)
    return caught.value.reason, str(caught.value)


def test_a_file_is_looked_for_in_the_container_of_the_process(app, tmp_path):
    (tmp_path / "here").touch()
    assert check_file(app, str(tmp_path / "here")).reason is Reason.MISSING
    assert check_file(app).reason is Reason.MISSING
    (app.root / "tmp/healthy").write_text("yes")

    assert check_file(app).summary.endswith("its size is 3 bytes")


def test_a_filesystem_is_that_of_the_container(app):
    mounted_, folder = (
        Disk(path=path, mount_point=True, of=of(app)).probe(within(PATIENCE)) for path in ("/data", "/tmp")
    )

    sizes = {measurement.name: measurement.value for measurement in mounted_.measurements}
    assert sizes["disk_size_bytes"] == MIB
    assert mounted_.summary.startswith("0 % of /data (tmpfs on /data) is in use")
    assert (folder.status, folder.reason) == (Status.FAIL, Reason.MISSING)
    assert folder.summary == "nothing is mounted at /tmp: it is a folder of the filesystem tmpfs on /"
    assert Disk(path="/..", mount_point=True, of=of(app)).probe(within(PATIENCE)).status is Status.PASS


@pytest.mark.parametrize(
    "target",
    [
        "{outside}",
        "../../../../../../../../..{outside}",
        "/proc/{pid}/root{outside}",
        "/proc/self/root{outside}",
        "/proc/{pid}/cwd/../../../../../../..{outside}",
    ],
)
def test_a_link_never_leads_out_of_the_container(app, tmp_path, target):
    outside = tmp_path / "outside"
    outside.write_text("secret")
    (app.root / "tmp/healthy").symlink_to(target.format(outside=outside, pid=os.getpid()))

    assert check_file(app).reason is Reason.MISSING


@pytest.mark.parametrize(
    "target", ["real", "/tmp/real", "../tmp/real", "/../../tmp/./real", "/tmp/chain", "//folder//real"]
)
def test_a_link_is_followed_inside_the_container(app, target):
    (app.root / "tmp/real").write_text("12345")
    (app.root / "tmp/chain").symlink_to("/folder/real")
    (app.root / "folder").symlink_to("tmp")
    (app.root / "tmp/healthy").symlink_to(target)

    assert check_file(app).summary.endswith("its size is 5 bytes")


@pytest.mark.parametrize("target", ["/proc/self/environ", "/proc/uptime"])
def test_a_file_of_proc_says_nothing_about_the_application(app, target):
    """Whoever reads it gives it its time, and `self` is a process of the exporter."""
    (app.root / "tmp/healthy").symlink_to(target)
    reason, message = explain(app)

    assert reason is Reason.MISSING
    assert message.startswith("/tmp/healthy is in the proc on /proc: ")


def test_a_file_of_proc_that_is_mounted_elsewhere_says_nothing_either(app):
    (app.root / "tmp/healthy").touch()
    app.mount("/proc/self/environ", "/tmp/healthy")

    assert explain(app)[1].startswith("/tmp/healthy is in the proc on /tmp/healthy: ")


def test_a_fifo_in_the_container_fails(app):
    os.mkfifo(app.root / "tmp/healthy")

    assert check_file(app).summary == "/tmp/healthy is a FIFO, not a regular file"


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("/loop", Reason.ERROR, "Too many levels of symbolic links"),
        ("/file/below", Reason.MISSING, "does not exist"),
        ("/file/", Reason.MISSING, "does not exist"),
        ("/file/../file", Reason.MISSING, "does not exist"),
        ("/" + "x" * 300, Reason.ERROR, "File name too long"),
    ],
    ids=["loop", "below a file", "a file with a slash", "a file as a folder", "too long"],
)
def test_a_bad_path_fails_as_outside_of_a_container(app, path, reason, words):
    (app.root / "file").touch()
    (app.root / "loop").symlink_to("/loop")
    outcome = check_file(app, path)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason)
    assert words in outcome.summary


def test_a_dead_mount_in_the_container_fails_at_the_deadline(tmp_path):
    with mounted(tmp_path) as mount, container(tmp_path, dead=mount.path) as app:
        (mount.files / "healthy").touch()
        assert check_file(app, "/dead/healthy").status is Status.PASS
        mount.hang("stat")
        probe = File(path="/dead/healthy", of=of(app))
        outcome = probe.probe(within(3))
        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    probe._query._blocked.child.wait(PATIENCE)


def test_a_dead_mount_in_a_container_that_was_replaced_is_not_evidence_against_the_new_one(tmp_path):
    name = choose_name()
    probe = File(path="/dead/healthy", of=Of(process=name))
    with mounted(tmp_path) as mount:
        (mount.files / "healthy").touch()
        with container(tmp_path, name=name, dead=mount.path):
            mount.hang("stat")
            for _ in range(2):
                assert probe.probe(within(3)).reason is Reason.TIMEOUT
        with container(tmp_path, name=name) as app:
            (app.root / "dead/healthy").touch()
            with pytest.raises(ProbeError, match="blocked on it in an earlier container") as caught:
                probe.probe(within(PATIENCE))
            assert caught.value.reason is Reason.TIMEOUT
            mount.release()
            probe._query._blocked.child.wait(PATIENCE)
            assert probe.probe(within(PATIENCE)).status is Status.PASS


def test_a_container_that_has_ended_is_unknown(app):
    app.end()

    assert explain(app) == (Reason.MISSING, f"process {app.name} is not running, so its container is not known")


def test_a_container_that_ends_during_the_run_is_unknown(app):
    """Its mounts are gone then, and the file seems to be missing."""
    (app.root / "data/healthy").touch()
    query = PathQuery("stat", "st_size")

    def look() -> None:
        with of(app).open(within(PATIENCE)) as found:
            assert query.run("/data/healthy", within(PATIENCE), found.root)[0] == 0
            app.end()
            query.run("/data/healthy", within(PATIENCE), found.root)

    with pytest.raises(ProbeError, match=r"\(pid \d+\) ended during the run") as caught:
        look()
    assert caught.value.reason is Reason.MISSING
    assert isinstance(caught.value.__context__.__context__, PathError)


def test_an_application_that_restarts_is_not_restarted_by_the_exporter(start, tmp_path):
    exporter = start(
        """
        checks:
          - name: healthy
            file: {path: /tmp/healthy, of: {process: restarting}}
            periodSeconds: 1
            failureThreshold: 1
            groups: [liveness, readiness]
        """
    )
    for _ in range(2):
        with container(tmp_path, name="restarting") as app:
            (app.root / "tmp/healthy").touch()
            eventually(lambda: exporter.get("/readyz").status == 200, what="the check has passed")
        eventually(lambda: exporter.get("/readyz").status == 503, what="the result is stale")
        assert exporter.get("/livez").status == 200


REUSE = """
import subprocess, time
from pathlib import Path
from exporter.model import Deadline, ProbeError
from exporter.probe.of import Of

def start(pid=None):
    if pid:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    process = subprocess.Popen(["./reused", "3600"])
    while Path(f"/proc/{process.pid}/comm").read_text() != "reused\\n":
        time.sleep(0.01)
    return process

first = start()
try:
    with Of(process="reused").open(Deadline(time.monotonic() + 60)) as container:
        first.kill()
        first.wait()
        second = start(first.pid)
        assert second.pid == first.pid == container.pid, (second.pid, first.pid, container.pid)
        print("still there:", (container.folder / "root").exists())
except ProbeError as error:
    print(error.reason, error)
second.kill()
"""


def test_a_pid_that_is_reused_during_the_run_does_not_lead_to_the_new_process(tmp_path):
    if os.geteuid() != 0:
        unavailable("a PID namespace needs root")
    shutil.copy(command("sleep"), tmp_path / "reused")
    arguments = [command("unshare"), "--pid", "--fork", "--mount-proc", sys.executable, "-c", REUSE]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)

    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == "still there: False"
    assert re.fullmatch(
        r"missing process reused \(pid \d+\) ended during the run, so its container is not known", second
    )


def test_the_container_of_a_process_whose_main_thread_has_ended_is_found(tmp_path):
    program = tmp_path / "headless"
    shutil.copy(sys.executable, program)
    script = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    (tmp_path / "healthy").touch()
    with subprocess.Popen([program, "-c", script], env={**os.environ, "PYTHONHOME": sys.base_prefix}) as process:
        try:
            eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
            assert check_file(SimpleNamespace(name="headless"), str(tmp_path / "healthy")).status is Status.PASS
        finally:
            process.kill()


def test_a_process_that_a_signal_has_stopped_still_has_its_container(app):
    (app.root / "tmp/healthy").touch()
    app.process.send_signal(signal.SIGSTOP)
    eventually(lambda: psutil.Process(app.pid).status() == psutil.STATUS_STOPPED)

    assert check_file(app).status is Status.PASS


def test_processes_in_different_containers_are_ambiguous(app, tmp_path):
    with container(tmp_path, name=app.name) as other:
        reason, message = explain(app)

    first, second = sorted((app.pid, other.pid))
    assert reason is Reason.ERROR
    assert message.startswith(f"process {app.name} (pid {first}) and pid {second} are in different containers")


def test_processes_in_one_container_are_not_ambiguous(app):
    (app.root / "tmp/healthy").touch()
    enter = [
        command("nsenter"),
        f"--mount=/proc/{app.pid}/ns/mnt",
        f"--root=/proc/{app.pid}/root",
        f"/{app.name}",
        "60",
    ]
    with subprocess.Popen(enter) as second:
        try:
            assert check_file(app).status is Status.PASS
        finally:
            second.kill()


def test_a_descendant_in_another_container_does_not_count(tmp_path):
    """A program that starts containers, such as a CI runner, is meant itself."""
    shell = tmp_path / "starter"
    shutil.copy("/bin/sh", shell)
    (tmp_path / "healthy").touch()

    def list_contained() -> list[psutil.Process]:
        """The descendants with the same name and other mounts."""
        with suppress(psutil.Error, OSError):
            return [
                child
                for child in psutil.Process(app.pid).children(recursive=True)
                if child.name() == "starter" and not Path(f"/proc/{child.pid}/ns/mnt").samefile("/proc/self/ns/mnt")
            ]
        return []

    with container(tmp_path, name="starter", prefix=[str(shell), "-c", '"$@" & wait', "sh"]) as app:
        (contained,) = eventually(list_contained)
        try:
            assert check_file(app, str(tmp_path / "healthy")).status is Status.PASS
        finally:
            contained.kill()


EXPORTER = [sys.executable, "-m", "exporter"]
USER = ["--reuid=65532", "--regid=65532", "--clear-groups"]
POWERLESS = ["--inh-caps=-all", "--bounding-set=-all"]  # the user is still root
PTRACE = ["--inh-caps=-all", "--bounding-set=-all,+sys_ptrace"]


def setpriv(*options: str) -> list[str]:
    return [command("setpriv"), *options]


@pytest.fixture
def check(tmp_path):
    """Check the file of a container with an exporter that these words start, and return the line of the report."""

    def check_(app, *prefix):
        config = tmp_path / "health.yml"
        check = {"name": "healthy", "file": {"path": "/tmp/healthy", "of": {"process": app.name}}}
        config.write_text(json.dumps({"checks": [{**check, "timeoutSeconds": int(PATIENCE)}]}))
        arguments = [*prefix, *EXPORTER, "check", "--config.file", "/dev/stdin"]
        with config.open() as file:
            done = subprocess.run(arguments, stdin=file, capture_output=True, text=True, timeout=2 * PATIENCE)
        assert done.stderr == ""
        return done.stdout.splitlines()[0]

    return check_


@pytest.mark.parametrize(
    ("before", "prefix"),
    [
        (POWERLESS, POWERLESS),
        (USER, PTRACE),
        (POWERLESS, PTRACE),
    ],
    ids=["same user", "another user", "root"],
)
def test_the_exporter_may_look_into_the_container(tmp_path, check, before, prefix):
    with container(tmp_path, *setpriv(*before)) as app:
        (app.root / "tmp/healthy").touch()

        assert check(app, *setpriv(*prefix)).startswith("PASS")


@pytest.mark.parametrize(
    ("before", "prefix", "words"),
    [
        (
            [],
            USER,
            "it runs as the user and group 0:0, the exporter as 65532:65532: give both containers the same runAsUser",
        ),
        (
            ["--reuid=65532", "--regid=7", "--clear-groups"],
            USER,
            "the user and group 65532:7, the exporter as 65532:65532",
        ),
        (
            [*USER, "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"],
            USER,
            "it has capabilities that the exporter does not have: drop them",
        ),
        ([], POWERLESS, "it has capabilities that the exporter does not have"),
    ],
    ids=["user", "group", "capability", "capabilities of root"],
)
def test_without_access_to_the_container_the_message_names_the_missing_condition(
    tmp_path, check, before, prefix, words
):
    with container(tmp_path, *(setpriv(*before) if before else [])) as app:
        (app.root / "tmp/healthy").touch()
        line = check(app, *setpriv(*prefix))

    assert line.split()[:4] == ["UNKNOWN", "healthy", "file", "permission"]
    assert f"no access to the container of process {app.name} (pid {app.pid}): " in line
    assert words in line
    assert line.endswith("or run the exporter as root with the capability SYS_PTRACE")


def test_a_process_that_has_changed_its_user_is_protected(tmp_path, check):
    """As the workers of a server are that has started as root (prctl(2), PR_SET_DUMPABLE)."""
    if os.geteuid() != 0:
        unavailable("another user needs root")
    program = tmp_path / "late-user"
    shutil.copy(sys.executable, program)
    script = "import ctypes, os, time; os.setgid(65532); os.setuid(65532); open('/dev/null'); time.sleep(600)"
    with subprocess.Popen([program, "-c", script]) as process:
        try:
            app = SimpleNamespace(name="late-user", pid=process.pid)
            eventually(lambda: "65532" in (Path(f"/proc/{process.pid}/status").read_text().partition("Uid:")[2][:30]))
            line = check(app, *setpriv(*USER))
        finally:
            process.kill()

    assert "it has changed its user after it started, or protects itself: start it as its final user" in line


def test_without_a_shared_pid_namespace_the_message_names_the_setting(app, check):
    line = check(app, command("unshare"), "--pid", "--fork", "--mount-proc")

    assert line.split()[:4] == ["UNKNOWN", "healthy", "file", "missing"]
    assert line.endswith("only the exporter's own processes are visible; set shareProcessNamespace: true in the pod")


def test_an_exporter_never_finds_itself(start):
    exporter = start("checks: [{name: own, file: {path: /, of: {commandLine: exporter serve}}, periodSeconds: 1}]")
    exporter.line(r"check own.*reason=missing .*not counting what belongs to an exporter")
