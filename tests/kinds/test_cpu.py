"""The kind `cpu` on fake trees whose counters advance, and on this machine."""

import os
import time
from pathlib import Path

import pytest
from pydantic import ValidationError
from support import eventually

from exporter.kinds.cpu import Cpu
from exporter.model import Deadline, Measurement, ProbeError, Reason, Status

SECOND = os.sysconf("SC_CLK_TCK")


class Machine:
    """Fake trees of /proc and of cgroup v2 or v1, and a clock; `advance` moves all of them."""

    def __init__(self, folder: Path, quota: float | None = None, cpus: int = 4, version: int = 2) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.cgroups.mkdir()
        listing = "0::/\n" if version == 2 else "4:cpu,cpuacct:/\n"
        (self.proc / "self" / "cgroup").write_text(listing)
        (self.proc / "self" / "status").write_text(f"Cpus_allowed_list:\t0-{cpus - 1}\n")
        self.quota, self.cpus, self.version = quota, cpus, version
        self.now = self.used = 100.0
        self.periods = self.throttled = 50
        self.spent = [1000.0] * 10  # seconds: user nice system idle iowait irq softirq steal guest guest_nice
        self.advance()

    def advance(self, seconds: float = 0, used: float = 0, periods: int = 0, throttled: int = 0, **host: float) -> None:
        self.now += seconds
        self.used += used
        self.periods += periods
        self.throttled += throttled
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
        self.spent = [spent + host.get(name, 0) for name, spent in zip(names, self.spent, strict=True)]
        ticks = " ".join(str(round(seconds * SECOND)) for seconds in self.spent)
        lines = [f"cpu  {ticks}", *(f"cpu{number} {ticks}" for number in range(self.cpus)), "intr 1", "ctxt 1"]
        (self.proc / "stat").write_text("\n".join(lines) + "\n")
        (self._write_v2 if self.version == 2 else self._write_v1)()

    def _write_v2(self) -> None:
        stat = f"usage_usec {self.used * 1e6:.0f}\nnr_periods {self.periods}\nnr_throttled {self.throttled}\n"
        (self.cgroups / "cgroup.controllers").write_text("cpu\n")
        (self.cgroups / "cpu.stat").write_text(stat)
        limit = "max" if self.quota is None else f"{self.quota * 100000:.0f}"
        (self.cgroups / "cpu.max").write_text(f"{limit} 100000\n")

    def _write_v1(self) -> None:
        folder = self.cgroups / "cpu,cpuacct"
        folder.mkdir(exist_ok=True)
        (folder / "cpuacct.usage").write_text(f"{self.used * 1e9:.0f}\n")
        (folder / "cpu.stat").write_text(f"nr_periods {self.periods}\nnr_throttled {self.throttled}\n")
        (folder / "cpu.cfs_quota_us").write_text("-1\n" if self.quota is None else f"{self.quota * 100000:.0f}\n")
        (folder / "cpu.cfs_period_us").write_text("100000\n")

    def run(self, probe: Cpu):
        deadline = Deadline(time.monotonic() + 5)
        return probe.probe(deadline, proc=self.proc, cgroups=self.cgroups, clock=lambda: self.now)


def values(outcome):
    return {measurement.name: measurement.value for measurement in outcome.measurements}


@pytest.mark.parametrize("scope", ["host", "container"])
def test_the_first_run_passes_without_a_number_and_says_so(tmp_path, scope):
    outcome = Machine(tmp_path).run(Cpu(scope=scope))

    assert outcome.status is Status.PASS
    assert outcome.measurements == ()
    assert "no number yet" in outcome.summary


@pytest.mark.parametrize(
    ("host", "ratio"),
    [
        ({"user": 10, "idle": 30}, 0.25),
        ({"system": 20, "iowait": 20}, 0.5),
        ({"nice": 1, "irq": 1, "softirq": 1, "steal": 1, "idle": 4}, 0.5),
        ({"user": 10, "guest": 10, "idle": 30}, 0.25),  # user includes the guests' time
        ({"idle": 40}, 0.0),
        ({"user": 40}, 1.0),
    ],
    ids=str,
)
def test_the_host_s_share_is_the_time_that_was_not_idle(tmp_path, host, ratio):
    machine, probe = Machine(tmp_path), Cpu()
    machine.run(probe)
    machine.advance(**host)

    assert values(machine.run(probe)) == {"cpu_used_ratio": pytest.approx(ratio)}


def test_the_host_s_ticks_are_divided_by_the_number_of_cpus(tmp_path):
    machine, probe = Machine(tmp_path, cpus=4), Cpu()
    machine.run(probe)
    machine.advance(user=10, idle=30)

    assert machine.run(probe).summary.startswith("25 % of 4 CPUs used in 10.0 s")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("quota", "ratio"), [(0.5, 0.6), (2, 0.15), (None, 0.075), (64, 0.075)], ids=["half", "two", "none", "too large"]
)
def test_the_container_s_share_is_of_its_quota_or_its_cpus(tmp_path, version, quota, ratio):
    machine, probe = Machine(tmp_path, quota=quota, cpus=4, version=version), Cpu(scope="container")
    machine.run(probe)
    machine.advance(10, used=3)

    assert values(machine.run(probe))["cpu_used_ratio"] == pytest.approx(ratio)


@pytest.mark.parametrize("version", [1, 2])
def test_throttling_is_the_share_of_periods_since_the_previous_run(tmp_path, version):
    machine, probe = Machine(tmp_path, quota=1, version=version), Cpu(scope="container")
    machine.run(probe)
    machine.advance(10, periods=80, throttled=20)

    assert values(machine.run(probe))["cpu_throttled_ratio"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("options", "used", "throttled", "status"),
    [
        ({}, 9.4, 100, "pass"),
        ({}, 9.6, 0, "fail"),
        ({"warn_ratio": 0.5}, 6, 0, "warn"),
        ({"fail_ratio": 0.5}, 6, 0, "fail"),
        ({"warn_throttled_ratio": 0.2}, 0, 20, "warn"),
        ({"fail_throttled_ratio": 0.2}, 0, 20, "fail"),
        ({"fail_throttled_ratio": 0.2}, 0, 19, "pass"),
        ({"warn_throttled_ratio": 0.2, "fail_ratio": 0.5}, 6, 20, "fail"),
    ],
    ids=str,
)
def test_use_and_throttling_are_compared_with_their_limits(tmp_path, options, used, throttled, status):
    machine, probe = Machine(tmp_path, quota=1), Cpu(scope="container", **options)
    machine.run(probe)
    machine.advance(10, used=used, periods=100, throttled=throttled)
    outcome = machine.run(probe)

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)


def test_every_run_counts_from_the_previous_one(tmp_path):
    machine, probe = Machine(tmp_path, quota=1), Cpu(scope="container")
    machine.run(probe)
    ratios = []
    for used in (2, 8, 0):
        machine.advance(10, used=used, periods=100)
        ratios.append(values(machine.run(probe))["cpu_used_ratio"])

    assert ratios == pytest.approx([0.2, 0.8, 0.0])


def test_a_changed_quota_is_used_from_the_next_run(tmp_path):
    machine, probe = Machine(tmp_path, quota=1), Cpu(scope="container")
    machine.run(probe)
    machine.quota = 2
    machine.advance(10, used=5)

    assert values(machine.run(probe))["cpu_used_ratio"] == pytest.approx(0.25)


def test_without_periods_there_is_no_number_for_throttling(tmp_path):
    machine, probe = Machine(tmp_path), Cpu(scope="container")
    for used in (100, 101):
        machine.advance(10)
        (machine.cgroups / "cpu.stat").write_text(f"usage_usec {used}000000\n")
        outcome = machine.run(probe)

    assert set(values(outcome)) == {"cpu_used_ratio"}


def test_a_container_that_did_not_run_was_not_throttled(tmp_path):
    machine, probe = Machine(tmp_path, quota=1), Cpu(scope="container", fail_throttled_ratio=0.1)
    machine.run(probe)
    machine.advance(10)

    assert values(machine.run(probe)) == {"cpu_used_ratio": 0, "cpu_throttled_ratio": 0}


@pytest.mark.parametrize(
    ("scope", "steps"),
    [
        ("container", {"seconds": 0.001, "used": 0.001}),
        ("container", {"seconds": 10, "used": -5}),
        ("host", {"idle": 0}),
        ("host", {"idle": -5}),
        ("host", {"user": 0.04}),
    ],
    ids=["no time", "going back", "standing still", "all going back", "a single tick"],
)
def test_counters_that_do_not_advance_are_no_evidence(tmp_path, scope, steps):
    """Not even when the run is repeated at once, as after every `unknown`."""
    machine, probe = Machine(tmp_path), Cpu(scope=scope)
    machine.run(probe)
    machine.advance(**steps)
    for _ in range(3):
        with pytest.raises(
            ProbeError, match="have not advanced since the previous run, so there is no number"
        ) as caught:
            machine.run(probe)
        assert caught.value.reason is Reason.MISSING
        machine.advance(0.001)
    machine.advance(10, used=4, user=4, idle=36)

    assert values(machine.run(probe))["cpu_used_ratio"] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("scope", ["host", "container"])
def test_a_kernel_that_counts_no_cpu_time_is_no_evidence(tmp_path, scope):
    """Such as that of an older gVisor: every number is 0."""
    machine, probe = Machine(tmp_path), Cpu(scope=scope)
    machine.used, machine.spent = 0, [0.0] * 10
    for _ in range(3):
        machine.advance(10)
        with pytest.raises(ProbeError, match="this kernel does not count CPU time") as caught:
            machine.run(probe)
        assert caught.value.reason is Reason.MISSING


def test_an_empty_file_of_counters_is_no_evidence(tmp_path):
    machine = Machine(tmp_path)
    (machine.proc / "stat").write_text("")
    with pytest.raises(ProbeError, match="this kernel does not count CPU time"):
        machine.run(Cpu())


@pytest.mark.parametrize("field", ["iowait", "idle", "guest"])
@pytest.mark.parametrize("fall", [0, 5, 15, 19, 25, 39])
def test_a_field_that_decreases_does_not_make_the_others_count_more(tmp_path, field, fall):
    """Half of the CPU time was used, and `iowait` may decrease at the same time."""
    machine, probe = Machine(tmp_path), Cpu()
    machine.run(probe)
    machine.advance(**{"user": 20, "idle": 20, field: -fall} | ({"iowait": 20} if field == "idle" else {}))

    assert values(machine.run(probe))["cpu_used_ratio"] == pytest.approx(0.5)


@pytest.fixture
def nested(tmp_path):
    """A container in a pod, each with its own quota in CPUs and with counters that advance."""
    machine = Machine(tmp_path, quota=1)
    (machine.proc / "self" / "cgroup").write_text("0::/pod/app\n")
    totals: dict[str, list[float]] = {"pod": [100, 50, 50], "pod/app": [100, 50, 50]}

    def advance(quotas: dict[str, str], **used: tuple[float, float, float]) -> None:
        machine.now += 10
        for name, total in totals.items():
            added = used.get(name.rpartition("/")[2], (0.0, 0, 0))
            total[:] = [then + more for then, more in zip(total, added, strict=True)]
            (machine.cgroups / name).mkdir(parents=True, exist_ok=True)
            words = f"usage_usec {total[0] * 1e6:.0f}\nnr_periods {total[1]:.0f}\nnr_throttled {total[2]:.0f}\n"
            (machine.cgroups / name / "cpu.stat").write_text(words)
            (machine.cgroups / name / "cpu.max").write_text(f"{quotas.get(name, 'max')} 100000\n")

    return machine, advance


def test_the_quota_that_is_nearest_to_being_used_up_decides(nested):
    machine, advance = nested
    probe, quotas = Cpu(scope="container", fail_throttled_ratio=0.5), {"pod": "200000", "pod/app": "100000"}
    advance(quotas)
    machine.run(probe)
    advance(quotas, pod=(19.5, 100, 60), app=(1, 100, 0))
    outcome = machine.run(probe)

    assert outcome.status is Status.FAIL
    assert outcome.summary.startswith("97.5 % of 2 CPUs used in 10.0 s by the cgroup /pod above the container")
    assert "throttled in 60 % of 100 periods by the cgroup /pod above the container" in outcome.summary
    assert values(outcome) == {"cpu_used_ratio": pytest.approx(0.975), "cpu_throttled_ratio": pytest.approx(0.6)}

    advance(quotas, pod=(10, 100, 0), app=(8, 100, 20))
    assert machine.run(probe).summary.startswith("80 % of 1 CPUs used in 10.0 s (fail at 95 %); throttled in 20 %")


@pytest.mark.parametrize(("scope", "file"), [("host", "proc/stat"), ("container", "cgroup/cpu.stat")])
def test_a_kernel_file_that_does_not_exist_is_missing(tmp_path, scope, file):
    machine = Machine(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(ProbeError) as caught:
        machine.run(Cpu(scope=scope))

    assert caught.value.reason is Reason.MISSING


def measured(probe: Cpu, deadline: Deadline) -> tuple[Measurement, ...]:
    """The measurements of a run; none while the counters have not advanced far enough."""
    try:
        return probe.probe(deadline).measurements
    except ProbeError:
        return ()


def test_this_machine_s_use_is_measured():
    probe = Cpu(fail_ratio=2)
    deadline = Deadline(time.monotonic() + 10)
    probe.probe(deadline)
    (used,) = eventually(lambda: measured(probe, deadline))

    assert 0 <= used.value <= 1


def test_this_container_s_use_is_measured():
    probe = Cpu(scope="container", fail_ratio=100)
    deadline = Deadline(time.monotonic() + 10)
    try:
        probe.probe(deadline)
    except ProbeError as error:
        pytest.skip(str(error))
    used = eventually(lambda: measured(probe, deadline))[0]

    assert used.name == "cpu_used_ratio"
    assert used.value >= 0


@pytest.mark.parametrize(
    "options",
    [{"scope": "pod"}, {"fail_throttled_ratio": 0.5}, {"warn_throttled_ratio": 0.5}, {"fail_ratio": 0}],
    ids=str,
)
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValidationError):
        Cpu(**options)


def test_the_counters_do_not_make_probes_unequal(tmp_path):
    probe = Cpu()
    Machine(tmp_path).run(probe)

    assert probe == Cpu()


@pytest.mark.parametrize(
    ("scope", "whose"), [("host", "the whole machine's"), ("container", "the exporter's own container")]
)
def test_a_restart_of_the_application_fixes_neither_scope(scope, whose):
    probe = Cpu(scope=scope)

    assert probe.target == scope
    assert whose in probe.liveness_risk()


def test_the_text_of_a_file_that_has_no_number_is_not_shown(tmp_path):
    machine = Machine(tmp_path)
    (machine.proc / "stat").write_text("cpu  1 2 secret\n")
    with pytest.raises(ProbeError, match=r"stat does not contain a number$"):
        machine.run(Cpu())
