"""The Prometheus of a fleet: its configuration, the past that rules and dashboards read, and what the rules cost."""

import re
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from tests.bench import peers
from tests.bench.fleet.history import Past
from tests.bench.fleet.targets import Fleet
from tests.support import Prometheus, get

ALERTS = Path(__file__).parents[3] / "alerts"
FILES = tuple(sorted(ALERTS.glob("*.rules.yml")))
INTERVAL = 15  # seconds between scrapes, and between evaluations of groups that set no interval
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MISSED = re.compile(r"^prometheus_rule_group_iterations_missed_total\{.*\} (\S+)$", re.MULTILINE)
_LAST = re.compile(r'^prometheus_rule_group_last_(\w+)_seconds\{rule_group=".*;(.*)"\} (\S+)$', re.MULTILINE)

Spans = Mapping[str, int]
"""Seconds of the past that are read, by metric."""


def load_groups() -> list[dict[str, Any]]:
    return [group for file in FILES for group in yaml.safe_load(file.read_text())["groups"]]


def parse_interval(group: Mapping[str, Any]) -> int:
    """Return the seconds between two evaluations of a group."""
    interval = group.get("interval", f"{INTERVAL}s")
    return int(interval[:-1]) * _UNITS[interval[-1]]


def find_spans(node: Any, rest: int = 0) -> Iterator[tuple[str, int]]:
    """Yield every metric of a parsed query, and how far back the query reads it."""
    match node:
        case promql_parser.MatrixSelector():
            yield from find_spans(node.vector_selector, rest + int(node.range.total_seconds()))
        case promql_parser.VectorSelector():
            offset = int(node.offset.total_seconds()) if node.offset else 0
            if node.name:
                yield node.name, rest + offset
        case promql_parser.Call():
            for argument in node.args:
                yield from find_spans(argument, rest)
        case _:
            for part in ("expr", "lhs", "rhs", "param"):
                if (inner := getattr(node, part, None)) is not None:
                    yield from find_spans(inner, rest)


def merge_spans(found: Iterable[tuple[str, int]]) -> dict[str, int]:
    spans: dict[str, int] = {}
    for name, span in found:
        spans[name] = max(span, spans.get(name, 0))
    return spans


def find_rule_spans() -> dict[str, int]:
    rules = (rule for group in load_groups() for rule in group["rules"])
    return merge_spans(pair for rule in rules for pair in find_spans(promql_parser.parse(str(rule["expr"]))))


def _find_intervals() -> dict[str, int]:
    """Return the interval of each record: the longest, if several groups record it."""
    intervals: dict[str, int] = {}
    for group in load_groups():
        for rule in group["rules"]:
            if name := rule.get("record"):
                intervals[name] = max(parse_interval(group), intervals.get(name, 0))
    return intervals


@dataclass
class Costs:
    """What the rules cost: seconds of each evaluation, by group and by rule."""

    groups: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rules: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    alerts: dict[str, int] = field(default_factory=dict)
    cpu: float = 0.0  # cores
    missed: int = 0  # evaluations


class Server(Prometheus):
    """Prometheus in a folder, with the rules and the targets of a fleet as soon as `begin` is called."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        self.folder = folder
        self.fleet = fleet
        self.scraping = 0.0  # cores, without rules
        self._config = folder / "prometheus.yml"
        self._config.write_text("{}")
        fleet.write_discovery(folder / "targets.json")
        super().__init__(self._config, "--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=40d")

    def begin(self, rules: Iterable[Path]) -> None:
        """Scrape, and evaluate these rules."""
        jobs = [
            {"job_name": "fleet", "file_sd_configs": [{"files": ["targets.json"]}]},
            {
                "job_name": "kube-state-metrics",
                "honor_labels": True,
                "metrics_path": "/state",
                "static_configs": [{"targets": [f"127.0.0.1:{self.fleet.port}"]}],
            },
        ]
        config = {
            "global": {"scrape_interval": f"{INTERVAL}s", "evaluation_interval": f"{INTERVAL}s"},
            "rule_files": [str(file) for file in rules],
            "scrape_configs": jobs,
        }
        self._config.write_text(yaml.safe_dump(config))
        already = len(self.lines)
        self.signal(signal.SIGHUP)
        self.line("Completed loading of configuration file", after=already)

    def settle(self) -> None:
        """Wait until no rule has recorded further series for a minute."""
        counts = [0]
        while len(counts) < 6 or counts[-1] != counts[-5]:
            time.sleep(INTERVAL)
            counts.append(int(self.query('count({__name__=~".+:.+"}) or vector(0)')[0]["value"][1]))

    def read_pasts(self, spans: Spans) -> list[Past]:
        """Return the present series of these metrics, as their past is to be written."""
        intervals = _find_intervals()
        return [
            Past(
                tuple(sorted(sample["metric"].items())),
                float(sample["value"][1]),
                intervals.get(name, INTERVAL),
                span + 2 * intervals.get(name, INTERVAL),
            )
            for name, span in spans.items()
            for sample in self.query(name)
        ]

    def count_series(self) -> int:
        return int(self.api("status/tsdb")["headStats"]["numSeries"])

    def measure_cpu(self, seconds: float) -> float:
        """Return how many cores Prometheus uses."""
        began, cpu = time.monotonic(), peers.cpu(self.pid)
        time.sleep(seconds)
        return (peers.cpu(self.pid) - cpu) / (time.monotonic() - began)

    def watch(self, seconds: float) -> Costs:
        """Watch the evaluations of the rules for a while, and single rules for a minute more."""
        costs, seen = Costs(), self._read_evaluations()
        began, cpu, missed = time.monotonic(), peers.cpu(self.pid), self._count_missed()
        while time.monotonic() < began + seconds:
            time.sleep(5)
            self._add_groups(costs, seen)
        costs.cpu = (peers.cpu(self.pid) - cpu) / (time.monotonic() - began)
        rules_seen: dict[tuple[str, str], str] = {}
        for _ in range(60 // INTERVAL):  # not above, because the text of every alert is in the response
            self._add_rules(costs, rules_seen)
            time.sleep(INTERVAL)
            self._add_groups(costs, seen)
        costs.missed = self._count_missed() - missed
        return costs

    def _add_groups(self, costs: Costs, seen: dict[str, tuple[float, float]]) -> None:
        for group, (when, duration) in self._read_evaluations().items():
            if seen.get(group, (0.0, 0.0))[0] != when:
                costs.groups[group].append(duration)
                seen[group] = when, duration

    def _count_missed(self) -> int:
        return sum(int(float(number)) for number in _MISSED.findall(get(f"{self.url}/metrics").text))

    def _read_evaluations(self) -> dict[str, tuple[float, float]]:
        """Return when each group was evaluated last, and how long that took."""
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for kind, group, value in _LAST.findall(get(f"{self.url}/metrics").text):
            found[group][kind] = float(value)
        return {group: (values["evaluation_timestamp"], values["duration"]) for group, values in found.items()}

    def _add_rules(self, costs: Costs, seen: dict[tuple[str, str], str]) -> None:
        costs.alerts = defaultdict(int)
        for group in self.api("rules")["groups"]:
            for place, rule in enumerate(group["rules"]):
                key = group["name"], f"{place + 1} {rule['name']}"
                if seen.get(key) != rule["lastEvaluation"]:
                    seen[key] = rule["lastEvaluation"]
                    costs.rules[key].append(rule["evaluationTime"])
                for alert in rule.get("alerts", ()):
                    costs.alerts[f"{rule['name']} {alert['state']}"] += 1
