"""The example of Alertmanager's configuration: who is called, and what is silent while something else calls."""

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


def alert(name, severity, where, **labels):
    return {"alertname": name, "severity": severity, **where, **labels}


DOWN = alert("HealthExporterDown", "critical", POD)
FAILING = alert("HealthCheckFailing", "critical", POD, check="api")
MILD = alert("HealthCheckFailing", "warning", POD, check="api")
QUIET = alert("HealthCheckFailing", "info", POD, check="api")
STALE = alert("HealthCheckStale", "warning", POD, check="api")
FLAPPING = alert("HealthCheckFlapping", "warning", POD, check="api")
EXPIRING = alert("HealthCertificateExpiring", "critical", POD, check="api")
LIVENESS = alert("HealthLivenessDown", "critical", POD, group="liveness")
READINESS = alert("HealthReadinessDown", "warning", POD, group="readiness")
RESTARTED = alert("HealthRestartedByLiveness", "warning", POD, group="liveness")
LAGGING = alert("HealthSchedulerLagging", "warning", POD)
CHECK_BURN = alert("HealthCheckErrorBudgetBurn", "warning", JOB, check="api", window="1h")
GROUP_BURN = alert("HealthGroupErrorBudgetBurn", "critical", JOB, group="readiness", window="1h")
LONG_BURN = {**GROUP_BURN, "window": "6h"}


SCENES = itertools.count()


def amtool(*arguments):
    return subprocess.run([command("amtool"), *arguments], capture_output=True, text=True, timeout=20)


def test_amtool_finds_the_example_valid():
    done = amtool("check-config", str(EXAMPLE))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "page"), ("warning", "ticket"), ("info", "nobody"), ("unheard", "ticket")]
)
def test_the_severity_decides_who_is_called(severity, receiver):
    done = amtool("config", "routes", "test", f"--config.file={EXAMPLE}", f"severity={severity}", "job=health")

    assert done.stdout.split() == [receiver], done.stderr


def test_every_inhibition_compares_labels():
    rules = yaml.safe_load(EXAMPLE.read_text())["inhibit_rules"]

    assert rules
    assert all("job" in rule["equal"] for rule in rules)


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory):
    url = f"http://127.0.0.1:{free_port()}"
    folder = tmp_path_factory.mktemp("alertmanager")
    # Long before anything would be sent to the placeholders, the tests are over.
    (folder / "alertmanager.yml").write_text(EXAMPLE.read_text().replace("group_wait: 30s", "group_wait: 1h"))
    arguments = [
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    with ended(Process([command("prometheus-alertmanager"), *arguments])):
        eventually(lambda: answers(url), within=20, what="Alertmanager is ready")
        yield url


def answers(url):
    try:
        return get(f"{url}/-/ready").status == 200
    except OSError:
        return False


def silent(url, *alerts):
    """Those of the alerts that are silenced when all of them, and nothing else of their job, fire together.

    Alertmanager takes alerts in in their order, so once the last of them is silenced all of them have been considered.
    """
    scene = f"scene {next(SCENES)}"
    last = [{**DOWN, "job": "last"}, {**LAGGING, "job": "last"}]
    labels = [{**each, "scene": scene, "place": str(place)} for place, each in enumerate((*alerts, *last))]
    for each in labels:
        each["job"] += scene
    body = json.dumps([{"labels": each} for each in labels]).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()

    def places():
        known = json.loads(get(f"{url}/api/v2/alerts").body)
        mine = [each for each in known if each["labels"].get("scene") == scene]
        return {int(each["labels"]["place"]) for each in mine if each["status"]["inhibitedBy"]}

    found = eventually(lambda: (seen := places()) and len(alerts) + 1 in seen and seen)
    return [alerts[place] for place in sorted(found) if place < len(alerts)]


@pytest.mark.parametrize(
    ("loud", "quiet"),
    [
        pytest.param([DOWN], [FAILING, LIVENESS, READINESS, LAGGING], id="what the last metrics said"),
        pytest.param([EXPIRING], [FLAPPING], id="a less urgent alert of the same check"),
        pytest.param([MILD], [FLAPPING], id="what else is told of a failing check"),
        pytest.param([FAILING], [EXPIRING], id="the certificate of a failing check"),
        pytest.param([FAILING], [LIVENESS, READINESS, RESTARTED], id="what a failing check brings about"),
        pytest.param([MILD], [READINESS], id="readiness, of which a ticket tells already"),
        pytest.param([STALE], [READINESS], id="readiness for want of a result"),
        pytest.param([LIVENESS], [RESTARTED], id="the restart that liveness asked for"),
        pytest.param([MILD], [CHECK_BURN], id="the budget of a failing check"),
        pytest.param([FAILING], [GROUP_BURN], id="the group's budget, at first"),
    ],
)
def test_what_follows_from_it_is_silent(alertmanager, loud, quiet):
    assert silent(alertmanager, *loud, *quiet) == quiet


@pytest.mark.parametrize(
    "alerts",
    [
        pytest.param([DOWN, {**FAILING, **OTHER_POD}], id="another pod"),
        pytest.param([FAILING, {**FLAPPING, "check": "other"}], id="another check"),
        pytest.param([FAILING, {**LIVENESS, **OTHER_POD}], id="another pod's liveness"),
        pytest.param([FAILING, {**FAILING, "check": "other"}], id="another failing check"),
        pytest.param([MILD, LIVENESS, LAGGING], id="what is more urgent"),
        pytest.param([QUIET, READINESS, FLAPPING], id="what is told to somebody"),
        pytest.param([LIVENESS, LAGGING], id="two without a check"),
        pytest.param([FAILING, LONG_BURN], id="a budget that burns for hours"),
        pytest.param([FAILING, {**GROUP_BURN, **OTHER_JOB}], id="a job of that name in another namespace"),
        pytest.param([MILD, {**CHECK_BURN, **OTHER_JOB}], id="a check of that name in another namespace"),
        pytest.param([MILD, {**FLAPPING, "check": "other"}], id="another check, of a warning"),
        pytest.param([FAILING, {**EXPIRING, "check": "other"}], id="another check's certificate"),
        pytest.param([MILD, {**READINESS, **OTHER_POD}], id="another pod's readiness"),
        pytest.param([LIVENESS, {**RESTARTED, **OTHER_POD}], id="another pod's restart"),
        pytest.param([MILD, {**CHECK_BURN, "check": "other"}], id="another check's budget"),
        pytest.param([QUIET, CHECK_BURN], id="a budget of which nobody was told"),
        pytest.param([LAGGING, STALE], id="two of the same urgency"),
    ],
)
def test_what_does_not_follow_from_it_calls(alertmanager, alerts):
    assert silent(alertmanager, *alerts) == []
