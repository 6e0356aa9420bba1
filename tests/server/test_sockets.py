"""Addresses to listen on."""

import re
import socket
import struct
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from exporter.addresses import BACKLOG, ListenError
from exporter.server.sockets import format_url, listen


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("127.0.0.1:0", r"http://127\.0\.0\.1:\d+/"),
        ("localhost:0", r"http://127\.0\.0\.1:\d+/"),
        ("[::1]:0", r"http://\[::1\]:\d+/"),
        ("::1:0", r"http://\[::1\]:\d+/"),
        (":0", r"http://127\.0\.0\.1:\d+/"),
        ("0.0.0.0:0", r"http://127\.0\.0\.1:\d+/"),
        ("[::]:0", r"http://127\.0\.0\.1:\d+/"),
    ],
)
def test_an_address_is_listened_on_and_shown(address, shown):
    with listen(address) as door:
        assert re.fullmatch(shown, format_url(door))
        with socket.create_connection((str(urlsplit(format_url(door)).hostname), door.getsockname()[1]), timeout=5):
            pass


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":",
        "4584",
        "localhost",
        "localhost:",
        "localhost:http",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:1.5",
        "127.0.0.1:²",
        "300.0.0.1:0",
        "a..b:0",
        "x" * 300 + ":0",
        "no such host:0",
        "\0:0",
        "[::1:0",
        "[zz::1]:0",
        "http://127.0.0.1:0",
        "203.0.113.1:0",
    ],
)
def test_an_invalid_address_is_refused_and_named(address):
    """203.0.113.1 is an address, but not one of this machine."""
    with pytest.raises(ListenError) as refusal:
        listen(address)

    assert str(refusal.value).startswith(f"{ascii(address)[1:-1]}: ")
    assert "\n" not in str(refusal.value)


def test_the_kernel_holds_a_limited_number_of_connections():
    """For a listener, TCP_INFO has the maximum of this queue in the place of tcpi_sacked (tcp_get_info in tcp.c)."""
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    with listen("127.0.0.1:0") as door:
        (most,) = struct.unpack_from("=I", door.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)

    assert most == min(BACKLOG, allowed)
