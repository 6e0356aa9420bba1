"""The kind `memory` with given numbers, on fake trees of a container, and on this machine."""

import time
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from exporter.kinds.memory import Memory
from exporter.model import Deadline, ProbeError, Reason, Status

GIB = 2**30
UNLIMITED = 9223372036854771712


def machine(total=8 * GIB, available=6 * GIB):
    return lambda: SimpleNamespace(total=total, available=available)


def values(outcome):
    return {measurement.name: measurement.value for measurement in outcome.measurements}


def run_check(**options):
    return Memory(**options).probe(Deadline(time.monotonic() + 5), machine=machine())


@pytest.fixture
def container(tmp_path):
    """Check a container with these numbers, in either version of cgroups."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)

    def run_check(version=2, used=3 * GIB, idle=GIB, limit=4 * GIB, **options):
        folder = cgroups if version == 2 else cgroups / "memory"
        folder.mkdir(parents=True)
        files = {
            "cgroup.controllers": "memory\n",
            "memory.current": f"{used}\n",
            "memory.stat": f"anon 1\ninactive_file {idle}\n",
            "memory.max": "max\n" if limit is None else f"{limit}\n",
            "memory.events": "oom 3\noom_kill 2\n",
        }
        if version == 1:
            files = {
                "memory.usage_in_bytes": f"{used}\n",
                "memory.stat": f"inactive_file 1\ntotal_inactive_file {idle}\n",
                "memory.limit_in_bytes": f"{UNLIMITED if limit is None else limit}\n",
                "memory.oom_control": "oom_kill_disable 0\noom_kill 2\n",
            }
        for name, text in files.items():
            (folder / name).write_text(text)
        (proc / "self" / "cgroup").write_text("0::/\n" if version == 2 else "4:memory:/docker/1f\n")
        probe = Memory(scope="container", **options)
        return probe.probe(Deadline(time.monotonic() + 5), machine=machine(), proc=proc, cgroups=cgroups)

    return run_check


def test_memory_that_is_not_available_is_in_use():
    outcome = run_check()

    assert outcome.status is Status.PASS
    assert outcome.summary == "25 % of 8 GiB of memory is in use (fail at 90 %)"
    assert values(outcome) == {
        "memory_used_ratio": 0.25,
        "memory_available_bytes": 6 * GIB,
        "memory_total_bytes": 8 * GIB,
    }


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, "pass"),
        ({"fail_ratio": 0.25}, "fail"),
        ({"fail_ratio": 0.26}, "pass"),
        ({"warn_ratio": 0.2}, "warn"),
        ({"warn_ratio": 0.2, "fail_ratio": 0.25}, "fail"),
    ],
    ids=str,
)
def test_the_used_share_is_compared_with_its_limits(options, status):
    outcome = run_check(**options)

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_s_share_is_its_working_set_of_its_limit(container, version):
    outcome = container(version)

    assert outcome.summary.startswith("container: 50 % of 4 GiB of memory is in use")
    assert values(outcome) == {
        "memory_used_ratio": 0.5,
        "memory_available_bytes": 2 * GIB,
        "memory_total_bytes": 4 * GIB,
        "memory_oom_kills_total": 2,
    }


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("limit", [None, 9 * GIB], ids=["no limit", "a limit above the machine"])
def test_without_a_lower_limit_a_container_s_share_is_of_the_machine_s_memory(container, version, limit):
    outcome = container(version, limit=limit)

    assert outcome.summary.startswith("the container has no lower limit: 25 % of 8 GiB of memory is in use")
    assert values(outcome)["memory_used_ratio"] == 0.25
    assert values(outcome)["memory_total_bytes"] == 8 * GIB


@pytest.mark.parametrize(
    ("used", "status"), [(4.5, "pass"), (4.61, "fail"), (9.0, "fail")], ids=["below", "above", "beyond the limit"]
)
def test_a_container_near_its_limit_fails(container, used, status):
    outcome = container(used=int(used * GIB), limit=4 * GIB)

    assert outcome.status == status
    assert values(outcome)["memory_available_bytes"] >= 0


def test_a_small_container_s_memory_is_shown_in_mib(container):
    assert "25 % of 64 MiB" in container(used=16 * 2**20, idle=0, limit=64 * 2**20).summary


def test_a_limit_of_zero_is_always_reached(container):
    assert container(used=0, idle=0, limit=0).status is Status.FAIL


def test_the_error_says_what_to_do_if_the_kernel_does_not_count_the_container(tmp_path):
    with pytest.raises(ProbeError, match="use scope: host") as caught:
        Memory(scope="container").probe(Deadline(time.monotonic() + 5), proc=tmp_path, cgroups=tmp_path)

    assert caught.value.reason is Reason.MISSING


def test_a_full_cgroup_above_the_container_decides_and_is_named(tmp_path):
    numbers = {"pod": (1000, 1024), "pod/app": (100, 512)}  # MiB in use, and the limit
    for folder, (used, limit) in numbers.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "memory.current").write_text(f"{used * 2**20}\n")
        (tmp_path / folder / "memory.max").write_text(f"{limit * 2**20}\n")
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/pod/app\n")
    probe, deadline = Memory(scope="container"), Deadline(time.monotonic() + 5)
    outcome = probe.probe(deadline, machine=machine(), proc=tmp_path, cgroups=tmp_path)

    assert outcome.status is Status.FAIL
    assert outcome.summary.startswith("the cgroup /pod above the container: 97.7 % of 1 GiB of memory is in use")


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (lambda: SimpleNamespace(total=0, available=0), "reports no memory at all"),
        (lambda: {}[b"MemTotal:"], "has no line MemTotal"),
    ],
    ids=["zero", "no line"],
)
def test_a_machine_without_a_number_for_its_memory_is_no_evidence(machine, words):
    with pytest.raises(ProbeError, match=words) as caught:
        Memory().probe(Deadline(time.monotonic() + 5), machine=machine)

    assert caught.value.reason is Reason.MISSING


def test_this_machine_s_memory_is_measured():
    numbers = values(Memory(fail_ratio=2).probe(Deadline(time.monotonic() + 5)))

    assert 0 < numbers["memory_used_ratio"] < 1
    assert 0 < numbers["memory_available_bytes"] < numbers["memory_total_bytes"]


def test_this_container_s_memory_is_measured():
    try:
        numbers = values(Memory(scope="container", fail_ratio=2).probe(Deadline(time.monotonic() + 5)))
    except ProbeError as error:
        pytest.skip(str(error))

    assert 0 < numbers["memory_used_ratio"] < 1.5


@pytest.mark.parametrize("options", [{"scope": "pod"}, {"fail_ratio": 0}, {"warn_ratio": "0.5"}], ids=str)
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValidationError):
        Memory(**options)


@pytest.mark.parametrize(
    ("scope", "whose"), [("host", "the whole machine's"), ("container", "the exporter's own container")]
)
def test_a_restart_of_the_application_fixes_neither_scope(scope, whose):
    probe = Memory(scope=scope)

    assert probe.target == scope
    assert whose in probe.liveness_risk()
