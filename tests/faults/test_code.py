"""The code of a check never returns, or raises whatever can be raised."""

import os
import signal

import pytest
from faults.prober import probing
from faults.samples import sample
from faults.webs import webs
from support import Exporter, eventually

MODULE = """
import builtins, threading
from exporter import Probe

class Stuck(Probe):
    '''Never returns.'''
    @property
    def target(self):
        return ''
    def probe(self, deadline):
        threading.Event().wait()

class Raising(Probe):
    '''Raises an exception.'''
    error: str
    '''The name of the exception.'''
    @property
    def target(self):
        return ''
    def probe(self, deadline):
        raise getattr(builtins, self.error)
"""


@pytest.fixture
def plugin(tmp_path) -> dict[str, str]:
    """The environment in which the kinds `stuck` and `raising` exist."""
    (tmp_path / "hostile_kinds.py").write_text(MODULE)
    described = tmp_path / "hostile_kinds-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile-kinds\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(
        "[health_exporter.probes]\nstuck = hostile_kinds:Stuck\nraising = hostile_kinds:Raising\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}


def test_if_every_worker_is_stuck_the_application_stays_alive_and_the_exporter_reports_itself(start, plugin):
    """The check that no longer runs becomes stale: not ready, but alive."""
    stuck = ", ".join(
        f"{{name: stuck{number}, stuck: {{}}, periodSeconds: 600, initialDelaySeconds: 3}}" for number in range(20)
    )
    ok = "{name: ok, exec: {command: ['true']}, periodSeconds: 1, groups: [liveness, readiness]}"
    exporter = start(f"checks: [{ok}, {stuck}]", env=plugin)
    exporter.line("check ok: unknown -> pass")
    with probing(f"{exporter.url}/livez") as prober:
        eventually(lambda: count_free_workers(exporter) == 0, what="every worker is stuck")
        eventually(lambda: exporter.get("/-/healthy").status == 503, what="the exporter reports itself")
        exporter.line("check ok: pass -> unknown.* reason=stale")
        assert exporter.metrics()['health_group_up{group="readiness"}'] == 0
        assert exporter.get("/readyz").status == 503
        prober.wait_for_answers()

    exporter.signal(signal.SIGTERM)
    assert exporter.wait() == 0


def count_free_workers(exporter: Exporter) -> float:
    metrics = exporter.metrics()
    return metrics["health_exporter_workers"] - metrics.get("health_exporter_workers_stuck", 0)


ERRORS = ("RecursionError", "MemoryError", "SystemExit", "KeyboardInterrupt", "StopIteration", "GeneratorExit")


def test_whatever_a_check_raises_its_result_is_unknown_and_the_next_run_takes_place(start, plugin):
    raising = ", ".join(f"{{name: {error}, raising: {{error: {error}}}, periodSeconds: 1}}" for error in ERRORS)
    ok = "{name: ok, exec: {command: ['true']}, periodSeconds: 1, groups: [liveness]}"
    exporter = start(f"checks: [{ok}, {raising}]", env=plugin)
    names = [sample("runs_total", error, "raising") for error in ERRORS]
    with probing(f"{exporter.url}/livez"):
        eventually(lambda: min(exporter.metrics()[name] for name in names) >= 3)
        metrics = exporter.metrics()

    assert all(metrics[sample("status", error, "raising", status="unknown")] == 1 for error in ERRORS)
    assert metrics[sample("up", "ok", "exec")] == 1
    assert "health_exporter_workers_stuck" not in metrics
    assert exporter.get("/-/healthy").status == 200


def test_commands_start_while_other_threads_log_and_connect(start):
    """A fork copies the locks that other threads hold at that moment. No command hangs because of one."""
    with webs(*[("127.0.0.1", 0)] * 50) as servers:
        requests = [f"httpGet: {{port: {port}}}" for port in servers.ports]
        commands = ["exec: {command: ['true']}"] * 50
        checks = [
            f"{{name: check{number}, {probe}, periodSeconds: 1, timeoutSeconds: 20}}"
            for number, probe in enumerate([*requests, *commands])
        ]
        exporter = start(f"checks: [{', '.join(checks)}]", "--log.level", "debug")
        runs = [sample("runs_total", f"check{number}", "exec") for number in range(50, 100)]
        eventually(lambda: sum(exporter.metrics()[name] for name in runs) >= 300)
        metrics = exporter.metrics()

    assert not [name for name in metrics if name.startswith("health_check_failures_total")]
    assert "health_exporter_workers_stuck" not in metrics
