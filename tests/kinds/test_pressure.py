"""The kind `pressure` on fake trees of every layout, and on this machine."""

import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from exporter.kinds.pressure import Pressure
from exporter.model import Deadline, ProbeError, Reason, Status

TEXT = """\
some avg10=10.00 avg60=20.50 avg300=30.00 total=1
full avg10=1.00 avg60=2.00 avg300=3.25 total=2
"""
CALM = TEXT.replace("0.", "9.")


@pytest.fixture
def trees(tmp_path):
    """/proc and cgroup version 2, with TEXT as the pressure on memory and CALM as that on every other resource."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "pressure").mkdir(parents=True)
    (proc / "self").mkdir()
    (proc / "self" / "cgroup").write_text("0::/\n")
    cgroups.mkdir()
    (cgroups / "cgroup.controllers").touch()
    for resource in ("cpu", "memory", "io"):
        text = TEXT if resource == "memory" else CALM
        (proc / "pressure" / resource).write_text(text)
        (cgroups / f"{resource}.pressure").write_text(text)
    return proc, cgroups


def run_check(trees, resource="memory", **options):
    proc, cgroups = trees
    probe = Pressure(resource=resource, **options)
    return probe.probe(Deadline(time.monotonic() + 5), proc=proc, cgroups=cgroups)


@pytest.mark.parametrize("scope", ["host", "container"])
@pytest.mark.parametrize(
    ("line", "window", "ratio"),
    [
        ("some", "10s", 0.1),
        ("some", "60s", 0.205),
        ("some", "300s", 0.3),
        ("full", "10s", 0.01),
        ("full", "60s", 0.02),
        ("full", "300s", 0.0325),
    ],
)
def test_the_line_and_the_window_select_the_number(trees, scope, line, window, ratio):
    (measurement,) = run_check(trees, scope=scope, line=line, window=window).measurements

    assert measurement.name == "pressure_stalled_ratio"
    assert measurement.value == pytest.approx(ratio)


@pytest.mark.parametrize("scope", ["host", "container"])
@pytest.mark.parametrize("resource", ["cpu", "memory", "io"])
def test_the_resource_selects_the_file(trees, scope, resource):
    proc, cgroups = trees
    for other in {"cpu", "memory", "io"} - {resource}:
        (proc / "pressure" / other).unlink()
        (cgroups / f"{other}.pressure").unlink()

    assert run_check(trees, resource=resource, scope=scope).measurements


def test_the_scope_selects_the_tree(trees):
    _, cgroups = trees
    (cgroups / "memory.pressure").write_text(TEXT.replace("20.50", "77.00"))

    assert run_check(trees, scope="host").measurements[0].value == pytest.approx(0.205)
    assert run_check(trees, scope="container").measurements[0].value == pytest.approx(0.77)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, "pass"),
        ({"warn_ratio": 0.2}, "warn"),
        ({"fail_ratio": 0.2}, "fail"),
        ({"warn_ratio": 0.1, "fail_ratio": 0.2}, "fail"),
    ],
    ids=str,
)
def test_the_stalled_share_is_compared_with_its_limits(trees, options, status):
    outcome = run_check(trees, **options)

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)
    assert outcome.summary.startswith("some tasks waited for memory in 20.5 % of the last 60 s")


def test_without_psi_the_error_says_what_to_do(trees):
    proc, _ = trees
    (proc / "pressure" / "memory").unlink()
    with pytest.raises(ProbeError, match="psi=1") as caught:
        run_check(trees)

    assert caught.value.reason is Reason.MISSING


def test_with_cgroup_version_1_the_error_says_what_to_do(trees):
    proc, cgroups = trees
    (cgroups / "cgroup.controllers").unlink()
    (proc / "self" / "cgroup").write_text("4:memory:/\n")
    with pytest.raises(ProbeError, match="version 2") as caught:
        run_check(trees, scope="container")

    assert caught.value.reason is Reason.MISSING


def test_without_the_line_full_the_error_says_what_to_do(trees):
    proc, _ = trees
    (proc / "pressure" / "cpu").write_text(TEXT.splitlines()[0] + "\n")
    with pytest.raises(ProbeError, match="use line: some") as caught:
        run_check(trees, resource="cpu", line="full")

    assert caught.value.reason is Reason.MISSING


def test_what_is_no_number_is_not_shown(trees):
    proc, _ = trees
    (proc / "pressure" / "memory").write_text("some avg60=1.2.3 total=4\n")
    with pytest.raises(ProbeError, match="has no average of 60s") as caught:
        run_check(trees)

    assert caught.value.reason is Reason.MISSING


def test_this_machine_s_pressure_is_read():
    if not Path("/proc/pressure/memory").exists():
        pytest.skip("this kernel has no PSI")
    outcome = Pressure(resource="memory", fail_ratio=2).probe(Deadline(time.monotonic() + 5))

    assert outcome.status is Status.PASS
    assert 0 <= outcome.measurements[0].value <= 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resource": "disk"},
        {"resource": "cpu", "window": "1m"},
        {"resource": "cpu", "line": "all"},
        {"resource": "cpu", "fail_ratio": 0},
    ],
    ids=str,
)
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValidationError):
        Pressure(**options)


@pytest.mark.parametrize(
    ("scope", "whose"), [("host", "the whole machine's"), ("container", "the exporter's own container")]
)
def test_a_restart_of_the_application_fixes_neither_scope(scope, whose):
    probe = Pressure(resource="io", scope=scope)

    assert probe.target == f"io of {scope}"
    assert whose in probe.liveness_risk()
