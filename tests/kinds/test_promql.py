"""The kind `promql` against a real Prometheus that scrapes itself, and against servers that are not Prometheus."""

import json
import time
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest
import trustme
from kinds.daemons import frozen, run_probe
from kinds.servers import drip, flood, hang, serving
from pydantic import ValidationError
from support import Prometheus, ended, eventually, free_port

from exporter.kinds.promql import MAX_QUERY_STRING, Promql
from exporter.model import Deadline, ProbeError, Reason, Status

PASSWORD = "open sesame"
CONFIGURATION = """
global: {{scrape_interval: 1s}}
scrape_configs: [{{job_name: prometheus, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
"""
PROTECTED = """
tls_server_config: {{cert_file: server.pem, key_file: server.key}}
basic_auth_users: {{health: {hashed}}}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@contextmanager
def started(folder, *arguments: str):
    port = free_port()
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(port=port))
    with ended(Prometheus(folder / "prometheus.yml", *arguments, port=port)) as process:
        process.port = port
        yield process


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Prometheus that scrapes itself."""
    with started(tmp_path_factory.mktemp("prometheus")) as process:
        process.url = f"http://127.0.0.1:{process.port}"
        yield process


@pytest.fixture(scope="module")
def protected(tmp_path_factory):
    """A Prometheus with TLS and a password, served under a path."""
    folder = tmp_path_factory.mktemp("protected")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    (folder / "server.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(folder / "server.key")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "web.yml").write_text(PROTECTED.format(hashed=hashed))
    with started(folder, "--web.config.file=web.yml", "--web.route-prefix=/metrics-of/shop") as process:
        process.url = f"https://127.0.0.1:{process.port}/metrics-of/shop/"
        process.authority = folder / "authority.pem"
        yield process


@pytest.fixture(autouse=True)
def passwords(monkeypatch):
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG", "shibboleth")
    monkeypatch.setenv("BROKEN", "two\nlines")


def run_query(server, query: str, **options):
    return run_probe(Promql(url=server.url, query=query, **options))


SEVERAL = 'vector(3) or label_replace(vector(5), "a", "b", "", "") or label_replace(vector(1), "a", "c", "", "")'


@pytest.mark.parametrize(
    ("query", "limits", "value", "status"),
    [
        ("vector(3)", {}, 3, "pass"),
        ("vector(3)", {"fail": 4}, 3, "pass"),
        ("vector(3)", {"warn": 3, "fail": 4}, 3, "warn"),
        ("vector(3)", {"fail": 3}, 3, "fail"),
        ("vector(3)", {"fail": 3, "falling": True}, 3, "fail"),
        ("scalar(vector(2))", {"fail": 4}, 2, "pass"),
        ("-1.5e3", {"fail": -1000, "falling": True}, -1500, "fail"),
        (SEVERAL, {"fail": 5}, 5, "fail"),
        (SEVERAL, {"fail": 6}, 5, "pass"),
        (SEVERAL, {"fail": 1, "falling": True}, 1, "fail"),
    ],
)
def test_the_worst_sample_is_compared_with_the_limits(server, query, limits, value, status):
    outcome = run_query(server, query, **limits)

    assert (outcome.status, outcome.measurements[0].value) == (status, value)
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)
    assert ("at worst" in outcome.summary) == (query == SEVERAL)


@pytest.mark.parametrize(
    ("options", "status", "reason"), [({}, "fail", Reason.MISSING), ({"empty_is": "pass"}, "pass", None)]
)
def test_a_result_without_samples_passes_or_fails_as_configured(server, options, status, reason):
    outcome = run_query(server, 'up{job="nothing"}', fail=1, **options)

    assert (outcome.status, outcome.reason) == (status, reason)
    assert outcome.summary == f"{server.url} responded to the query with no sample"


@pytest.mark.parametrize(
    ("query", "reason", "words"),
    [
        ("vector(0) / 0", Reason.BODY, "not a number"),
        ('vector(1) or label_replace(vector(1) / 0, "a", "b", "", "")', Reason.BODY, "not a number"),
        ('"text"', Reason.BODY, "not a number"),
        ("up[1m]", Reason.STATUS, "returned a matrix"),
        ("sum(", Reason.STATUS, "returned 400, bad_data: "),
    ],
)
def test_limits_require_numbers(server, query, reason, words):
    outcome = run_query(server, query, fail=1)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary
    assert words in outcome.summary


def test_without_limits_any_sample_passes(server):
    assert run_query(server, "vector(0) / 0").status is Status.PASS


def test_credentials_and_a_certificate_that_verifies_pass(protected):
    options = {"basic_auth": {"username": "health", "password": {"env": "PASSWORD"}}, "ca_file": protected.authority}
    outcome = run_query(protected, "vector(3)", **options)

    assert outcome.status is Status.PASS, outcome.summary
    assert outcome.summary == f"{protected.url.rstrip('/')} responded to the query with 3"


@pytest.mark.parametrize(
    "options",
    [{}, {"basic_auth": {"username": "health", "password": {"env": "WRONG"}}}, {"bearer_token": {"env": "PASSWORD"}}],
    ids=["none", "wrong password", "token"],
)
def test_credentials_that_are_refused_fail_with_permission(protected, options):
    outcome = run_query(protected, "vector(3)", ca_file=protected.authority, **options)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.PERMISSION)
    assert outcome.summary.endswith(r'returned 401; received "Unauthorized\n" (13 bytes, text/plain)')


def test_credentials_are_not_sent_to_a_server_whose_certificate_is_not_verified(protected):
    outcome = run_query(protected, "vector(3)", basic_auth={"username": "health", "password": {"env": "PASSWORD"}})

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)


def test_a_closed_port_fails():
    outcome = run_probe(Promql(url=f"http://127.0.0.1:{free_port()}", query="up"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)


def test_a_frozen_server_fails_at_the_deadline_and_passes_afterwards(server):
    probe = Promql(url=server.url, query="vector(1)")
    with frozen(server):
        outcome = run_probe(probe, timeout=0.5)
    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)

    assert eventually(lambda: run_probe(probe).status is Status.PASS, within=60)


def response(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def vector(*values: object) -> bytes:
    result = [{"metric": {}, "value": [1.0, value]} for value in values]
    return response(json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode())


SPACES = drip(b" ")
NO_LIST = b'{"status": "success", "data": {"resultType": "vector", "result": {}}}'
TIMED_OUT = b'{"status": "error", "errorType": "timeout", "error": "query timed out"}'


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ((hang,), Reason.TIMEOUT),
        ((b"HTTP/1.1 200 OK\r\n\r\n", SPACES), Reason.TIMEOUT),
        ((b"HTTP/1.1 200 OK\r\n\r\n", flood(b" " * 65536)), Reason.BODY),
        ((), Reason.CONNECT),
        ((b"SSH-2.0-OpenSSH\r\n",), Reason.STATUS),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",), Reason.BODY),
        ((response(b"<html>"),), Reason.STATUS),
        ((response(b"[" * 100_000),), Reason.STATUS),
        ((response(b"{}"),), Reason.STATUS),
        ((response(NO_LIST),), Reason.STATUS),
        ((response(b"", b"302 Found"),), Reason.STATUS),
        ((response(b"forbidden", b"403 Forbidden"),), Reason.PERMISSION),
        ((response(TIMED_OUT, b"503 Service Unavailable"),), Reason.TIMEOUT),
        ((vector("many"),), Reason.BODY),
        ((vector(None),), Reason.BODY),
    ],
    ids=[
        *(
            "silent",
            "dripping",
            "flooding",
            "closing",
            "SSH",
            "breaking off",
            "HTML",
            "nested",
            "empty",
            "no list",
            "moved",
        ),
        *("forbidden", "timed out", "not a number", "null"),
    ],
)
def test_a_response_that_is_not_prometheus_api_fails(script, reason):
    endless = reason is Reason.TIMEOUT and script[-1:] in ((hang,), (SPACES,))
    timeout = 1.0 if endless else 20.0
    with serving(script) as server:
        outcome = run_probe(Promql(url=f"http://127.0.0.1:{server.port}", query="up", fail=1), timeout)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary


def test_a_redirect_is_not_followed():
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    with serving((moved,), (vector("7"),)) as server:
        outcome = run_probe(Promql(url=f"http://127.0.0.1:{server.port}", query="up"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert server.accepted == 1


def test_the_query_and_the_token_are_sent():
    with serving((vector("7"),)) as server:
        url = f"http://127.0.0.1:{server.port}/prefix/"
        run_probe(Promql(url=url, query='up{job="a&b"}', bearer_token={"env": "PASSWORD"}))

    (request,) = server.requests
    line, *headers = request.decode().splitlines()
    assert line.startswith("GET /prefix/api/v1/query?query=up%7Bjob%3D%22a%26b%22%7D&timeout=")
    assert f"Authorization: Bearer {PASSWORD}" in headers


def test_a_token_outside_ascii_is_sent_as_utf_8(monkeypatch):
    monkeypatch.setenv("PASSWORD", "grün€")
    with serving((vector("7"),)) as server:
        run_probe(Promql(url=f"http://127.0.0.1:{server.port}", query="up", bearer_token={"env": "PASSWORD"}))

    assert "Authorization: Bearer grün€" in server.requests[0].decode().splitlines()


def test_headers_are_sent_and_never_shown():
    headers = [
        {"name": "X-Scope-OrgID", "value": "shop|warehouse"},
        {"name": "X-Api-Key", "value_from": {"env": "PASSWORD"}},
    ]
    echo = response(f"no warehouse for {PASSWORD}".encode(), b"403 Forbidden")
    with serving((echo,)) as server:
        outcome = run_probe(Promql(url=f"http://127.0.0.1:{server.port}", query="up", http_headers=headers))

    assert b"\r\nX-Scope-OrgID: shop|warehouse\r\n" in server.requests[0]
    assert f"\r\nX-Api-Key: {PASSWORD}\r\n".encode() in server.requests[0]
    assert outcome.summary.endswith('returned 403; received "no *** for ***" (28 bytes)')


@pytest.mark.parametrize("length", [MAX_QUERY_STRING - 100, MAX_QUERY_STRING])
def test_a_long_query_is_sent_in_a_body(server, length):
    query = f"vector(3) # {'x' * length}"
    with serving((vector("7"),)) as scripted:
        run_probe(Promql(url=f"http://127.0.0.1:{scripted.port}", query=query))

    method = "GET" if length < MAX_QUERY_STRING else "POST"
    assert scripted.requests[0].decode().startswith(f"{method} /api/v1/query")
    assert run_query(server, query).measurements[0].value == 3


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        ({"empty_is": "pass"}, Status.WARN, Reason.BODY),
        ({}, Status.FAIL, Reason.MISSING),
    ],
)
def test_a_real_result_without_a_part_of_the_storage_never_passes(tmp_path, options, status, reason):
    """A Prometheus that cannot reach its remote storage returns what it has, with a warning."""
    remote = f"remote_read: [{{url: 'http://127.0.0.1:{free_port()}/read', read_recent: true}}]"
    with ended(Prometheus(write(tmp_path / "prometheus.yml", remote))) as process:
        outcome = run_probe(Promql(url=process.url, query='errors{job="none"}', **options))

    assert (outcome.status, outcome.reason) == (status, reason)
    assert "responded to the query with no sample; the server warns: " in outcome.summary
    assert "remote" in outcome.summary


@pytest.mark.parametrize(
    "credentials",
    [{"bearer_token": {"env": "PASSWORD"}}, {"basic_auth": {"username": "health", "password": {"env": "PASSWORD"}}}],
    ids=["token", "password"],
)
def test_credentials_in_an_error_of_the_server_are_not_shown(credentials):
    encoded = b64encode(f"health:{PASSWORD}".encode()).decode()
    error = {"status": "error", "errorType": "bad_data", "error": f"{PASSWORD} {encoded}"}
    with serving((response(json.dumps(error).encode(), b"400 Bad Request"),)) as server:
        outcome = run_probe(Promql(url=f"http://127.0.0.1:{server.port}", query="up", **credentials))

    assert outcome.reason is Reason.STATUS
    assert PASSWORD not in outcome.summary
    assert ("basic_auth" not in credentials) or encoded not in outcome.summary


def test_an_error_of_the_server_is_shown_without_the_strings_of_the_query():
    error = {
        "status": "error",
        "errorType": "bad_data",
        "error": 'parse error in up{job="canary"}: unexpected "canary"',
    }
    with serving((response(json.dumps(error).encode(), b"400 Bad Request"),)) as server:
        outcome = run_probe(Promql(url=f"http://127.0.0.1:{server.port}", query='sum by (job) (up{job="canary"}'))

    assert outcome.summary.endswith('returned 400, bad_data: parse error in up{job="***"}: unexpected "***"')


@pytest.mark.parametrize(("name", "reason"), [("NOT_SET", Reason.MISSING), ("BROKEN", Reason.ERROR)])
def test_a_token_that_is_missing_or_cannot_be_sent_is_a_probe_error(server, name, reason):
    with pytest.raises(ProbeError) as raised:
        Promql(url=server.url, query="up", bearer_token={"env": name}).probe(Deadline(time.monotonic() + 1))

    assert raised.value.reason is reason
    assert "two" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": "prometheus:9090"}, "must be a URL that begins with http"),
        ({"url": "ftp://prometheus"}, "must be a URL that begins with http"),
        ({"url": "http://"}, "must be a URL that begins with http"),
        ({"url": "https://.example.com"}, "must have a valid host name or address"),
        ({"url": "https://prometheus..example.com/x"}, "must have a valid host name or address"),
        ({"url": "http://a:b@prometheus"}, "must not contain credentials"),
        ({"url": "http://prometheus/?a=b"}, "must not have a query string"),
        ({"basic_auth": {"username": "health"}}, "password"),
        (
            {"basic_auth": {"username": "a", "password": {"env": "PASSWORD"}}, "bearer_token": {"env": "PASSWORD"}},
            "takes basicAuth or bearerToken, not both",
        ),
        ({"query": ""}, "at least 1 character"),
        ({"http_headers": [{"name": "a b"}]}, "must be letters, digits and '-'"),
        ({"http_headers": [{"name": "Authorization", "value": "x"}]}, "use basicAuth or bearerToken"),
        ({"http_headers": [{"name": "Content-Length", "value": "5"}]}, "a header that the client sets itself"),
        ({"http_headers": [{"name": "A", "value": "b", "value_from": {"env": "PASSWORD"}}]}, "value or valueFrom"),
        ({"http_headers": [{"name": "A"}, {"name": "a"}]}, "the same name twice"),
        ({"falling": True}, "falling needs a limit"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Promql(**{"url": "http://prometheus:9090", "query": "up", **options})


def test_the_password_is_never_shown(protected):
    credentials = {
        "basic_auth": {"username": "health", "password": {"env": "PASSWORD"}},
        "ca_file": protected.authority,
    }
    probe = Promql(url=protected.url, query="up", **credentials)

    assert PASSWORD not in f"{probe!r} {probe.target} {probe.model_dump_json()} {run_probe(probe)}"


def test_a_scraped_metric_can_be_queried(server):  # last: the first scrape comes after seconds
    outcome = eventually(
        lambda: (seen := run_query(server, "up", fail=0, falling=True)).measurements[1:] and seen, within=60
    )

    assert outcome.status is Status.PASS
    assert outcome.summary == f"{server.url} responded to the query with 1 (fail at 0)"
    value, latency = outcome.measurements
    assert (value.name, value.value, value.fail, value.falling) == ("promql_value", 1, 0, True)
    assert latency.name == "endpoint_latency_seconds"
    assert latency.value > 0
