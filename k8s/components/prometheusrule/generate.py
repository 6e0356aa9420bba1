"""Write rules.yaml: every rule file of alerts/ as a PrometheusRule, with its comments. `make manifests` runs it."""

from pathlib import Path

HERE = Path(__file__).parent
ALERTS = HERE.parents[2] / "alerts"
HEAD = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {name}
  labels:
    app.kubernetes.io/name: health-exporter
    app.kubernetes.io/instance: health-exporter
    app.kubernetes.io/component: monitoring
    app.kubernetes.io/part-of: health-exporter
    app.kubernetes.io/managed-by: kustomize
spec:
"""


def prometheus_rule(path: Path) -> str:
    """Convert a rule file to a PrometheusRule."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rules = "".join(f"  {line}".rstrip() + "\n" for line in lines if line != "---")
    return HEAD.format(name=path.name.removesuffix(".rules.yml")) + rules


def rendered() -> str:
    """The content of rules.yaml."""
    objects = "---\n".join(map(prometheus_rule, sorted(ALERTS.glob("*.rules.yml"))))
    return f"# Generated from alerts/ by `make manifests`. Edit the files in alerts/ instead.\n{objects}"


if __name__ == "__main__":
    (HERE / "rules.yaml").write_text(rendered(), encoding="utf-8")
