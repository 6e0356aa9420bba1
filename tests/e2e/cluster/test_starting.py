"""Nobody is killed while it starts, and nobody for the sake of an exporter that is away."""

import time
from types import SimpleNamespace

import pytest
from drill import EXPORTER, Stage, after, patched, series, up
from kube import is_ready, restarts, statuses

pytestmark = pytest.mark.timeout(600)
LOAD = 35
"""Seconds to start: longer than it would take to be killed with the shipped numbers."""
END_AT_ONCE = "import os, time; os.kill(1, 15); time.sleep(0.5); os.kill(1, 15)"
"""The second SIGTERM ends the exporter's drain. SIGKILL does nothing to process 1 from within its container."""

START = 4
"""Seconds that an exporter may take to start, by the README's rule of how long it may be away."""
ANSWERED = 'health_answers_total{code="200",group="liveness"}'


def slow_start(stage: Stage) -> SimpleNamespace:
    """An application that needs long to start, fails once and starts again."""
    seen = SimpleNamespace(stage=stage)
    stage.apply("sidecar", patches=[patched(replicas=1, LOAD=LOAD)])
    (pod,) = stage.watch.until(lambda watch: list(watch.pods()), 30, "a pod")
    stage.watch.until(lambda watch: EXPORTER in statuses(watch.pods()[pod]), 60, "containers")

    def failed():
        answer = stage.ask(pod, "/livez")
        return answer.status == 503 and "Health-Generation" in answer.headers

    stage.until(failed, 60, "the check of an application that has not started yet fails")
    seen.starting = stage.metrics(pod)
    seen.startupz = stage.ask(pod, "/startupz")
    seen.started_while_starting = statuses(stage.watch.pods()[pod])["shop"]["started"]
    stage.ready(within=LOAD + 60)
    seen.started = stage.watch.pods()[pod]
    seen.start_metrics = stage.metrics(pod)

    stage.order(pod, "/mode/health/ill")
    stage.restarted("shop")
    seen.after_restart = stage.ask(pod, "/livez")
    stage.watch.until(lambda watch: not is_ready(watch.pods()[pod]), 30, "not ready")
    stage.ready(within=LOAD + 60)
    seen.again = stage.watch.pods()[pod]
    return seen


@after(slow_start)
def test_liveness_does_not_kill_an_application_that_starts(seen):
    """Scenario 13: /livez says 503 for longer than it takes to be killed, and nobody asks while /startupz does."""
    assert seen.starting[up("liveness")] == 0
    assert seen.starting[up("startup")] == 0
    assert seen.starting[series("health_check_reason", "health", reason="connect")] == 1
    assert seen.startupz.status == 503
    assert seen.started_while_starting is False
    assert restarts(seen.started) == {"shop": 0, EXPORTER: 0}
    assert seen.start_metrics[up("startup")] == seen.start_metrics[up("liveness")] == 1


@after(slow_start)
def test_the_failure_of_the_process_before_does_not_kill_the_new_one(seen):
    """Scenario 13: the exporter outlives the restart, and its old `fail` with it."""
    assert seen.after_restart.status == 503
    assert restarts(seen.again) == {"shop": 1, EXPORTER: 0}
    assert is_ready(seen.again)


def exporter_dies(stage: Stage) -> SimpleNamespace:
    """The exporter is ended twice, the second time with the kubelet's back-off before its restart."""
    seen = SimpleNamespace(stage=stage, away=[], starts=[])
    stage.apply("sidecar", patches=[patched(replicas=1)])
    (pod,) = stage.ready()
    for count in (1, 2):
        stage.execute(pod, EXPORTER, "python3", "-c", END_AT_ONCE)
        ended = time.time()
        restarted = stage.restarted(EXPORTER, count)
        stage.until(lambda: "Health-Generation" in stage.ask(pod, "/livez").headers, 60, "the exporter answers")
        seen.away.append(time.time() - ended)
        seen.starts.append(time.time() - restarted)
        stage.note(f"exporter away, end {count}", seen.away[-1])
        stage.until(lambda: stage.metrics(pod).get(ANSWERED, 0) >= 4, 60, "the kubelet asks and is answered")
        stage.watch.until(lambda watch: is_ready(watch.pods()[pod]), 60, "ready again")
    seen.metrics = stage.metrics(pod)
    seen.pod = stage.watch.pods()[pod]
    return seen


@after(exporter_dies)
def test_the_end_of_the_exporter_does_not_restart_the_application(seen):
    """The trap of an exporter that answers for another container: it is back before the kubelet's patience ends."""
    if max(seen.starts) > START:
        pytest.skip(
            f"this machine takes {max(seen.starts):.0f} s to start an exporter, which the numbers do not allow for"
        )
    assert restarts(seen.pod) == {"shop": 0, EXPORTER: 2}
    assert seen.metrics[up("liveness")] == 1
    assert "shop" not in [container for container, _ in seen.stage.watch.messages("Killing")]


@after(exporter_dies)
def test_the_exporter_ended_well_and_the_second_restart_was_held_back(seen):
    """Otherwise the test above would not have met the back-off."""
    assert statuses(seen.pod)[EXPORTER]["lastState"]["terminated"]["exitCode"] == 0
    assert seen.away[1] > 8
