"""The example configuration of Alertmanager: which receiver gets an alert, and which alerts inhibit which."""

import itertools
import json
import re
import shlex
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml
from alerts.pages import PAGES, fill, find_commands
from alerts.rules import load_groups
from support import Process, command, ended, eventually, free_port, get

EXAMPLE = Path(__file__).resolve().parents[2] / "alerts" / "alertmanager.example.yml"
SHOP = {"cluster": "eu", "namespace": "prod", "job": "shop"}
OTHER_NAMESPACE = {**SHOP, "namespace": "test"}
OTHER_CLUSTER = {**SHOP, "cluster": "us"}
NODE = {"cluster": "eu", "node": "node-1"}


def make_alert(name, severity, where, **labels):
    return {"alertname": name, "severity": severity, **where, **labels}


FAILING = make_alert("HealthCheckFailing", "critical", SHOP, check="api")
MILD = make_alert("HealthCheckFailing", "warning", SHOP, check="api")
QUIET = make_alert("HealthCheckFailing", "info", SHOP, check="api")
STALE = make_alert("HealthCheckStale", "warning", SHOP, check="api")
FLAPPING = make_alert("HealthCheckFlapping", "warning", SHOP, check="api")
EXPIRES = make_alert("HealthCertificateExpiring", "critical", SHOP, check="api")
LIVENESS = make_alert("HealthLivenessDown", "critical", SHOP)
MILD_LIVENESS = make_alert("HealthLivenessDown", "warning", SHOP)
READINESS = make_alert("HealthReadinessDown", "critical", SHOP)
MILD_READINESS = make_alert("HealthReadinessDown", "warning", SHOP)
RESTARTED = make_alert("HealthRestartedByLiveness", "warning", SHOP)
LAGGING = make_alert("HealthSchedulerLagging", "warning", SHOP)
REJECTED = make_alert("HealthConfigReloadFailed", "warning", SHOP)
DOWN = make_alert("HealthExporterDown", "warning", SHOP)
NODE_DOWN = make_alert("HealthNodeUnhealthy", "critical", NODE)
MILD_NODE = make_alert("HealthNodeUnhealthy", "warning", NODE)
BURN = make_alert("HealthErrorBudgetBurn", "critical", SHOP, sli="service", window="6h")


SCENES = itertools.count()


def run_amtool(*arguments):
    return subprocess.run([command("amtool"), *arguments], capture_output=True, text=True, timeout=20)


def test_amtool_finds_the_example_valid():
    done = run_amtool("check-config", str(EXAMPLE))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "page"), ("warning", "ticket"), ("info", "nobody"), ("unknown", "ticket")]
)
def test_the_severity_selects_the_receiver(severity, receiver):
    done = run_amtool("config", "routes", "test", f"--config.file={EXAMPLE}", f"severity={severity}", "job=health")

    assert done.stdout.split() == [receiver], done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("severity=critical", "owner=payments"), "page-payments"),
        (("severity=critical", "owner=shop"), "page"),
        (("severity=critical",), "page"),
        (("severity=warning", "owner=payments"), "ticket"),
    ],
)
def test_the_route_of_an_owner_selects_the_receiver_of_a_team(labels, receiver, tmp_path):
    """The route is a comment in the example."""
    route = re.search(r"( +)# routes:\n(?:\1# .*\n)+", EXAMPLE.read_text())[0]
    text = EXAMPLE.read_text().replace(route, route.replace("# ", ""))
    config = tmp_path / "alertmanager.yml"
    config.write_text(text.replace("receivers:\n", "receivers:\n  - name: page-payments\n", 1))

    done = run_amtool("config", "routes", "test", f"--config.file={config}", *labels)

    assert done.stdout.split() == [receiver], done.stderr


def test_every_inhibition_compares_labels():
    rules = yaml.safe_load(EXAMPLE.read_text())["inhibit_rules"]

    assert rules
    assert {tuple(rule["equal"][:3]) for rule in rules} == {("cluster", "namespace", "job"), ("cluster", "node")}


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory):
    url = f"http://127.0.0.1:{free_port()}"
    folder = tmp_path_factory.mktemp("alertmanager")
    # The tests end long before Alertmanager sends anything to the placeholders.
    (folder / "alertmanager.yml").write_text(EXAMPLE.read_text().replace("group_wait: 30s", "group_wait: 1h"))
    arguments = [
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    with ended(Process([command("prometheus-alertmanager"), *arguments])):
        eventually(lambda: is_ready(url), within=20, what="Alertmanager is ready")
        yield url


def is_ready(url):
    try:
        return get(f"{url}/-/ready").status == 200
    except OSError:
        return False


def send(url, alerts):
    """Send alerts, each of which is its labels."""
    body = json.dumps([{"labels": labels} for labels in alerts]).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def find_inhibited(url, *alerts):
    """Fire all these alerts of one job together, and return those that Alertmanager inhibits.

    Alertmanager processes alerts in order, so once the last one is inhibited, it has processed all of them.
    """
    scene = f"scene {next(SCENES)}"
    last = [{**FAILING, "job": "last"}, {**LAGGING, "job": "last"}]
    sent = [
        {**alert, "cluster": alert["cluster"] + scene, "scene": scene, "place": str(place)}
        for place, alert in enumerate((*alerts, *last))
    ]
    send(url, sent)

    def find_places():
        known = json.loads(get(f"{url}/api/v2/alerts").body)
        own = [alert for alert in known if alert["labels"].get("scene") == scene]
        return {int(alert["labels"]["place"]) for alert in own if alert["status"]["inhibitedBy"]}

    inhibited = eventually(lambda: (places := find_places()) and len(alerts) + 1 in places and places)
    return [alerts[place] for place in sorted(inhibited) if place < len(alerts)]


@pytest.mark.parametrize(
    ("sources", "targets"),
    [
        pytest.param([FAILING], [MILD, FLAPPING, LAGGING, DOWN, RESTARTED], id="the tickets of a workload that pages"),
        pytest.param([READINESS], [MILD_READINESS, DOWN], id="the tickets of a workload that is down"),
        pytest.param([FAILING], [LIVENESS, READINESS], id="the replicas of a failing check"),
        pytest.param([LIVENESS], [READINESS, RESTARTED], id="readiness and restarts, without liveness"),
        pytest.param([MILD], [FLAPPING, MILD_READINESS], id="what follows from a ticket of a check"),
        pytest.param([STALE], [MILD_READINESS], id="readiness without a result"),
        pytest.param([REJECTED], [MILD_READINESS], id="readiness without a configuration"),
        pytest.param([MILD_LIVENESS], [MILD_READINESS, RESTARTED], id="readiness of a replica that is not alive"),
        pytest.param([FAILING], [EXPIRES], id="the certificate of a failing check"),
        pytest.param([LIVENESS, EXPIRES], [MILD], id="a ticket of a check, but no page by a ticket"),
        pytest.param([NODE_DOWN], [MILD_NODE], id="the ticket of a node that pages"),
    ],
)
def test_a_consequence_is_inhibited(alertmanager, sources, targets):
    assert find_inhibited(alertmanager, *sources, *targets) == targets


@pytest.mark.parametrize(
    "alerts",
    [
        pytest.param([FAILING, {**FLAPPING, **OTHER_NAMESPACE}], id="a ticket of another namespace"),
        pytest.param([FAILING, {**FLAPPING, **OTHER_CLUSTER}], id="a ticket of another cluster"),
        pytest.param([FAILING, {**FLAPPING, "job": "bank"}], id="a ticket of another job"),
        pytest.param([FAILING, {**READINESS, **OTHER_CLUSTER}], id="a page of another cluster"),
        pytest.param([LIVENESS, {**READINESS, **OTHER_NAMESPACE}], id="a page of another namespace"),
        pytest.param([FAILING, {**FAILING, "check": "other"}, BURN], id="other pages"),
        pytest.param([MILD, LAGGING, DOWN, {**FLAPPING, "check": "other"}], id="other tickets"),
        pytest.param([QUIET, MILD_READINESS, FLAPPING], id="alerts with a receiver"),
        pytest.param([NODE_DOWN, {**MILD_NODE, "node": "node-2"}, FLAPPING], id="other nodes, and workloads"),
        pytest.param([FAILING, {**EXPIRES, "check": "other"}], id="another check's certificate"),
    ],
)
def test_an_independent_alert_is_sent(alertmanager, alerts):
    assert find_inhibited(alertmanager, *alerts) == []


def list_labels(name):
    """Return the labels of an alert that its first aggregation or its record has."""
    [first, *_] = [rule["expr"] for _, group in load_groups() for rule in group["rules"] if rule.get("alert") == name]
    if found := re.match(r"\s*(?:count|max|min) by \(([^)]+)\)", first):
        return found[1].split(", ")
    if first.startswith("check:"):
        return ["cluster", "namespace", "job", "check", "kind", "owner"]
    return ["node"] if first.startswith("node:") else ["namespace", "job"]


@pytest.mark.parametrize("name", PAGES)
def test_the_silence_of_a_runbook_silences_its_alert(alertmanager, name):
    values = {"namespace": "runbooks", "job": "shop", "check": "api", "node": "node-1"}
    labels = {label: values.get(label, "any") for label in list_labels(name)}
    alert = {"alertname": name, "severity": "warning", **labels}
    [line] = [line for line in find_commands(PAGES[name]) if line.startswith("amtool ")]
    filled = fill(line, **{label.upper(): value for label, value in values.items()})

    done = run_amtool(*shlex.split(filled)[1:], f"--alertmanager.url={alertmanager}")
    send(alertmanager, [alert])

    def is_silenced():
        known = json.loads(get(f"{alertmanager}/api/v2/alerts").body)
        return any(one["labels"] == alert and one["status"]["silencedBy"] for one in known)

    assert done.returncode == 0, done.stderr
    eventually(is_silenced, what="the alert is silenced")
