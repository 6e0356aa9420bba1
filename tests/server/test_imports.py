"""`serve` imports only what it needs: a module costs CPU time at each start, and memory in each pod."""

import re

import pytest
from kinds.pages import OK
from kinds.servers import serving
from support import Exporter, ended, eventually

LATER = {
    "exporter.ask", "exporter.cli.ask", "exporter.cli.check", "exporter.cli.explain", "exporter.cli.manifests",
    "exporter.render.metrics", "exporter.server.routes",
    "flask", "jinja2", "prometheus_client", "requests", "urllib3",
}  # fmt: skip
"""Modules for other commands, or for requests that are not probes."""
NEVER = {
    "bcrypt", "dns", "exporter.replay", "google", "grpc", "h2", "hypercorn", "psycopg", "pymysql",
    "redis", "unittest", "xml",
}  # fmt: skip
"""Modules of other kinds, or of no use in `serve`."""


def imported(process: Exporter) -> set[str]:
    """Return all modules that the keeper and the worker have imported so far."""
    lines = [re.search(r"import '(\S+)' # ", line) for line in process.lines]
    return {line[1] for line in lines if line}


def test_probes_need_neither_flask_nor_prometheus_client_nor_other_commands(tmp_path):
    with serving((OK,)) as server:
        config = tmp_path / "health.yml"
        config.write_text(
            "checks:\n"
            f"  - {{name: web, httpGet: {{port: {server.port}}}}}\n"
            f"  - {{name: port, tcpSocket: {{port: {server.port}}}}}\n"
            "  - {name: load, loadAverage: {}, groups: [liveness]}\n"
        )
        with ended(Exporter(config=config, env={"PYTHONVERBOSE": "1"})) as process:
            for name in ("web", "port", "load"):
                process.line(f" check={name} ")  # its first result, whatever it is on a busy machine
            process.get("/readyz")
            before = imported(process)
            process.metrics()
            eventually(lambda: {"flask", "prometheus_client"} <= imported(process))

    assert {"exporter.keeper.run", "exporter.kinds.http_get"} <= before
    assert before & LATER == set()
    assert imported(process) & NEVER == set()


@pytest.mark.parametrize("module", ["flask", "prometheus_client"])
def test_without_them_probes_are_answered_and_the_other_endpoints_fail(start, tmp_path, module):
    """They are imported with the first request that needs them, so the start does not notice."""
    (tmp_path / f"{module}.py").write_text("raise ImportError\n")
    exporter = start("checks: [{name: load, loadAverage: {failRatio: 1000}}]", env={"PYTHONPATH": str(tmp_path)})
    eventually(lambda: exporter.get("/readyz").status == 200)

    for _ in range(2):
        assert exporter.get("/metrics").status == 500
    exporter.line(rf'level=error msg="the request failed: GET /metrics" .*{module}\.py')
    assert [exporter.get(path).status for path in ("/livez", "/readyz")] == [200, 200]
