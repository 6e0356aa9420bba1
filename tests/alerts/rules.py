"""The shipped rules and the metrics that they use."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ALERTS = Path(__file__).resolve().parents[2] / "alerts"
FILES = ("health-exporter.rules.yml", "health-slo.rules.yml")
_RECORD = re.compile(r"[\w:]+:[\w:]+")
_QUERY = re.compile(r"query \(printf \"([^\"]*)\"")
_METRIC = re.compile(r"\bhealth_[a-z0-9_]+\b")


@cache
def load_groups() -> tuple[tuple[str, dict[str, Any]], ...]:
    """Load every rule group, with the name of its file."""
    files = ((file, yaml.load((ALERTS / file).read_text(), yaml.CSafeLoader)) for file in FILES)
    return tuple((file, group) for file, content in files for group in content["groups"])


@cache
def list_metrics() -> frozenset[str]:
    """Return the names of the exporter's metrics that the rules use."""
    text = "".join((ALERTS / file).read_text() for file in FILES)
    return frozenset(_METRIC.findall(_RECORD.sub("", text)))


@cache
def list_alerts() -> tuple[str, ...]:
    """Return the names of the alerts."""
    rules = (rule for _, group in load_groups() for rule in group["rules"])
    return tuple(sorted({rule["alert"] for rule in rules if "alert" in rule}))


def find_queries(rule: dict[str, Any]) -> Iterator[str]:
    """Yield the rule's expression, and the queries of its annotations for every workload and check."""
    yield str(rule["expr"])
    for text in rule.get("annotations", {}).values():
        for query in _QUERY.findall(text):
            yield query.replace("=%q", '=~".*"').replace("%s", 'job=~".+"')
