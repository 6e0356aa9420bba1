"""The kind `tcpSocket` with an expected text, against a real Redis server and scripted sockets."""

import pytest
from kinds.daemons import frozen, run_probe
from kinds.servers import drip, flood, hang, pause, reset, serving
from pydantic import ValidationError
from support import Process, command, ended, free_port

from exporter.kinds.tcp_socket import TcpSocket
from exporter.model import Reason, Status
from exporter.redaction import quote

BANNER = b"220 mail.example ESMTP\r\n"


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """A Redis server."""
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = Process([command("redis-server"), *arguments], cwd=tmp_path_factory.mktemp("redis"))
    with ended(process):
        process.line("Ready to accept connections")
        process.port = port
        yield process


@pytest.mark.parametrize(
    "options",
    [
        {"send": "PING\r\n", "expect": "+PONG"},
        {"send": "PING\r\n", "expect_matches": r"^\+PO[NM]G\r\n$"},
        {"send": "ECHO grün\r\n", "expect": "grün"},
        {"send": "INFO server\r\n", "expect": "redis_version", "expect_matches": r"tcp_port:\d+"},
    ],
    ids=str,
)
def test_a_real_server_that_sends_the_expected_text_passes(redis, options):
    outcome = run_probe(TcpSocket(port=redis.port, **options))

    assert outcome.status is Status.PASS
    assert outcome.summary == f"127.0.0.1:{redis.port} sent the expected text"
    assert outcome.measurements[0].value > 0


def test_a_frozen_server_fails_at_the_deadline(redis):
    with frozen(redis):
        outcome = run_probe(TcpSocket(port=redis.port, send="PING\r\n", expect="+PONG"), timeout=0.5)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert outcome.summary == f"127.0.0.1:{redis.port} did not send the expected text in time; received nothing"


@pytest.mark.parametrize(
    "script",
    [
        (BANNER,),
        (BANNER, hang),
        (BANNER[:2], pause(0.05), BANNER[2:], hang),
        (b"-" * (10 * 1024 - len(BANNER)), BANNER, hang),
        (b"\xff\xfe", BANNER, hang),
    ],
    ids=["closing", "waiting", "in parts", "at the limit", "after bytes that are not text"],
)
@pytest.mark.parametrize(
    "options", [{"expect": "220 mail"}, {"expect_matches": "220 [a-z.]+ "}], ids=["text", "pattern"]
)
def test_an_expected_banner_passes(script, options):
    with serving(script, listens=False) as server:
        assert run_probe(TcpSocket(port=server.port, **options)).status is Status.PASS


def receive(server, connection):
    """Receive the request."""
    connection.recv(1000)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ((hang,), Reason.TIMEOUT),
        ((b"554 no\r\n", hang), Reason.TIMEOUT),
        ((drip(b"554 no\r\n"),), Reason.TIMEOUT),
        ((receive, b"554 no\r\n"), Reason.BODY),
        ((b"-" * (10 * 1024 - 5) + BANNER, hang), Reason.BODY),
        ((flood(b"554 no\r\n"),), Reason.BODY),
        ((receive, reset), Reason.CONNECT),
    ],
    ids=["silent", "another", "dripping", "another and closing", "beyond the limit", "flooding", "breaking off"],
)
def test_a_missing_text_fails(script, reason):
    timeout = 0.5 if reason is Reason.TIMEOUT else 20.0
    with serving(script, listens=False) as server:
        outcome = run_probe(TcpSocket(port=server.port, send="EHLO health\r\n", expect="220 mail"), timeout)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary


@pytest.mark.parametrize(
    ("script", "summary"),
    [
        (
            (receive, b"554 no\r\n"),
            r'{target} closed the connection without sending the expected text; received "554 no\r\n" (8 bytes)',
        ),
        ((receive,), "{target} closed the connection without sending the expected text; received nothing"),
        (
            (receive, b"530 not you, hunter2\x1b[2J\xff"),
            (
                "{target} closed the connection without sending the expected text; "
                r'received "530 not you,***\x1b[2J\xff" (25 bytes)'
            ),
        ),
        ((receive, reset), "{target} broke off: Connection reset by peer; received nothing"),
    ],
    ids=["another", "nothing", "the password", "reset"],
)
def test_the_summary_shows_what_was_received_without_what_was_sent(script, summary):
    with serving(script, listens=False) as server:
        outcome = run_probe(TcpSocket(port=server.port, send="AUTH hunter2\r\n", expect="220 mail"))

    assert outcome.summary == summary.format(target=f"127.0.0.1:{server.port}")


def test_only_the_first_10_kib_are_read():
    with serving((b"-" * 20_000, hang), listens=False) as server:
        outcome = run_probe(TcpSocket(port=server.port, expect="220 mail"))

    beginning = f"127.0.0.1:{server.port} did not send the expected text in its first 10 KiB; received "
    assert outcome.summary == f'{beginning}"{"-" * 79}…" (10240 bytes)'


def test_both_expectations_must_be_met():
    with serving((BANNER,), listens=False) as server:
        outcome = run_probe(TcpSocket(port=server.port, expect="220", expect_matches="^221"))

    assert outcome.reason is Reason.BODY
    assert outcome.summary.endswith(
        f"without sending the expected text; received {quote(BANNER)} ({len(BANNER)} bytes)"
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"send": "PING\r\n"}, "send requires expect"),
        ({"expect": ""}, "at least 1 character"),
        ({"expect_matches": "("}, "is not a valid RE2 regular expression"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        TcpSocket(port=1, **options)
