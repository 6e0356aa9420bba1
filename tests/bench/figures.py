"""The figures of the budgets, each with its peer's from the same run.

Other work on the machine hardly changes CPU time. The two sides take turns (A B A B): each A and the B after it are a
pair, of which the ratio is computed.
"""

import os
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

from exporter.evaluation.history import History
from exporter.evaluation.timetable import compute_shift, compute_slot
from exporter.model import Outcome, Reason, Result, Spec
from tests.bench import peers
from tests.bench.figure import Effort, Figure
from tests.support import Exporter, eventually, free_port, get

EXEC_PROBE = Path(__file__).with_name("exec_probe.py")
STORM = Path(__file__).with_name("storm.py")
PACE = 100  # runs a second, of ours and of a peer's
WARM = 2.0  # seconds of runs before anything is measured: all checks have run, and more than once


def cpu_of_a_check(url: str, effort: Effort) -> Iterator[Figure]:
    """100 checks a second, minus the cost of the exporter without checks; blackbox_exporter at the same pace."""
    with peers.blackbox() as blackbox:
        yield _race(url, effort, "Debian's blackbox_exporter", lambda: _cpu_of_a_probe(blackbox, url, effort), 0.4)


def cpu_against_newer_blackbox(url: str, effort: Effort) -> Iterator[Figure]:
    """The same, with a newer blackbox_exporter: the one with the name that it has outside of Debian."""
    with peers.blackbox(peers.optional("blackbox_exporter")) as blackbox:
        yield _race(url, effort, "newer blackbox_exporter", lambda: _cpu_of_a_probe(blackbox, url, effort), 0.4)


def cpu_against_gatus(url: str, effort: Effort) -> Iterator[Figure]:
    """The same, with Gatus, which keeps its connections open."""
    with peers.gatus(url, PACE) as gatus:
        yield _race(url, effort, "Gatus", lambda: _cpu_per(gatus.runs, gatus.pid, effort.seconds), 1.0)


def _race(url: str, effort: Effort, name: str, measure_peer: Callable[[], float], at_most: float) -> Figure:
    """Compare an httpGet check with a peer's CPU seconds for a check of the same target."""
    ours, theirs = [], []
    with peers.exporter() as idle:
        for _ in range(effort.rounds):
            ours.append(cpu_of_kind(f"httpGet: {{port: {peers.port_of(url)}}}", idle, effort.seconds))
            theirs.append(1e3 * measure_peer())
    return Figure("CPU of an httpGet check", "ms", ours, name, theirs, at_most)


def _cpu_of_a_probe(blackbox: peers.Peer, url: str, effort: Effort) -> float:
    blackbox.scrape(peers.probe(url), PACE)
    return blackbox.scrape(peers.probe(url), int(PACE * effort.seconds), 1 / PACE)


def cpu_of_kind(check: str, idle: Exporter, seconds: float) -> float:
    """CPU milliseconds of a run, at 100 runs a second. `check` is the check without its name and period."""
    checks = (f"{{name: check-{number}, {check}, periodSeconds: 1}}" for number in range(PACE))
    with peers.exporter(*checks) as busy:
        time.sleep(WARM)
        return 1e3 * cpu_of_a_run(busy, idle, seconds)


def cpu_of_a_run(busy: Exporter, idle: Exporter, seconds: float) -> float:
    """CPU seconds of a run of a check, without what the exporter needs anyway."""
    before = peers.cpu(idle.pid)
    runs, spent = _count(lambda: sum(peers.samples(busy, "health_check_runs_total").values()), busy.pid, seconds)
    return (spent - (peers.cpu(idle.pid) - before)) / runs


def _cpu_per(count: Callable[[], float], pid: int, seconds: float) -> float:
    times, spent = _count(count, pid, seconds)
    return spent / times


def _count(count: Callable[[], float], pid: int, seconds: float) -> tuple[float, float]:
    """How much a counter grows while a process works for so long, and the CPU seconds of the process."""
    first, before = count(), peers.cpu(pid)
    time.sleep(seconds)
    spent = peers.cpu(pid) - before
    return count() - first, spent


def cpu_of_tls(_: str, effort: Effort) -> Iterator[Figure]:
    """100 checks a second that verify a certificate, of each kind that can, compared with httpGet."""
    spent: dict[str, list[float]] = {}
    with peers.tls_target() as (port, ca_file), peers.exporter() as idle:
        kinds = list_tls_kinds(port, ca_file)
        for _ in range(effort.rounds):
            for kind, check in kinds.items():
                spent.setdefault(kind, []).append(cpu_of_kind(check, idle, effort.seconds))
    http_get = spent.pop("httpGet")
    for kind, ours in spent.items():
        yield Figure(f"CPU of a {kind} check over TLS", "ms", ours, "httpGet over TLS", http_get, 1.5)


def list_tls_kinds(port: int, ca_file: str) -> dict[str, str]:
    """A check of each kind that verifies a certificate."""
    return {
        "httpGet": f"httpGet: {{port: {port}, scheme: HTTPS, verifyTLS: true, caFile: {ca_file}}}",
        "certificate": f"certificate: {{port: {port}, verify: true, warnDays: null, caFile: {ca_file}}}",
        "promql": f"promql: {{url: 'https://127.0.0.1:{port}', query: up, caFile: {ca_file}}}",
    }


def cpu_of_load_average(_: str, effort: Effort) -> Iterator[Figure]:
    """100 runs a second, and scrapes of an exporter with one such check; node_exporter's load average at that pace."""
    runs, scrapes, theirs = [], [], []
    times = int(PACE * effort.seconds)
    with (
        peers.exporter() as idle,
        peers.exporter("{name: load, loadAverage: {}, periodSeconds: 3600}") as process,
        peers.node_exporter() as node,
    ):
        for _ in range(effort.rounds):
            runs.append(cpu_of_kind("loadAverage: {}", idle, effort.seconds))
            scrapes.append(1e3 * cpu_of_scrapes(process, times, 1 / PACE))
            theirs.append(1e3 * node.scrape("/metrics", times, 1 / PACE))
    yield Figure("CPU of a loadAverage check", "ms", runs, "node_exporter's scrape", theirs)
    yield Figure("CPU of a scrape with one loadAverage check", "ms", scrapes, "node_exporter's scrape", theirs)


def cpu_of_scrapes(process: Exporter, times: int, pause: float = 0.0) -> float:
    """CPU seconds of a scrape: over a connection that stays open and compressed, as Prometheus does."""
    with peers.keep_alive(peers.port_of(process.url)) as connection:
        before, due = peers.cpu(process.pid), time.monotonic()
        for number in range(times):  # equal scrapes of one second would share an exposition
            accept = f"{peers.PROMETHEUS['Accept']},x/{number}"
            peers.fetch(connection, "/metrics", {**peers.PROMETHEUS, "Accept": accept})
            due += pause
            time.sleep(max(0.0, due - time.monotonic()))
        return (peers.cpu(process.pid) - before) / times


def cpu_of_an_answer(url: str, effort: Effort) -> Iterator[Figure]:
    """/livez over a new connection each time, as the kubelet does."""
    ours, theirs = [], []
    with peers.exporter(peers.http_get("api", url, period=10, groups="liveness")) as process:
        get(process.url + "/livez")
        for _ in range(effort.rounds):
            ours.append(1e3 * cpu_of_answers(process, effort.requests))
            runs = [peers.cpu_of_run([sys.executable, str(EXEC_PROBE), url]) for _ in range(3)]
            theirs.append(1e3 * median(runs))
    yield Figure("CPU of a /livez answer", "ms", ours, "exec probe", theirs, 1 / 300)


def cpu_of_answers(process: Exporter, requests: int) -> float:
    """CPU seconds of an answer of /livez."""
    before = peers.cpu(process.pid)
    for _ in range(requests):
        assert get(process.url + "/livez", headers=peers.KUBELET).status == 200
    return (peers.cpu(process.pid) - before) / requests


def memory(url: str, effort: Effort) -> Iterator[Figure]:
    """Several exporters with 5 and with 50 checks of the default period, each of which runs several times."""
    configurations = {
        "5 httpGet checks": [peers.http_get(f"check-{number}", url, period=10) for number in range(5)],
        "5 checks of five kinds": _list_sidecar_checks(url),
        "50 httpGet checks": [peers.http_get(f"check-{number}", url, period=10) for number in range(50)],
    }
    private: dict[str, list[float]] = {name: [] for name in configurations}
    resident: dict[str, list[float]] = {name: [] for name in configurations}
    keepers = []
    with ExitStack() as stack:
        running = [
            (name, stack.enter_context(peers.exporter(*checks)))
            for name, checks in configurations.items()
            for _ in range(effort.rounds)
        ]
        time.sleep(12 * (effort.rounds - 1))
        for name, process in running:
            for path in ("/livez", "/metrics", "/") * 10:
                get(process.url + path)
            assert min(peers.samples(process, "health_check_runs_total").values()) >= effort.rounds - 1
            private[name].append(peers.private_of_all(process.pid))
            resident[name].append(peers.resident(process.pid))
            keepers.append(peers.private(process.pid))
    for name, values in private.items():
        yield Figure(f"private memory, {name}", "MiB", values, below=32 if name.startswith("5 ") else None)
    yield Figure("private memory of the keeper", "MiB", keepers)
    for name, values in resident.items():
        yield Figure(f"resident memory, {name}", "MiB", values, below=48 if name.startswith("50 ") else None)


def series(url: str, _: Effort) -> Iterator[Figure]:
    """The samples of both formats, after a request to each path of the kubelet's probes."""
    counts = {"text": "text/plain", "OpenMetrics": "application/openmetrics-text; version=1.0.0"}
    with peers.exporter(*_list_sidecar_checks(url)) as process:
        eventually(lambda: peers.answers(f"{process.url}/readyz"))
        get(f"{process.url}/livez")
        for name, accept in counts.items():
            lines = process.get("/metrics", headers={"Accept": accept}).text.splitlines()
            count = len([line for line in lines if not line.startswith("#")])
            yield Figure(f"series of a sidecar with 5 checks, {name}", "", [count], below=101)


def _list_sidecar_checks(url: str) -> list[str]:
    """Five checks, each of another kind."""
    port = peers.port_of(url)
    return [
        f"{{name: api, httpGet: {{port: {port}}}, groups: [liveness, readiness]}}",
        f"{{name: web, tcpSocket: {{port: {port}}}}}",
        "{name: load, loadAverage: {failRatio: 100}}",
        "{name: disk, disk: {path: /, failRatio: 1}}",
        "{name: memory, memory: {failRatio: 1}}",
    ]


def history(_: str, effort: Effort) -> Iterator[Figure]:
    """What the history adds to a run, and its memory for a check that is healthy, and for one that always flaps."""
    specs = [Spec(f"check-{number}", "httpGet") for number in range(1000)]
    outcomes = [Outcome.passed("200 OK in 3.2 ms"), Outcome.failed(Reason.CONNECT, "127.0.0.1:8080: refused")]
    for name, used in (("healthy", outcomes[:1]), ("flapping", outcomes)):
        filled = History()
        tracemalloc.start()
        for run in range(100):
            result = Result(used[run % len(used)], 10.0 * run, 10.0 * run, 0.003)
            for spec in specs:
                filled.note_run(spec, result, run)
        size = tracemalloc.get_traced_memory()[0] / len(specs)
        tracemalloc.stop()
        filled, began = History(), time.process_time()
        for run in range(10 * effort.rounds):
            result = Result(used[run % len(used)], 10.0 * run, 10.0 * run, 0.003)
            for spec in specs:
                filled.note_run(spec, result, run)
        spent = time.process_time() - began
        yield Figure(f"history of a {name} check", "bytes", [size], below=2048)
        yield Figure(f"CPU of a run in it, {name}", "us", [1e6 * spent / (10 * effort.rounds * len(specs))], below=10)


def cpu_of_a_scrape(url: str, effort: Effort) -> Iterator[Figure]:
    """/metrics with 1,000 checks; as many probes of blackbox_exporter."""
    ours, theirs = [], []
    checks = (peers.http_get(f"check-{number}", url, period=3600) for number in range(1000))
    with peers.exporter(*checks) as process, peers.blackbox() as blackbox:
        wait_for_runs(process, 1000)
        for _ in range(effort.rounds):
            ours.append(1e3 * cpu_of_scrapes(process, 3))
            theirs.append(1e3 * 1000 * blackbox.scrape(peers.probe(url), 1000))
    yield Figure("CPU of a scrape, 1000 checks", "ms", ours, "1000 probes of blackbox", theirs, 0.12)


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
        time.sleep(WARM)
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
        "200 scrapers in a loop": [str(STORM), "loop"],
        "4000 abandoned scrapes": [str(STORM), "abandon"],
    }
    p99s: dict[str, list[float]] = {name: [] for name in situations}
    slowest: dict[str, list[float]] = {name: [] for name in situations}
    with peers.exporter(*checks) as process:
        time.sleep(WARM)
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
        wait_for_runs(process, effort.checks)
        first = _find_starts(process, 1)
        time.sleep(max(0.0, min(first.values()) + 2 * effort.period + 0.5 - time.time()))
        second = _find_starts(process, 2)
        late = peers.samples(process, "health_exporter_scheduler_lag_seconds")[""]
    # The first run is due within a second of the start, each further one at the check's own place in the period.
    period, host_shift = effort.period, compute_shift(socket.gethostname())
    firsts = [started - compute_slot(name) for name, started in first.items()]
    places = [started - (compute_slot(name) + host_shift) % 1 * period for name, started in second.items()]
    later = [(place - firsts[0] + period / 2) % period - period / 2 + firsts[0] for place in places]
    origin = min(*firsts, *later)
    name = f"{effort.checks} checks each {effort.period} s on one core"
    yield Figure(f"{name}: lag p99", "s", [_p99([started - origin for started in later])], below=1)
    yield Figure(f"{name}: lag p99 of the first runs", "s", [_p99([started - origin for started in firsts])])
    yield Figure(f"{name}: largest lag shown", "s", [late])
    yield Figure(f"{name}: checks skipped", "", [effort.checks - len(second)], below=1)


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[98]  # never beyond the largest


def wait_for_runs(process: Exporter, checks: int) -> None:
    """Wait until this many checks are loaded and have run."""
    eventually(lambda: _has_run(process, checks), within=300, what=f"{checks} checks run")


def _has_run(process: Exporter, checks: int) -> bool:
    time.sleep(0.2)  # an exposition with thousands of checks takes CPU time from their runs
    runs = peers.samples(process, "health_check_runs_total").values()
    return len(runs) == checks and min(runs) >= 1


def _find_starts(process: Exporter, runs: int) -> dict[str, float]:
    """When the latest run of each check with this many runs began; waits a little for the last of them."""
    done: dict[str, float] = {}
    for _ in range(5):
        done = peers.samples(process, "health_check_runs_total")
        if min(done.values()) >= runs:
            break
        time.sleep(1)
    started = peers.samples(process, "health_check_last_run_timestamp_seconds")
    return {name: at for name, at in started.items() if done[name] >= runs}


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


ALL: tuple[Callable[[str, Effort], Iterator[Figure]], ...] = (
    cpu_of_a_check,
    cpu_against_newer_blackbox,
    cpu_against_gatus,
    cpu_of_tls,
    cpu_of_load_average,
    cpu_of_an_answer,
    memory,
    series,
    history,
    cpu_of_a_scrape,
    latency,
    storms,
    lag,
    start,
)
