"""Drills on a real cluster: they run at the same time, each in a namespace of its own; the tests look at what was seen.

A test is parametrized with its drill, a function, and asks for the fixture `seen`, which is what the function returned.
Only the drills of the selected tests run.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from drill import Stage
from kube import Cluster
from support import ended, unavailable

AT_ONCE = 4
"""Drills at the same time. With many more a small machine is so busy that probes run out of time."""
OLDEST = (1, 21)
_notes: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _notes:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(_notes))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if not os.environ.get("KUBECONFIG"):
        unavailable("KUBECONFIG names no cluster")
    with ended(Cluster()) as cluster:
        if (version := cluster.version()) < OLDEST:
            unavailable(f"this is Kubernetes {version[0]}.{version[1]}, whose EndpointSlices are not those of 1.21")
        yield cluster


@pytest.fixture(scope="session")
def _drills(
    cluster: Cluster, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Callable[[Stage], Any], Future[Any]]]:
    """Every drill that a selected test names, started."""
    calls = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    wanted = dict.fromkeys(call.params["seen"] for call in calls if "seen" in call.params)

    def play(drill: Callable[[Stage], Any], folder: Path) -> Any:
        stage = Stage(cluster, drill.__name__.replace("_", "-"), folder)
        try:
            return drill(stage)
        finally:
            _notes.extend(stage.notes)
            if not os.environ.get("KEEP"):
                stage.end()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {drill: pool.submit(play, drill, tmp_path_factory.mktemp(drill.__name__)) for drill in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def seen(request: pytest.FixtureRequest, _drills: dict[Callable[[Stage], Any], Future[Any]]) -> Any:
    """What the test's drill returned; its failure is the test's."""
    return _drills[request.param].result()
