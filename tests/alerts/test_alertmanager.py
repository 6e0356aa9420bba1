"""The example configuration of Alertmanager: which receiver gets an alert, and which alerts inhibit which."""

import itertools
import json
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml
from support import Process, command, ended, eventually, free_port, get

EXAMPLE = Path(__file__).resolve().parents[2] / "alerts" / "alertmanager.example.yml"
POD = {"namespace": "shop", "job": "shop/health", "instance": "10.0.0.7:4584"}
OTHER_POD = {**POD, "instance": "10.0.0.8:4584"}
JOB = {"namespace": "shop", "job": "shop/health"}
OTHER_JOB = {"namespace": "bank", "job": "shop/health"}


def make_alert(name, severity, where, **labels):
    return {"alertname": name, "severity": severity, **where, **labels}


DOWN = make_alert("HealthExporterDown", "critical", POD)
FAILING = make_alert("HealthCheckFailing", "critical", POD, check="api")
MILD = make_alert("HealthCheckFailing", "warning", POD, check="api")
QUIET = make_alert("HealthCheckFailing", "info", POD, check="api")
STALE = make_alert("HealthCheckStale", "warning", POD, check="api")
FLAPPING = make_alert("HealthCheckFlapping", "warning", POD, check="api")
EXPIRING = make_alert("HealthCertificateExpiring", "critical", POD, check="api")
LIVENESS = make_alert("HealthLivenessDown", "critical", POD, group="liveness")
READINESS = make_alert("HealthReadinessDown", "warning", POD, group="readiness")
RESTARTED = make_alert("HealthRestartedByLiveness", "warning", POD, group="liveness")
LAGGING = make_alert("HealthSchedulerLagging", "warning", POD)
CHECK_BURN = make_alert("HealthCheckErrorBudgetBurn", "warning", JOB, check="api", window="1h")
GROUP_BURN = make_alert("HealthGroupErrorBudgetBurn", "critical", JOB, group="readiness", window="1h")
LONG_BURN = {**GROUP_BURN, "window": "6h"}


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


def test_every_inhibition_compares_labels():
    rules = yaml.safe_load(EXAMPLE.read_text())["inhibit_rules"]

    assert rules
    assert [rule for rule in rules if "job" not in rule["equal"]] == []


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


def find_inhibited(url, *alerts):
    """Fire all these alerts of one job together, and return those that Alertmanager inhibits.

    Alertmanager processes alerts in order, so once the last one is inhibited, it has processed all of them.
    """
    scene = f"scene {next(SCENES)}"
    last = [{**DOWN, "job": "last"}, {**LAGGING, "job": "last"}]
    sent = [
        {**alert, "job": alert["job"] + scene, "scene": scene, "place": str(place)}
        for place, alert in enumerate((*alerts, *last))
    ]
    body = json.dumps([{"labels": labels} for labels in sent]).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()

    def find_places():
        known = json.loads(get(f"{url}/api/v2/alerts").body)
        own = [alert for alert in known if alert["labels"].get("scene") == scene]
        return {int(alert["labels"]["place"]) for alert in own if alert["status"]["inhibitedBy"]}

    inhibited = eventually(lambda: (places := find_places()) and len(alerts) + 1 in places and places)
    return [alerts[place] for place in sorted(inhibited) if place < len(alerts)]


@pytest.mark.parametrize(
    ("sources", "targets"),
    [
        pytest.param([DOWN], [FAILING, LIVENESS, READINESS, LAGGING], id="alerts from the last metrics"),
        pytest.param([EXPIRING], [FLAPPING], id="a less urgent alert of the same check"),
        pytest.param([MILD], [FLAPPING], id="other alerts of a failing check"),
        pytest.param([FAILING], [EXPIRING], id="the certificate of a failing check"),
        pytest.param([FAILING], [LIVENESS, READINESS, RESTARTED], id="the groups of a failing check"),
        pytest.param([MILD], [READINESS], id="readiness, alongside a ticket for its check"),
        pytest.param([STALE], [READINESS], id="readiness without a result"),
        pytest.param([LIVENESS], [RESTARTED], id="the restart because of liveness"),
        pytest.param([MILD], [CHECK_BURN], id="the budget of a failing check"),
        pytest.param([FAILING], [GROUP_BURN], id="the one-hour budget of the group"),
    ],
)
def test_a_consequence_is_inhibited(alertmanager, sources, targets):
    assert find_inhibited(alertmanager, *sources, *targets) == targets


@pytest.mark.parametrize(
    "alerts",
    [
        pytest.param([DOWN, {**FAILING, **OTHER_POD}], id="another pod"),
        pytest.param([FAILING, {**FLAPPING, "check": "other"}], id="another check"),
        pytest.param([FAILING, {**LIVENESS, **OTHER_POD}], id="another pod's liveness"),
        pytest.param([FAILING, {**FAILING, "check": "other"}], id="another failing check"),
        pytest.param([MILD, LIVENESS, LAGGING], id="more urgent alerts"),
        pytest.param([QUIET, READINESS, FLAPPING], id="alerts with a receiver"),
        pytest.param([LIVENESS, LAGGING], id="two alerts without a check"),
        pytest.param([FAILING, LONG_BURN], id="the six-hour budget"),
        pytest.param([FAILING, {**GROUP_BURN, **OTHER_JOB}], id="a job of the same name in another namespace"),
        pytest.param([MILD, {**CHECK_BURN, **OTHER_JOB}], id="a check of the same name in another namespace"),
        pytest.param([MILD, {**FLAPPING, "check": "other"}], id="another check than one with a warning"),
        pytest.param([FAILING, {**EXPIRING, "check": "other"}], id="another check's certificate"),
        pytest.param([MILD, {**READINESS, **OTHER_POD}], id="another pod's readiness"),
        pytest.param([LIVENESS, {**RESTARTED, **OTHER_POD}], id="another pod's restart"),
        pytest.param([MILD, {**CHECK_BURN, "check": "other"}], id="another check's budget"),
        pytest.param([QUIET, CHECK_BURN], id="the budget of a check without a receiver"),
        pytest.param([LAGGING, STALE], id="two alerts of the same urgency"),
    ],
)
def test_an_independent_alert_is_sent(alertmanager, alerts):
    assert find_inhibited(alertmanager, *alerts) == []
