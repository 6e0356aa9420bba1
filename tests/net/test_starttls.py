"""STARTTLS by the kinds that know it: against real servers, and against scripted ones that refuse or break it.

The servers of the kinds `mysql` and `postgresql` are in the tests of those kinds.
"""

from typing import get_args

import pytest
import trustme
from kinds.daemons import run_probe
from kinds.mail import dovecot, slapd
from kinds.servers import hang, serving

from exporter.kinds.certificate import Certificate
from exporter.kinds.tcp_socket import TcpSocket
from exporter.model import Reason, Status
from exporter.net.starttls import MAX_RESPONSE, PROTOCOLS
from exporter.probe.tls import StartTls

NAME = "mail.internal"
REAL = ("smtp", "imap", "pop3", "ldap")
TEXTS = {
    "smtp": {"send": "EHLO probe\r\n", "expect": "250 "},
    "imap": {"send": "b CAPABILITY\r\n", "expect": "b OK"},
    "pop3": {"send": "CAPA\r\n", "expect": "SASL PLAIN"},
    "ldap": {},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder, authority = tmp_path_factory.mktemp("mail"), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return folder


@pytest.fixture(scope="module")
def ports(home):
    """The ports of a mail server and a directory server, by protocol."""
    with dovecot(home) as mail, slapd(home) as directory:
        yield {**mail, "ldap": directory}


def test_every_protocol_of_the_option_is_known():
    literal, _ = get_args(get_args(StartTls)[0])

    assert set(get_args(literal)) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", REAL)
def test_a_server_that_starts_tls_passes(ports, home, protocol):
    verified = {"serverName": NAME, "caFile": home / "ca.pem", "startTLS": protocol}
    sent = run_probe(TcpSocket(port=ports[protocol], verifyTLS=True, **verified, **TEXTS[protocol]))
    read = run_probe(Certificate(port=ports[protocol], verify=True, **verified))

    assert sent.status is Status.PASS, sent.summary
    assert sent.summary.endswith(" sent the expected text" if TEXTS[protocol] else " completed the TLS handshake")
    assert read.status is Status.PASS, read.summary


def test_a_server_with_tls_from_the_start_passes(ports, home):
    options = {"port": ports["imaps"], "tls": True, "expect": "* OK"}

    assert run_probe(TcpSocket(**options)).status is Status.PASS
    assert run_probe(TcpSocket(**options, verifyTLS=True, caFile=home / "ca.pem")).reason is Reason.TLS


def test_tls_from_the_start_to_a_server_that_starts_it_later_fails(ports):
    outcome = run_probe(TcpSocket(port=ports["imap"], tls=True))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    assert outcome.summary.endswith("the server does not speak TLS, or only after STARTTLS")


def test_another_protocol_than_that_of_the_server_fails(ports):
    outcome = run_probe(Certificate(port=ports["imap"], startTLS="smtp"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert 'the server sent no greeting; received "* OK [CAPABILITY IMAP4rev1' in outcome.summary


def receive(server, connection):
    """Receive whatever comes next."""
    connection.recv(1000)


GREETING_OF_MYSQL = b"\x4a\0\0\0\n8.0.0\0" + bytes(12) + b"\0\xff\xf7" + bytes(53)
REFUSALS = {
    "no greeting of SMTP": ("smtp", (b"554 busy\r\n",), Reason.STATUS, 'no greeting; received "554 busy\\r"'),
    "EHLO": ("smtp", (b"220 a\r\n", receive, b"502 b\r\n"), Reason.TLS, "the server refused EHLO localhost"),
    "STARTTLS of SMTP": (
        "smtp",
        (b"220-a\r\n220 b\r\n", receive, b"250-a\r\n250 b\r\n", receive, b"454 TLS not available\r\n"),
        Reason.TLS,
        'the server refused STARTTLS; received "454 TLS not available\\r"',
    ),
    "STARTTLS of IMAP": ("imap", (b"* OK a\r\n", receive, b"* x\r\na BAD b\r\n"), Reason.TLS, "refused a STARTTLS"),
    "STLS": ("pop3", (b"+OK\r\n", receive, b"-ERR\r\n"), Reason.TLS, "the server refused STLS"),
    "StartTLS of LDAP": (
        "ldap",
        (receive, b"\x30\x84\0\0\0\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\0\x04\0"),
        Reason.TLS,
        "the server refused StartTLS",
    ),
    "SSLRequest": ("postgresql", (receive, b"N"), Reason.TLS, 'the server refused the SSLRequest; received "N"'),
    "MySQL without TLS": ("mysql", (GREETING_OF_MYSQL, hang), Reason.TLS, "the server does not support TLS"),
    "no greeting of MySQL": ("mysql", (b"\3\0\0\0\xff\x6a\x04",), Reason.STATUS, "the server sent no greeting"),
    "more than a response": (
        "pop3",
        (b"+OK\r\n", receive, b"+OK\r\n+OK inserted\r\n", hang),
        Reason.TLS,
        "sent more than a response before the TLS handshake",
    ),
    "closing": ("imap", (b"* OK a\r\n", receive), Reason.CONNECT, "closed the connection before TLS started"),
    "a line without an end": ("imap", (b"*" * (MAX_RESPONSE + 1), hang), Reason.STATUS, "the response is too long"),
    "a packet without an end": ("mysql", (b"\xff\xff\xff\0", b"a" * MAX_RESPONSE, hang), Reason.STATUS, "too long"),
}


@pytest.mark.parametrize(("protocol", "script", "reason", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_server_that_does_not_start_tls_fails(protocol, script, reason, words):
    with serving(script, listens=False) as server:
        outcome = run_probe(TcpSocket(port=server.port, startTLS=protocol))

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary
    assert words in outcome.summary


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_silent_server_fails_at_the_deadline(protocol):
    with serving((hang,), listens=False) as server:
        outcome = run_probe(Certificate(port=server.port, startTLS=protocol), timeout=0.3)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
