"""A /proc that only has processes, as with `ProcSubset=pid` of systemd."""

import re

import pytest
from faults.namespaces import namespaces
from support import within

from exporter.evaluation.run import attempt
from exporter.kinds import kinds
from exporter.model import Outcome, Reason, Spec, Status
from exporter.probe.check import Check

HIDDEN = {
    "memory": ({}, "meminfo"),
    "cpu": ({}, "stat"),
    "pressure": ({"resource": "io"}, "pressure/io"),
}
THERE = {
    "loadAverage": {"fail_ratio": 1000},
    "disk": {"path": "/", "fail_ratio": 2},
    "cpu": {"scope": "container", "fail_ratio": 100},
}


@pytest.fixture
def inside():
    with namespaces("mounts") as inside:
        inside.run("mount", "-t", "proc", "-o", "subset=pid", "proc", "/proc")
        yield inside


def run_check(kind: str, options: dict[str, object]) -> Outcome:
    return attempt(Check(Spec("it", kind), kinds()[kind](**options)), within(60))


@pytest.mark.parametrize(("kind", "options", "file"), [(kind, *rest) for kind, rest in HIDDEN.items()], ids=HIDDEN)
def test_a_file_that_proc_hides_makes_a_check_unknown_and_the_cause_is_named(inside, kind, options, file):
    outcome = inside(run_check, kind, options)

    assert (outcome.status, outcome.reason) == (Status.UNKNOWN, Reason.MISSING)
    assert re.match(rf"/proc/{file} is hidden by the mount option subset=pid .*ProcSubset=pid", outcome.summary)


@pytest.mark.parametrize(("kind", "options"), THERE.items(), ids=THERE)
def test_a_check_that_needs_no_hidden_file_passes(inside, kind, options):
    assert inside(run_check, kind, options).status is Status.PASS


def test_a_container_with_a_limit_for_its_memory_needs_no_hidden_file(inside, tmp_path):
    """Its files are fake, because the cgroup of the tests may have no limit."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/\n")
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.max").write_text("4000\n")
    probe = kinds()["memory"](scope="container")
    outcome = inside(probe.probe, within(60), proc=tmp_path, cgroups=tmp_path)

    assert outcome.summary.startswith("container: 75 % of 3.906 KiB of memory is in use")
