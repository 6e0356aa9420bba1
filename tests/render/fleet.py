"""Hundreds of checks as a platform team has them: services and databases, a tenth of them failing, with a past."""

import random
from collections.abc import Iterator

from make import in_groups

from exporter.evaluation.history import History
from exporter.evaluation.settle import settle
from exporter.model import Group, Identity, Measurement, Outcome, Reason, Result, Spec, State, Status, Vitals
from exporter.render.page import Past

NOW = 1_700_000_000.0
RUNS = 60
PERIOD = 10
SERVICES = (
    *("orders", "payments", "stock", "search", "mail", "users", "cart", "invoices"),
    *("gateway", "pricing", "catalog", "media", "audit", "login", "sessions"),
)
VITALS = Vitals(
    True,
    reload_time=NOW - 7200,
    identity=Identity("shop-7d9f4c-x2k8p", ("/etc/health-exporter/health.yml",), NOW - 86400),
)


def make_fleet(count: int) -> tuple[list[State], Past]:
    """The States of so many checks, and their past."""
    chance, history = random.Random(7), History()
    states = []
    for spec in make_specs(count):
        fate, offset = chance.random(), chance.random() * PERIOD
        state = State(spec)
        for number in range(RUNS):
            began = NOW + (number - RUNS) * PERIOD + offset
            run = make_result(spec, fate if number > RUNS - 10 else 1.0, chance, began)
            state = settle(state, run)
            history.note_run(spec, run, number)
        states.append(state)
    return states, Past(history, {state.spec.name: chance.random() * PERIOD for state in states})


def make_specs(count: int) -> Iterator[Spec]:
    for number in range(count):
        service, replica = SERVICES[number % len(SERVICES)], number // len(SERVICES)
        web = number % 3 > 0
        yield Spec(
            f"{service}-{replica}",
            "httpGet" if web else "tcpSocket",
            f"http://{service}-{replica}.shop.svc:8080/health" if web else f"{service}-db-{replica}.shop.svc:5432",
            in_groups(Group.LIVENESS, Group.READINESS) if number % 10 == 0 else in_groups(Group.READINESS),
            owner=SERVICES[number % 7],
            description=f"Customers cannot use {service}." if number % 5 == 0 else "",
            runbook_url=f"https://runbooks.example/{service}" if number % 5 == 0 else "",
        )


def make_result(spec: Spec, fate: float, chance: random.Random, began: float) -> Result:
    seconds = chance.random() / 20
    latency = Measurement("endpoint_latency_seconds", seconds, 0.04)
    if fate < 0.1 or chance.random() < 0.002:
        outcome = Outcome.failed(Reason.CONNECT, f"{spec.target}: Connection refused", latency)
    elif fate < 0.12:
        outcome = Outcome(Status.UNKNOWN, Reason.DNS, f"{spec.target}: the name has no address")
    elif fate < 0.15:
        outcome = Outcome(Status.WARN, Reason.THRESHOLD, f"{spec.target} returned 200: slow", (latency,))
    else:
        said = f"{spec.target} returned 200" if spec.kind == "httpGet" else f"{spec.target} accepts connections"
        outcome = Outcome.passed(said, latency)
    return Result(outcome, began, began - NOW + 5000, seconds + 0.001)
