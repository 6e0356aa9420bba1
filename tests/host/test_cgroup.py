"""What a container uses and may use, from fake trees of every layout and from this machine."""

from functools import partial
from pathlib import Path

import pytest

from exporter.host.cgroup import Cgroup, CpuUse, MemoryUse, find_mount_below
from exporter.host.folders import MAX_FILE
from exporter.model import ProbeError, Reason

V1 = "7:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n3:cpuset:/docker/1f\n1:name=systemd:/docker/1f\n0::/docker/1f\n"
MEMORY_V1 = {
    "memory.usage_in_bytes": "1000\n",
    "memory.limit_in_bytes": "4000\n",
    "memory.stat": "cache 500\nnovel word\ninactive_file 1\nhierarchical_memory_limit 4000\ntotal_inactive_file 300\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}
CPU_V1 = {
    "cpuacct.usage": "2500000000\n",
    "cpu.cfs_quota_us": "150000\n",
    "cpu.cfs_period_us": "100000\n",
    "cpu.stat": "nr_periods 10\nnr_throttled 3\nthrottled_time 7\n",
}
V2 = {
    "cgroup.controllers": "cpu memory\n",
    "memory.current": "1000\n",
    "memory.max": "4000\n",
    "memory.stat": "anon 500\ninactive_file 300\n",
    "memory.events": "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\nnr_periods 10\nnr_throttled 3\nthrottled_usec 7\n",
    "cpu.max": "150000 100000\n",
    "cpu.pressure": "some avg10=1.00 avg60=2.00 avg300=3.00 total=4\n",
}
MEMORY = MemoryUse("", used=700, limit=4000, oom_kills=2)
CPU = CpuUse("", seconds=2.5, quota=1.5, periods=10, throttled=3)


@pytest.fixture
def make_cgroup(tmp_path):
    """Make a tree from the text of /proc/self/cgroup and from folders with their files."""

    def make(listing: str | None, folders: dict[str, dict[str, str]]) -> Cgroup:
        (tmp_path / "proc" / "self").mkdir(parents=True, exist_ok=True)
        if listing is not None:
            (tmp_path / "proc" / "self" / "cgroup").write_text(listing)
        for folder, files in folders.items():
            (tmp_path / "cgroup" / folder).mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (tmp_path / "cgroup" / folder / name).write_text(text)
        return Cgroup(tmp_path / "proc" / "self", partial(find_mount_below, tmp_path / "cgroup"))

    return make


LAYOUTS = {
    "v1 in a container": (V1, {"memory": MEMORY_V1, "cpu,cpuacct": CPU_V1}),
    "v1 on the host": (V1, {"memory/docker/1f": MEMORY_V1, "cpu,cpuacct/docker/1f": CPU_V1}),
    "v1 with separate hierarchies": (
        V1.replace("cpu,cpuacct:", "cpu:") + "9:cpuacct:/docker/1f\n",
        {"memory/docker/1f": MEMORY_V1, "cpu/docker/1f": CPU_V1, "cpuacct/docker/1f": CPU_V1},
    ),
    "v1 with a namespace": (
        "7:memory:/\n4:cpuacct,cpu:/\n",
        {"memory": MEMORY_V1, "cpuacct,cpu": CPU_V1},
    ),
    "v2 with a namespace": ("0::/\n", {".": V2}),
    "v2 on the host": (
        "0::/kubepods.slice/pod7.slice/cri-1f.scope\n",
        {".": {"cgroup.controllers": ""}, "kubepods.slice/pod7.slice/cri-1f.scope": V2},
    ),
    "v2 with the host's paths in a container": ("0::/kubepods.slice/cri-1f.scope\n", {".": V2}),
    "v2 above the namespace": ("0::/../other\n", {".": V2}),
    "hybrid": (
        V1,
        {
            "memory/docker/1f": MEMORY_V1,
            "cpu,cpuacct/docker/1f": CPU_V1,
            "unified/docker/1f": {"cgroup.controllers": "", "cpu.stat": "usage_usec 9\n"},
        },
    ),
}


@pytest.mark.parametrize(("listing", "folders"), LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_gives_the_same_numbers(make_cgroup, listing, folders):
    cgroup = make_cgroup(listing, folders)

    assert cgroup.read_memory() == MEMORY
    assert cgroup.read_cpu() == [CPU]


@pytest.mark.parametrize(
    ("listing", "folders"),
    [
        (V1, {"memory": {**MEMORY_V1, "memory.limit_in_bytes": "9223372036854771712\n"}}),
        (V1, {"memory": {**MEMORY_V1, "memory.limit_in_bytes": "9223372036854710272\n"}}),  # with pages of 64 KiB
        ("0::/\n", {".": {**V2, "memory.max": "max\n"}}),
        ("0::/\n", {".": {name: text for name, text in V2.items() if name != "memory.max"}}),
    ],
    ids=["v1", "v1 with large pages", "v2", "v2 without the file"],
)
def test_memory_without_a_limit(make_cgroup, listing, folders):
    assert make_cgroup(listing, folders).read_memory() == MemoryUse("", 700, None, 2)


@pytest.mark.parametrize(
    ("listing", "folders"),
    [
        (V1, {"cpu,cpuacct": {**CPU_V1, "cpu.cfs_quota_us": "-1\n"}}),
        ("0::/\n", {".": {**V2, "cpu.max": "max 100000\n"}}),
        ("0::/\n", {".": {name: text for name, text in V2.items() if name != "cpu.max"}}),
    ],
    ids=["v1", "v2", "v2 without the file"],
)
def test_cpus_without_a_quota(make_cgroup, listing, folders):
    assert make_cgroup(listing, folders).read_cpu() == [CpuUse("", 2.5, None, 10, 3)]


def test_cpu_time_is_read_without_the_cpu_controller(make_cgroup):
    assert make_cgroup("0::/\n", {".": {"cgroup.controllers": "", "cpu.stat": "usage_usec 2500000\n"}}).read_cpu() == [
        CpuUse("", 2.5, None, None, 0)
    ]


def memory(version: int, used: int, limit: int | None, kills: int = 2) -> dict[str, str]:
    """The files of a cgroup's memory."""
    if version == 2:
        maximum = "max" if limit is None else limit
        files = {"memory.max": maximum, "memory.current": used + 300, "memory.stat": "inactive_file 300"}
        return {name: f"{text}\n" for name, text in files.items()} | {"memory.events": f"oom_kill {kills}\n"}
    return {
        "memory.limit_in_bytes": f"{2**63 - 4096 if limit is None else limit}\n",
        "memory.usage_in_bytes": f"{used + 300}\n",
        "memory.stat": "inactive_file 1\ntotal_inactive_file 300\n",
        "memory.oom_control": f"oom_kill {kills}\n",
    }


MIB = 2**20
NESTED = {  # working set and limit of the pod and of the container; the deciding cgroup
    "a full pod around an empty container": ((1000, 1024), (100, 512), "/pod"),
    "a full container in an empty pod": ((600, 1024), (500, 512), ""),
    "only the pod has a limit": ((600, 1024), (500, None), "/pod"),
    "only the container has a limit": ((1000, None), (100, 512), ""),
    "none has a limit": ((1000, None), (100, None), ""),
    "equally near": ((500, 1000), (250, 500), ""),
    "a limit of 0": ((0, 0), (100, 512), "/pod"),
    "the pod's limit is beyond the machine": ((3000, 4096), (100, 512), ""),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("pod", "container", "deciding"), NESTED.values(), ids=NESTED)
def test_the_memory_limit_that_is_nearest_to_being_reached_decides(make_cgroup, version, pod, container, deciding):
    scale = [tuple(None if number is None else number * MIB for number in pair) for pair in (pod, container)]
    root = "memory" if version == 1 else "."
    folders = {
        root: {} if version == 1 else {"cgroup.controllers": "memory\n"},  # the root has no files for its memory
        f"{root}/pod": memory(version, *scale[0], kills=9),
        f"{root}/pod/app": memory(version, *scale[1]),
    }
    if version == 1:
        folders[root] = memory(version, 0, None)
    cgroup = make_cgroup("7:memory:/pod/app\n" if version == 1 else "0::/pod/app\n", folders)
    used, limit = scale[0] if deciding else scale[1]

    assert cgroup.read_memory(2048 * MIB) == MemoryUse(deciding, used, limit, 2)


def test_every_level_with_a_cpu_quota_is_read(make_cgroup):
    above = {**V2, "cpu.max": "50000 100000\n", "cpu.stat": "usage_usec 9000000\nnr_periods 90\nnr_throttled 80\n"}
    free = {**V2, "cpu.max": "max 100000\n"}
    folders = {".": {"cgroup.controllers": ""}, "slice": free, "slice/pod": above, "slice/pod/app": free}

    assert make_cgroup("0::/slice/pod/app\n", folders).read_cpu() == [
        CpuUse("", 2.5, None, 10, 3),
        CpuUse("/slice/pod", 9.0, 0.5, 90, 80),
    ]


def test_every_level_with_a_cpu_quota_is_read_in_version_1(make_cgroup):
    cpu = {**CPU_V1, "cpu.cfs_quota_us": "50000\n", "cpuacct.usage": "7000000000\n"}
    cgroup = make_cgroup(V1, {"cpu,cpuacct/docker": cpu, "cpu,cpuacct/docker/1f": CPU_V1, "cpu,cpuacct": CPU_V1})

    assert cgroup.read_cpu() == [CPU, CpuUse("/docker", 7.0, 0.5, 10, 3), CpuUse("/", 2.5, 1.5, 10, 3)]


def test_cpu_time_is_the_process_s_own_if_its_depth_differs_between_hierarchies(make_cgroup):
    """The hierarchies of version 1 are independent."""
    listing = "4:cpu:/docker/1f\n9:cpuacct:/\n"
    above = {**CPU_V1, "cpu.cfs_quota_us": "50000\n"}
    folders = {"cpu/docker/1f": CPU_V1, "cpu/docker": above, "cpuacct": {"cpuacct.usage": "9000000000\n"}}

    assert make_cgroup(listing, folders).read_cpu() == [
        CpuUse("", 9.0, 1.5, 10, 3),
        CpuUse("/docker", 9.0, 0.5, 10, 3),
    ]


@pytest.mark.parametrize("listing", [V1, "0::/\n"], ids=["v1", "v2"])
def test_a_hierarchy_that_is_not_mounted_is_an_error(make_cgroup, listing):
    cgroup = make_cgroup(listing, {".": {}})
    for read in (cgroup.read_cpu, cgroup.read_memory):
        with pytest.raises(ProbeError, match="use scope: host") as caught:
            read()
        assert caught.value.reason is Reason.MISSING


@pytest.mark.parametrize("listing", [None, "", "nonsense\n"])
def test_a_process_without_a_cgroup_is_an_error(make_cgroup, listing):
    cgroup = make_cgroup(listing, {})
    for read in (cgroup.read_cpu, cgroup.read_memory):
        with pytest.raises(ProbeError, match="does not list such a cgroup"):
            read()
    assert cgroup.read_pressure("cpu") is None


def test_a_kernel_that_does_not_count_oom_kills(make_cgroup):
    files = {**MEMORY_V1, "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}

    assert make_cgroup(V1, {"memory": files}).read_memory().oom_kills is None


def test_used_memory_is_never_negative(make_cgroup):
    """The kernel's two files are not read at the same moment, so the inactive pages can exceed the usage."""
    assert make_cgroup("0::/\n", {".": {**V2, "memory.current": "200\n"}}).read_memory().used == 0


@pytest.mark.parametrize(
    ("listing", "folders", "exists"),
    [
        ("0::/\n", {".": V2}, True),
        ("0::/pod\n", {".": {"cgroup.controllers": ""}, "pod": V2}, True),
        (V1, {"memory": MEMORY_V1, "unified/docker/1f": V2}, True),
        (V1, {"memory": MEMORY_V1}, False),
        ("0::/\n", {".": {"cgroup.controllers": ""}}, False),
    ],
    ids=["v2", "v2 on the host", "hybrid", "v1", "v2 without it"],
)
def test_pressure_is_read_if_the_kernel_has_it(make_cgroup, listing, folders, exists):
    assert make_cgroup(listing, folders).read_pressure("cpu") == (V2["cpu.pressure"] if exists else None)


SECRET = "secret\n"


@pytest.mark.parametrize(
    ("listing", "folder", "files"),
    [
        (V1, "memory", {**MEMORY_V1, "memory.usage_in_bytes": SECRET}),
        (V1, "memory", {**MEMORY_V1, "memory.limit_in_bytes": SECRET}),
        ("0::/\n", ".", {**V2, "memory.current": SECRET}),
        ("0::/\n", ".", {**V2, "memory.max": SECRET}),
        (V1, "cpu,cpuacct", {**CPU_V1, "cpuacct.usage": SECRET}),
        (V1, "cpu,cpuacct", {**CPU_V1, "cpu.cfs_quota_us": SECRET}),
        (V1, "cpu,cpuacct", {**CPU_V1, "cpu.cfs_period_us": SECRET}),
        ("0::/\n", ".", {**V2, "cpu.max": SECRET}),
        ("0::/\n", ".", {**V2, "cpu.max": "1 secret\n"}),
    ],
)
def test_the_text_of_a_file_that_has_no_number_is_not_shown(make_cgroup, listing, folder, files):
    cgroup = make_cgroup(listing, {folder: files})
    (name,) = (name for name, text in files.items() if "secret" in text)
    with pytest.raises(ProbeError, match=f"{name} does not contain a number$") as caught:
        (cgroup.read_memory if name.startswith("memory") else cgroup.read_cpu)()

    assert caught.value.reason is Reason.ERROR
    assert "secret" not in str(caught.value)


def test_digits_of_other_scripts_are_no_count(make_cgroup):
    assert make_cgroup("0::/\n", {".": {**V2, "memory.events": "oom_kill ²\n"}}).read_memory().oom_kills is None


def test_only_the_beginning_of_a_file_is_read(make_cgroup):
    padding = "x".ljust(MAX_FILE, "\n")
    files = {**V2, "memory.events": f"{padding}oom_kill 2\n"}

    assert make_cgroup("0::/\n", {".": files}).read_memory().oom_kills is None


def test_the_cgroup_of_this_process_is_read():
    cgroup = Cgroup(Path("/proc/self"), partial(find_mount_below, Path("/sys/fs/cgroup")))
    try:
        cpu, memory = cgroup.read_cpu(), cgroup.read_memory()
    except ProbeError as error:
        pytest.skip(str(error))

    assert cpu[0].seconds > 0
    assert memory.used > 0
