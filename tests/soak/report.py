"""The samples of the soak as CSV and SVG, and what they show as text."""

import csv
import math
import platform
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from .plot import draw
from .tally import Tally

Row = dict[str, float]

COLUMNS = (
    "seconds", "rss_mib", "private_dirty_mib", "descriptors", "threads", "processes", "children", "cpu_seconds",
    "probes", "livez_p99_ms", "livez_worst_ms", "readyz_worst_ms", "shed", "wrong", "log_bytes",
)  # fmt: skip
MAX_SHOWN = 20  # different wrong verdicts that are listed


def write_files(folder: Path, rows: list[Row]) -> None:
    """Write soak.csv and soak.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "soak.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    minutes = [row["seconds"] / 60 for row in rows]
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    panels = [
        ("Memory in MiB", [("resident", columns["rss_mib"]), ("private dirty", columns["private_dirty_mib"])]),
        ("Number", [(name, columns[name]) for name in ("descriptors", "threads", "children")]),
        ("Latency of /livez in ms", [("worst", columns["livez_worst_ms"]), ("p99", columns["livez_p99_ms"])]),
    ]
    title = f"Soak: 200 checks, {minutes[-1] if minutes else 0:.0f} minutes, Python {platform.python_version()}"
    (folder / "soak.svg").write_text(draw(title, minutes, panels))


def describe(rows: list[Row], tally: Tally, started: float, warm_up: float) -> Iterator[str]:
    """Describe growth after the warm-up, latencies, and wrong verdicts, one line each."""
    flat = [row for row in rows if row["seconds"] >= warm_up] or rows
    if not flat:
        yield "no samples"
        return
    yield f"{len(rows)} samples in {rows[-1]['seconds']:.0f} s; growth counts from {warm_up:.0f} s"
    for name in ("rss_mib", "private_dirty_mib"):
        begin, end, values = _compare_ends(flat, name)
        yield f"{name}: {begin:.1f} -> {end:.1f}, growth {end - begin:+.2f}, highest {max(values):.1f}"
    for name in ("descriptors", "threads", "processes", "children"):
        begin, end, values = _compare_ends(flat, name)
        yield f"{name}: median {begin:.0f} -> {end:.0f}, from {min(values):.0f} to {max(values):.0f}"
    for path, latencies in tally.latencies.items():
        worst = 1e3 * max(latencies, default=0.0)
        yield f"{path}: {len(latencies)} requests, p99 {1e3 * p99(latencies):.1f} ms, worst {worst:.1f} ms"
    yield _describe_worst(tally, started)
    others = {path: number for path, number in tally.requests.items() if path not in tally.latencies}
    yield f"other requests: {others}; storms: {dict(Counter(kind for *_, kind in tally.storms))}"
    yield f"without a response: {tally.unanswered}; 503 because the exporter was busy: {tally.shed}"
    yield f"CPU: {rows[-1]['cpu_seconds']:.0f} s"
    yield f"wrong verdicts: {tally.count_wrong()}"
    for text, times in list(tally.wrong.items())[:MAX_SHOWN]:
        yield f"  {text}: {len(times)} times, from {times[0] - started:.0f} s to {times[-1] - started:.0f} s"


def p99(values: list[float]) -> float:
    """Return the value that 99 of 100 do not exceed; 0 if there are none."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1] if values else 0.0


def _compare_ends(rows: list[Row], name: str) -> tuple[float, float, list[float]]:
    """Return the medians of the first and of the last eighth of the samples, and all values."""
    values = [row[name] for row in rows]
    part = max(1, len(values) // 8)
    return median(values[:part]), median(values[-part:]), values


def _describe_worst(tally: Tally, started: float) -> str:
    seconds, at, path = tally.worst
    storms = [kind for begin, end, kind in tally.storms if begin - 1 <= at <= end + 5]
    when = f"during a storm ({storms[0]})" if storms else "not during a storm"
    return f"worst of both: {path}, {1e3 * seconds:.1f} ms, {at - started:.0f} s after the start, {when}"
