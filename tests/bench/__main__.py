"""`make bench`: the budgets, measured together with the peers in one run. It does not fail on any figure.

python -m tests.bench [--quick] [NAME...]
python -m tests.bench growth --help
python -m tests.bench fleet --help

Each figure is measured several times, alternately with its peer, and the table shows the minimum, the median and the
maximum of both, and of the ratios of the pairs. "median kept" is a budget that only the median keeps.
"""

import argparse
import compileall
import platform
import sys
import time

import pytest

from tests.bench import fleet, growth, peers
from tests.bench.figure import FULL, QUICK, Figure, show
from tests.bench.figures import ALL


def main() -> None:
    for part in (fleet, growth):
        if sys.argv[1:2] == [part.__name__.rpartition(".")[2]]:
            part.main(sys.argv[2:])
            return
    names = [measure.__name__ for measure in ALL]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements: rough figures")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(names)}")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names):
        parser.error(f"no such figure: {', '.join(unknown)}")
    compileall.compile_dir("exporter", quiet=1)  # as it is where it is installed, whatever the environment says
    began = time.monotonic()
    results: list[Figure | str] = []
    with peers.target() as url:
        for measure in ALL:
            if not given.names or measure.__name__ in given.names:
                print(f"{time.monotonic() - began:4.0f} s  {measure.__name__}", flush=True)
                try:
                    results += measure(url, QUICK if given.quick else FULL)
                except pytest.skip.Exception as missing:
                    results.append(f"{measure.__name__}: not measured: {missing}")
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  # the other figures still count
                    results.append(f"{measure.__name__}: not measured: {type(error).__name__}: {error}")
    print(f"\nPython {platform.python_version()}, {time.monotonic() - began:.0f} s\n{show(results)}")


if __name__ == "__main__":
    main()
