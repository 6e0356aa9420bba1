"""One Snapshot with everything: every status, every way to reach it, limits and measurements."""

import os
from pathlib import Path

import pytest
from make import snapshot

from exporter.evaluation.settle import expire, settle
from exporter.model import Group, Measurement, Outcome, Reason, Result, Severity, Snapshot, Spec, State, Status, Vitals

NOW = 1_700_000_000.0  # wall clock; the monotonic one is NOW behind it
LATENCY = "endpoint_latency_seconds"
VITALS = Vitals(
    running=True, workers=9, busy=2, stuck=1, lag=0.125, reload_ok=False, reload_time=NOW - 86_400, restarts=3
)
ANSWERS = {(Group.LIVENESS, 200): 41, (Group.LIVENESS, 503): 1, (Group.READINESS, 503): 7}


def groups(*names: Group) -> frozenset[Group]:
    return frozenset({*names, Group.ALL})


def after(spec: Spec, *outcomes: Outcome, ended: float = 30) -> State:
    """The State after these runs, one per period; the last began `ended` seconds ago and took 12.5 ms."""
    state = State(spec)
    for number, outcome in enumerate(outcomes):
        began = -ended - (len(outcomes) - 1 - number) * spec.period
        state = settle(state, Result(outcome, NOW + began, began + 0.0125, 0.0125))
    return state


def scene(*, draining: bool = False) -> Snapshot:
    fine = Outcome.passed("204 No Content in 3.2 ms", Measurement(LATENCY, 0.0032))
    slow = Outcome.failed(Reason.TIMEOUT, "no answer within 1 s", Measurement(LATENCY, 1.0))
    refused = Outcome.failed(Reason.CONNECT, "127.0.0.1:3306: connection refused")
    full = Measurement("disk_used_ratio", 0.84, 0.8, 0.9)
    load = Measurement("load_ratio", 0.25, None, 0.9)
    hidden = Outcome(Status.UNKNOWN, Reason.PERMISSION, "/srv: permission denied")

    states = [
        after(
            Spec("api", "httpGet", "http://127.0.0.1:8080/health", groups(Group.LIVENESS, Group.READINESS)),
            *[fine] * 12,
        ),
        after(Spec("web", "httpGet", "https://web.example/", groups(Group.READINESS)), fine, refused, slow, slow, slow),
        after(Spec("mysql", "tcpSocket", "127.0.0.1:3306", groups(Group.READINESS)), fine, refused),
        after(
            Spec("disk", "disk", "/var/lib/data", groups(), Severity.WARNING),
            Outcome.measured("84 % of /var/lib/data is in use, 12 GiB available", full),
        ),
        after(
            Spec("load", "loadAverage", "host", groups(Group.LIVENESS), Severity.INFO, period=5, stale_after=16),
            Outcome.measured("load over 1m is 0.5, 25 % of 2 CPUs", load, Measurement("load1", 0.5)),
        ),
        after(Spec("share", "disk", "/srv", groups(Group.READINESS)), fine, hidden),
        after(Spec("blind", "exec", "backup", groups()), Outcome(Status.UNKNOWN, Reason.MISSING, "backup: not found")),
        expire(after(Spec("old", "exec", "cat", groups(Group.STARTUP)), fine, ended=3600), -20, NOW - 20),
        State(Spec("new", "tcpSocket", "127.0.0.1:25", groups(Group.STARTUP))),
    ]
    return snapshot(states, generation=4711, timestamp=NOW, draining=draining)


def golden(name: str, text: str) -> None:
    """Compare with the file of this name in this folder; `GOLDEN=write` in the environment writes it instead."""
    path = Path(__file__).parent / name
    if os.environ.get("GOLDEN") == "write" and os.environ.get("CI") != "true":
        path.write_text(text)
    if path.read_text() != text:
        pytest.fail(
            f"{name} differs; if the change is meant, run again with GOLDEN=write and read the difference in git"
        )
