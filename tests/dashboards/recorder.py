"""A real Prometheus that scrapes exporters and evaluates our rules, and is asked as Grafana asks."""

import json
import time
from pathlib import Path
from urllib.parse import urlencode

import grafana
import yaml
from support import Process, command, free_port, get

ALERTS = Path(__file__).parents[2] / "alerts"
SCRAPE = 1  # second


def fast_rules(folder):
    """Our rule files as they are, except that every group is evaluated each second and no alert waits."""
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


class Recorder(Process):
    """Prometheus, which scrapes the exporters, itself, and a target of another job that does not answer."""

    def __init__(self, folder, port, exporters):
        self.url, self.began = f"http://127.0.0.1:{port}", time.time()
        jobs = {"health": exporters, "prometheus": [f"127.0.0.1:{port}"], "other": [f"127.0.0.1:{free_port()}"]}
        configuration = {
            "global": {"scrape_interval": f"{SCRAPE}s"},
            "rule_files": fast_rules(folder),
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": at}]} for job, at in jobs.items()],
        }
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(configuration))
        listen, data = f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder / 'data'}"
        super().__init__([command("prometheus"), f"--config.file={file}", data, listen])

    def answers(self):
        try:
            return get(f"{self.url}/-/ready").status == 200
        except OSError:
            return False

    def api(self, path, **parameters):
        answer = get(f"{self.url}/api/v1/{path}?{urlencode(parameters, doseq=True)}")
        assert answer.status == 200, answer.text
        return json.loads(answer.body)["data"]

    def query(self, promql):
        """An instant query's series."""
        return self.api("query", query=promql)["result"]

    def ask(self, target, **chosen):
        """The series that a panel's query gives over the time since Prometheus started, as Grafana asks for them."""
        span = int(time.time() - self.began) + 1
        promql = grafana.interpolated(target.expr, step=1, scrape=SCRAPE, span=span, **chosen)
        if target.instant:
            return self.query(promql)
        return self.api("query_range", query=promql, start=self.began, end=time.time(), step=1)["result"]
