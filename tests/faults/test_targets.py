"""Targets that change their mind or hang by the hundred."""

import itertools
import threading

from faults.prober import probing
from faults.samples import sample
from faults.webs import OK, UNAVAILABLE, webs
from support import eventually


def test_a_target_that_flaps_is_counted_exactly_and_changes_nothing(start):
    """It fails every second run, and the thresholds ask for two in a row."""
    responses = itertools.cycle([OK, UNAVAILABLE])
    with webs(("127.0.0.1", 0), respond=lambda index: next(responses)) as servers:
        exporter = start(
            f"""
            checks:
              - name: web
                httpGet: {{port: {servers.ports[0]}}}
                periodSeconds: 1
                failureThreshold: 2
                groups: [readiness]
            """
        )
        exporter.line("check web: unknown -> pass")
        with probing(f"{exporter.url}/readyz"):
            eventually(lambda: exporter.metrics()[sample("runs_total", "web")] >= 6)
            metrics = exporter.metrics()
    runs, failures = metrics[sample("runs_total", "web")], metrics[sample("failures_total", "web", reason="status")]

    assert failures == runs // 2
    assert metrics[sample("transitions_total", "web")] == 1
    assert metrics[sample("up", "web")] == 1


def test_a_hundred_targets_that_hang_delay_no_other_check(start):
    """400 other checks run twice while each of the hundred is still in its first run."""
    released = threading.Event()

    def respond(index: int) -> bytes | None:
        return None if index < 100 and not released.is_set() else OK

    with webs(*[("127.0.0.1", 0)] * 500, respond=respond) as servers:
        options = ["periodSeconds: 600, timeoutSeconds: 600"] * 100 + ["periodSeconds: 3, timeoutSeconds: 2"] * 400
        checks = ", ".join(
            f"{{name: web{number}, httpGet: {{port: {port}}}, {option}}}"
            for number, (port, option) in enumerate(zip(servers.ports, options, strict=True))
        )
        exporter = start(f"checks: [{checks}]")
        with probing(f"{exporter.url}/livez"):
            eventually(lambda: servers.requests[:100] == [1] * 100, what="the hundred hang")
            busy = exporter.metrics()["health_exporter_workers_busy"]
            eventually(lambda: min(servers.requests[100:]) >= 2, what="the others have run twice")
            metrics = exporter.metrics()

    assert busy >= 100
    assert servers.requests[:100] == [1] * 100
    assert all(metrics[sample("runs_total", f"web{number}")] == 0 for number in range(100))
    assert all(metrics[sample("up", f"web{number}")] == 1 for number in range(100, 500))
    assert "health_exporter_workers_stuck" not in metrics
