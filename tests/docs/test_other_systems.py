"""The plugins of docs/other-systems.md against real servers."""

import socket
import struct
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from docs.pages import find_blocks
from kinds.daemons import run_probe
from kinds.mail import slapd
from kinds.servers import Server, hang, serving
from support import PATIENCE, Process, command, ended, eventually, free_port

from exporter.model import Reason, Status


def load(name):
    """The class of the block with this title."""
    (block,) = [block for block in find_blocks("docs/other-systems.md") if block.title == f"{name.lower()}.py"]
    namespace = {"__name__": name}
    exec(compile(block.text, block.title, "exec"), namespace)  # as an import of the file does
    return namespace[name]


def test_the_plugin_for_ldap_binds_to_a_real_directory():
    with tempfile.TemporaryDirectory(prefix="health-") as home:
        trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(Path(home) / "server.pem")
        with slapd(Path(home)) as port:
            outcome = run_probe(load("Ldap")(port=port))

    assert (outcome.status, outcome.summary) == (Status.PASS, f"127.0.0.1:{port} responded to a bind")


def test_the_plugin_for_ntp_compares_the_clock_with_a_real_server(tmp_path):
    port = free_port()
    lines = [f"port {port}", "cmdport 0", "bindaddress 127.0.0.1", "allow 127.0.0.1", "local stratum 10"]
    (tmp_path / "chrony.conf").write_text("\n".join([*lines, f"pidfile {tmp_path}/pid\n"]))
    words = [command("chronyd"), "-d", "-x", "-u", "root", "-f", str(tmp_path / "chrony.conf")]
    with ended(Process(words)):
        ntp = load("Ntp")(host="127.0.0.1", port=port)
        outcome = eventually(lambda: (found := run_probe(ntp)).status is Status.PASS and found, what="chronyd is ready")

    (offset,) = outcome.measurements
    assert offset.name == "ntp_offset_seconds"
    assert offset.limits == {"fail": 0.5}


def receive(_: Server, connection: socket.socket) -> None:
    connection.recv(100)


@pytest.mark.parametrize(
    ("script", "reason"),
    [((receive, b"HTTP/1.1 400 Bad Request\r\n\r\n"), Reason.STATUS), ((hang,), Reason.TIMEOUT)],
    ids=["another protocol", "nothing"],
)
def test_a_server_that_is_not_a_directory_fails(script, reason):
    with serving(script, listens=False) as server:
        outcome = run_probe(load("Ldap")(port=server.port), timeout=0.5)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason)


RESULT = "020101 61070a01{:02x}04000400"  # message 1: a response to a bind
RESPONSES = {
    "of OpenLDAP": ("300c" + RESULT.format(0), Status.PASS),
    "of Active Directory": ("308400000010 020101 6184000000070a010004000400", Status.PASS),
    "that refuses anonymous clients": ("300c" + RESULT.format(48), Status.PASS),
    "of a server that is busy": ("300c" + RESULT.format(51), Status.FAIL),
    "that breaks off": ("300c020101 61070a01", Status.FAIL),
    "of something else": ("610a0100", Status.FAIL),
}


@pytest.mark.parametrize(("response", "status"), RESPONSES.values(), ids=RESPONSES)
def test_a_response_to_a_bind_decides_also_byte_by_byte(response, status):
    data = bytes.fromhex(response)
    with serving((receive, *(data[at : at + 1] for at in range(len(data)))), listens=False) as server:
        outcome = run_probe(load("Ldap")(port=server.port))

    assert outcome.status is status, outcome.summary
    assert outcome.reason is (Reason.STATUS if status is Status.FAIL else None)


@pytest.mark.parametrize(
    ("first", "stratum", "words"),
    [(0x24, 2, ""), (0xE4, 2, "not synchronized"), (0x24, 0, "not synchronized"), (0x23, 2, "does not speak NTP")],
    ids=["a server", "the alarm condition", "stratum 0", "a client"],
)
def test_the_head_of_a_response_of_a_time_server_decides(first, stratum, words):
    def respond(server: socket.socket) -> None:
        request, client = server.recvfrom(512)
        now = struct.pack("!Q", int((time.time() + 2208988800) * 2**32))
        server.sendto(bytes([first, stratum]) + bytes(22) + request[40:48] + now + now, client)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, ThreadPoolExecutor(1) as pool:
        server.bind(("127.0.0.1", 0))
        server.settimeout(PATIENCE)
        responded = pool.submit(respond, server)
        outcome = run_probe(load("Ntp")(host="127.0.0.1", port=server.getsockname()[1]))
        responded.result()

    assert outcome.status is (Status.FAIL if words else Status.PASS), outcome.summary
    assert words in outcome.summary


@pytest.mark.parametrize("name", ["Ldap", "Ntp"])
def test_a_closed_port_fails(name):
    outcome = run_probe(load(name)(host="127.0.0.1", port=free_port()))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
