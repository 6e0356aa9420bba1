"""The kind `loadAverage` with given loads, and on this machine."""

import os
import subprocess
import sys
import time

import pytest
from pydantic import ValidationError

from exporter.kinds.load_average import LoadAverage
from exporter.model import Deadline, ProbeError, Reason, Status


def run_check(loads=(1.0, 2.0, 4.0), cpus=4, **options):
    deadline = Deadline(time.monotonic() + 5)
    return LoadAverage(**options).probe(deadline, getloadavg=lambda: loads, cpu_count=lambda: cpus)


def values(outcome):
    return {measurement.name: measurement.value for measurement in outcome.measurements}


@pytest.mark.parametrize(("window", "ratio"), [("1m", 0.25), ("5m", 0.5), ("15m", 1.0)])
def test_the_window_selects_the_load(window, ratio):
    expected = {"load_ratio": ratio, "load1": 1, "load5": 2, "load15": 4, "cpus": 4}

    assert values(run_check(window=window, fail_ratio=2)) == expected


@pytest.mark.parametrize(
    ("load", "options", "status"),
    [
        (0.0, {}, "pass"),
        (3.59, {}, "pass"),
        (3.6, {}, "fail"),
        (40.0, {}, "fail"),
        (2.8, {"warn_ratio": 0.7}, "warn"),
        (2.7, {"warn_ratio": 0.7}, "pass"),
        (7.9, {"fail_ratio": 2}, "pass"),
        (8.0, {"fail_ratio": 2}, "fail"),
    ],
)
def test_the_load_per_cpu_is_compared_with_its_limits(load, options, status):
    outcome = run_check(loads=(load, 0.0, 0.0), **options)

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)


def test_the_defaults_are_the_classic_form():
    """On this machine: os.getloadavg()[0] / os.cpu_count() < 0.9. The load is read once, so it cannot change."""
    loads = os.getloadavg()
    outcome = run_check(loads=loads, cpus=os.cpu_count())

    assert outcome.status.healthy == (loads[0] / os.cpu_count() < 0.9)


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("0.00 0.00 0.00 0/0 0\n", False),
        ("0.00 0.00 0.00 1/99 7\n", True),
        ("0.50 0.00 0.00 0/0 0\n", True),
        (None, True),
    ],
    ids=["gVisor", "idle", "loaded", "no file"],
)
def test_a_kernel_that_does_not_count_the_load_is_no_evidence(tmp_path, text, counted):
    if text is not None:
        (tmp_path / "loadavg").write_text(text)
    loads = (float((text or "0").split()[0]), 0.0, 0.0)

    def check():
        return LoadAverage().probe(Deadline(time.monotonic() + 5), lambda: loads, lambda: 4, tmp_path)

    if counted:
        assert check().status is Status.PASS
    else:
        with pytest.raises(ProbeError, match="does not count the load average"):
            check()


def test_this_machine_s_load_is_divided_by_its_cpus():
    numbers = values(LoadAverage(fail_ratio=1000).probe(Deadline(time.monotonic() + 5)))

    assert numbers["load_ratio"] == pytest.approx(numbers["load1"] / numbers["cpus"])
    assert numbers["cpus"] == os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU sets")
def test_a_process_that_may_use_one_cpu_divides_by_all_cpus():
    """The load is the machine's: a container's CPU set must not make it look higher."""
    code = """
import os, time
from exporter.model import Deadline
from exporter.kinds.load_average import LoadAverage
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
outcome = LoadAverage(fail_ratio=1000).probe(Deadline(time.monotonic() + 5))
print(next(measurement.value for measurement in outcome.measurements if measurement.name == "cpus"))
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert int(output.stdout) == os.cpu_count()


@pytest.mark.parametrize("options", [{"window": "10m"}, {"window": 1}, {"fail_ratio": 0}, {"warn_ratio": -1}], ids=str)
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValidationError):
        LoadAverage(**options)


def test_a_restart_cannot_reduce_the_load_of_other_processes():
    assert LoadAverage().target == "host"
    assert LoadAverage().liveness_risk()
