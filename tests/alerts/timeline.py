"""From pods to alerts: the series of a fleet as a unit test of promtool, and the alerts that promtool reports."""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from alerts.pods import MINUTE, STEP, Pod, holds, live
from alerts.rules import ALERTS, FILES, list_alerts, list_metrics, load_groups

Series = dict[str, list[float | None]]
"""Values by step of each series; None is no sample."""
Firing = dict[str, tuple[dict[str, str], dict[str, str]]]
"""Labels and annotations of the firing alerts, by a key that is unique to the labels."""

_SECONDS = {"h": 3600, "m": 60, "s": 1}
_REPORT = re.compile(r"alertname: (\w+), time: (\w+),\s+exp:\[\],\s+got:\[(.*?)\n            \]", re.DOTALL)
_ALERT = re.compile(r"Labels:\{(.*)\}\n\s+Annotations:\{(.*)\}")
_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True)
class Workload:
    """A Deployment, as kube-state-metrics reports it: the minutes from which each number of replicas is wanted."""

    name: str
    wanted: tuple[tuple[float, int], ...]
    namespace: str = "prod"
    cluster: str = ""
    end: float = 1e6  # minute in which it is deleted


def build_series(
    pods: Iterable[Pod], workloads: Iterable[Workload], minutes: int, names: frozenset[str] | None = None
) -> Series:
    """Return the series of pods, and of kube-state-metrics for the pods of these workloads.

    `names` are the metrics of the exporter to include, by default those that the rules use.
    """
    steps = range(minutes * MINUTE // STEP + 1)
    series: Series = {}
    owned = {(workload.cluster, workload.namespace, workload.name): workload for workload in workloads}
    ready: dict[Workload, list[int]] = {workload: [0] * len(steps) for workload in owned.values()}
    for pod in pods:
        lives = live(pod.life, minutes * MINUTE, names or list_metrics())
        owner = owned.get((pod.cluster, pod.namespace, pod.job))
        for step in steps:
            samples = lives[step]
            if holds(pod.target, step * STEP):
                scraped = None if holds(pod.unscraped, step * STEP) else samples
                for name, value in {"up": float(scraped is not None), **(scraped or {})}.items():
                    _add(series, steps, step, _merge(name, pod.labels), value)
            if owner and holds(pod.exists, step * STEP):
                is_ready = samples is not None and samples.get('health_group_up{group="readiness"}', 1) == 1
                ready[owner][step] += is_ready
                _add_pod(series, steps, step, pod, is_ready)
    for workload, counts in ready.items():
        _add_workload(series, steps, workload, counts)
    return series


def _add_pod(series: Series, steps: range, step: int, pod: Pod, is_ready: bool) -> None:
    labels = _label_state(pod.cluster, pod.namespace) | {"pod": pod.name}
    restarts = sum(minute * MINUTE <= step * STEP for minute in pod.restarts)
    for name, extra, value in (
        ("kube_pod_status_ready", {"condition": "true"}, is_ready),
        ("kube_pod_owner", {"owner_kind": "ReplicaSet", "owner_name": f"{pod.job}-7d9c5b"}, 1),
        ("kube_pod_container_status_restarts_total", {"container": "app"}, restarts),
    ):
        _add(series, steps, step, _merge(name, labels | extra), float(value))


def _add_workload(series: Series, steps: range, workload: Workload, ready: list[int]) -> None:
    labels = _label_state(workload.cluster, workload.namespace) | {"replicaset": f"{workload.name}-7d9c5b"}
    for step in steps:
        if step * STEP >= workload.end * MINUTE:
            break
        wanted = [count for minute, count in workload.wanted if minute * MINUTE <= step * STEP][-1]
        _add(series, steps, step, _merge("kube_replicaset_spec_replicas", labels), wanted)
        _add(series, steps, step, _merge("kube_replicaset_status_ready_replicas", labels), ready[step])


def _label_state(cluster: str, namespace: str) -> dict[str, str]:
    labels = {"cluster": cluster, "namespace": namespace, "job": "kube-state-metrics", "instance": "10.9.9.9:8080"}
    return {name: value for name, value in labels.items() if value}


def _add(series: Series, steps: range, step: int, name: str, value: float) -> None:
    if name not in series:
        series[name] = [None] * len(steps)
    series[name][step] = value


def _merge(sample: str, labels: Mapping[str, str]) -> str:
    name, _, own = sample.partition("{")
    pairs = [f"{key}={json.dumps(value)}" for key, value in labels.items()]
    return f"{name}{{{', '.join([*pairs, *([own.removesuffix('}')] if own else [])])}}}"


def write_values(values: list[float | None]) -> str:
    """Return the values in promtool's notation. A series that ends becomes stale."""
    texts = []
    for before, value in pairwise([None, *values]):
        missing = "_" if before is None else "stale"
        texts.append(missing if value is None else repr(value))
    return " ".join(texts)


def _delay(values: str) -> str:
    """Put nothing before each value, so that it is half a step after the evaluation of its step.

    Whether a range includes a sample at its very start depends on the version of Prometheus.
    """
    return f"_ {values.replace(' ', ' _ ')}"


def write_test(series: Series, minutes: int, folder: Path, order: Sequence[str]) -> Path:
    """Write the unit test that makes promtool report every firing alert at every step.

    The samples of a step are half a step late, so promtool's time is a step ahead.
    """
    steps = range(minutes * MINUTE // STEP + 1)
    case = {
        "interval": f"{STEP * 1000 // 2}ms",
        "input_series": [{"series": name, "values": _delay(write_values(values))} for name, values in series.items()],
        "alert_rule_test": [
            {"alertname": name, "eval_time": f"{(step + 1) * STEP}s"} for step in steps for name in list_alerts()
        ],
    }
    content = {
        "rule_files": [str(ALERTS / file) for file in FILES],
        "evaluation_interval": f"{STEP}s",
        "group_eval_order": order,
        "tests": [case],
    }
    path = folder / "incident.test.yml"
    path.write_text(json.dumps(content))
    return path


def list_groups() -> list[str]:
    """Return the names of the groups in the order of the files: no group reads a record of a later one."""
    return [group["name"] for _, group in load_groups()]


def find_alerts(series: Series, minutes: int, folder: Path, promtool: str, order: Sequence[str] = ()) -> list[Firing]:
    """Return the alerts that fire at each step, from one run of promtool that evaluates the groups in this order."""
    test = write_test(series, minutes, folder, order or list_groups())
    done = subprocess.run([promtool, "test", "rules", str(test)], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    found: list[Firing] = [{} for _ in range(minutes * MINUTE // STEP + 1)]
    for name, time, alerts in _REPORT.findall(output):
        for labels, annotations in _ALERT.findall(alerts):
            parsed = dict(_parse_pairs(labels))
            found[_parse_time(time) // STEP - 1][json.dumps(parsed, sort_keys=True)] = (
                {**parsed, "alertname": name},
                dict(_parse_pairs(annotations)),
            )
    rest = re.sub(rf"FAILED:|SUCCESS|.*: +{re.escape(str(test))}\n", "", _REPORT.sub("", output)).strip()
    assert not rest, rest[:3000]
    return found


def _parse_pairs(text: str) -> Iterator[tuple[str, str]]:
    for name, value in _PAIR.findall(text):
        yield name, json.loads(value)


def _parse_time(text: str) -> int:
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([hms])", text))
