"""HAProxy checks whether the exporter is up."""

import contextlib
import csv
import signal
from urllib.parse import urlsplit

from support import Process, command, ended, eventually, free_port, get

CHECKS = "checks: [{name: ok, exec: {command: ['true']}, periodSeconds: 1}]"
HAPROXY = """
global
    log stderr format raw local0
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
    default-server check inter 100
backend http_1_0
    option httpchk GET /readyz
    server exporter {address}
backend http_1_0_head
    option httpchk HEAD /readyz
    server exporter {address}
backend http_1_1
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host exporter
    server exporter {address}
backend body
    option httpchk GET /readyz
    http-check expect rstring ^ok
    server exporter {address}
backend connection
    server exporter {address}
frontend statistics
    bind 127.0.0.1:{port}
    stats enable
    stats uri /
"""


def test_haproxy_finds_it_up_with_every_sort_of_check(start, tmp_path):
    exporter, port = start(CHECKS), free_port()
    exporter.line("check ok: unknown -> pass")
    address = urlsplit(exporter.url).netloc
    (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(address=address, port=port))

    def list_statuses() -> set[str]:
        with contextlib.suppress(OSError):
            lines = csv.DictReader(get(f"http://127.0.0.1:{port}/;csv").body.decode().splitlines())
            return {line["check_status"] for line in lines if line["svname"] == "exporter"}
        return set()

    with ended(Process([command("haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg")])):
        eventually(lambda: list_statuses() == {"L7OK", "L4OK"}, what="each of its checks has succeeded")
    exporter.signal(signal.SIGTERM)

    assert exporter.wait() == 0
    assert not [line for line in exporter.lines if "level=info" not in line]
