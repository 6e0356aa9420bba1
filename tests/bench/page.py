"""docs/capacity.csv -> the plot and the tables of docs/capacity.md.

A comment of the page begins each measured block, and another one ends it.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from .plot import Line, Panel, plot
from .results import Formula, Results, read

PODS, PODS_OF_NODE, CHECKS = 10_000, 30, 5  # of the comparison
NODES = -(-PODS // PODS_OF_NODE)
PERIOD, SCRAPE_INTERVAL = 10, 15  # seconds
PROBES, OWN_PROBE = 1 / 6 + 1 / 10, 1 / 5  # requests of a kubelet per second, by the manifests
FROM_PROMETHEUS = 5  # series that Prometheus adds for every target: up and four scrape_ series
TIMES = "\N{MULTIPLICATION SIGN}"
_BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def draw(folder: Path) -> None:
    """Write capacity.svg and, if the folder has the page, its measured blocks."""
    results, page = read(folder / "capacity.csv"), folder / "capacity.md"
    (folder / "capacity.svg").write_text(draw_plot(results), encoding="utf-8")
    if page.exists():
        page.write_text(fill(page.read_text(encoding="utf-8"), results), encoding="utf-8")


def fill(text: str, results: Results) -> str:
    """Return the page with these results."""

    def replace(block: re.Match[str]) -> str:
        return "\n".join([block[1], *_BLOCKS[block[2]](results), "", block[3]])

    return _BLOCK.sub(replace, text)


def draw_plot(results: Results) -> str:
    def lines(**figures: str) -> list[Line]:
        return [
            Line(label, [(float(row.x), row.minimum, row.median, row.maximum) for row in results.select(figure)])
            for figure, label in figures.items()
        ]

    memory = lines(resident_by_checks="resident", private_by_checks="private")
    history = lines(history_flapping="flapping", history_healthy="healthy")
    return plot(
        "What Health Exporter costs, with checks of the kind httpGet",
        [
            Panel("CPU by pace", "runs per second", "millicores", lines(cpu_by_rate="")),
            Panel("CPU of a run", "checks", "ms", lines(run_by_checks=""), log_x=True),
            Panel("CPU of a scrape", "checks", "ms", lines(scrape_by_checks=""), log_x=True, log_y=True),
            Panel("CPU until ready", "checks", "seconds", lines(ready_by_checks=""), log_x=True, log_y=True),
            Panel("Memory", "checks", "MiB", memory, log_x=True),
            Panel("History of a check", "runs", "KiB", history, log_x=True),
        ],
    )


def _describe_costs(results: Results) -> Iterator[str]:
    yield "| cost | unit | formula | 5 checks | 1,000 checks | largest error |"
    yield "|---|---|---|---|---|---|"
    lines = [("CPU, without requests", "m", "runs per second", "cpu_by_rate", 1 / PERIOD)] + [
        (name, unit, "checks", f"{figure}_by_checks", 1.0)
        for figure, name, unit in (
            ("answer", "CPU of a response to a probe", "ms"),
            ("scrape", "CPU of a scrape", "ms"),
            ("ready", "CPU from the start until ready", "s"),
            ("private", "private memory", "MiB"),
            ("resident", "resident memory", "MiB"),
            ("reload", "resident memory during a reload", "MiB"),
        )
    ]
    for name, unit, of, figure, scale in lines:
        formula, (error, x) = results.fit(figure), results.find_error(figure)
        text = f"{format_number(formula.base)} + {format_number(formula.slope)} {TIMES} {of}"
        examples = (format_number(formula(checks * scale)) for checks in (5, 1000))
        yield f"| {name} | {unit} | {text} | {' | '.join(examples)} | {100 * error:.0f} % at {float(x):,g} |"


def _describe_kinds(results: Results) -> Iterator[str]:
    yield "| kind | CPU of a run in ms: median (minimum to maximum) | series of a check |"
    yield "|---|---|---|"
    for row in results.select("run_by_kind"):
        kind, _, rest = row.x.partition(", ")
        low, middle, high = map(format_number, (row.minimum, row.median, row.maximum))
        of = f"`{kind}`" + (f" over {rest}" if rest else "")
        yield f"| {of} | {middle} ({low} to {high}) | {results.value('series_by_kind', row.x):.0f} |"


def _describe_libraries(results: Results) -> Iterator[str]:
    yield "| first check of the kind | MiB |"
    yield "|---|---|"
    for row in results.select("library"):
        yield f"| `{row.x}` | {row.median:.1f} |"


def _describe_core(results: Results) -> Iterator[str]:
    rate = 1000 * 0.7 / results.fit("cpu_by_rate").slope
    most = max(float(row.x) for row in results.select("cpu_by_rate"))
    yield f"By the formula, 70 % of a core is busy with {rate:,.0f} runs of `httpGet` per second. These are"
    yield f"{PERIOD * rate:,.0f} checks every {PERIOD} s, or {60 * rate:,.0f} every 60 s. The fastest pace that was"
    yield f"measured is {most:,.0f} per second."


def _compare(results: Results) -> Iterator[str]:
    costs = {name: results.fit(name) for name in ("cpu_by_rate", "scrape_by_checks", "private_by_checks")}
    answer, probe = results.value("answer_by_checks", "10"), results.value("blackbox", "probe")
    rate = PODS * CHECKS / PERIOD
    columns = [
        _describe_exporters(PODS, CHECKS, answer * (PROBES + OWN_PROBE), 2, costs, f"{rate:,.0f}, each within its pod"),
        _describe_exporters(
            NODES, PODS_OF_NODE * CHECKS, answer * OWN_PROBE, 1, costs, f"{rate:,.0f}, each within its node"
        ),
        (
            "1",
            f"{probe * rate / 1000:.1f} cores",
            f"{results.value('blackbox', 'resident'):.0f} MiB at 100 probes per second",
            f"{PODS * CHECKS * (results.value('blackbox', 'series') + FROM_PROMETHEUS):,.0f}",
            f"{rate:,.0f}, all from one pod",
            f"{rate:,.0f}",
        ),
    ]
    yield "| | a sidecar in each pod | an exporter on each node | one blackbox_exporter |"
    yield "|---|---|---|---|"
    names = ("processes", "CPU", "memory", "series", "connections to targets per second", "scrapes per second")
    for name, *cells in zip(names, *columns, strict=True):
        yield f"| {name} | {' | '.join(cells)} |"


def _describe_exporters(
    count: int, checks: int, answers: float, groups: int, costs: dict[str, Formula], connections: str
) -> tuple[str, ...]:
    millicores = costs["cpu_by_rate"](checks / PERIOD) + costs["scrape_by_checks"](checks) / SCRAPE_INTERVAL + answers
    memory = costs["private_by_checks"](checks)
    series = 15 + 2 * groups + 14 * checks + FROM_PROMETHEUS
    return (
        f"{count:,}",
        f"{count * millicores / 1000:,.0f} cores: {millicores:.1f} m each",
        f"{count * memory / 1024:,.0f} GiB: {memory:.0f} MiB each, private",
        f"{count * series:,}",
        connections,
        f"{count / SCRAPE_INTERVAL:,.0f}",
    )


_BLOCKS: dict[str, Callable[[Results], Iterator[str]]] = {
    "costs": _describe_costs,
    "kinds": _describe_kinds,
    "libraries": _describe_libraries,
    "core": _describe_core,
    "comparison": _compare,
}


def format_number(number: float) -> str:
    """Two digits, or all those before the point."""
    if abs(number) >= 10:
        return f"{number:,.0f}"
    return f"{float(f'{number:.2g}'):.7f}".rstrip("0").rstrip(".")
