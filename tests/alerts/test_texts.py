"""The texts of the alerts that no incident of incidents.py sends: each names a pod, a check, and the next step."""

import pytest
from alerts.pods import MINUTE, STEP
from alerts.timeline import find_alerts
from support import command

MINUTES = 75
STEPS = MINUTES * MINUTE // STEP + 1
FIRST, SECOND = (
    f'namespace="prod", job="shop", instance="10.0.0.{number}:4584", pod="shop-{number}", node="node-{number}"'
    for number in (1, 2)
)
# `db` keeps the first replica from being ready; `api` makes the liveness of the second one fail.
SAMPLES = {
    f"up{{{FIRST}}}": 1,
    f"up{{{SECOND}}}": 1,
    f"health_exporter_build_info{{{FIRST}}}": 1,
    f"health_exporter_build_info{{{SECOND}}}": 1,
    f'health_group_up{{{FIRST}, group="liveness"}}': 1,
    f'health_group_up{{{FIRST}, group="readiness"}}': 0,
    f'health_group_up{{{SECOND}, group="liveness"}}': 0,
    f'health_group_up{{{SECOND}, group="readiness"}}': 1,
    f'health_check_up{{{FIRST}, check="db", kind="mysql"}}': 0,
    f'health_check_up{{{SECOND}, check="api", kind="httpGet"}}': 0,
    f'health_check_group{{{FIRST}, check="db", kind="mysql", group="readiness"}}': 1,
    f'health_check_group{{{SECOND}, check="api", kind="httpGet", group="liveness"}}': 1,
    f'health_check_reason{{{FIRST}, check="db", kind="mysql", reason="connect"}}': 1,
    f'health_check_reason{{{SECOND}, check="api", kind="httpGet", reason="timeout"}}': 1,
    # `custom` has finished no run; `api` of the other replica has not either, but no worker is stuck there.
    f"health_exporter_workers_stuck{{{FIRST}}}": 1,
    f"health_exporter_workers_stuck{{{SECOND}}}": 0,
    f'health_check_runs_total{{{FIRST}, check="custom", kind="queue"}}': 0,
    f'health_check_runs_total{{{FIRST}, check="hourly", kind="exec"}}': 1,
    f'health_check_runs_total{{{SECOND}, check="api", kind="httpGet"}}': 9,
    f'health_check_period_seconds{{{FIRST}, check="custom", kind="queue"}}': 10,
    f'health_check_period_seconds{{{FIRST}, check="hourly", kind="exec"}}': 3600,
    f'health_check_period_seconds{{{SECOND}, check="api", kind="httpGet"}}': 10,
    f"health_exporter_scheduler_lag_seconds{{{SECOND}}}": 12,
    f'health_group_hold_expiry_timestamp_seconds{{{FIRST}, group="liveness"}}': 4500,
    f'health_load_ratio{{{FIRST}, check="load", kind="loadAverage"}}': 0.8,
    f'health_load_ratio{{{SECOND}, check="load", kind="loadAverage"}}': 1.25,
    f'health_load_ratio_limit{{{FIRST}, check="load", kind="loadAverage", level="fail"}}': 0.9,
    f'health_load_ratio_limit{{{SECOND}, check="load", kind="loadAverage", level="fail"}}': 0.9,
    f'health_check_info{{{FIRST}, check="data", kind="disk", severity="warning", target="/data"}}': 1,
}
DISK = f'health_disk_available_bytes{{{FIRST}, check="data", kind="disk"}}'


TEXTS = {
    "HealthLivenessDown": (
        "/livez returns 503 on 1 of 2 replicas of prod/shop, for example pod shop-2; failing checks: api (timeout). "
        "The kubelet restarts containers whose livenessProbe uses /livez. If restarts do not help, read the log of "
        "the container."
    ),
    "HealthLivenessHeld": (
        "Restarts are suspended on 1 of 2 replicas of prod/shop, for example pod shop-1 until 1970-01-01 "
        "01:15:00 +0000 UTC. /livez returns 200, whatever its checks say. health-exporter ask livez shows why, and "
        "health-exporter hold liveness --end ends it."
    ),
    "HealthReadinessDown": (
        "2 of 2 replicas of prod/shop are not ready, for example pod shop-1; failing checks: api (timeout), db "
        "(connect). Run kubectl -n prod get pods, and read the log of a replica that is not ready."
    ),
    "HealthWorkersStuck": (
        "1 of 2 exporters of prod/shop have workers that run a check whose deadline has passed, for example pod "
        "shop-1; checks without a finished run: custom. These checks go stale; once no worker is free, all checks "
        "do. Find out what blocks them."
    ),
    "HealthSchedulerLagging": (
        "1 of 2 exporters of prod/shop start runs later than their shortest period, for example pod shop-2 by 12s. "
        "Results are late or go stale. Check whether a CPU limit throttles the exporter, or whether checks that "
        "hang occupy all its workers."
    ),
    "HealthLoadHigh": (
        "Check load of prod/shop measures a load per CPU of 1.25 on node node-2, threshold 0.9. This is the load "
        "of the whole machine. Find the processes that use its CPUs or wait for its disks."
    ),
    "HealthDiskFilling": (
        "The disk /data of check data of prod/shop fills up on 1 of 2 replicas, for example pod shop-1, where "
        "724MiB are left. At the rate of the last six hours, it is full within a day. Find the files that are "
        "growing."
    ),
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Return the texts of the alerts that fire at the end, by name and severity."""
    series = {name: [float(value)] * STEPS for name, value in SAMPLES.items()}
    series[DISK] = [2.0**30 - 2.0**20 * step for step in range(STEPS)]
    fired = find_alerts(series, MINUTES, tmp_path_factory.mktemp("texts"), command("promtool"))[-1]
    return {(labels["alertname"], labels["severity"]): texts["description"] for labels, texts in fired.values()}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_names_the_pod_the_check_and_the_next_step(texts, name):
    assert texts[name, "warning"] == TEXTS[name]
