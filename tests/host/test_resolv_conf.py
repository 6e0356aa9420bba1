"""The name servers of resolv.conf are those that the C library queries."""

import pytest
from support import within

from exporter.host.resolv_conf import MAX_BYTES, MAX_SERVERS, read_servers
from exporter.model import ProbeError, Reason

CASES = {
    "plain": (b"nameserver 10.0.0.1\nnameserver 10.0.0.2\n", ["10.0.0.1", "10.0.0.2"]),
    "the first three": (
        b"".join(b"nameserver 10.0.0.%d\n" % number for number in range(9)),
        ["10.0.0.0", "10.0.0.1", "10.0.0.2"],
    ),
    "tabs, spaces and the rest of a line": (b"nameserver\t 10.0.0.1 # the first\n", ["10.0.0.1"]),
    "no line end": (b"search a\nnameserver 10.0.0.1", ["10.0.0.1"]),
    "Windows' line ends, which only musl and Go accept": (b"search a\r\nnameserver 10.0.0.1\r\n", ["10.0.0.1"]),
    "IPv6": (b"nameserver 2001:DB8::1\n", ["2001:db8::1"]),
    "a zone": (b"nameserver fe80::1%lo\n", ["fe80::1%lo"]),
    "a short form": (b"nameserver 127.1\n", ["127.0.0.1"]),
    "a name": (b"nameserver ns.example\nnameserver 10.0.0.1\n", ["10.0.0.1"]),
    "nothing": (b"nameserver\nnameserver \nnameserver 10.0.0.1\n", ["10.0.0.1"]),
    "several in a line": (b"nameserver 10.0.0.1 10.0.0.2\n", ["10.0.0.1"]),
    "a list": (b"nameserver 10.0.0.1,10.0.0.2\nnameserver 10.0.0.3\n", ["10.0.0.3"]),
    "a port": (b"nameserver 10.0.0.1:5353\nnameserver [::1]\nnameserver 10.0.0.3\n", ["10.0.0.3"]),
    "comments": (b"#nameserver 10.0.0.1\n; nameserver 10.0.0.2\nnameserver 10.0.0.3\n", ["10.0.0.3"]),
    "indented": (b" nameserver 10.0.0.1\nnameserver 10.0.0.2\n", ["10.0.0.2"]),
    "another keyword": (b"nameservers 10.0.0.1\nnameserver 10.0.0.2\n", ["10.0.0.2"]),
    "bytes that are not UTF-8": (b"# B\xfcro \x00\nnameserver 10.0.0.1\n", ["10.0.0.1"]),
    "malformed lines": (b"domain\nsearch a..b\noptions timeout: ndots:x attempts\nnameserver 10.0.0.1\n", ["10.0.0.1"]),
}


@pytest.mark.parametrize(("content", "servers"), CASES.values(), ids=CASES)
def test_the_servers_are_those_of_the_c_library(tmp_path, content, servers):
    assert MAX_SERVERS == 3
    (tmp_path / "resolv.conf").write_bytes(content)

    assert read_servers(str(tmp_path / "resolv.conf"), within(20)) == servers


def test_only_the_beginning_of_the_file_is_read(tmp_path):
    (tmp_path / "resolv.conf").write_bytes(b"nameserver 10.0.0.1\n" + b"#" * MAX_BYTES + b"\nnameserver 10.0.0.2\n")

    assert read_servers(str(tmp_path / "resolv.conf"), within(20)) == ["10.0.0.1"]


def test_a_file_without_a_server_is_an_error(tmp_path):
    (tmp_path / "resolv.conf").write_text("nameserver ns.example\n")
    with pytest.raises(ProbeError, match="lists no name server") as raised:
        read_servers(str(tmp_path / "resolv.conf"), within(20))

    assert raised.value.reason is Reason.MISSING
