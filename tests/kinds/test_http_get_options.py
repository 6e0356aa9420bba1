"""The options of the kind `httpGet` that Kubernetes does not have."""

import base64
import json
import os
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from kinds.pages import (
    OK,
    authority,
    check,
    check_case,
    chunked,
    fails,
    passes,
    redirect,
    request_text,
    response,
    tls,
    unknown,
)
from kinds.servers import drip, flood, hang, pause, serving
from pydantic import ValidationError
from support import Process, command, ended, eventually

from exporter.kinds import http_get
from exporter.kinds.http_get import HttpGet
from exporter.model import Reason, Status

PAGE = response("200 OK", body=b'{"status": "up", "queue": {"length": 12}, "up": true}')
JSON = "jsonPath"


def expecting(**options: Any) -> dict[str, Any]:
    return {"options": options}


BODIES = {
    "contains": passes(PAGE, **expecting(bodyContains='"status": "up"')),
    "does not contain": fails(PAGE, reason="body", **expecting(bodyContains="down")),
    "matches": passes(PAGE, **expecting(bodyMatches=r'"length": \d+')),
    "does not match": fails(PAGE, reason="body", **expecting(bodyMatches=r"^\d+$")),
    "json equals": passes(PAGE, **expecting(jsonPath=[{"path": "$.status", "equals": "up"}])),
    "json differs": fails(PAGE, reason="body", **expecting(jsonPath=[{"path": "$.status", "equals": "ok"}])),
    "json number within its limits": passes(PAGE, **expecting(jsonPath=[{"path": "$.queue.length", "max": 100}])),
    "json number beyond its limit": fails(
        PAGE, reason="body", **expecting(jsonPath=[{"path": "$.queue.length", "max": 9}])
    ),
    "json value missing": fails(PAGE, reason="body", **expecting(jsonPath=[{"path": "$.gone"}])),
    "json with NaN": fails(
        response("200 OK", body=b'{"q": NaN}'), reason="body", **expecting(jsonPath=[{"path": "$.q", "min": 0}])
    ),
    "json nested too deeply": fails(
        response("200 OK", body=b"[" * 90_000 + b"]" * 90_000), reason="body", **expecting(jsonPath=[{"path": "$..x"}])
    ),
    "json that is long to search": fails(
        response("200 OK", body=b"[" * 90 + b"1," * 50_000 + b"1" + b"]" * 90),
        reason="body",
        **expecting(jsonPath=[{"path": "$..[?count(@..*) > 1e9]"}]),
    ),
    "not json": fails(OK, reason="body", **expecting(jsonPath=[{"path": "$.gone"}])),
    "chunks": passes(chunked(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"), **expecting(bodyContains="cd")),
    "beyond 10 KiB": passes(response("200 OK", body=b"x" * 20_000 + b"end"), **expecting(bodyContains="end")),
    "beyond a MiB": fails(
        response("200 OK", body=b"x" * 2**20 + b"end"), reason="body", **expecting(bodyContains="end")
    ),
    "the status decides first": fails(response("500 No", body=b"well"), **expecting(bodyContains="well")),
    "a body that breaks off": unknown(
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nwell", **expecting(bodyContains="well")
    ),
    "a body that drips": unknown(
        b"HTTP/1.1 200 OK\r\n\r\n", drip(b"x"), reason="timeout", timeout=1.0, **expecting(bodyContains="y")
    ),
}


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES)
def test_the_content_of_the_body_decides(case):
    check_case(case)


def test_the_summary_names_the_wrong_value_of_the_body():
    with serving((PAGE,)) as server:
        outcome = check(server.port, jsonPath=[{"path": "$.status", "equals": "ok"}]).outcome

    assert '/ returned 200, but $.status is "up", expected "ok"; received "{' in outcome.summary


def test_a_body_that_is_not_checked_in_time_fails_with_the_latency_of_its_response(monkeypatch):
    """A real body would have to take longer than the timeout by itself, on any machine."""

    def find_fault(*arguments: Any) -> None:
        assert 0 < arguments[-1].remaining() <= 30
        raise TimeoutError

    monkeypatch.setattr(http_get.Body, "find_fault", find_fault)
    with serving((PAGE,)) as server:
        outcome = check(server.port, jsonPath=[{"path": "$..x"}]).outcome

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert outcome.summary.endswith("/ returned 200, but its body was not checked in time")
    assert [measurement.name for measurement in outcome.measurements] == ["endpoint_latency_seconds"]


def test_an_endless_body_costs_little_memory():
    with serving((b"HTTP/1.1 200 OK\r\n\r\n", flood(b"x" * 65536))) as server:
        tracemalloc.start()
        outcome = check(server.port, bodyContains="x").outcome
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert outcome.status is Status.PASS
    assert peak < 6 * 2**20  # the server's own buffers are in it


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_method_is_sent(method):
    with serving((response("200 OK") if method == "HEAD" else OK,)) as server:
        assert check(server.port, method=method).outcome.status is Status.PASS
        request = server.requests[0].decode()

    assert request.startswith(f"{method} / HTTP/1.1\r\n")
    assert ("Content-Length: 0\r\n" in request) is (method in ("POST", "PUT", "PATCH"))


def test_a_response_to_head_has_no_body():
    """Its Content-Length is that of the body which a GET would have got."""
    with serving((b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", hang)) as server:
        assert check(server.port, method="HEAD", timeout=2).outcome.status is Status.PASS


def _body(server: Any, connection: socket.socket) -> None:
    """Send the request's body back."""
    connection.sendall(response("200 OK", body=server.requests[-1].partition(b"\r\n\r\n")[2]))


def test_the_body_is_sent():
    with serving((_body,)) as server:
        outcome = check(server.port, method="POST", body="pïng", bodyContains="pïng").outcome

        assert outcome.status is Status.PASS
        assert b"\r\nContent-Length: 5\r\n" in server.requests[0]


def test_a_response_that_precedes_the_end_of_a_long_body_counts():
    """The server closes the connection meanwhile, so sending the rest fails."""
    with serving((response("413 Too Long", body=b"too long"),), listens=False) as server:
        outcome = check(server.port, method="POST", body="x" * 2**23, expectStatus=[413]).outcome

    assert outcome.status is Status.PASS, outcome.summary


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
def test_a_redirect_keeps_or_drops_the_method_as_go_does(status, method):
    with serving((redirect("/next", f"{status} Moved"),), (OK,)) as server:
        assert check(server.port, method="POST", body="x").outcome.status is Status.PASS
        following = server.requests[1].decode()

    assert following.startswith(f"{method} /next HTTP/1.1\r\n")
    assert ("Content-Length: 1" in following) is (method == "POST")


@pytest.mark.parametrize(("expected", "status"), [([301], "pass"), ([200], "fail"), (None, "pass")])
def test_a_redirect_that_is_not_followed_is_the_response(expected, status):
    with serving((redirect("/next", "301 Moved"),), (OK,)) as server:
        outcome = check(server.port, followRedirects=False, expectStatus=expected).outcome

        assert (outcome.status, server.accepted) == (status, 1)


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"warnLatencySeconds": 10, "maxLatencySeconds": 20}, "pass"),
        ({"warnLatencySeconds": 0.1, "maxLatencySeconds": 20}, "warn"),
        ({"warnLatencySeconds": 0.05, "maxLatencySeconds": 0.1}, "fail"),
        ({"maxLatencySeconds": 0.1}, "fail"),
    ],
)
def test_the_latency_is_compared_with_its_limits(limits, status):
    with serving((pause(0.2), OK)) as server:
        outcome = check(server.port, **limits).outcome

    assert outcome.status == status
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)
    latency = outcome.measurements[0]
    assert latency.name == "endpoint_latency_seconds"
    assert latency.limits == {
        level: limits[key]
        for level, key in (("warn", "warnLatencySeconds"), ("fail", "maxLatencySeconds"))
        if key in limits
    }


def test_the_phases_add_up_to_the_latency():
    with serving((pause(0.3), b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", pause(0.2), b"x"), tls=tls()) as server:
        outcome = check(server.port, scheme="HTTPS", phases=True).outcome
    phases = {
        measurement.phase: measurement.value
        for measurement in outcome.measurements
        if measurement.name == "endpoint_phase_seconds"
    }
    latency = outcome.measurements[0].value

    assert [*phases] == ["resolve", "connect", "tls", "processing", "transfer"]
    assert phases["processing"] >= 0.3 - 0.01
    assert phases["transfer"] >= 0.2 - 0.01
    assert sum(phases.values()) <= latency


def test_phases_are_not_measured_by_default():
    with serving((OK,)) as server:
        (measurement,) = check(server.port).outcome.measurements

    assert measurement.name == "endpoint_latency_seconds"


class TestVerifiedTls:
    @pytest.fixture
    def ca_file(self, tmp_path):
        path = tmp_path / "ca.pem"
        authority().cert_pem.write_to_path(str(path))
        return str(path)

    def verified(self, port: int, **options: Any) -> Any:
        return check(port, scheme="HTTPS", verifyTLS=True, **options).outcome

    def test_a_certificate_of_a_known_authority_passes(self, ca_file):
        with serving((OK,), tls=tls("localhost", "127.0.0.1")) as server:
            assert self.verified(server.port, caFile=ca_file).status is Status.PASS
            assert self.verified(server.port, caFile=ca_file, host="localhost").status is Status.PASS

    def test_a_certificate_of_an_unknown_authority_fails(self):
        with serving((OK,), tls=tls()) as server:
            outcome = self.verified(server.port)

        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
        assert "unable to get local issuer certificate" in outcome.summary

    def test_a_certificate_for_another_name_fails(self, ca_file):
        with serving((OK,), tls=tls("other.example")) as server:
            outcome = self.verified(server.port, caFile=ca_file)

        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
        assert "127.0.0.1" in outcome.summary

    def test_the_server_name_is_verified_and_sent_instead_of_the_host(self, ca_file):
        names = []
        context = tls("shop.example")
        context.sni_callback = lambda _, name, __: names.append(name)
        with serving((OK,), tls=context) as server:
            assert self.verified(server.port, caFile=ca_file, serverName="shop.example").status is Status.PASS
            assert check(server.port, scheme="HTTPS", serverName="any.example").outcome.status is Status.PASS
            outcome = self.verified(server.port, caFile=ca_file, host="localhost", serverName="other.example")

        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
        assert "certificate is not valid for 'other.example'" in outcome.summary
        assert names == ["shop.example", "any.example", "other.example"]
        assert "Host: 127.0.0.1:PORT" in request_text(server)

    def test_the_server_name_applies_to_redirects(self, ca_file):
        with serving((redirect("/b"),), (OK,), tls=tls("shop.example")) as server:
            assert self.verified(server.port, caFile=ca_file, serverName="shop.example").status is Status.PASS
        assert server.accepted == 2

    def test_without_its_authorities_the_run_is_unknown(self, tmp_path):
        (tmp_path / "empty.pem").write_text("no certificate\n")
        for name, reason in (("none.pem", Reason.MISSING), ("empty.pem", Reason.ERROR)):
            outcome = self.verified(1, caFile=str(tmp_path / name))
            assert (outcome.status, outcome.reason) == (Status.UNKNOWN, reason), outcome.summary

    def test_a_client_certificate_is_presented(self, tmp_path, ca_file):
        issued = authority().issue_cert("probe@example.com")
        issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
        server_tls = tls()
        server_tls.verify_mode = ssl.CERT_REQUIRED
        authority().configure_trust(server_tls)
        files = {"certFile": str(tmp_path / "cert.pem"), "keyFile": str(tmp_path / "key.pem")}
        with serving((OK,), tls=server_tls) as server:
            assert check(server.port, scheme="HTTPS", clientCertificate=files).outcome.status is Status.PASS
            assert check(server.port, scheme="HTTPS").outcome.status is Status.FAIL


class TestAuthorization:
    def authorization(self, server: Any, number: int = 0) -> str | None:
        """The Authorization header of a request."""
        lines = server.requests[number].decode().split("\r\n")
        return next((line.partition(": ")[2] for line in lines if line.startswith("Authorization:")), None)

    def test_basic_authentication_by_a_secret_file(self, tmp_path):
        (tmp_path / "password").write_text("pässword\n")
        auth = {"username": "probe", "password": {"file": str(tmp_path / "password")}}
        with serving((OK,)) as server:
            assert check(server.port, basicAuth=auth).outcome.status is Status.PASS
            assert self.authorization(server) == "Basic " + base64.b64encode("probe:pässword".encode()).decode()

    def test_a_bearer_token_of_the_environment_is_read_at_each_run(self, monkeypatch):
        with serving((OK,)) as server:
            for number, token in enumerate(("first", "second")):
                monkeypatch.setenv("PROBE_TOKEN", token)
                assert check(server.port, bearerToken={"env": "PROBE_TOKEN"}).outcome.status is Status.PASS
                assert self.authorization(server, number) == f"Bearer {token}"

    def test_without_its_secret_the_run_is_unknown(self, monkeypatch):
        monkeypatch.delenv("PROBE_TOKEN", raising=False)
        with serving((OK,)) as server:
            outcome = check(server.port, bearerToken={"env": "PROBE_TOKEN"}).outcome

            assert (outcome.status, outcome.reason) == (Status.UNKNOWN, Reason.MISSING)
            assert server.accepted == 0

    def test_a_token_that_no_header_can_hold_is_not_sent_and_not_shown(self, monkeypatch):
        monkeypatch.setenv("PROBE_TOKEN", "tweety\r\nX: y")
        with serving((OK,)) as server:
            outcome = check(server.port, bearerToken={"env": "PROBE_TOKEN"}).outcome
            assert server.accepted == 0

        assert (outcome.status, outcome.reason) == (Status.UNKNOWN, Reason.ERROR)
        assert outcome.summary == "the bearer token contains a control character, which no header can hold"

    def test_a_token_outside_ascii_is_sent_as_utf_8(self, monkeypatch):
        monkeypatch.setenv("PROBE_TOKEN", "grün€\n")
        with serving((OK,)) as server:
            assert check(server.port, bearerToken={"env": "PROBE_TOKEN"}).outcome.status is Status.PASS
            assert self.authorization(server) == "Bearer grün€"

    def test_a_redirect_to_the_same_server_keeps_the_authorization(self, monkeypatch):
        monkeypatch.setenv("PROBE_TOKEN", "tweety")
        with serving((redirect("/next"),), (OK,)) as server:
            check(server.port, bearerToken={"env": "PROBE_TOKEN"})

            assert self.authorization(server, 1) == "Bearer tweety"

    def test_a_redirect_to_a_different_port_drops_the_authorization(self, monkeypatch):
        monkeypatch.setenv("PROBE_TOKEN", "tweety")
        with serving((OK,)) as other, serving((redirect(f"http://127.0.0.1:{other.port}/"),)) as server:
            assert check(server.port, bearerToken={"env": "PROBE_TOKEN"}).outcome.status is Status.PASS
            assert self.authorization(server) == "Bearer tweety"
            assert self.authorization(other) is None


@contextmanager
def responding(address: str) -> Iterator[None]:
    """A server on a Unix socket that responds with OK."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()

        def work() -> None:
            with suppress(OSError):  # until the listener is closed
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.recv(65536)
                        client.sendall(OK)

        threading.Thread(target=work, daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


class TestUnixSocket:
    @pytest.fixture
    def path(self, tmp_path):
        """A server on a Unix socket that responds with OK."""
        path = str(tmp_path / "app.sock")
        with responding(path):
            yield path

    def test_the_request_goes_to_the_socket_instead_of_the_port(self, path):
        outcome = check(1, unixSocket=path, phases=True).outcome

        assert outcome.status is Status.PASS
        assert "connect" in {measurement.phase for measurement in outcome.measurements}

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("/tmp/none.sock", "No such file or directory"),
            ("/etc/passwd", "Connection refused"),
            ("/etc", "Connection refused"),
            ("/tmp/" + "x" * 120, "AF_UNIX path too long"),
        ],
        ids=["missing", "file", "folder", "long"],
    )
    def test_what_is_no_socket_fails(self, path, words):
        outcome = check(1, unixSocket=path).outcome

        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
        assert outcome.summary == f"{path}: {words}"

    def test_a_socket_in_the_abstract_namespace_needs_no_path(self):
        name = f"health-{os.getpid()}"
        with responding(f"\0{name}"):
            assert check(1, unixSocket=f"@{name}").outcome.status is Status.PASS

        outcome = check(1, unixSocket=f"@{name}").outcome
        assert (outcome.reason, outcome.summary) == (Reason.CONNECT, f"@{name}: Connection refused")

    def test_an_abstract_socket_of_haproxy_is_found(self, tmp_path):
        name = f"health-{os.getpid()}"
        (tmp_path / "haproxy.cfg").write_text(f"""
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
frontend health
    bind abns@{name}
    http-request return status 200
""")
        with ended(Process([command("haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg")])):
            eventually(lambda: check(1, unixSocket=f"@{name}").outcome.status is Status.PASS)

    def test_a_full_queue_is_named(self, tmp_path):
        path = str(tmp_path / "full.sock")
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(path)
            listener.listen(0)
            client.connect(path)
            outcome = check(1, unixSocket=path).outcome

        assert (outcome.reason, outcome.summary) == (Reason.CONNECT, f"{path}: its queue of connections is full")

    def test_a_silent_socket_fails_at_the_deadline(self, tmp_path):
        path = str(tmp_path / "silent.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            outcome = check(1, unixSocket=path, timeout=0.5).outcome

        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"basicAuth": {"username": "a", "password": {"env": "A"}}, "bearerToken": {"env": "A"}}, "not both"),
        ({"caFile": "/ca.pem"}, "caFile requires verifyTLS: true"),
        ({"warnLatencySeconds": 2, "maxLatencySeconds": 1}, "must not be above maxLatencySeconds"),
        ({"maxLatencySeconds": 0}, "greater than 0"),
        ({"bodyMatches": "("}, "not a valid RE2 regular expression"),
        ({JSON: [{"path": "$["}]}, "is not a valid JSONPath"),
        ({"bearerToken": "tweety"}, "valid dictionary"),
        ({"method": "TRACE"}, "Input should be"),
        ({"verifyTLS": "yes"}, "valid boolean"),
        ({"unixSocket": "@"}, "must be a path, or @ and an abstract name"),
    ],
)
def test_options_that_contradict_themselves_are_refused(options, complaint):
    with pytest.raises(ValidationError) as raised:
        HttpGet.model_validate({"port": 1, **options})

    assert complaint in str(raised.value)


def test_the_keys_are_spelled_as_documented():
    properties = HttpGet.model_json_schema()["properties"]

    assert {"verifyTLS", "caFile", "jsonPath", "bodyMatches", "unixSocket", "followRedirects"} <= set(properties)
    assert json.dumps(properties)
