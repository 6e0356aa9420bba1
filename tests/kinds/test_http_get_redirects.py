"""Which redirects the kind `httpGet` follows, and what it sends then, as the kubelet does (pkg/probe/http)."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from kinds.pages import (
    ACCEPT,
    AGENT,
    ELSEWHERE,
    OK,
    OWN_HOST,
    check,
    check_case,
    fails,
    headers,
    redirect,
    request,
    request_text,
    response,
)
from kinds.servers import hang, pause, reset, serving

from exporter.model import Status

BAD_REFERENCES = ("http://127.0.0.1:{port}/%zz", "http://[::1/", ":", "http://127.0.0.1:x/", "a:b\x0bc", "http://a b/")


@dataclass(frozen=True)
class Trip:
    """The responses of a server in order, the outcome, and the number of requests it takes."""

    responses: tuple
    status: str
    requests: int
    reason: str | None = None
    timeout: float = 5.0
    options: dict[str, Any] = field(default_factory=dict)


def hops(number: int, last: bytes) -> tuple:
    return (*((redirect(f"/{n}"),) for n in range(number)), (last,))


TRIPS = {
    **{
        f"{code} is followed": Trip(((redirect("/b", f"{code} Word"),), (OK,)), "pass", 2)
        for code in (301, 302, 303, 307, 308)
    },
    **{
        f"{code} is not followed": Trip(((redirect("/b", f"{code} Word"),), (OK,)), "pass", 1)
        for code in (300, 304, 305, 306, 309, 399)
    },
    "no Location": Trip(((response("302 Found"),), (OK,)), "pass", 1),
    "an empty Location": Trip(((redirect(""),), (OK,)), "pass", 1),
    "a Location of spaces": Trip(((redirect("  "),), (OK,)), "pass", 1),
    "of two Locations the first": Trip(
        ((response("302 Found", "Location: /b", "Location: http://other.example/"),), (OK,)), "pass", 2
    ),
    "a Location in lower case": Trip(((response("302 Found", "location: /b"),), (OK,)), "pass", 2),
    "201 with a Location": Trip(((redirect("/b", "201 Created"),), (OK,)), "pass", 1),
    "404 with a Location": Trip(((redirect("/b", "404 Word"),), (OK,)), "fail", 1, "status"),
    "to a failure": Trip(((redirect("/b"),), (response("500 Word"),)), "fail", 2, "status"),
    "to a 304": Trip(((redirect("/b"),), (response("304 Word"),)), "pass", 2),
    "to a cut body": Trip(((redirect("/b"),), (headers("Content-Length: 9"),)), "unknown", 4, "body"),
    "absolute": Trip(((redirect("http://127.0.0.1:{port}/b"),), (OK,)), "pass", 2),
    "absolute in capitals": Trip(((redirect("HTTP://127.0.0.1:{port}/b"),), (OK,)), "pass", 2),
    "without a scheme": Trip(((redirect("//127.0.0.1:{port}/b"),), (OK,)), "pass", 2),
    "with user information": Trip(((redirect("http://me:it@127.0.0.1:{port}/b"),), (OK,)), "pass", 2),
    "only a query": Trip(((redirect("?b"),), (OK,)), "pass", 2),
    "only a fragment": Trip(((redirect("#b"),), (OK,)), "pass", 2),
    "a space in it": Trip(((redirect("/b c"),), (OK,)), "pass", 2),
    "to another host": Trip(((ELSEWHERE,), (OK,)), "pass", 1),
    "to localhost, which is another host": Trip(((redirect("http://localhost:{port}/"),), (OK,)), "pass", 1),
    "to another spelling of the address": Trip(((redirect("http://127.0.0.01:{port}/"),), (OK,)), "pass", 1),
    "to other capitals of the name": Trip(
        ((redirect("http://LOCALHOST:{port}/"),), (OK,)), "pass", 1, options={"host": "localhost"}
    ),
    "to the name with a dot": Trip(
        ((redirect("http://localhost.:{port}/"),), (OK,)), "pass", 1, options={"host": "localhost"}
    ),
    "to the same name": Trip(
        ((redirect("http://localhost:{port}/"),), (OK,)), "pass", 2, options={"host": "localhost"}
    ),
    "to mailto:": Trip(((redirect("mailto:a@b.example"),), (OK,)), "pass", 1),
    "to http: without a host": Trip(((redirect("http:b"),), (OK,)), "pass", 1),
    "to ftp: on another host": Trip(((redirect("ftp://other.example/"),), (OK,)), "pass", 1),
    "to ftp: on the same host": Trip(((redirect("ftp://127.0.0.1:{port}/"),), (OK,)), "fail", 1, "status"),
    "to file: on the same host": Trip(((redirect("file://127.0.0.1/etc/passwd"),), (OK,)), "fail", 1, "status"),
    "to file:": Trip(((redirect("file:///etc/passwd"),), (OK,)), "pass", 1),
    **{f"to {text!r}": Trip(((redirect(text),), (OK,)), "fail", 1, "status") for text in BAD_REFERENCES},
    "to port 0": Trip(((redirect("http://127.0.0.1:0/"),), (OK,)), "fail", 1, "connect"),
    "to port 99999": Trip(((redirect("http://127.0.0.1:99999/"),), (OK,)), "fail", 1, "connect"),
    "to a closed port": Trip(((redirect("http://127.0.0.1:1/"),), (OK,)), "fail", 1, "connect"),
    "nine": Trip(hops(9, OK), "pass", 10),
    "ten": Trip(hops(10, OK), "fail", 10, "status"),
    "in a circle": Trip(((redirect("/"),),), "fail", 10, "status"),
    "nine, then to another host": Trip(hops(9, ELSEWHERE), "pass", 10),
    "ten, then to another host": Trip(hops(10, ELSEWHERE), "fail", 10, "status"),
    "a cut body does not matter": Trip(
        ((b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 9\r\n\r\n123",), (OK,)), "pass", 2
    ),
    "a reset body does not matter": Trip(
        ((b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 9\r\n\r\n123", pause(0.05), reset), (OK,)),
        "pass",
        2,
    ),
    "a short body that stalls": Trip(
        ((b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 2048\r\n\r\n", hang), (OK,)),
        "fail",
        1,
        "timeout",
        timeout=1.0,
    ),
    "a body without a length that stalls": Trip(
        ((b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n", hang), (OK,)), "fail", 1, "timeout", timeout=1.0
    ),
    "chunks that stall": Trip(
        ((b"HTTP/1.1 302 Found\r\nLocation: /b\r\nTransfer-Encoding: chunked\r\n\r\n", hang), (OK,)),
        "fail",
        1,
        "timeout",
        timeout=1.0,
    ),
    "a long body that stalls is not waited for": Trip(
        ((b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 2049\r\n\r\n", hang), (OK,)), "pass", 2
    ),
    "2 kB of an endless body": Trip(
        ((b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n" + b"a" * 10240, hang), (OK,)), "pass", 2
    ),
    "to another host with a body that stalls": Trip(
        ((b"HTTP/1.1 302 Found\r\nLocation: http://o.example/\r\nContent-Length: 1\r\n\r\n", hang), (OK,)),
        "unknown",
        1,
        "timeout",
        timeout=1.0,
    ),
}


@pytest.mark.parametrize("trip", TRIPS.values(), ids=TRIPS)
def test_a_redirect_is_followed_or_not_as_by_the_kubelet(trip):
    with serving(*trip.responses) as server:
        result = check(server.port, trip.timeout, **trip.options)

    outcome = result.outcome
    assert (outcome.status, outcome.reason) == (trip.status, trip.reason), outcome.summary
    assert len(server.requests) == trip.requests
    assert not server.gave_up.is_set(), "the deadline was not kept"


def test_a_redirect_to_another_port_of_the_host_is_followed():
    with serving((OK,)) as second, serving((redirect(f"http://127.0.0.1:{second.port}/b"),)) as first:
        assert check(first.port).outcome.status is Status.PASS
        assert len(second.requests) == 1


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("http://other.example:8080/login?token=canary", "other.example"),
        ("https://me:canary@[2001:db8::1]/", "2001:db8::1"),
        ("mailto:canary@b.example", "no host"),
    ],
)
def test_a_redirect_to_a_different_host_passes_and_the_summary_names_the_host(location, host):
    with serving((redirect(location),)) as server:
        outcome = check(server.port, path="/a?token=canary").outcome

        summary = f"http://127.0.0.1:{server.port}/a returned 302, a redirect to {host}, which is not followed"
        assert (outcome.status, outcome.summary) == (Status.PASS, summary)


def second_request(location: str, **options: Any) -> str:
    """The request after a redirect to this location."""
    with serving((redirect(location),), (OK,)) as server:
        assert check(server.port, **options).outcome.status is Status.PASS
        return request_text(server, 1)


def referer(path: str = "/") -> str:
    return f"Referer: http://127.0.0.1:PORT{path}"


SECOND_REQUESTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "relative": ("/b?c", {}, request(AGENT, ACCEPT, referer(), path="/b?c")),
    "from a query": ("/b", {"path": "/a?q=1"}, request(AGENT, ACCEPT, referer("/a?q=1"), path="/b")),
    "to a sibling": ("c", {"path": "/a/b"}, request(AGENT, ACCEPT, referer("/a/b"), path="/a/c")),
    "upwards": ("../../c/./d/..", {"path": "/a/b"}, request(AGENT, ACCEPT, referer("/a/b"), path="/c/")),
    "only a query": ("?c", {"path": "/a/b"}, request(AGENT, ACCEPT, referer("/a/b"), path="/a/b?c")),
    "only a fragment": ("#c", {"path": "/a?b"}, request(AGENT, ACCEPT, referer("/a?b"), path="/a?b")),
    "spaces and escapes": ("/b c/%41", {}, request(AGENT, ACCEPT, referer(), path="/b%20c/A")),
    "UTF-8": ("/é", {}, request(AGENT, ACCEPT, referer(), path="/%C3%A9")),
    "user information": (
        "http://me:it@127.0.0.1:{port}/b",
        {},
        request(AGENT, ACCEPT, "Authorization: Basic bWU6aXQ=", referer(), path="/b"),
    ),
    "headers are sent again": (
        "/b",
        {"http_headers": [{"name": "Authorization", "value": "x"}, {"name": "X-A", "value": "1"}]},
        request(AGENT, ACCEPT, "Authorization: x", referer(), "X-A: 1", path="/b"),
    ),
    "a configured Referer stays": (
        "/b",
        {"http_headers": [{"name": "Referer", "value": "me"}]},
        request(AGENT, ACCEPT, "Referer: me", path="/b"),
    ),
    "a configured Host is kept": (
        "/b",
        {"http_headers": OWN_HOST},
        request(AGENT, ACCEPT, referer(), path="/b", host="shop.example"),
    ),
    "a configured Host is kept without a scheme": (
        "//127.0.0.1:{port}/b",
        {"http_headers": OWN_HOST},
        request(AGENT, ACCEPT, referer(), path="/b", host="shop.example"),
    ),
    "a configured Host is lost": (
        "http://127.0.0.1:{port}/b",
        {"http_headers": OWN_HOST},
        request(AGENT, ACCEPT, referer(), path="/b"),
    ),
}


@pytest.mark.parametrize(("location", "options", "expected"), SECOND_REQUESTS.values(), ids=SECOND_REQUESTS)
def test_the_request_after_a_redirect_is_the_kubelets_byte_for_byte(location, options, expected):
    assert second_request(location, **options) == expected


def test_a_redirect_with_a_cut_body_is_followed_in_the_same_attempt():
    cut = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 9\r\n\r\n123"
    with serving((cut,), (OK,)) as server:
        check(server.port)

        assert request_text(server, 1).startswith("GET /b ")


def test_a_configured_host_that_a_redirect_dropped_is_not_sent_again():
    with serving((redirect("http://127.0.0.1:{port}/b"),), (redirect("/c"),), (OK,)) as server:
        check(server.port, http_headers=OWN_HOST)

        assert [request.split(b"\r\n")[1] for request in server.requests] == [
            b"Host: shop.example",
            b"Host: 127.0.0.1:%d" % server.port,
            b"Host: 127.0.0.1:%d" % server.port,
        ]


def test_differs_a_location_of_more_than_64_kb_fails():
    check_case(fails(redirect("/" + "a" * 70_000)))


def test_differs_a_fragment_is_not_in_the_referer():
    assert second_request("/b", path="/a#c") == request(AGENT, ACCEPT, referer("/a"), path="/b")


def test_the_summary_names_the_url_that_a_redirect_led_to():
    with serving((redirect("/b?token=canary"),), (response("404 Word"),)) as server:
        outcome = check(server.port, path="/a").outcome

    url = f"http://127.0.0.1:{server.port}"
    assert outcome.summary.startswith(f"{url}/a returned 404 after a redirect to {url}/b")
    assert "canary" not in outcome.summary
