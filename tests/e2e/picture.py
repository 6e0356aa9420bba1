"""Draws the status page for the documentation: `PYTHONPATH=.:tests python -m tests.e2e.picture docs/status-page.png`.

The exporter, its checks and their past are made up. The page is a real one, in a real Chromium.
"""

import base64
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from e2e.browser import open_browser, resize
from make import check, in_groups
from stage import Stage, served
from support import Clock

from exporter.model import Group, Identity, Measurement, Outcome, Reason, Result, Vitals
from exporter.probe.check import Check

READY, LIVE = in_groups(Group.READINESS), in_groups(Group.LIVENESS, Group.READINESS)
RUNS = 60
PERIOD = 10
LATENCY = "endpoint_latency_seconds"
URLS = {
    "api": "http://127.0.0.1:8080/health",
    "search": "http://127.0.0.1:9200/",
    "payments": "https://pay.example/health",
}


def latency(seconds: float) -> Measurement:
    return Measurement(LATENCY, seconds)


def find(name: str, run: int) -> Outcome:
    """What a run of this check finds: the database has been away for two minutes, and payments was for one."""
    jitter = (run * 7919 % 97) / 97
    left = RUNS - run
    if name == "database" and left <= 12:
        return Outcome.failed(Reason.CONNECT, "database.shop.svc:5432: Connection refused", latency(0.0004))
    if name == "payments" and 27 < left <= 33:
        return Outcome.failed(Reason.TIMEOUT, "no response from https://pay.example/health within 1 s", latency(1))
    if name == "disk":
        used = Measurement("disk_used_ratio", 0.84, 0.8, 0.9)
        return Outcome.measured("84 % of /data is in use, 11.6 GiB available", used)
    if name in URLS:
        return Outcome.passed(f"{URLS[name]} returned 200", latency(0.004 + jitter / 500))
    return Outcome.passed(f"{name}.shop.svc accepts connections", latency(0.0008 + jitter / 2000))


def make_checks() -> Iterator[Check]:
    for name, url in URLS.items():
        yield check(name, kind="httpGet", target=url, groups=LIVE if name == "api" else READY, owner="shop")
    described = {"description": "Orders cannot be placed.", "runbook_url": "https://runbooks.example/database"}
    for name, port in (("database", 5432), ("cache", 6379), ("queue", 5672)):
        about = described if name == "database" else {}
        yield check(name, kind="tcpSocket", target=f"{name}.shop.svc:{port}", groups=READY, owner="platform", **about)
    yield check("disk", kind="disk", target="/data", groups=in_groups(), owner="platform")


def make_stage() -> Stage:
    """Return an exporter whose checks have run for ten minutes, until now."""
    began = time.time() - RUNS * PERIOD - 3
    stage = Stage(Clock(began - 1_000_000))
    identity = Identity("shop-7d9f4c-x2k8p", ("/etc/health-exporter/health.yml",), began - 86400)
    stage.vitals = Vitals(True, reload_time=began - 86400, identity=identity)
    stage.watch(*make_checks())
    for run in range(RUNS):
        for name, one in stage.checks.items():
            outcome = find(name, run)
            took = 0.0004 + next((n.value for n in outcome.measurements if n.name == LATENCY), 0.002)
            stage.store.record(one, Result(outcome, 1_000_000 + stage.clock.now, stage.clock.now + took, took))
        stage.clock.advance(PERIOD)
    return stage


def main(file: str) -> None:
    stage = make_stage()
    with served(stage.dispatch(next_runs=lambda: dict.fromkeys(stage.checks, 7.0))) as url, open_browser() as browser:
        resize(browser, 1200, height=860)
        browser.get(url + "/")
        picture = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    Path(file).write_bytes(base64.b64decode(picture["data"]))


if __name__ == "__main__":
    main(sys.argv[1])
