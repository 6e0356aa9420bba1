"""The application is not killed during its start, or because the exporter is missing."""

import time
from types import SimpleNamespace

import pytest
from e2e.cluster.drill import EXPORTER, Stage, after, patched, series, up
from e2e.cluster.kube import is_ready, restarts, statuses

pytestmark = pytest.mark.timeout(600)
LOAD = 35
"""Seconds to start: longer than the livenessProbe with the shipped numbers would allow."""
STOP_IMMEDIATELY = "import os, time; os.kill(1, 15); time.sleep(0.5); os.kill(1, 15)"
"""The second SIGTERM ends the exporter's drain. SIGKILL from within its container does not affect PID 1."""

START = 4
"""Seconds that an exporter may take to start, according to rule 2 in the README."""
ALIVE = 'health_answers_total{code="200",group="liveness"}'


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


def exporter_dies(stage: Stage) -> SimpleNamespace:
    """The exporter is stopped twice. The second time, the kubelet's back-off delays its restart."""
    record = SimpleNamespace(stage=stage, missing=[], starts=[])
    stage.apply("sidecar", patches=[patched(replicas=1)])
    (pod,) = stage.ready()
    for count in (1, 2):
        stage.execute(pod, EXPORTER, "python3", "-c", STOP_IMMEDIATELY)
        stopped = time.time()
        restarted = stage.restarted(EXPORTER, count)
        stage.until(lambda: "Health-Generation" in stage.request(pod, "/livez").headers, 60, "the exporter responds")
        record.missing.append(time.time() - stopped)
        record.starts.append(time.time() - restarted)
        stage.note(f"exporter missing, stop {count}", record.missing[-1])
        stage.until(lambda: stage.metrics(pod).get(ALIVE, 0) >= 4, 60, "the kubelet probes successfully")
        stage.watch.until(lambda watch: is_ready(watch.pods()[pod]), 60, "ready again")
    record.metrics = stage.metrics(pod)
    record.pod = stage.watch.pods()[pod]
    return record


@after(exporter_dies)
def test_stopping_the_exporter_does_not_restart_the_application(record):
    """The exporter is back before the livenessProbe of the application fails."""
    if max(record.starts) > START:
        pytest.skip(f"this machine takes {max(record.starts):.0f} s to start an exporter, more than the numbers allow")
    assert restarts(record.pod) == {"shop": 0, EXPORTER: 2}
    assert record.metrics[up("liveness")] == 1
    assert "shop" not in [container for container, _ in record.stage.watch.messages("Killing")]


@after(exporter_dies)
def test_the_exporter_exited_with_0_and_the_back_off_delayed_the_second_restart(record):
    """Otherwise the test above would not have covered the back-off."""
    assert statuses(record.pod)[EXPORTER]["lastState"]["terminated"]["exitCode"] == 0
    assert record.missing[1] > 8
