"""The kind `httpGet` sends requests, follows redirects and concludes as the kubelet's prober does (pkg/probe/http).

The tables, here and in the other files on this kind, state what the kubelet does; they were compared with a Go client
that is set up as its prober is. Heads and bodies are in test_http_get_responses.py; redirects, TLS and the options that
the kubelet does not have are in files of their own.
"""

import base64
import socket
import time
from typing import Any

import pytest
from kinds.pages import (
    ACCEPT,
    AGENT,
    OK,
    check,
    check_case,
    fails,
    headers,
    redirect,
    request,
    request_text,
    response,
    tls,
    unknown,
)
from kinds.servers import hang, pause, reset, serving
from support import free_port

from exporter.evaluation.run import run
from exporter.kinds.http_get import HttpGet
from exporter.model import Deadline, Reason, Spec, Status
from exporter.net.resolver import Resolver
from exporter.probe.check import Check

DIFFERS = {
    "three attempts at a broken body": "the kubelet gives each the whole timeout; here they share one deadline, "
    "because timeoutSeconds bounds a run, so that no check delays its next run or another check",
    "101 on a connection that stays open": "the kubelet waits for its end, beyond the timeout, and then fails; here it "
    "fails at once, because nothing that could follow makes it pass",
    "more than 1000 header lines, a Location of more than 64 kB": "the kubelet accepts them; here the response is "
    "malformed, because a target must not be able to use up the CPU time and memory of the exporter",
    "a fragment in the path": "the kubelet sends it in the Referer of a redirect; here it is never sent, because RFC "
    "9110 (10.1.3) forbids it",
    "an RSA key below 1024 bits": "the kubelet fails; here it passes, because no certificate is verified, and the "
    "length of its key says nothing about the application",
    "no file descriptor left": "for the kubelet the target failed; here the run is unknown, because that is the "
    "exporter's own shortage",
    "frames that break RFC 9113, or too many": "see DIFFERENT in test_http_get_http2.py",
}
"""Where the exporter differs from the kubelet, how and why. Everything else in this file is the same.

docs/migration.md has them for users. test_kubelet.py shows that the kubelet's client differs.
"""

REQUESTS: dict[str, tuple[list[tuple[str, str]], str]] = {
    "no header configured": ([], request(AGENT, ACCEPT)),
    "own user agent": ([("User-Agent", "me/1")], request("User-Agent: me/1", ACCEPT)),
    "own user agent in lower case": ([("user-agent", "me/1")], request("User-Agent: me/1", ACCEPT)),
    "empty user agent": ([("User-Agent", "")], request(ACCEPT)),
    "two user agents: the first": ([("User-Agent", "a"), ("User-Agent", "b")], request("User-Agent: a", ACCEPT)),
    "own accept": ([("Accept", "text/html")], request(AGENT, "Accept: text/html")),
    "empty accept": ([("Accept", "")], request(AGENT)),
    "two accepts": ([("Accept", "a/b"), ("Accept", "c/d")], request(AGENT, "Accept: a/b", "Accept: c/d")),
    "own accept-encoding": ([("Accept-Encoding", "gzip")], request(AGENT, ACCEPT, "Accept-Encoding: gzip")),
    "repeated headers repeat": ([("X-A", "2"), ("X-A", "1")], request(AGENT, ACCEPT, "X-A: 2", "X-A: 1")),
    "names are canonical": (
        [("x-tOKEN-id", "t"), ("-a", "1"), ("B-", "2")],
        request(AGENT, "-A: 1", ACCEPT, "B-: 2", "X-Token-Id: t"),
    ),
    "an empty value is sent": ([("X-A", "")], request(AGENT, ACCEPT, "X-A: ")),
    "spaces around a value are not": ([("X-A", " \t b c ")], request(AGENT, ACCEPT, "X-A: b c")),
    "UTF-8 in a value": ([("X-A", "grün €")], request(AGENT, ACCEPT, "X-A: grün €")),
    "content-length is not sent": ([("Content-Length", "5")], request(AGENT, ACCEPT)),
    "transfer-encoding is not sent": ([("transfer-encoding", "chunked")], request(AGENT, ACCEPT)),
    "trailer is not sent": ([("Trailer", "X")], request(AGENT, ACCEPT)),
    "own host": ([("Host", "shop.example")], request(AGENT, ACCEPT, host="shop.example")),
    "own host in lower case": ([("host", "shop.example:1")], request(AGENT, ACCEPT, host="shop.example:1")),
    "empty host falls back": ([("Host", "")], request(AGENT, ACCEPT)),
    "two hosts: the first": ([("Host", ""), ("Host", "b.example")], request(AGENT, ACCEPT)),
    "an invalid host is sent empty": ([("Host", "a/b c")], request(AGENT, ACCEPT, host="")),
    "own connection: close": ([("Connection", "close")], request(AGENT, ACCEPT)),
    "own connection: keep-alive": (
        [("Connection", "keep-alive")],
        request(AGENT, ACCEPT, "Connection: keep-alive"),
    ),
    "an upgrade is not closed": (
        [("Connection", "Upgrade"), ("Upgrade", "x")],
        request(AGENT, ACCEPT, "Connection: Upgrade", "Upgrade: x").replace("Connection: close\r\n", ""),
    ),
    "basic auth as a header": ([("Authorization", "Basic eA==")], request(AGENT, ACCEPT, "Authorization: Basic eA==")),
}


@pytest.mark.parametrize(("pairs", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_the_request_is_the_kubelets_byte_for_byte(pairs, expected):
    with serving((OK,)) as server:
        result = check(server.port, http_headers=[{"name": name, "value": value} for name, value in pairs])

        assert result.outcome.status is Status.PASS
        assert request_text(server) == expected


@pytest.mark.parametrize("value", ["a\nb", "a\r\nX-Evil: 1", "a\rb", "a\0b", "\x7f", "\x1b[0m"])
def test_a_header_value_with_a_control_character_fails_before_anything_is_sent(value):
    with serving((OK,)) as server:
        outcome = check(server.port, http_headers=[{"name": "X-Token", "value": value}]).outcome

        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.ERROR)
        assert server.accepted == 0
        assert "X-Token" not in outcome.summary
        assert value not in outcome.summary


PATHS = {
    "/": "/",
    "": "/",
    "/a?b=c": "/a?b=c",
    "/a?": "/a?",
    "?a=b": "/?a=b",
    "/a?b?c": "/a?b?c",
    "/a?b c": "/a?b c",
    "/a?%zz": "/a?%zz",
    "/a#fragment": "/a",
    "/a?b#fragment": "/a?b",
    "http://x.example/y?z": "/y?z",
    "HTTP://X.example/Y": "/Y",
    "http://x.example": "/",
    "http:///p": "/p",
    "//host/x": "/x",
    "//": "/",
    "//?x": "/?x",
    "///x": "///x",
    "/a//b/": "/a//b/",
    "x": "/x",
    "*": "/*",
    "1a:b": "/1a:b",
    "/a b": "/a%20b",
    "/é": "/%C3%A9",
    '/"<>\\^`{|}': "/%22%3C%3E%5C%5E%60%7B%7C%7D",
    "/a'(b)*[c];d=e,f": "/a'(b)*[c];d=e,f",
    "/a!b c": "/a%21b%20c",
    "/%zz": "/%25zz",
    "/%zz?q": "/%25zz%3Fq",
    "/a#b%zz": "/a%23b%25zz",
    "/a\nb": "/a%0Ab",
    "http://h:bad/x": "/http://h:bad/x",
    "/%2f%2F%41": "/%2f%2F%41",
    "/a%2fb c": "/a/b%20c",
    "/a/../b": "/a/../b",
    "/./a": "/./a",
    "../a": "/../a",
}


@pytest.mark.parametrize(("path", "expected"), PATHS.items(), ids=map(repr, PATHS))
def test_the_path_is_requested_as_by_the_kubelet(path, expected):
    with serving((OK,)) as server:
        assert check(server.port, path=path).outcome.status is Status.PASS
        assert request_text(server).startswith(f"GET {expected} HTTP/1.1\r\n")


def test_user_information_in_a_whole_url_is_sent_and_never_shown():
    with serving((OK,)) as server:
        probe = HttpGet(port=server.port, path="http://me:s%33cret@x.example/y?token=canary")
        outcome = run(Check(Spec("page", "httpGet", timeout=5), probe)).outcome

        credentials = base64.b64encode(b"me:s3cret").decode()
        assert request_text(server) == request(
            AGENT, ACCEPT, f"Authorization: Basic {credentials}", path="/y?token=canary"
        )
        assert probe.target == f"http://127.0.0.1:{server.port}/y"
        assert outcome.summary == f"http://127.0.0.1:{server.port}/y returned 200"


@pytest.mark.parametrize("path", ["mailto:x", "a:b", "http:foo"])
def test_a_path_that_is_an_opaque_url_fails(path):
    with serving((OK,)) as server:
        probe = HttpGet(port=server.port, path=path)

        assert probe.probe(Deadline(time.monotonic() + 2)).status is Status.FAIL
        assert server.accepted == 0
        assert probe.target == f"http://127.0.0.1:{server.port}"


@pytest.mark.parametrize("host", ["::1::1", "fe80::zz"])
def test_an_invalid_host_is_unknown(host):
    outcome = check(80, host=host).outcome

    assert (outcome.status, outcome.reason) == (Status.UNKNOWN, Reason.ERROR)


def test_an_ipv6_host_is_sent_in_brackets():
    with serving((OK,), address="::1") as server:
        result = check(server.port, host="::1")

        assert request_text(server) == request(AGENT, ACCEPT, host="[::1]:PORT")
        assert result.outcome.summary == f"http://[::1]:{server.port}/ returned 200"


def test_no_proxy_and_no_netrc_of_the_environment_is_used(hostile_environment):
    with serving((OK,)) as server:
        assert check(server.port).outcome.status is Status.PASS
        assert request_text(server) == request(AGENT, ACCEPT)


def test_the_environments_ca_bundle_is_not_used(hostile_environment):
    with serving((OK,), tls=tls()) as server:
        assert check(server.port, scheme="HTTPS").outcome.status is Status.PASS


def test_cookies_are_not_kept():
    first = response("302 Found", "Location: /b", "Set-Cookie: id=1; Path=/")
    with serving((first,), (response("200 OK", "Set-Cookie: id=2"),)) as server:
        probe = HttpGet(port=server.port)
        for _ in range(2):
            assert probe.probe(Deadline(time.monotonic() + 2)).status is Status.PASS

        assert len(server.requests) == 3
        assert all(b"Cookie" not in request for request in server.requests)


def test_every_probe_makes_a_new_connection_although_the_server_would_keep_it():
    with serving((response("200 OK", "Connection: keep-alive"), hang)) as server:
        probe = HttpGet(port=server.port)
        for _ in range(3):
            assert probe.probe(Deadline(time.monotonic() + 2)).status is Status.PASS

        assert server.accepted == 3


@pytest.mark.parametrize(
    ("expected", "status", "passes_"),
    [
        ([200], 200, True),
        ([200], 204, False),
        ([200], 302, False),
        ([200], 500, False),
        ([503], 503, True),
        ([200, 204], 204, True),
        ([302], 302, True),
        ([999], 999, True),
    ],
)
def test_expect_status_replaces_200_to_399(expected, status, passes_):
    with serving((response(f"{status} Word"),)) as server:
        outcome = check(server.port, expect_status=expected).outcome

        assert (outcome.status is Status.PASS) is passes_
        assert outcome.reason is (None if passes_ else Reason.STATUS)


def test_the_summary_of_an_unexpected_status_names_the_expected_ones():
    with serving((response("204 Word"),)) as server:
        outcome = check(server.port, path="/health?token=canary", expect_status=[200, 201]).outcome

        assert outcome.summary == f"http://127.0.0.1:{server.port}/health returned 204, expected 200 or 201"


def test_the_latency_is_measured_for_every_complete_response():
    with serving((pause(0.1), response("500 Word"))) as server:
        result = check(server.port)

    assert [measurement.name for measurement in result.outcome.measurements] == ["endpoint_latency_seconds"]
    assert 0.1 <= result.outcome.measurements[0].value <= result.duration


SECRET_OPTIONS = {
    "path": "http://me:canary@x.example/a?token=canary#canary",
    "http_headers": [{"name": "Authorization", "value": "Bearer canary"}, {"name": "Host", "value": "canary.example"}],
}
SUMMARIES = {
    "a failure": (fails(response("500 Word")), "{url} returned 500"),
    "an empty response": (
        fails(reason="connect"),
        "{url} closed the connection without a response (does it expect TLS?)",
    ),
    "a reset": (fails(reset, reason="connect"), "{url}: Connection reset by peer (does it expect TLS?)"),
    "a failure that says why": (
        fails(response("500 Word", "Content-Type: text/plain", body=b"database is down: canary\n")),
        '{url} returned 500; received "database is down:***\\n" (25 bytes, text/plain)',
    ),
    "a failure with a long body": (
        fails(response("500 Word", body=b"x" * 20_000)),
        '{url} returned 500; received "' + "x" * 79 + '…" (10240 bytes or more)',
    ),
    "garbage": (
        fails(b"nonsense\xff\r\n"),
        '{url}: the response is not HTTP: it begins with "nonsense\\xff\\r\\n"',
    ),
    "garbage without a line end": (
        fails(b"\0\0nonsense", hang),
        '{url}: the response is not HTTP: it begins with "\\x00\\x00nonsense"',
    ),
    "an echo": (
        fails(b"GET /a?token=canary HTTP/1.1\r\nAuthorization: Bearer canary\r\n\r\n"),
        '{url}: the response is not HTTP: it begins with "GET *** HTTP/1.1\\r\\nAuthorization: ***\\r\\n\\r\\n"',
    ),
    "a TLS alert": (
        fails(b"\x15\x03\x01\0\2\2\x46"),
        "{url}: the response is TLS: the server expects it (scheme: HTTPS)",
    ),
    "HTTP/2": (
        fails(b"\0\0\x12\4\0\0\0\0\0" + b"\0" * 18),
        "{url}: the response is HTTP/2: the server does not speak HTTP/1.1",
    ),
    "two lengths": (
        fails(headers("Content-Length: 2", "Content-Length: 3")),
        "{url}: the response has two different lengths",
    ),
    "silence": (fails(hang, reason="timeout", timeout=1.0), "{url}: no complete response in time"),
    "a cut body": (
        unknown(b"HTTP/1.1 500 Word\r\nContent-Length: 9\r\n\r\n"),
        "{url} returned 500, but its body broke off",
    ),
    "a silent body": (
        unknown(b"HTTP/1.1 500 Word\r\nContent-Length: 9\r\n\r\n", hang, reason="timeout", timeout=1.0),
        "{url} returned 500, but its body did not end in time",
    ),
    "redirects": (fails(redirect("/a?token=canary")), "{url}: stopped after 10 redirects"),
    "a bad redirect": (fails(redirect("http://canary:x/")), "{url} redirects to an invalid URL"),
    "a header without a colon": (fails(headers("canary")), "{url}: the response has a malformed header line"),
}


@pytest.mark.parametrize(("case", "summary"), SUMMARIES.values(), ids=SUMMARIES)
def test_the_summary_is_exact_and_contains_no_secret(case, summary):
    with serving(case.script) as server:
        outcome = check(server.port, case.timeout, **SECRET_OPTIONS).outcome

        assert (outcome.status, outcome.reason) == (case.status, case.reason)
        assert outcome.summary == summary.format(url=f"http://127.0.0.1:{server.port}/a")


def test_the_error_page_of_a_real_server_is_shown(nginx):
    outcome = check(nginx.port, path="/status/503").outcome

    assert outcome.summary.startswith(
        rf'{nginx.url}/status/503 returned 503; received "<html>\r\n<head><title>503 Service Temporarily Unavailable'
    )
    assert outcome.summary.endswith("bytes, text/html)")


def test_the_summary_of_a_refused_connection_names_the_address():
    port = free_port()
    outcome = check(port, path="/a?token=canary").outcome

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert outcome.summary == f"127.0.0.1:{port}: Connection refused"


def test_a_name_that_is_not_resolved_fails_with_the_reason_dns():
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    probe = HttpGet(port=80, host="nowhere.example")
    outcome = probe.probe(Deadline(time.monotonic() + 2), Resolver(look_up))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.DNS)
    assert outcome.summary == "the name nowhere.example was not resolved: Name or service not known"


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"port": 80}, "http://127.0.0.1:80/"),
        ({"port": 443, "scheme": "HTTPS", "host": "shop.example", "path": "/a?b"}, "https://shop.example:443/a"),
        ({"port": 80, "path": "http://me:canary@x/a?canary#canary"}, "http://127.0.0.1:80/a"),
        ({"port": 80, "path": "/%zz?token=canary"}, "http://127.0.0.1:80/%25zz"),
        ({"port": 80, "host": "::1"}, "http://[::1]:80/"),
        ({"port": 80, "host": "fe80::zz", "path": "/x"}, "http://fe80::zz:80"),
    ],
)
def test_the_target_shows_no_credentials_and_no_query(options, target):
    assert HttpGet(**options).target == target


def test_equal_probes_stay_equal_after_a_run():
    with serving((OK,)) as server:
        used, fresh = HttpGet(port=server.port), HttpGet(port=server.port)
        used.probe(Deadline(time.monotonic() + 2))

        assert used == fresh


def test_differs_101_on_a_connection_that_stays_open_fails_at_once():
    """The reason is not `timeout`: nothing is waited for."""
    check_case(fails(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", hang))
