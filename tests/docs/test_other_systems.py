"""The plugins of docs/other-systems.md against real servers."""

import tempfile
from pathlib import Path

import pytest
import trustme
from docs.pages import find_blocks
from kinds.daemons import run_probe
from kinds.mail import slapd
from kinds.servers import hang, serving
from support import Process, command, ended, eventually, free_port

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


@pytest.mark.parametrize(
    ("script", "reason"),
    [((b"HTTP/1.1 400 Bad Request\r\n\r\n",), Reason.STATUS), ((hang,), Reason.TIMEOUT)],
    ids=["another protocol", "nothing"],
)
def test_a_server_that_is_not_a_directory_fails(script, reason):
    with serving(script, listens=False) as server:
        outcome = run_probe(load("Ldap")(port=server.port), timeout=0.5)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason)


@pytest.mark.parametrize("name", ["Ldap", "Ntp"])
def test_a_closed_port_fails(name):
    outcome = run_probe(load(name)(host="127.0.0.1", port=free_port()))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
