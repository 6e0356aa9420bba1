"""The kubelet's events show every incident: at most 25 warnings per pod, then one every 5 minutes."""

from types import SimpleNamespace
from typing import Any

import pytest
from e2e.cluster.drill import EXPORTER, Stage, after, patched
from e2e.cluster.kube import restarts

pytestmark = pytest.mark.timeout(900)
FAILED = "Liveness probe failed"
BUDGET = 25


def two_incidents(stage: Stage) -> SimpleNamespace:
    """An application fails, is restarted, recovers, and fails again."""
    record = SimpleNamespace(stage=stage, warnings=[])
    stage.apply("sidecar", patches=[patched(1)])
    (pod,) = stage.ready()
    stage.breaks(pod, "shop")
    for count in (1, 2):
        stage.order(pod, "/mode/health/failing")
        stage.restarted("shop", count)
        stage.ready(within=180)
        record.warnings.append(count_warnings(stage, pod))
    record.metrics = stage.metrics(pod)
    record.pod = stage.watch.pods()[pod]
    return record


def count_warnings(stage: Stage, pod: str) -> dict[str, int]:
    """How often each failed probe has been reported so far."""
    events: dict[str, dict[str, Any]] = {
        change.object["metadata"]["name"]: change.object for change in stage.watch.all("Event")
    }
    counts: dict[str, int] = {}
    for event in events.values():
        if event["involvedObject"].get("name") == pod and event["reason"] == "Unhealthy":
            probe = event["message"].partition(":")[0]
            counts[probe] = counts.get(probe, 0) + (event.get("count") or 1)
    return counts


@after(two_incidents)
def test_the_second_incident_has_events_like_the_first(record):
    first, both = record.warnings
    assert restarts(record.pod) == {"shop": 2, EXPORTER: 0}
    threshold = record.pod["spec"]["containers"][0]["livenessProbe"]["failureThreshold"]
    assert first[FAILED] >= threshold
    assert both[FAILED] - first[FAILED] >= threshold


@after(two_incidents)
def test_two_incidents_fit_into_the_kubelets_budget(record):
    """Every 503 response is a warning. The events themselves would never exceed the budget."""
    groups = ("liveness", "readiness", "startup")
    answers = [record.metrics.get(f'health_answers_total{{code="503",group="{group}"}}', 0) for group in groups]
    assert sum(answers) <= BUDGET, dict(zip(groups, answers, strict=True))
