"""Drills on a real cluster. They run in parallel, each in its own namespace, and the tests examine their records.

A test is parametrized with its drill, which is a function. The fixture `record` is the function's return value.
Only the drills of the selected tests run. A drill fails if a container was restarted that it did not break.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2e.cluster.drill import Stage
from e2e.cluster.kube import Cluster
from support import ended, unavailable

PARALLEL = 4
"""The number of parallel drills. With many more, probes time out on a small machine."""
OLDEST = (1, 21)
_notes: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _notes:
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(_notes))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if not os.environ.get("KUBECONFIG"):
        unavailable("KUBECONFIG is not set")
    with ended(Cluster()) as cluster:
        if (version := cluster.version()) < OLDEST:
            unavailable(f"Kubernetes {version[0]}.{version[1]} does not have the EndpointSlices of 1.21")
        yield cluster


@pytest.fixture(scope="session")
def _drills(
    cluster: Cluster, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Callable[[Stage], Any], Future[Any]]]:
    """The started drills of all selected tests."""
    calls = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    selected = dict.fromkeys(call.params["record"] for call in calls if "record" in call.params)

    def run(drill: Callable[[Stage], Any], folder: Path) -> Any:
        stage = Stage(cluster, drill.__name__.replace("_", "-"), folder)
        try:
            record = drill(stage)
            stage.verify()
            return record
        finally:
            _notes.extend(stage.notes)
            if not os.environ.get("KEEP"):
                stage.end()

    with ThreadPoolExecutor(PARALLEL) as pool:
        yield {drill: pool.submit(run, drill, tmp_path_factory.mktemp(drill.__name__)) for drill in selected}
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def record(request: pytest.FixtureRequest, _drills: dict[Callable[[Stage], Any], Future[Any]]) -> Any:
    """The return value of the test's drill. If the drill fails, the test fails."""
    return _drills[request.param].result()
