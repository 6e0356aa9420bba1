"""Incidents that share a Prometheus, each in a cluster of its own. More pods cost little of its CPU time."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from alerts.incidents import INCIDENTS
from alerts.timeline import Firing, Series, build_series, find_alerts

SIZE = 8
Batch = tuple[str, ...]
"""Names of incidents. The first one keeps its clusters, which are usually none."""


def make_batches(names: Iterable[str]) -> list[Batch]:
    """Put incidents together that last about as long."""
    ordered = sorted(names, key=lambda name: INCIDENTS[name]().minutes)
    batches = (ordered[place : place + SIZE] for place in range(0, len(ordered), SIZE))
    return [tuple(sorted(batch, key=lambda name: not _has_clusters(name))) for batch in batches]


def _has_clusters(name: str) -> bool:
    return any(pod.cluster for pod in INCIDENTS[name]().pods)


def find_alerts_of(name: str, batches: Iterable[Batch], promtool: str, order: tuple[str, ...] = ()) -> list[Firing]:
    """Return the alerts of an incident at each step, without the cluster that it was put in."""
    [batch] = [batch for batch in batches if name in batch]
    steps = len(next(iter(_build(name).values())))
    return [_find_own(firing, name, batch) for firing in _evaluate(batch, promtool, order)[:steps]]


@cache
def _evaluate(batch: Batch, promtool: str, order: tuple[str, ...]) -> list[Firing]:
    assert not any(map(_has_clusters, batch[1:]))
    series = _build(batch[0])
    for name in batch[1:]:
        series = {**series, **_build(name, cluster=name)}
    minutes = max(INCIDENTS[name]().minutes for name in batch)
    with tempfile.TemporaryDirectory() as folder:
        return find_alerts(series, minutes, Path(folder), promtool, order)


@cache
def _build(name: str, **place: str) -> Series:
    incident = INCIDENTS[name]()
    pods = [replace(pod, **place) for pod in incident.pods]
    workloads = [replace(workload, **place) for workload in incident.workloads]
    return build_series(pods, workloads, incident.minutes)


def _find_own(firing: Firing, name: str, batch: Batch) -> Firing:
    own: Firing = {}
    for labels, annotations in firing.values():
        cluster = labels.get("cluster")
        if cluster == name:
            rest = {key: value for key, value in labels.items() if key != "cluster"}
            texts = {key: text.replace(f" in cluster {name}", "") for key, text in annotations.items()}
            own[json.dumps(rest, sort_keys=True)] = rest, texts
        elif name == batch[0] and cluster not in batch:
            own[json.dumps(labels, sort_keys=True)] = labels, annotations
    return own
