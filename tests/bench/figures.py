"""The figures, each with its peer's from the same run.

Other work on the machine hardly changes CPU time. The two sides take turns (A B A B), and the median of each side is
reported.
"""

import os
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from exporter.evaluation.history import History
from exporter.evaluation.timetable import compute_shift, compute_slot
from exporter.model import Outcome, Reason, Result, Spec
from tests.bench import peers
from tests.support import Exporter, eventually, free_port, get

EXEC_PROBE = Path(__file__).with_name("exec_probe.py")
STORM = Path(__file__).with_name("storm.py")
WARM = 2.0  # seconds of runs before anything is measured: all checks have run, and more than once


@dataclass(frozen=True)
class Figure:
    """A measured figure, the peer's, and the budget: a ratio of the two, or a number."""

    name: str
    unit: str
    ours: float
    peer_name: str = ""
    peer: float | None = None
    at_most: float | None = None  # times the peer's
    below: float | None = None  # units

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer if self.peer else None

    @property
    def kept(self) -> bool | None:
        """Whether it is within its budget, if it has one."""
        if self.at_most is None and self.below is None:
            return None
        by_ratio = self.at_most is None or (self.ratio is not None and self.ratio <= self.at_most)
        return by_ratio and (self.below is None or self.ours < self.below)


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    rounds: int
    seconds: float  # of each round
    requests: int  # of each round
    checks: int  # of the crowded configuration, at 167 runs a second
    period: int


FULL = Effort(rounds=5, seconds=5, requests=1000, checks=5000, period=30)
QUICK = Effort(rounds=2, seconds=2, requests=200, checks=667, period=4)


def cpu_of_a_check(url: str, effort: Effort) -> Iterator[Figure]:
    """100 checks a second, minus the cost of the exporter without checks; blackbox_exporter at the same pace."""
    count = 100
    ours, theirs = [], []
    with peers.blackbox() as blackbox, peers.exporter() as idle:
        blackbox.probe(url, 100)
        for _ in range(effort.rounds):
            with peers.exporter(*(peers.http_get(f"check-{n}", url, period=1) for n in range(count))) as busy:
                ours.append(_cpu_of_a_run(busy, idle, effort.seconds))
            times = int(count * effort.seconds)
            theirs.append(blackbox.probe(url, times, 1 / count) / times)
    yield Figure("CPU of an httpGet check", "ms", 1e3 * median(ours), "blackbox", 1e3 * median(theirs), 0.8)


def _cpu_of_a_run(busy: Exporter, idle: Exporter, seconds: float) -> float:
    time.sleep(WARM)
    runs = sum(peers.samples(busy, "health_check_runs_total").values())
    before, before_idle = peers.cpu(busy.pid), peers.cpu(idle.pid)
    time.sleep(seconds)
    spent = (peers.cpu(busy.pid) - before) - (peers.cpu(idle.pid) - before_idle)
    return spent / (sum(peers.samples(busy, "health_check_runs_total").values()) - runs)


def cpu_of_tls(_: str, effort: Effort) -> Iterator[Figure]:
    """100 checks a second that verify a certificate, of each kind that can, compared with httpGet."""
    count = 100
    spent: dict[str, list[float]] = {}
    with peers.tls_target() as (port, ca_file), peers.exporter() as idle:
        kinds = {
            "httpGet": f"{{port: {port}, path: /health, scheme: HTTPS, verifyTLS: true, caFile: {ca_file}}}",
            "certificate": f"{{port: {port}, verify: true, warnDays: null, caFile: {ca_file}}}",
            "promql": f"{{url: 'https://127.0.0.1:{port}', query: up, caFile: {ca_file}}}",
        }
        for _ in range(effort.rounds):
            for kind, options in kinds.items():
                checks = (f"{{name: check-{n}, {kind}: {options}, periodSeconds: 1}}" for n in range(count))
                with peers.exporter(*checks) as busy:
                    spent.setdefault(kind, []).append(_cpu_of_a_run(busy, idle, effort.seconds))
    http_get, *others = ((kind, 1e3 * median(times)) for kind, times in spent.items())
    for kind, milliseconds in others:
        yield Figure(f"CPU of a {kind} check over TLS", "ms", milliseconds, "httpGet", http_get[1], 1.5)


def cpu_of_an_answer(url: str, effort: Effort) -> Iterator[Figure]:
    """/livez over a new connection each time, as the kubelet does."""
    ours, theirs = [], []
    with peers.exporter(peers.http_get("api", url, period=10, groups="liveness")) as process:
        get(process.url + "/livez")
        for _ in range(effort.rounds):
            before = peers.cpu(process.pid)
            for _ in range(effort.requests):
                assert get(process.url + "/livez", headers=peers.KUBELET).status == 200
            ours.append((peers.cpu(process.pid) - before) / effort.requests)
            theirs.append(median(peers.cpu_of_run([sys.executable, str(EXEC_PROBE), url]) for _ in range(3)))
    yield Figure("CPU of a /livez answer", "ms", 1e3 * median(ours), "exec probe", 1e3 * median(theirs), 1 / 300)


def memory(url: str, effort: Effort) -> Iterator[Figure]:
    """50 checks of the default period, each run at least five times (quick: twice)."""
    with (
        peers.exporter(*(peers.http_get(f"check-{n}", url, period=10) for n in range(50))) as process,
        peers.idle_python(f"{peers.LIBRARIES}; {peers.SERVER}") as libraries,
    ):
        time.sleep(12 * effort.rounds)
        for path in ("/livez", "/metrics", "/") * 10:
            get(process.url + path)
        assert min(peers.samples(process, "health_check_runs_total").values()) >= effort.rounds
        ours, theirs = peers.resident(process.pid), peers.resident(libraries.pid)
        keeper = peers.private(process.pid)
    yield Figure("resident, 50 checks", "MiB", ours, "libraries idle", theirs, 1.25, 55)
    yield Figure("private memory of the keeper", "MiB", keeper, below=4)


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
        yield Figure(f"history of a {name} check", "bytes", size, below=2048)
        yield Figure(f"CPU of a run in it, {name}", "us", 1e6 * spent / (10 * effort.rounds * len(specs)), below=10)


def cpu_of_a_scrape(url: str, effort: Effort) -> Iterator[Figure]:
    """/metrics over a persistent connection and compressed, as Prometheus does."""
    ours, theirs = [], []
    checks = (peers.http_get(f"check-{n}", url, period=3600) for n in range(1000))
    with peers.exporter(*checks) as process, peers.blackbox() as blackbox:
        _settled(process, 1)
        with peers.keep_alive(int(process.url.rpartition(":")[2])) as connection:
            for _ in range(effort.rounds):
                before = peers.cpu(process.pid)
                for number in range(3):  # equal scrapes of one second would share an exposition
                    accept = f"{peers.PROMETHEUS['Accept']},x/{number}"
                    peers.fetch(connection, "/metrics", {**peers.PROMETHEUS, "Accept": accept})
                ours.append((peers.cpu(process.pid) - before) / 3)
                theirs.append(blackbox.probe(url, 1000))
    yield Figure("CPU of a scrape, 1000 checks", "ms", 1e3 * median(ours), "1000 probes", 1e3 * median(theirs), 0.4)


def latency(url: str, effort: Effort) -> Iterator[Figure]:
    """/livez with 500 checks, with and without 100 targets that accept connections and never respond."""
    well, hung = [], []
    with peers.silent(100) as targets:
        for _ in range(max(1, effort.rounds - 2)):
            well.append(_latency_p99([url] * 100, url, effort))
            hung.append(_latency_p99(targets, url, effort))
    yield Figure("/livez p99, 100 of 500 hang", "ms", 1e3 * median(hung), "none hangs", 1e3 * median(well), 2)


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
    checks = [peers.http_get(f"check-{n}", url, period=10, groups="liveness") for n in range(300)]
    with peers.exporter(*checks) as process:
        time.sleep(WARM)
        before = peers.resident(process.pid)
        quiet = _p99(_livez_during(process, ["-c", f"import time; time.sleep({effort.seconds})"]))
        for name, storm in (("200 scrapers in a loop", "loop"), ("4000 abandoned scrapes", "abandon")):
            arguments = [str(STORM), storm, process.url, str(effort.seconds)]
            taken = _livez_during(process, arguments)
            yield Figure(f"/livez p99, {name}", "ms", 1e3 * _p99(taken), "quiet", 1e3 * quiet, below=500)
            yield Figure(f"/livez slowest, {name}", "ms", 1e3 * max(taken), below=500)
        yield Figure("growth of resident memory in storms", "MiB", peers.resident(process.pid) - before, below=10)


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
        first = _settled(process, 1)
        time.sleep(max(0.0, min(first.values()) + 2 * effort.period + 0.5 - time.time()))
        second = _settled(process, 2)
        late = peers.samples(process, "health_exporter_scheduler_lag_seconds")[""]
    # The first run is due within a second of the start, each further one at the check's own place in the period.
    period, host_shift = effort.period, compute_shift(socket.gethostname())
    firsts = [started - compute_slot(name) for name, started in first.items()]
    places = [started - (compute_slot(name) + host_shift) % 1 * period for name, started in second.items()]
    later = [(place - firsts[0] + period / 2) % period - period / 2 + firsts[0] for place in places]
    origin = min(*firsts, *later)
    name = f"{effort.checks} checks each {effort.period} s on one core"
    yield Figure(f"{name}: lag p99", "s", _p99([each - origin for each in later]), below=1)
    yield Figure(f"{name}: lag p99 of the first runs", "s", _p99([each - origin for each in firsts]))
    yield Figure(f"{name}: largest lag shown", "s", late)
    yield Figure(f"{name}: checks skipped", "", float(effort.checks - len(second)), below=1)


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]


def _settled(process: Exporter, runs: int) -> dict[str, float]:
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
    for path, times in ours.items():
        for index, name in enumerate(("time", "CPU")):
            figure, peer = (1e3 * median(each[index] for each in side) for side in (times, theirs))
            yield Figure(f"start to {path}, {name}", "ms", figure, "four imports", peer, 0.6 if path == "/livez" else 4)


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
    cpu_of_tls,
    cpu_of_an_answer,
    memory,
    history,
    cpu_of_a_scrape,
    latency,
    storms,
    lag,
    start,
)
