"""`python -m tests.bench growth`: how each cost grows with checks, their pace, their kind and their history.

It writes docs/capacity.csv, and from it docs/capacity.svg and the tables of docs/capacity.md. Nothing fails on any
figure. Each value is measured several times; the file has the minimum, the median and the maximum.
"""

import argparse
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from tests.bench import figures, page, peers, results
from tests.bench.results import Measured
from tests.support import Exporter, eventually, free_port, get

_PERIOD = 5  # seconds of the checks of different paces
Sample = tuple[str, str, str, float]
"""Figure, x, unit and value."""


@dataclass(frozen=True)
class Scale:
    """How far, how long and how often to measure."""

    checks: tuple[int, ...]
    rates: tuple[int, ...]  # runs a second
    runs: tuple[int, ...]  # in a history
    seconds: float
    rounds: int


FULL = Scale((10, 100, 1000, 5000, 20_000), (1, 10, 50, 100, 200, 400, 800), (1, 5, 10, 20, 50, 100, 200), 5.0, 3)
QUICK = Scale((10, 100, 1000), (1, 100, 200), (1, 10, 100), 2.0, 1)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer, smaller and shorter measurements: rough figures")
    parser.add_argument("--draw", action="store_true", help="measure nothing: use the figures of the file again")
    parser.add_argument("--output", type=Path, default=Path("docs"), metavar="FOLDER", help="default: docs")
    given = parser.parse_args(arguments)
    data = given.output / "capacity.csv"
    if not given.draw:
        results.write(data, measure(QUICK if given.quick else FULL))
    page.draw(given.output)


def measure(scale: Scale) -> list[Measured]:
    """Measure everything in rounds, so that a value's minimum and maximum are minutes apart."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for number in range(scale.rounds):
        print(f"round {number + 1} of {scale.rounds}", flush=True)
        for figure, x, unit, value in _measure_once(scale):
            print(f"  {figure} {x}: {value:.4g} {unit}".rstrip(), flush=True)
            values.setdefault((figure, x, unit), []).append(value)
    return [Measured.of(*key, found) for key, found in values.items()]


def _measure_once(scale: Scale) -> Iterator[Sample]:
    with peers.target() as url:
        yield from _measure_history(scale)
        for rate in scale.rates:
            yield _measure_rate(url, rate, scale.seconds)
        yield from _measure_kinds(url, scale)
        yield from _measure_libraries(url)
        yield from _measure_blackbox(url, scale)
        for count in scale.checks:
            yield from _measure_checks(url, count, scale)


def _measure_rate(url: str, rate: int, seconds: float) -> Sample:
    """CPU of everything that the exporter does at a pace, without requests to it."""
    checks = (peers.http_get(f"check-{number}", url, period=_PERIOD) for number in range(_PERIOD * rate))
    with peers.exporter(*checks) as process:
        _wait_for_pace(process, _PERIOD)
        before, seconds = peers.cpu(process.pid), max(seconds, 20 / rate)
        sleep(seconds)
        return "cpu_by_rate", str(rate), "millicores", 1e3 * (peers.cpu(process.pid) - before) / seconds


def _wait_for_pace(process: Exporter, period: int) -> None:
    """Wait until the runs are spread over the period: the first ones are not, and the second ones end after two."""
    peers.wait_for_runs(process)
    sleep(period + 1)


def _measure_kinds(url: str, scale: Scale) -> Iterator[Sample]:
    """CPU and series of a check by its kind, at the same pace."""
    port = peers.port_of(url)
    with peers.tls_target() as (tls_port, ca_file), peers.exporter() as idle:
        over_tls = figures.list_tls_kinds(tls_port, ca_file)
        kinds = {
            "httpGet": f"httpGet: {{port: {port}}}",
            "httpGet, TLS": over_tls["httpGet"],
            "tcpSocket": f"tcpSocket: {{port: {port}}}",
            "certificate": over_tls["certificate"],
            "promql, TLS": over_tls["promql"],
            "loadAverage": "loadAverage: {failRatio: 100}",
            "memory": "memory: {failRatio: 1}",
            "cpu": "cpu: {failRatio: 1}",
            "disk": "disk: {path: /, failRatio: 1}",
            "file": f"file: {{path: {ca_file}}}",
            "process": "process: {name: nginx}",
            "exec": "exec: {command: ['true']}",
        }
        for kind, check in kinds.items():
            yield "run_by_kind", kind, "ms", figures.cpu_of_kind(check, idle, scale.seconds)
            yield "series_by_kind", kind, "", _count_series(check)


def _measure_libraries(url: str) -> Iterator[Sample]:
    """Resident memory that the first check of a kind adds, whose target need not be there."""
    closed = free_port()
    kinds = {
        "grpc": f"grpc: {{port: {closed}}}",
        "mysql": f"mysql: {{port: {closed}, username: health}}",
        "postgresql": f"postgresql: {{port: {closed}, username: health}}",
        "redis": f"redis: {{port: {closed}}}",
        "amqp": f"amqp: {{port: {closed}}}",
        "dns": f"dns: {{server: 127.0.0.1, port: {closed}, name: health.example}}",
    }
    without = _measure_memory(f"httpGet: {{port: {peers.port_of(url)}}}")
    for kind, check in kinds.items():
        yield "library", kind, "MiB", _measure_memory(check) - without


def _measure_memory(check: str) -> float:
    with peers.exporter(f"{{name: one, {check}, periodSeconds: 1}}") as process:
        eventually(lambda: peers.samples(process, "health_check_runs_total").get("one", 0) > 2)
        return peers.resident(process.pid)


def _count_series(check: str) -> float:
    """The series of a check in one group that has not failed. Its second run is the first one without extra series."""
    with peers.exporter(f"{{name: one, {check}, periodSeconds: 1, groups: [readiness]}}") as process:
        eventually(lambda: peers.samples(process, "health_check_runs_total").get("one", 0) > 1)
        lines = process.get("/metrics").text.splitlines()
        return len([line for line in lines if 'check="one"' in line])


def _measure_blackbox(url: str, scale: Scale) -> Iterator[Sample]:
    """CPU and series of a probe, and memory afterwards."""
    with peers.blackbox() as blackbox:
        times = int(figures.PACE * scale.seconds)
        yield "blackbox", "probe", "ms", 1e3 * blackbox.scrape(peers.probe(url), times, 1 / figures.PACE)
        yield "blackbox", "resident", "MiB", peers.resident(blackbox.pid)
        lines = get(f"http://127.0.0.1:{blackbox.port}{peers.probe(url)}").text.splitlines()
        yield "blackbox", "series", "", len([line for line in lines if not line.startswith("#")])


def _measure_checks(url: str, count: int, scale: Scale) -> Iterator[Sample]:
    """The costs that grow with the number of checks, at 100 runs a second if that many checks can have it."""
    period = min(60, max(1, count // figures.PACE))
    x = str(count)
    checks = (peers.http_get(f"check-{number}", url, period=period) for number in range(count))
    with ExitStack() as stack:
        idle = stack.enter_context(peers.exporter())
        process = stack.enter_context(peers.exporter(*checks))
        peers.wait_for_runs(process)
        yield "ready_by_checks", x, "CPU seconds", peers.cpu(process.pid)
        _wait_for_pace(process, period)
        yield "run_by_checks", x, "ms", 1e3 * figures.cpu_of_a_run(process, idle, scale.seconds)
        yield "answer_by_checks", x, "ms", 1e3 * figures.cpu_of_answers(process, 200)
        yield "scrape_by_checks", x, "ms", 1e3 * figures.cpu_of_scrapes(process, 3)
        yield "private_by_checks", x, "MiB", peers.private_of_all(process.pid)
        yield "resident_by_checks", x, "MiB", peers.resident(process.pid)
        yield "reload_by_checks", x, "MiB", _measure_reload(process)


def _measure_reload(process: Exporter) -> float:
    """The most resident memory during a reload."""
    peers.forget_peaks(process.pid)
    before = len(process.lines)
    process.signal(signal.SIGHUP)
    process.line('msg="configuration loaded"', after=before)
    return peers.peak(process.pid)


def _measure_history(scale: Scale) -> Iterator[Sample]:
    """Memory of the history of a check that is healthy, and of one whose result changes with each run."""
    for name in ("healthy", "flapping"):
        for runs in scale.runs:
            yield f"history_{name}", str(runs), "KiB", figures.memory_of_history(name, runs) / 1024
