"""Requests: whatever the configuration, at most one request is sent.

That the bytes are the kubelet's is tested over real connections, in tests/kinds/test_http_get.py.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.net.request import Request
from exporter.net.url import build, parse

NAMES = st.from_regex(r"[-A-Za-z0-9]{1,10}", fullmatch=True) | st.sampled_from(
    ["Host", "user-agent", "Accept", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Referer"]
)
TEXT = st.text(st.sampled_from("ab \t\r\n\0:\x7fé\udc80\u2028") | st.characters(codec="utf-8"), max_size=20)
HEADERS = st.lists(st.tuples(NAMES, TEXT), max_size=6).map(tuple)


def request(headers=(), path="/", host="shop.example"):
    return Request.from_headers(build("http", host, 80, path), headers)


@given(HEADERS, TEXT)
def test_nothing_that_is_configured_can_add_a_line(headers, path):
    try:
        head = request(headers, path).wire
    except ValueError:
        return
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1
    assert b"\r" not in head.replace(b"\r\n", b"")
    assert head.count(b"\n") == head.count(b"\r\n") <= len(headers) + 6
    assert lines[0].startswith("GET ")
    assert lines[0].endswith(" HTTP/1.1")
    assert [line for line in lines if line.startswith("Host:")] == [lines[1]]
    assert not any(line.lower().startswith(("content-length:", "transfer-encoding:")) for line in lines)


@given(HEADERS, TEXT)
def test_any_location_leads_to_one_request_or_is_refused(headers, location):
    try:
        following = request(headers).follow(location, 302)
        head = following.wire
    except ValueError:
        return
    assert head.count(b"\r\n\r\n") == 1
    assert head.endswith(b"\r\n\r\n")


def test_a_name_beyond_ascii_is_sent_in_punycode():
    assert b"\r\nHost: xn--bcher-kva.example:80\r\n" in request(host="bücher.example").wire
    assert b"\r\nHost: xn--bcher-kva.example\r\n" in request([("Host", "bücher.example")]).wire


@pytest.mark.parametrize(
    ("page", "location", "referer"),
    [
        ("http://a.example/x?y", "/b", "http://a.example/x?y"),
        ("http://me:it@a.example/x", "/b", "http://a.example/x"),
        ("https://a.example/x", "https://a.example/b", "https://a.example/x"),
        ("https://a.example/x", "http://a.example/b", ""),
        ("http://a.example/x", "https://a.example/b", "http://a.example/x"),
    ],
)
def test_the_referer_is_sent_without_credentials_and_not_from_https_to_http(page, location, referer):
    assert Request(parse(page), ()).follow(location, 302).referer == referer
