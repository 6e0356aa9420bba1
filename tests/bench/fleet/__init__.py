"""`python -m tests.bench fleet`: what the rules and the dashboards cost for a fleet of exporters.

A real Prometheus scrapes any number of pods with five checks each, and evaluates the shipped rules. Its past is written
beforehand, so that every window of the rules and of the dashboards is full. Nothing fails on any figure.
"""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

from tests.bench import peers
from tests.bench.fleet import dashboards
from tests.bench.fleet.history import write
from tests.bench.fleet.pods import DATABASE, GONE, MODES, WELL
from tests.bench.fleet.server import (
    FILES,
    INTERVAL,
    Costs,
    Server,
    Spans,
    find_rule_spans,
    load_groups,
    merge_spans,
    parse_interval,
)
from tests.bench.fleet.targets import Fleet, running
from tests.support import ended

_DAY = 86400
_WATCH = 180  # seconds
_SETTLE = {WELL: 120, DATABASE: 420, GONE: 960}
"""Seconds until all alerts of a mode fire."""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench fleet", description=__doc__)
    parser.add_argument("--targets", type=int, default=500, help="exporters (default: 500)")
    parser.add_argument("--replicas", type=int, default=5, help="exporters of a workload (default: 5)")
    parser.add_argument("--days", type=float, default=1, help="the longest past to write (default: 1)")
    parser.add_argument("--modes", default=",".join(MODES), help=f"what to measure (default: {','.join(MODES)})")
    parser.add_argument("--only", choices=("rules", "dashboards"), help="measure only these")
    parser.add_argument("--hold", type=float, default=0, help="minutes to go on afterwards, for queries of your own")
    parser.add_argument("--at", metavar="URL", help="measure the dashboards at a Prometheus that is held")
    parser.add_argument("--top", type=int, default=8, help="how many rules and queries to list (default: 8)")
    given = parser.parse_args(arguments)
    if given.at:
        _show_dashboards(dashboards.Remote(given.at), given.top)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # which also ends the processes that were started
    with running(given.targets, given.replicas) as fleet, tempfile.TemporaryDirectory() as folder:
        _report(f"{given.targets} targets in {-(-given.targets // given.replicas)} workloads")
        spans = [*find_rule_spans().items()] + [*dashboards.find_spans_of_all().items()] * (given.only != "rules")
        longest = int(given.days * _DAY)
        past = {name: min(span, longest) for name, span in merge_spans(spans).items()}
        with ended(_start(Path(folder), fleet, past)) as server:
            for mode in given.modes.split(","):
                _report(f"\n== {mode}")
                fleet.set_mode(mode)
                if given.only == "dashboards":
                    time.sleep(_SETTLE[WELL])
                else:
                    time.sleep(_SETTLE[mode])
                    _show_rules(server.watch(_WATCH), server.scraping, given.top)
                resident, head = peers.rollup(server.pid, "Rss"), server.count_series()
                _report(f"{head} series in memory, {resident:.0f} MiB resident")
                if given.only != "rules":
                    _show_dashboards(server, given.top)
            if given.hold:
                _report(f"\nholding: --at {server.url}")
                time.sleep(60 * given.hold)


def _start(folder: Path, fleet: Fleet, spans: Spans) -> Server:
    """Start Prometheus with the past of the series that a first one has."""
    (folder / "first").mkdir()
    (folder / "second").mkdir()
    with ended(Server(folder / "first", fleet)) as first:
        first.begin(_write_fast_rules(folder))
        first.settle()
        pasts = first.read_pasts({name: span for name, span in spans.items() if span})
        _report(f"{first.count_series()} series with those of the rules")
    server = Server(folder / "second", fleet)
    began = time.monotonic()
    written = write(server.url, pasts)
    _report(f"{written / 1e6:.1f} million samples of the past written in {time.monotonic() - began:.0f} s")
    server.begin([])
    time.sleep(2 * INTERVAL)
    server.scraping = server.measure_cpu(4 * INTERVAL)
    server.begin(FILES)
    return server


def _write_fast_rules(folder: Path) -> list[Path]:
    """Write copies of the rules whose groups are all evaluated at the interval of the server."""
    files = []
    for file in FILES:
        content = yaml.safe_load(file.read_text())
        for group in content["groups"]:
            group.pop("interval", None)
        files.append(folder / file.name)
        files[-1].write_text(yaml.safe_dump(content))
    return files


def _show_rules(costs: Costs, scraping: float, top: int) -> None:
    shares = 0.0
    for group in load_groups():
        times = costs.groups[group["name"]]
        if not times:
            _report(f"{group['name']:28} not evaluated")
            continue
        interval = parse_interval(group)
        shares += median(times) / interval
        _report(
            f"{group['name']:28} median {median(times):7.3f} s  max {max(times):7.3f} s  "
            f"of {len(times)}, each {interval} s"
        )
    _report(f"all groups: {INTERVAL * shares:.3f} s of each {INTERVAL} s, {costs.missed} evaluations missed")
    _report(
        f"CPU time: {INTERVAL * costs.cpu:.3f} s of each {INTERVAL} s, "
        f"of which {INTERVAL * (costs.cpu - scraping):.3f} s are not for scraping"
    )
    for (group, rule), times in sorted(costs.rules.items(), key=lambda item: -median(item[1]))[:top]:
        _report(f"  {median(times):7.3f} s  {group}: {rule}")
    _report("alerts: " + (", ".join(f"{count} {name}" for name, count in sorted(costs.alerts.items())) or "none"))


def _show_dashboards(server: dashboards.Queried, top: int) -> None:
    for name in dashboards.NAMES:
        costs = dashboards.measure(server, name)
        _report(f"{name}: {sum(cost.seconds for cost in costs):.2f} s of query time in {len(costs)} queries")
        for cost in sorted(costs, key=lambda cost: -cost.seconds)[:top]:
            _report(f"  {cost.seconds:7.3f} s  {cost.where}: {cost.series} series")


def _report(text: str) -> None:
    print(text, flush=True)
