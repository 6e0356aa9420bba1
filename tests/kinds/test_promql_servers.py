"""The kind `promql` against VictoriaMetrics, and against nginx in front of a server."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from kinds.daemons import run_probe
from support import Process, command, configure_nginx, ended, eventually, free_port, get

from exporter.kinds.promql import Promql
from exporter.model import Reason, Status

LONG = "vector(3) # " + "x" * 9000
NGINX = """
    server {{
        listen 127.0.0.1:{port};
        location / {{ default_type text/plain; {location} }}
    }}
"""


def answers(url: str) -> bool:
    try:
        return get(url, timeout=5).status > 0
    except OSError:
        return False


@pytest.fixture(scope="module")
def victoria():
    """The URL of a VictoriaMetrics."""
    address = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"-httpListenAddr={address}", f"-storageDataPath={folder}/data", "-retentionPeriod=1d"]
        with ended(Process([command("victoria-metrics"), *arguments])):
            eventually(lambda: answers(f"http://{address}/health"), what="VictoriaMetrics answers")
            yield f"http://{address}"


@contextmanager
def gateway(location: str):
    """The URL of an nginx with its default limits, and these directives for all paths."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "nginx.conf").write_text(configure_nginx(NGINX.format(port=port, location=location)))
        with ended(Process([command("nginx"), "-p", folder, "-c", "nginx.conf", "-e", "stderr"])):
            eventually(lambda: answers(f"http://127.0.0.1:{port}/"), what="nginx answers")
            yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("query", ["vector(3)", LONG], ids=["short", "long"])
def test_victoriametrics_responds_to_a_query(victoria, query):
    outcome = run_probe(Promql(url=victoria, query=query, fail=4))

    assert outcome.status is Status.PASS, outcome.summary
    assert outcome.measurements[0].value == 3


def test_a_query_that_is_too_long_for_a_url_passes_a_proxy(victoria):
    with gateway(f"proxy_pass {victoria};") as url:
        outcome = run_probe(Promql(url=url, query=LONG, fail=4))
        as_url = get(f"{url}/api/v1/query?query={'x' * 9000}").status

    assert outcome.status is Status.PASS, outcome.summary
    assert as_url == 414


@pytest.mark.parametrize(
    ("headers", "status"), [([], Status.FAIL), ([{"name": "X-Scope-OrgID", "value": "shop"}], Status.PASS)]
)
def test_a_tenant_is_selected_by_a_header(victoria, headers, status):
    with gateway(f'if ($http_x_scope_orgid = "") {{ return 401 "no org id\\n"; }} proxy_pass {victoria};') as url:
        outcome = run_probe(Promql(url=url, query="vector(3)", http_headers=headers))

    assert outcome.status is status
    if status is Status.FAIL:
        assert outcome.reason is Reason.PERMISSION
        assert outcome.summary == f'{url} returned 401; received "no org id\\n" (10 bytes, text/plain)'


def test_an_error_page_of_a_proxy_is_shown():
    with gateway(f"proxy_pass http://127.0.0.1:{free_port()};") as url:
        outcome = run_probe(Promql(url=url, query="up"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    beginning = f"{url} returned 502, but not a response of Prometheus' API; received "
    assert outcome.summary.startswith(beginning + r'"<html>\r\n<head><title>502 Bad Gateway</title>')
    assert outcome.summary.endswith("bytes, text/html)")
