"""The figures of time: how late responses, runs and the first response are."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

from exporter.evaluation.timetable import compute_shift, compute_slot
from tests.bench import peers
from tests.bench.figure import Effort, Figure
from tests.support import Exporter, eventually, free_port, get

_STORM = Path(__file__).with_name("storm.py")


def latency(url: str, effort: Effort) -> Iterator[Figure]:
    """/livez with 500 checks, with and without 100 targets that accept connections and never respond."""
    well, hung = [], []
    with peers.silent(100) as targets:
        for _ in range(max(1, effort.rounds - 2)):
            well.append(1e3 * _latency_p99([url] * 100, url, effort))
            hung.append(1e3 * _latency_p99(targets, url, effort))
    yield Figure("/livez p99, 100 of 500 hang", "ms", hung, "none hangs", well, 2)


def _latency_p99(others: list[str], url: str, effort: Effort) -> float:
    checks = [peers.http_get(f"good-{n}", url, period=2, groups="liveness") for n in range(500 - len(others))]
    checks += [peers.http_get(f"other-{n}", other, period=2) for n, other in enumerate(others)]
    with peers.exporter(*checks) as process:
        time.sleep(peers.WARM)
        livez = process.url + "/livez"
        taken, until = [], time.monotonic() + effort.seconds
        while time.monotonic() < until or len(taken) < effort.requests:
            began = time.perf_counter()
            assert get(livez, headers=peers.KUBELET).status == 200
            taken.append(time.perf_counter() - began)
            time.sleep(0.002)
        return _p99(taken)


def storms(url: str, effort: Effort) -> Iterator[Figure]:
    """/livez with 300 checks: quiet, with 200 clients that scrape in a loop, and with 4000 abandoned scrapes."""
    checks = [peers.http_get(f"check-{number}", url, period=10, groups="liveness") for number in range(300)]
    situations = {
        "quiet": ["-c", f"import time; time.sleep({effort.seconds})"],
        "200 scrapers in a loop": [str(_STORM), "loop"],
        "4000 abandoned scrapes": [str(_STORM), "abandon"],
    }
    p99s: dict[str, list[float]] = {name: [] for name in situations}
    slowest: dict[str, list[float]] = {name: [] for name in situations}
    with peers.exporter(*checks) as process:
        time.sleep(peers.WARM)
        before = peers.resident(process.pid)
        for _ in range(max(1, effort.rounds - 2)):
            for name, arguments in situations.items():
                taken = _livez_during(process, [*arguments, process.url, str(effort.seconds)])
                p99s[name].append(1e3 * _p99(taken))
                slowest[name].append(1e3 * max(taken))
        growth = peers.resident(process.pid) - before
    quiet = p99s.pop("quiet")
    for name, values in p99s.items():
        yield Figure(f"/livez p99, {name}", "ms", values, "quiet", quiet, below=500)
        yield Figure(f"/livez slowest, {name}", "ms", slowest[name])
    yield Figure("growth of resident memory in storms", "MiB", [growth], below=10)


def _livez_during(process: Exporter, arguments: list[str]) -> list[float]:
    """How long /livez took, each 20 ms while another Python runs and a second longer."""
    taken, until = [], float("inf")
    with subprocess.Popen([sys.executable, *arguments]) as other:
        while time.monotonic() < until:
            began = time.perf_counter()
            assert get(process.url + "/livez", headers=peers.KUBELET).status == 200
            taken.append(time.perf_counter() - began)
            time.sleep(0.02)
            if other.poll() is not None and until == float("inf"):
                until = time.monotonic() + 1
    return taken


def lag(url: str, effort: Effort) -> Iterator[Figure]:
    """Thousands of checks on one core, from the start: how late runs begin, and whether any is missed."""
    checks = [peers.http_get(f"check-{n}", url, period=effort.period) for n in range(effort.checks)]
    with peers.exporter(*checks, cores={max(os.sched_getaffinity(0))}) as process:
        peers.wait_for_runs(process)
        first = _find_starts(process, range(1, 2))
        time.sleep(max(0.0, min(first.values()) + 2 * effort.period + 0.5 - time.time()))
        second = _find_starts(process, range(2, 100))
        late = peers.samples(process, "health_exporter_scheduler_lag_seconds")[""]
        restarts = peers.samples(process, "health_exporter_worker_restarts_total")[""]
    # The first run is due within a second of the start, each further one at the check's own place in the period.
    period, host_shift = effort.period, compute_shift(socket.gethostname())
    firsts = [started - compute_slot(name) for name, started in first.items()]
    places = [started - (compute_slot(name) + host_shift) % 1 * period for name, started in second.items()]
    earliest = min(firsts)
    later = [(place - earliest + period / 2) % period - period / 2 + earliest for place in places]
    origin = min(earliest, *later)
    name = f"{effort.checks} checks each {effort.period} s on one core"
    yield Figure(f"{name}: lag p99", "s", [_p99([started - origin for started in later])], below=1)
    yield Figure(f"{name}: lag p99 of the first runs", "s", [_p99([started - origin for started in firsts])])
    yield Figure(f"{name}: largest lag shown", "s", [late])
    yield Figure(f"{name}: restarts of the worker", "", [restarts], below=1)
    yield Figure(f"{name}: checks skipped", "", [effort.checks - len(second)], below=1)


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]  # never beyond the largest


def _find_starts(process: Exporter, runs: range) -> dict[str, float]:
    """When the latest run of each check with so many runs began; waits a little for the last of them."""
    done: dict[str, float] = {}
    for _ in range(5):
        done = peers.samples(process, "health_check_runs_total")
        if min(done.values()) >= runs.start:
            break
        time.sleep(1)
    started = peers.samples(process, "health_check_last_run_timestamp_seconds")
    return {name: at for name, at in started.items() if done[name] in runs}


def start(url: str, effort: Effort) -> Iterator[Figure]:
    """From the start of the process to the first 200, in elapsed time and in CPU time.

    /livez is 200 before the libraries are loaded, /readyz after the first run of the check.
    """
    theirs = []
    ours: dict[str, list[tuple[float, float]]] = {"/livez": [], "/readyz": []}
    for _ in range(2 * effort.rounds):
        for path, times in ours.items():
            times.append(_until_healthy(path, url))
        began = time.perf_counter()
        spent = peers.cpu_of_run([sys.executable, "-c", peers.LIBRARIES])
        theirs.append((time.perf_counter() - began, spent))
    for path, at_most in (("/livez", 0.6), ("/readyz", 1.5)):
        for place, (name, budget) in enumerate((("time", None), ("CPU", at_most))):
            figures, peer = ([1e3 * both[place] for both in side] for side in (ours[path], theirs))
            yield Figure(f"start to {path}, {name}", "ms", figures, "four imports", peer, budget)


def _until_healthy(path: str, url: str) -> tuple[float, float]:
    address = f"127.0.0.1:{free_port()}"
    began = time.perf_counter()
    with peers.serving(peers.http_get("api", url, period=10), address=address) as process:
        if path != "/livez":
            process.line("msg=listening")  # requests before that would count
        eventually(lambda: peers.answers(f"http://{address}{path}"))
        return time.perf_counter() - began, peers.cpu(process.pid)
