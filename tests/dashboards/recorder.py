"""A real Prometheus that scrapes exporters and evaluates the shipped rules, with queries as Grafana sends them."""

import time
from pathlib import Path

import yaml
from support import Prometheus, free_port

from dashboards import grafana

ALERTS = Path(__file__).parents[2] / "alerts"
SCRAPE = 2  # seconds


def write_fast_rules(folder):
    """Write the shipped rule files, but evaluate every group each second, and fire alerts without delay."""
    names = []
    for file in sorted(ALERTS.glob("*.rules.yml")):
        rules = yaml.safe_load(file.read_text())
        for group in rules["groups"]:
            group["interval"] = f"{SCRAPE}s"
            for rule in group["rules"]:
                rule.pop("for", None)
                rule.pop("keep_firing_for", None)
        (folder / file.name).write_text(yaml.safe_dump(rules))
        names.append(file.name)
    return names


class Recorder(Prometheus):
    """Prometheus, which scrapes the exporters with their labels, itself, and a target of another job that is down."""

    def __init__(self, folder, port, exporters, *arguments):
        self.started = time.time()
        others = {"prometheus": f"127.0.0.1:{port}", "other": f"127.0.0.1:{free_port()}"}
        targets = [*exporters, *((address, {"job": job}) for job, address in others.items())]
        groups = [{"targets": [address], "labels": labels} for address, labels in targets]
        configuration = {
            "global": {"scrape_interval": f"{SCRAPE}s"},
            "rule_files": write_fast_rules(folder),
            "scrape_configs": [{"job_name": "scene", "static_configs": groups}],
        }
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(configuration))
        super().__init__(file, *arguments, port=port)

    def series(self, target, **selected):
        """The series of a panel's query over the time since Prometheus started, queried as Grafana does."""
        span = int(time.time() - self.started) + 1
        promql = grafana.interpolated(target.expr, step=1, scrape=SCRAPE, span=span, **selected)
        try:
            if target.instant:
                return self.query(promql)
            return self.api("query_range", query=promql, start=self.started, end=time.time(), step=1)["result"]
        except AssertionError as error:
            raise AssertionError(f"{target.where}: {target.expr}: {error}") from None
