"""The model of Alertmanager agrees with a real one, whose waiting times are a hundredth."""

import datetime as dt
import json
import re
import time
import urllib.request

import pytest
from alerts.notifier import Notifier
from alerts.pods import MINUTE, STEP
from alerts.rules import ALERTS
from e2e.alerting import is_ready, run_receiver
from support import Process, command, ended, eventually, free_port

EXAMPLE = ALERTS / "alertmanager.example.yml"
PACE = 100  # an hour takes 36 s
STAGE = 12 * MINUTE  # how long a stage lasts: two intervals of a group and more


def alert(name, severity, job="shop", **labels):
    return {"alertname": name, "severity": severity, "namespace": "prod", "job": job, **labels}


FLAPPING = alert("HealthCheckFlapping", "warning", check="api")
BANK = alert("HealthCheckSlow", "warning", job="bank", check="api")
FAILING = alert("HealthCheckFailing", "critical", check="db")
READINESS = alert("HealthReadinessDown", "critical")
MILD_READINESS = alert("HealthReadinessDown", "warning")
STAGES = (
    [FLAPPING, BANK],
    [FLAPPING, BANK, FAILING, READINESS, MILD_READINESS],  # a page for the check alone
    [FLAPPING, READINESS, MILD_READINESS],  # the page goes on, without the check
    [FLAPPING, MILD_READINESS],  # the tickets are sent that waited for the end of the page
    [],
)


def key(labels):
    return json.dumps(labels, sort_keys=True)


def predict():
    """Return, for each stage, the messages of the model: receiver, firing and resolved alerts."""
    timeline = [{key(labels): (labels, {}) for labels in stage} for stage in STAGES for _ in range(STAGE // STEP)]
    found = [set() for _ in STAGES]
    for message in Notifier(EXAMPLE).replay(timeline):
        parts = (frozenset(key(labels) for labels, _ in part) for part in (message.firing, message.resolved))
        found[min(message.time // STAGE, len(STAGES) - 1)].add((message.receiver, *parts))
    return found


@pytest.fixture
def receiver():
    with run_receiver() as server:
        yield server


@pytest.fixture
def alertmanager(tmp_path, receiver):
    url = f"http://127.0.0.1:{free_port()}"
    text = EXAMPLE.read_text().replace("http://127.0.0.1:9099", receiver.url)
    waits = {"group_wait: 30s": "group_wait: 300ms", "group_interval: 5m": "group_interval: 3s"}
    for shipped, short in waits.items():
        assert shipped in text
        text = text.replace(shipped, short)
    (tmp_path / "alertmanager.yml").write_text(text)
    arguments = [
        f"--config.file={tmp_path / 'alertmanager.yml'}",
        f"--storage.path={tmp_path}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    with ended(Process([command("prometheus-alertmanager"), *arguments])):
        eventually(lambda: is_ready(url), what="Alertmanager is ready")
        yield url


def post(url, stage, before):
    """Send what fires now, and that what fired before has ended."""
    now = dt.datetime.now(dt.UTC).isoformat()
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    ended_alerts = [{"labels": labels, "endsAt": now} for labels in before if labels not in stage]
    body = json.dumps([*({"labels": labels, "endsAt": later} for labels in stage), *ended_alerts]).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=30).close()


def read(messages):
    """Return the messages that arrived, in the form of the model."""
    found = set()
    for path, message in messages:
        parts = {"firing": set(), "resolved": set()}
        for sent in message["alerts"]:
            parts[sent["status"]].add(key(sent["labels"]))
        found.add((re.sub(r".*/", "", path), frozenset(parts["firing"]), frozenset(parts["resolved"])))
    return found


def test_a_real_alertmanager_sends_the_messages_of_the_model(alertmanager, receiver):
    predicted = predict()
    assert all(predicted), predicted
    before = []
    for stage, expected in zip(STAGES, predicted, strict=True):
        start = len(receiver.messages)
        post(alertmanager, stage, before)
        eventually(lambda start=start, expected=expected: read(receiver.messages[start:]) >= expected, what=expected)
        time.sleep(STAGE / PACE)  # further messages would come within two intervals
        assert read(receiver.messages[start:]) == expected
        before = stage
