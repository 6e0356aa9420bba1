"""`serve` imports only what it needs: a module costs CPU time at each start, and memory in each pod."""

import re

from kinds.pages import OK
from kinds.servers import serving
from support import Exporter, ended, eventually

WITH_PAGES = {"exporter.render.page", "exporter.server.routes", "flask", "itsdangerous", "jinja2", "werkzeug"}
"""Modules that the first request needs that is neither a probe nor a scrape."""
NEVER = {
    "amqp", "bcrypt", "dns", "email.mime", "exporter.ask", "exporter.cli.ask", "exporter.cli.check",
    "exporter.cli.explain", "exporter.cli.manifests", "exporter.kinds.amqp", "exporter.kinds.exec",
    "exporter.kinds.mysql", "exporter.replay", "google", "grpc", "h2", "hypercorn", "psutil", "psycopg", "pymysql",
    "redis", "requests", "unittest", "urllib3", "xml",
}  # fmt: skip
"""Modules of other commands and other kinds, or of no use in `serve`."""


def imported(process: Exporter) -> set[str]:
    """Return all modules that the keeper and the worker have imported so far."""
    lines = [re.search(r"import '(\S+)' # ", line) for line in process.lines]
    return {line[1] for line in lines if line}


def test_probes_and_scrapes_need_neither_flask_nor_other_commands_and_kinds(tmp_path):
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
            process.metrics()
            eventually(lambda: {"exporter.keeper.run", "exporter.kinds.http_get"} <= imported(process))
            before = imported(process)
            process.get("/")
            eventually(lambda: imported(process) >= WITH_PAGES)

    assert before & WITH_PAGES == set()
    assert imported(process) & NEVER == set()


def test_without_flask_probes_and_scrapes_are_answered_and_pages_fail(start, tmp_path):
    (tmp_path / "flask.py").write_text("raise ImportError\n")
    exporter = start("checks: [{name: load, loadAverage: {failRatio: 1000}}]", env={"PYTHONPATH": str(tmp_path)})
    eventually(lambda: exporter.get("/readyz").status == 200)

    assert [exporter.get("/").status for _ in range(2)] == [500, 500]
    exporter.line(r'level=error msg="the request failed: GET /" .*flask\.py')
    assert [exporter.get(path).status for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]
