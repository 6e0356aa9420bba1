"""The application is not killed during its start, nor because of a failure of its previous process."""

from types import SimpleNamespace

import pytest
from e2e.cluster.drill import EXPORTER, Stage, after, patched, series, up
from e2e.cluster.kube import is_ready, restarts, statuses

pytestmark = pytest.mark.timeout(600)
LOAD = 35
"""Seconds to start: longer than the livenessProbe with the shipped numbers would allow."""


def slow_start(stage: Stage) -> SimpleNamespace:
    """An application with a slow start fails once and starts again."""
    record = SimpleNamespace(stage=stage)
    stage.apply("sidecar", patches=[patched(replicas=1, LOAD=LOAD)])
    (pod,) = stage.watch.until(lambda watch: list(watch.pods()), 30, "a pod")
    stage.watch.until(lambda watch: EXPORTER in statuses(watch.pods()[pod]), 60, "containers")

    def failed():
        response = stage.request(pod, "/livez")
        return response.status == 503 and "Health-Generation" in response.headers

    stage.until(failed, 60, "the check of the starting application fails")
    record.starting = stage.metrics(pod)
    record.startupz = stage.request(pod, "/startupz")
    record.started_while_starting = statuses(stage.watch.pods()[pod])["shop"]["started"]
    stage.ready(within=LOAD + 60)
    record.started = stage.watch.pods()[pod]
    record.start_metrics = stage.metrics(pod)

    stage.breaks(pod, "shop")
    stage.order(pod, "/mode/health/failing")
    stage.restarted("shop")
    record.after_restart = stage.request(pod, "/livez")
    stage.watch.until(lambda watch: not is_ready(watch.pods()[pod]), 30, "not ready")
    stage.ready(within=LOAD + 60)
    record.again = stage.watch.pods()[pod]
    return record


@after(slow_start)
def test_liveness_does_not_kill_a_starting_application(record):
    """Scenario 13: /livez returns 503 for long enough to be killed, but is not probed while /startupz returns 503."""
    assert record.starting[up("liveness")] == 0
    assert record.starting[up("startup")] == 0
    assert record.starting[series("health_check_reason", "health", reason="connect")] == 1
    assert record.startupz.status == 503
    assert record.started_while_starting is False
    assert restarts(record.started) == {"shop": 0, EXPORTER: 0}
    assert record.start_metrics[up("startup")] == record.start_metrics[up("liveness")] == 1


@after(slow_start)
def test_a_stale_failure_does_not_kill_the_new_process(record):
    """Scenario 13: the exporter, and its stale `fail`, survive the restart of the application."""
    assert record.after_restart.status == 503
    assert restarts(record.again) == {"shop": 1, EXPORTER: 0}
    assert is_ready(record.again)
