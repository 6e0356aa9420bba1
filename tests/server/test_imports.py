"""`serve` imports only what it needs: a module costs CPU time at each start, and memory in each pod."""

import re

from kinds.pages import OK
from kinds.servers import serving
from support import Exporter, ended, eventually

LATER = {
    "exporter.ask", "exporter.cli.ask", "exporter.cli.check", "exporter.cli.explain", "exporter.cli.manifests",
    "exporter.kinds.certificate", "exporter.kinds.dns", "exporter.kinds.exec", "exporter.kinds.promql",
    "requests", "urllib3",
}  # fmt: skip
"""Modules for other commands and kinds."""
NEVER = {
    "bcrypt", "dns", "exporter.replay", "google", "grpc", "h2", "hypercorn", "psycopg", "pymysql",
    "redis", "unittest", "xml",
}  # fmt: skip
"""Modules of other kinds, or of no use in `serve`."""


def imported(process: Exporter) -> set[str]:
    """Return all modules that the keeper and the worker have imported so far."""
    lines = [re.search(r"import '(\S+)' # ", line) for line in process.lines]
    return {line[1] for line in lines if line}


def test_serve_imports_neither_other_commands_nor_kinds_that_are_not_configured(tmp_path):
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

    assert imported(process) & (LATER | NEVER) == set()
