"""Redirects: whatever a server sends as a Location, only the host of the first request is reached."""

import socket
import time
from contextlib import ExitStack

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.model import Deadline, ProbeError
from exporter.net import dial
from exporter.net.errors import DialError
from exporter.net.fetch import MAX_REQUESTS, REDIRECTS, Route, fetch
from exporter.net.request import Request
from exporter.net.sockets import Socket
from exporter.net.url import build

HOME = "shop.example"
PIECES = (
    *("http://", "https://", "HTTP://", "//", "/", "ftp://", "http:", "mailto:", "", "?", "#", "..", ".", "\\"),
    *(HOME, HOME.upper(), f"{HOME}.", f"{HOME}:81", f"{HOME}:", f"user:pass@{HOME}", f"{HOME}@", "evil.example"),
    *("@evil.example", f"{HOME}.evil.example", "127.0.0.1", "[::1]", "[::1%25eth0]", ":99999", ":-1", "%", "%00", "é"),
    *(" ", "\t", "a", "=", "&", ";", "\x7f", "\xff"),
)
LOCATION = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=30)


class Servers:
    """Stands for the network: every connection gets the next response, and is noted with the bytes sent on it."""

    def __init__(self, stack: ExitStack, locations: list[str], status: int) -> None:
        self.stack = stack
        self.heads = [
            f"HTTP/1.1 {status} Moved\r\nLocation: ".encode() + text.encode("utf-8", "replace") + b"\r\n\r\n"
            for text in (location.translate({10: None, 13: None}) for location in locations)
        ]
        self.reached: list[tuple[str, int]] = []
        self.peers: list[socket.socket] = []

    def connect(self, host, port, deadline, *_):
        self.reached.append((host, port))
        near, far = socket.socketpair()
        with near:
            sock = self.stack.enter_context(Socket(near.family, near.type, near.proto, near.detach()))
        sock.deadline = deadline
        self.peers.append(self.stack.enter_context(far))
        far.sendall(self.heads.pop(0) if self.heads else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        far.shutdown(socket.SHUT_WR)
        return sock


@settings(max_examples=150)
@given(st.lists(LOCATION, max_size=12), st.sampled_from(REDIRECTS), st.sampled_from(["GET", "POST"]))
@example([f"http://{HOME}/"] * 12, 302, "GET")
@example(["//evil.example/"], 307, "POST")
@example([f"https://user:pass@{HOME}:444/x?y"], 308, "POST")
def test_no_location_leads_to_another_host_or_to_an_unknown_error(locations, status, method):
    request = Request(build("http", HOME, 80, "/"), (), method=method, authorization="Bearer canary")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        servers = Servers(stack, locations, status)
        patch.setattr(dial, "connect", servers.connect)
        patch.setattr(dial, "secure", lambda sock, *_: sock)
        try:
            fetched = fetch(request, Route(Deadline(time.monotonic() + 60)))
        except (DialError, ProbeError):
            fetched = None
        sent = [peer.recv(65536) for peer in servers.peers]

    assert {host for host, _ in servers.reached} == {HOME}
    assert 1 <= len(servers.reached) <= MAX_REQUESTS
    assert fetched is None or 100 <= fetched.status <= 999
    for (_, port), head in zip(servers.reached, sent, strict=True):
        assert head.count(b"\r\n\r\n") == 1
        assert (b"canary" in head) <= (port == 80)


@pytest.mark.parametrize(
    ("location", "hosts", "elsewhere"),
    [
        (f"http://{HOME}/a", [(HOME, 80), (HOME, 80)], None),
        (f"https://{HOME}/a", [(HOME, 80), (HOME, 443)], None),
        (f"//{HOME}:81/a", [(HOME, 80), (HOME, 81)], None),
        ("http://evil.example/", [(HOME, 80)], "evil.example"),
        (f"http://{HOME}@evil.example/", [(HOME, 80)], "evil.example"),
        (f"http://{HOME.upper()}/", [(HOME, 80)], HOME.upper()),
    ],
)
def test_a_redirect_is_followed_on_the_same_host_only(monkeypatch, location, hosts, elsewhere):
    with ExitStack() as stack:
        servers = Servers(stack, [location], 302)
        monkeypatch.setattr(dial, "connect", servers.connect)
        monkeypatch.setattr(dial, "secure", lambda sock, *_: sock)
        fetched = fetch(Request(build("http", HOME, 80, "/"), ()), Route(Deadline(time.monotonic() + 60)))

    assert (servers.reached, fetched.elsewhere) == (hosts, elsewhere)
