"""`make bench`: the budgets, measured together with the peers in one run. It does not fail on any figure.

python -m tests.bench [--quick] [NAME...]
python -m tests.bench fleet --help
"""

import argparse
import compileall
import platform
import sys
import time

import pytest

from tests.bench import fleet, peers
from tests.bench.figures import ALL, FULL, QUICK, Figure

_HEAD = ("", "Health Exporter", "peer", "", "ratio", "budget", "")


def main() -> None:
    if sys.argv[1:2] == ["fleet"]:
        fleet.main(sys.argv[2:])
        return
    names = [measure.__name__ for measure in ALL]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of under a minute; its figures are rough")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(names)}")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names):
        parser.error(f"no such figure: {', '.join(unknown)}")
    compileall.compile_dir("exporter", quiet=1)  # as it is where it is installed, whatever the environment says
    began = time.monotonic()
    rows: list[tuple[str, ...]] = [_HEAD]
    with peers.target() as url:
        for measure in ALL:
            if not given.names or measure.__name__ in given.names:
                print(f"... {measure.__name__}", flush=True)
                try:
                    rows += map(_row, measure(url, QUICK if given.quick else FULL))
                except pytest.skip.Exception as missing:
                    rows.append((measure.__name__, f"not measured: {missing}", *[""] * 5))
    print(f"\nPython {platform.python_version()}, {time.monotonic() - began:.0f} s\n{_table(rows)}")


def _row(figure: Figure) -> tuple[str, ...]:
    budgets = []
    if figure.at_most is not None:
        budgets.append(f"{figure.at_most:.3g} times")
    if figure.below is not None:
        budgets.append(f"below {figure.below:g} {figure.unit}".rstrip())
    return (
        figure.name,
        f"{figure.ours:.3f} {figure.unit}".rstrip(),
        f"{figure.peer:.3f} {figure.unit}" if figure.peer is not None else "",
        figure.peer_name,
        f"{figure.ratio:.4f}" if figure.ratio is not None else "",
        ", ".join(budgets),
        {True: "kept", False: "MISSED", None: ""}[figure.kept],
    )


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = (1, 2, 4)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


if __name__ == "__main__":
    main()
