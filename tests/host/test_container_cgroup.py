"""The cgroup of another container, in the layouts of this machine's kernel and in a tree of files of version 2."""

import os
import stat
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from faults.cgroups import ROOT, cgroup
from faults.containers import choose_name, container
from support import PATIENCE, eventually, unavailable, within

from exporter.host.container import Container
from exporter.kinds.cpu import MIN_ELAPSED, Cpu
from exporter.kinds.memory import Memory
from exporter.kinds.pressure import Pressure
from exporter.model import ProbeError, Reason
from exporter.probe.of import Of, read_cgroup

MIB = 2**20


@pytest.fixture(params=["bind mounts", "cgroup namespace"])
def app(tmp_path, request):
    """A container with limits. A runtime shows it its own cgroup in one of these ways."""
    namespaced = request.param == "cgroup namespace"
    with cgroup(memory=256 * MIB, cpu=0.5) as limited:
        if limited.unified:
            mounts = ["cgroup2:.:rw" if namespaced else f"{limited.folders['memory']}:."]
        else:
            folders = {**limited.folders, "cpuacct": ROOT / "cpuacct"}
            mounts = [f"cgroup:{kind}:{kind}" if namespaced else f"{path}:{kind}" for kind, path in folders.items()]
        with container(tmp_path, prefix=limited.prefix, cgroups=mounts) as made:
            yield made


def measure(outcome):
    return {measurement.name: measurement.value for measurement in outcome.measurements}


def test_memory_is_that_of_the_container(app):
    outcome = Memory(scope="container", of=Of(process=app.name)).probe(within(PATIENCE))

    assert outcome.summary.endswith("% of 256 MiB of memory is in use (fail at 90 %)")
    assert 0 < measure(outcome)["memory_used_ratio"] < 0.5


def test_cpu_time_is_that_of_the_container(app):
    probe = Cpu(scope="container", of=Of(process=app.name))
    run = partial(probe.probe, within(PATIENCE))
    assert run().summary.startswith("no number yet")
    time.sleep(MIN_ELAPSED)
    outcome = run()

    assert " of 0.5 CPUs used in " in outcome.summary
    assert "throttled in 0 % of" in outcome.summary


def test_after_a_restart_of_the_container_the_count_starts_again(tmp_path):
    """The counters of a new cgroup say nothing about the old one."""
    probe = Cpu(scope="container", of=Of(process="restarted"))
    for _ in range(2):
        with cgroup(memory=256 * MIB, cpu=0.5) as limited:
            folders = {**limited.folders, "cpuacct": ROOT / "cpuacct"}
            mounts = ["cgroup2:.:rw"] if limited.unified else [f"{path}:{kind}" for kind, path in folders.items()]
            with container(tmp_path, name="restarted", prefix=limited.prefix, cgroups=mounts):
                assert probe.probe(within(PATIENCE)).summary.startswith("no number yet")


def test_pressure_and_cpu_time_of_version_2_are_those_of_the_container(tmp_path):
    """A hierarchy without controllers counts them too, where the others are of version 1."""
    parent = ROOT if (ROOT / "cgroup.controllers").exists() else ROOT / "unified"
    if os.geteuid() != 0 or not (parent / "cpu.pressure").exists():
        unavailable("this needs root, and a kernel with cgroup version 2 and PSI")
    folder = parent / f"health-exporter-{os.getpid()}"
    folder.mkdir()
    try:
        prefix = ["sh", "-ec", f'echo $$ > {folder}/cgroup.procs; exec "$@"', "sh"]
        with container(tmp_path, prefix=prefix, cgroups=["cgroup2:unified:rw"]) as app:
            probe = Pressure(resource="cpu", scope="container", of=Of(process=app.name))
            outcome = probe.probe(within(PATIENCE))
        assert outcome.summary.startswith("some tasks waited for cpu in ")
        assert measure(outcome)["pressure_stalled_ratio"] < 1
    finally:
        eventually(lambda: not (folder / "cgroup.procs").read_text(), what="the cgroup is empty")
        folder.rmdir()


@pytest.mark.parametrize("probe", [Memory, Cpu, partial(Pressure, resource="cpu")], ids=["memory", "cpu", "pressure"])
def test_a_container_that_sees_no_cgroups_is_unknown(tmp_path, probe):
    with container(tmp_path) as app, pytest.raises(ProbeError) as caught:
        probe(scope="container", of=Of(process=app.name)).probe(within(PATIENCE))

    assert caught.value.reason is Reason.MISSING
    assert str(caught.value).startswith(f"process {app.name} (pid {app.pid}): it has no cgroup")


SECRET = "token-of-the-exporter"


@pytest.fixture
def nested(tmp_path):
    """A container that sees all cgroups of the machine, and the folder and the file of its own memory there."""
    with cgroup(memory=256 * MIB) as limited:
        folder, hierarchy = limited.folders["memory"], ROOT if limited.unified else ROOT / "memory"
        target = "." if limited.unified else "memory"
        with container(tmp_path, prefix=limited.prefix, cgroups=[f"{hierarchy}:{target}"]) as made:
            file = folder / ("memory.current" if limited.unified else "memory.usage_in_bytes")
            assert (made.root / str(file).lstrip("/")).exists()
            yield made, str(folder), str(file)


def make_link(path, outside):
    path.symlink_to(outside)


def make_link_to_the_environment(path, outside):
    path.symlink_to("/proc/self/environ")


def make_device(path, outside):
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def make_fifo(path, outside):
    os.mkfifo(path)


def make_file(path, outside):
    path.write_text("1000\n")


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("make", [make_link, make_link_to_the_environment, make_device, make_fifo, make_file])
def test_what_is_mounted_on_files_of_the_cgroup_is_not_read(nested, tmp_path, monkeypatch, make, what):
    app, folder, file = nested
    monkeypatch.setenv("TOKEN", SECRET)
    outside = tmp_path / "outside"
    outside.write_text(SECRET)
    (app.root / "tmp/folder").mkdir()
    name = Path(file).name
    make(app.root / "tmp/folder" / name, outside)
    app.mount(*((f"/tmp/folder/{name}", file) if what == "file" else ("/tmp/folder", folder)))

    with pytest.raises(ProbeError) as caught:
        Memory(scope="container", of=Of(process=app.name)).probe(within(PATIENCE))
    assert caught.value.reason is Reason.ERROR
    path = file if what == "file" else folder
    message = f"{path} is not a file of the kernel: something else is mounted there"
    assert str(caught.value) == f"process {app.name} (pid {app.pid}): {message}"


def test_a_container_that_does_not_respond_is_not_evidence_against_the_one_that_replaces_it(tmp_path):
    name = choose_name()
    of, blocked, proc = Of(process=name), threading.Event(), Path("/proc")

    def read(deadline, block=None):
        return read_cgroup(of, lambda cgroup: block and block.wait(), deadline, proc, ROOT)

    try:
        with container(tmp_path, name=name):
            for _ in range(2):
                with pytest.raises(ProbeError, match="did not respond in time"):
                    read(within(3), blocked)
        with container(tmp_path, name=name):
            assert read(within(PATIENCE)) is None
    finally:
        blocked.set()


def count_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_container_is_closed_in_the_end(app):
    blocked = threading.Event()

    def read_twice():
        """The second thread is not started."""
        for _ in range(2):
            with pytest.raises(ProbeError, match="did not respond in time"):
                read_cgroup(Of(process=app.name), lambda _: blocked.wait(), within(3), Path("/proc"), ROOT)

    before = count_descriptors()
    Memory(scope="container", of=Of(process=app.name)).probe(within(PATIENCE))
    read_twice()
    blocked.set()
    eventually(lambda: count_descriptors() == before, what="the descriptors are closed")


V2 = {
    "memory.current": "1000\n",
    "memory.max": "4000\n",
    "memory.stat": "anon 500\ninactive_file 300\n",
    "memory.events": "oom_kill 2\n",
    "cpu.pressure": "some avg10=1.00\n",
}


@pytest.fixture
def make_container(tmp_path):
    """Make a container from files: its view of cgroup version 2, and its line in /proc/PID/cgroup."""
    with ExitStack() as stack:

        def make(listing, files, number=None, point="/sys/fs/cgroup"):
            (tmp_path / "root/sys/fs/cgroup").mkdir(parents=True)
            (tmp_path / "cgroup").write_text(listing)
            root = os.open(tmp_path / "root", os.O_PATH)
            stack.callback(os.close, root)
            number = number or Path(f"/proc/self/fdinfo/{root}").read_text().partition("mnt_id:")[2].split()[0]
            (tmp_path / "mountinfo").write_text(f"{number} 1 0:1 / {point} ro - cgroup2 cgroup2 rw\n")
            for name, text in files.items():
                (tmp_path / "root/sys/fs/cgroup" / name).parent.mkdir(exist_ok=True)
                (tmp_path / "root/sys/fs/cgroup" / name).write_text(text)
            return Container("process web (pid 7)", 7, tmp_path, root)

        yield make


@pytest.mark.parametrize("listing", ["0::/../web\n", "0::/\n", "0::/kubepods/pod1/web\n"])
def test_the_container_s_own_view_of_version_2_is_read(make_container, listing):
    """From another cgroup namespace, the path of its cgroup is not one of the mounted hierarchy."""
    web = make_container(listing, V2)
    memory = web.read_cgroup(lambda cgroup: cgroup.read_memory())

    assert (memory.cgroup, memory.used, memory.limit, memory.oom_kills) == ("", 700, 4000, 2)
    assert web.read_cgroup(lambda cgroup: cgroup.read_pressure("cpu")) == V2["cpu.pressure"]


def test_a_missing_file_is_named_as_the_container_sees_it(make_container):
    with pytest.raises(ProbeError) as caught:
        make_container("0::/\n", {}).read_cgroup(lambda cgroup: cgroup.read_memory())

    assert str(caught.value).startswith("process web (pid 7): /sys/fs/cgroup/memory.current does not exist")


def test_a_folder_that_is_not_the_mount_of_cgroups_is_not_read(make_container, tmp_path):
    """Whoever controls the container could put a link there that leads to files of the exporter."""
    web = make_container("0::/\n", V2, number=1)
    with pytest.raises(ProbeError, match="it has no cgroup2 filesystem"):
        web.read_cgroup(lambda cgroup: cgroup.read_memory())


def test_a_listing_that_is_missing_is_named(make_container):
    with pytest.raises(ProbeError, match=r"process web \(pid 7\): /proc/7/cgroup does not list such a cgroup"):
        make_container("", V2).read_cgroup(lambda cgroup: cgroup.read_memory())


def test_the_status_of_the_check_says_what_it_measures():
    probe = Memory(scope="container", of=Of(process="web"))

    assert probe.target == "container of process web"
    assert probe.liveness_risk() is None
