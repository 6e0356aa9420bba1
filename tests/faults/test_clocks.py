"""The wall clock jumps, and the whole process is suspended."""

import signal
import time

from faults.prober import probing
from faults.samples import sample
from faults.usage import list_processes
from faults.wall_clock import WallClock
from faults.webs import webs
from support import Process, eventually

HOUR, YEAR = 3600, 365 * 24 * 3600


def test_a_wall_clock_that_jumps_changes_times_and_nothing_else(start, tmp_path):
    """No check runs early, late or more often, and no result becomes stale."""
    clock = WallClock(tmp_path)
    with webs(*[("127.0.0.1", 0)] * 2) as servers:
        exporter = start(
            f"""
            checks:
              - {{name: often, httpGet: {{port: {servers.ports[0]}}}, periodSeconds: 1}}
              - {{name: rare, httpGet: {{port: {servers.ports[1]}}}, periodSeconds: 3600}}
            """,
            env=clock.environment,
        )
        eventually(lambda: exporter.get("/readyz").status == 200)
        with probing(f"{exporter.url}/readyz"):
            for offset in (HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 0):
                clock.jump(offset)
                eventually(lambda moved=offset: abs(last_run(exporter) - time.time() - moved) < HOUR / 2, what="a run")
                assert exporter.metrics()[sample("duration_seconds", "often")] >= 0

        changed = tmp_path / "health.yml"
        changed.write_text(changed.read_text() + "  # the file is still watched\n")
        exporter.line('msg="configuration loaded"')

    metrics = exporter.metrics()
    assert servers.requests[1] == 1
    assert metrics[sample("runs_total", "rare")] == 1
    assert sample("failures_total", "often", reason="stale") not in metrics
    assert metrics[sample("transitions_total", "often")] == 1


def last_run(exporter) -> float:
    return exporter.metrics()[sample("last_run_timestamp_seconds", "often")]


def test_a_suspended_process_makes_up_for_no_run(start):
    """As on a machine that sleeps: afterwards each check runs once, and then once in each period."""
    with webs(*[("127.0.0.1", 0)] * 20) as servers:
        checks = ", ".join(
            f"{{name: web{number}, httpGet: {{port: {port}}}, periodSeconds: 1, groups: [liveness, readiness]}}"
            for number, port in enumerate(servers.ports)
        )
        exporter = start(f"checks: [{checks}]")
        eventually(lambda: exporter.get("/readyz").status == 200)
        suspend(exporter)
        time.sleep(5)
        before = list(servers.requests)
        resume(exporter)
        began = time.monotonic()
        with probing(f"{exporter.url}/livez"):
            eventually(lambda: min(now - then for now, then in zip(servers.requests, before, strict=True)) >= 1)
            runs = max(now - then for now, then in zip(servers.requests, before, strict=True))
            periods = time.monotonic() - began
            eventually(lambda: exporter.get("/readyz").status == 200)

    assert runs <= periods + 2  # one that began before, and one in each period that has begun since


def suspend(process: Process) -> None:
    for member in list_processes(process):  # a parent first, so that it sees no stopped child
        member.send_signal(signal.SIGSTOP)


def resume(process: Process) -> None:
    for member in reversed(list_processes(process)):
        member.send_signal(signal.SIGCONT)
