"""Checks that hold all descriptors, and probes that are answered from the reserve."""

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

from support import Exporter, Process, ended, eventually

LIMIT = 64
CHECKS = 70


class Limited(Exporter):
    """The exporter with few descriptors."""

    def __init__(self, config: Path) -> None:
        serve = [sys.executable, "-m", "exporter", "serve", "--config.file", str(config)]
        options = ["--web.listen-address", "127.0.0.1:0", "--shutdown-delay", "0"]
        Process.__init__(self, ["sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh", *serve, *options])


def test_probes_are_answered_while_checks_hold_all_other_descriptors(tmp_path):
    with socket.create_server(("127.0.0.1", 0), backlog=CHECKS) as silent, ExitStack() as stack:
        hung = f"httpGet: {{port: {silent.getsockname()[1]}}}, timeoutSeconds: 600, initialDelaySeconds: 4"
        checks = ", ".join(f"{{name: hung{number}, {hung}, groups: [liveness]}}" for number in range(CHECKS))
        (tmp_path / "health.yml").write_text(f"checks: [{checks}]")
        exporter = stack.enter_context(ended(Limited(tmp_path / "health.yml")))
        exporter.line("the limit of open files is too low for these checks")
        eventually(
            lambda: any("Too many open files" in line for line in exporter.lines), what="checks lack descriptors"
        )
        for _ in range(50):
            assert exporter.get("/livez").status == 200
            assert exporter.get("/-/healthy").status == 200
        assert exporter.get("/").status == 200  # which needs Flask
        assert exporter.metrics()['health_group_up{group="liveness"}'] == 1
        exporter.signal(15)
        assert exporter.wait() == 0
