"""The figures of cost, each with its peer's from the same run.

Other work on the machine hardly changes CPU time. The two sides take turns (A B A B): each A and the B after it are a
pair, of which the ratio is computed.
"""

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from exporter.evaluation.history import History
from exporter.model import Outcome, Reason, Result, Spec
from tests.bench import delays, peers
from tests.bench.figure import Effort, Figure
from tests.support import Exporter, eventually, get

EXEC_PROBE = Path(__file__).with_name("exec_probe.py")
PACE = 100  # runs a second, of ours and of a peer's
_SPECS = [Spec(f"check-{number}", "httpGet") for number in range(1000)]  # of a history


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
        time.sleep(peers.WARM)
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


def cpu_of_processes(_: str, effort: Effort) -> Iterator[Figure]:
    """100 checks a second that need another process: `disk`, `file`, and `exec` compared with a plain posix_spawn."""
    kinds = {"disk": "{failRatio: 2}", "file": "{path: /etc/passwd}", "exec": "{command: ['true']}"}
    ours: dict[str, list[float]] = {kind: [] for kind in kinds}
    spawned = []
    with peers.exporter() as idle:
        for _ in range(effort.rounds):
            for kind, options in kinds.items():
                ours[kind].append(cpu_of_kind(f"{kind}: {options}", idle, effort.seconds))
            spawned.append(1e3 * peers.cpu_of_spawn(["true"], int(PACE * effort.seconds), 1 / PACE))
    yield Figure("CPU of a disk check", "ms", ours["disk"], below=1)
    yield Figure("CPU of a file check", "ms", ours["file"], below=1)
    yield Figure("CPU of an exec check of true", "ms", ours["exec"], "posix_spawn", spawned, 1.5)


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
    """Several exporters with 5 and with 50 checks of the default period, each of which runs several times.

    They are probed and scraped, as most are; then somebody opens the page.
    """
    configurations = {
        "5 httpGet checks": [peers.http_get(f"check-{number}", url, period=10) for number in range(5)],
        "5 checks of five kinds": _list_sidecar_checks(url),
        "50 httpGet checks": [peers.http_get(f"check-{number}", url, period=10) for number in range(50)],
    }
    private: dict[str, list[float]] = {name: [] for name in configurations}
    resident: dict[str, list[float]] = {name: [] for name in configurations}
    keepers: list[float] = []
    pages: list[float] = []
    with ExitStack() as stack:
        running = [
            (name, stack.enter_context(peers.exporter(*checks)))
            for name, checks in configurations.items()
            for _ in range(effort.rounds)
        ]
        time.sleep(12 * (effort.rounds - 1))
        for name, process in running:
            for path in ("/livez", "/metrics") * 10:
                get(process.url + path)
            assert min(peers.samples(process, "health_check_runs_total").values()) >= effort.rounds - 1
            private[name].append(peers.private_of_all(process.pid))
            resident[name].append(peers.resident(process.pid))
            keepers.append(peers.private(process.pid))
            for _ in range(10):
                get(process.url)
            pages.append(peers.private_of_all(process.pid) - private[name][-1])
    for name, values in private.items():
        yield Figure(f"private memory, {name}", "MiB", values, below=32 if name.startswith("5 ") else None)
    yield Figure("private memory of the keeper", "MiB", keepers)
    yield Figure("private memory for the status page, once it was requested", "MiB", pages)
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
    for name in ("healthy", "flapping"):
        yield Figure(f"history of a {name} check", "bytes", [memory_of_history(name, 100)], below=2048)
        began, runs = time.process_time(), 10 * effort.rounds
        _fill_history(History(), name, runs)
        spent = 1e6 * (time.process_time() - began) / (runs * len(_SPECS))
        yield Figure(f"CPU of a run in it, {name}", "us", [spent], below=10)


def memory_of_history(name: str, runs: int) -> float:
    """Bytes of the history of a check."""
    filled = History()
    tracemalloc.start()
    _fill_history(filled, name, runs)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / len(_SPECS)


def _fill_history(history: History, name: str, runs: int) -> None:
    """Note so many runs of each check, which are all healthy, or whose result changes with each run."""
    passed, failed = Outcome.passed("200 OK in 3.2 ms"), Outcome.failed(Reason.CONNECT, "127.0.0.1:8080: refused")
    for run in range(runs):
        outcome = failed if name == "flapping" and run % 2 else passed
        result = Result(outcome, 10.0 * run, 10.0 * run, 0.003)
        for spec in _SPECS:
            history.note_run(spec, result, run)


def cpu_of_a_scrape(url: str, effort: Effort) -> Iterator[Figure]:
    """/metrics with 1,000 checks; as many probes of blackbox_exporter."""
    ours, theirs = [], []
    checks = (peers.http_get(f"check-{number}", url, period=3600) for number in range(1000))
    with peers.exporter(*checks) as process, peers.blackbox() as blackbox:
        peers.wait_for_runs(process)
        for _ in range(effort.rounds):
            ours.append(1e3 * cpu_of_scrapes(process, 3))
            theirs.append(1e3 * 1000 * blackbox.scrape(peers.probe(url), 1000))
    yield Figure("CPU of a scrape, 1000 checks", "ms", ours, "1000 probes of blackbox", theirs, 0.12)


ALL: tuple[Callable[[str, Effort], Iterator[Figure]], ...] = (
    cpu_of_a_check,
    cpu_against_newer_blackbox,
    cpu_against_gatus,
    cpu_of_tls,
    cpu_of_load_average,
    cpu_of_processes,
    cpu_of_an_answer,
    memory,
    series,
    history,
    cpu_of_a_scrape,
    delays.latency,
    delays.storms,
    delays.lag,
    delays.start,
)
