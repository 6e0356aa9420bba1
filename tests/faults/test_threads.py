"""A reload that needs more threads than the system starts (a cgroup of pids)."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from faults.cgroups import Cgroup, cgroup
from support import Exporter, Process, ended, eventually

OLD = "checks: [{name: old, loadAverage: {failRatio: 1000}, periodSeconds: 1, groups: [liveness]}]\n"
RUNS = 'health_check_runs_total{check="%s",kind="loadAverage"}'
RELOADED = "health_exporter_config_last_reload_successful"


def many(count: int) -> str:
    return "checks:\n" + "".join(
        f"  - {{name: new{number}, loadAverage: {{failRatio: 1000}}, periodSeconds: 1}}\n" for number in range(count)
    )


class Restricted(Exporter):
    """The exporter in a cgroup that limits its threads."""

    def __init__(self, config: Path, limited: Cgroup) -> None:
        serve = [sys.executable, "-m", "exporter", "serve", "--config.file", str(config), "--web.enable-lifecycle"]
        Process.__init__(
            self, [*limited.prefix, *serve, "--web.listen-address", "127.0.0.1:0", "--shutdown-delay", "0"]
        )

    def threads(self) -> int:
        itself = psutil.Process(self.pid)
        return sum(process.num_threads() for process in (itself, *itself.children(recursive=True)))


@pytest.fixture
def limited() -> Iterator[Cgroup]:
    with cgroup(pids=100) as made:
        yield made


@pytest.fixture
def exporter(tmp_path, limited) -> Iterator[Restricted]:
    (tmp_path / "health.yml").write_text(OLD)
    with ended(Restricted(tmp_path / "health.yml", limited)) as exporter:
        eventually(lambda: exporter.metrics()[RUNS % "old"] >= 1)
        assert exporter.get("/-/reload", method="POST").status == 200  # the threads for requests exist
        limited.limit(pids=exporter.threads() + 3)
        yield exporter


def test_a_reload_without_enough_threads_changes_nothing_and_is_repeated(exporter, limited, tmp_path):
    (tmp_path / "health.yml").write_text(many(50))

    exporter.line(
        "configuration not loaded; keeping the previous one.*the checks need .* threads.*can't start new thread"
    )
    metrics = exporter.metrics()
    assert metrics[RELOADED] == 0
    assert not [sample for sample in metrics if 'check="new' in sample]
    eventually(lambda: exporter.metrics()[RUNS % "old"] >= metrics[RUNS % "old"] + 3, what="the old check goes on")
    assert exporter.get("/-/healthy").status == 200
    assert exporter.get("/livez").status == 200

    limited.limit(pids=None)
    eventually(lambda: exporter.metrics()[RELOADED] == 1, what="it is loaded without another change or request")
    eventually(lambda: exporter.metrics().get(RUNS % "new49", 0) >= 1)
    assert RUNS % "old" not in exporter.metrics()
    assert exporter.get("/-/healthy").status == 200


def test_a_request_for_a_reload_without_enough_threads_gets_the_reason(exporter, limited, tmp_path):
    (tmp_path / "health.yml").write_text(many(50))
    answer = exporter.get("/-/reload", method="POST")

    assert answer.status == 500
    assert "can't start new thread" in answer.text
    assert exporter.get("/healthz/old").status == 200
