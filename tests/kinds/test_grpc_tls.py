"""The kind `grpc` with `mode: TLS` against real gRPC servers, and against servers that break the protocol."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import HealthServicer
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds.daemons import run_probe
from kinds.frames import data, goaway, head, headers, reset_stream, tls2
from kinds.frames import settings as first_frame
from kinds.pages import tls
from kinds.servers import hang, serving
from kinds.test_grpc import Health, Serving, check_once
from pydantic import ValidationError
from support import free_port

from exporter.kinds.grpc import Grpc
from exporter.model import Reason, Status
from exporter.net.grpc_call import _decode_serving, name_serving
from exporter.net.head import MalformedError

AUTHORITY = trustme.CA()
NAME = "orders.internal"


def start(servicer: object, *, certificate: bool = False, port: int = 0):
    """A server with TLS, which may require a client certificate, and its port."""
    issued = AUTHORITY.issue_cert(NAME)
    pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
    if servicer:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    credentials = grpc.ssl_server_credentials([pair], AUTHORITY.cert_pem.bytes(), certificate)
    port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    server.start()
    return server, port


@pytest.fixture(scope="module")
def health():
    """A scripted health service; `health.port` is its server's."""
    servicer = Health()
    server, servicer.port = start(servicer)
    yield servicer
    server.stop(0).wait(5)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    AUTHORITY.cert_pem.write_to_path(folder / "ca.pem")
    AUTHORITY.issue_cert("probe").private_key_and_cert_chain_pem.write_to_path(folder / "probe.pem")
    return folder


def call(port: int, timeout: float = 30.0, **options):
    return run_probe(Grpc(port=port, mode="TLS", **options), timeout)


@pytest.mark.parametrize(
    ("response", "reason", "words"),
    [
        (Serving.SERVING, None, "is SERVING"),
        (Serving.NOT_SERVING, Reason.STATUS, "is NOT_SERVING"),
        (Serving.UNKNOWN, Reason.STATUS, "is UNKNOWN"),
        (Serving.SERVICE_UNKNOWN, Reason.STATUS, "is SERVICE_UNKNOWN"),
        (77, Reason.STATUS, "is 77"),
        (grpc.StatusCode.NOT_FOUND, Reason.STATUS, "has no status: set a service"),
        (grpc.StatusCode.INTERNAL, Reason.STATUS, r'returned INTERNAL: "failed to resolve \x1b[2J: db"'),
        (grpc.StatusCode.UNAVAILABLE, Reason.STATUS, r'returned UNAVAILABLE: "failed to resolve \x1b[2J: db"'),
        (grpc.StatusCode.UNIMPLEMENTED, Reason.STATUS, "has no grpc.health.v1.Health service"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.TIMEOUT, "did not respond in time"),
    ],
    ids=str,
)
def test_only_serving_passes(health, response, reason, words):
    health.response = response
    outcome = call(health.port)

    assert (outcome.status, outcome.reason) == (Status.FAIL if reason else Status.PASS, reason)
    assert outcome.summary == f"127.0.0.1:{health.port} {words}"


@pytest.mark.parametrize("service", ["", "shop.Orders", "a" * 200, "grün"])
def test_the_service_and_the_user_agent_are_sent_as_by_the_kubelet(health, service):
    health.response = Serving.SERVING
    outcome = call(health.port, service=service)

    assert outcome.status is Status.PASS
    assert health.services[-1] == service
    assert health.agents[-1].startswith("kube-probe/")
    assert outcome.measurements[0].name == "endpoint_latency_seconds"


def test_a_service_that_the_server_does_not_know_is_named():
    server, port = start(HealthServicer())
    outcome = call(port, service="shop.Orders")
    server.stop(0).wait(5)

    assert outcome.summary.endswith(" does not know the service shop.Orders")


def test_a_huge_response_is_refused(health):
    """A message of megabytes is not read into memory."""
    health.response = lambda: Serving.FromString(b"\x08\x01" + b"\x7a\x80\x80\x80\x05" + b"x" * (10 * 2**20))
    outcome = call(health.port)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert outcome.summary.endswith('returned RESOURCE_EXHAUSTED: "the response is too long"')


def test_chain_and_name_are_verified_if_that_is_configured(health, files):
    health.response = Serving.SERVING
    options = {"verifyTLS": True, "caFile": files / "ca.pem"}

    assert call(health.port, **options, serverName=NAME).status is Status.PASS
    for wrong in (options, {"verifyTLS": True, "serverName": NAME}):
        outcome = call(health.port, **wrong)
        assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS), outcome.summary


def test_a_client_certificate_is_presented(files):
    servicer = Health()
    server, port = start(servicer, certificate=True)
    pem = files / "probe.pem"
    with_one = call(port, clientCertificate={"certFile": pem, "keyFile": pem})
    without = call(port, timeout=1.5)
    server.stop(0).wait(5)

    assert with_one.status is Status.PASS, with_one.summary
    assert without.status is Status.FAIL
    assert without.reason in (Reason.TLS, Reason.CONNECT)


def test_a_call_that_hangs_fails_at_the_deadline(health):
    health.response = "hang"
    outcome = call(health.port, timeout=0.5)
    health.release.set()

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


def test_a_closed_port_fails_only_at_the_deadline():
    began = time.monotonic()
    outcome = call(free_port(), timeout=0.5)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert outcome.summary.endswith(": Connection refused")
    assert time.monotonic() - began >= 0.5


def test_a_server_with_tls_is_named_to_a_check_without_it(health):
    outcome = check_once(health.port)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert outcome.summary.endswith(" closed the connection: does it expect TLS (mode: TLS)?")


OK = b"\0\0\0\0\2\x08\1"
RESPONSE = (first_frame(), head(200, ("content-type", "application/grpc")))
TRAILERS = headers(("grpc-status", "0"), end=True)


@pytest.mark.parametrize(
    ("frames", "reason", "words"),
    [
        ((*RESPONSE, data(OK), TRAILERS), None, "is SERVING"),
        ((*RESPONSE, data(OK[:3]), data(OK[3:]), TRAILERS), None, "is SERVING"),
        ((*RESPONSE, data(b"\0\0\0\0\0"), TRAILERS), Reason.STATUS, "is UNKNOWN"),
        ((*RESPONSE, data(OK, end=True)), Reason.STATUS, "does not speak gRPC: the response has no grpc-status"),
        (
            (*RESPONSE, data(OK + OK), TRAILERS),
            Reason.STATUS,
            "does not speak gRPC: the response is not a single message",
        ),
        ((*RESPONSE, TRAILERS), Reason.STATUS, "does not speak gRPC: the response is not a single message"),
        ((*RESPONSE, data(b"\1" + OK[1:]), TRAILERS), Reason.STATUS, "not a single message"),
        ((*RESPONSE, data(b"\0\0\0\0\1\x08"), TRAILERS), Reason.STATUS, "the message is not a HealthCheckResponse"),
        ((*RESPONSE, headers(("grpc-status", "99"), end=True)), Reason.STATUS, "returned code 99"),
        ((first_frame(), head(502, end=True)), Reason.STATUS, "does not speak gRPC: it returned 502 over HTTP/2"),
        ((*RESPONSE, reset_stream(2)), Reason.STATUS, "the server reset the stream: INTERNAL_ERROR"),
        ((*RESPONSE, data(OK)), Reason.STATUS, "the response broke off"),
        ((first_frame(), goaway()), Reason.CONNECT, "the server is shutting down"),
        ((), Reason.CONNECT, "closed the connection without a response"),
    ],
    ids=[
        *("serving", "in parts", "an empty message", "no status", "two messages", "no message", "compressed"),
        *("not a message", "an unknown code", "502", "reset", "broken off", "shutting down", "closing"),
    ],
)
def test_a_response_is_read_as_by_grpc(frames, reason, words):
    with serving((b"".join(frames),), tls=tls2()) as server:
        outcome = call(server.port, timeout=0.3 if reason is Reason.CONNECT else 30.0)

    assert (outcome.status, outcome.reason) == (Status.FAIL if reason else Status.PASS, reason), outcome.summary
    assert words in outcome.summary


@pytest.mark.parametrize(
    ("script", "context", "reason", "words"),
    [
        (
            (hang,),
            tls(),
            Reason.TLS,
            "the server does not offer HTTP/2 in the TLS handshake (ALPN), which gRPC requires",
        ),
        ((b"220 mail.example ESMTP\r\n", hang), None, Reason.TLS, "the server does not speak TLS"),
        ((hang,), None, Reason.TIMEOUT, "the TLS handshake did not end in time"),
    ],
    ids=["HTTP/1", "without TLS", "silent"],
)
def test_a_server_that_does_not_speak_grpc_with_tls_fails(script, context, reason, words):
    with serving(script, tls=context, listens=False) as server:
        outcome = call(server.port, timeout=0.5 if reason is Reason.TIMEOUT else 30.0)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason)
    assert words in outcome.summary


@settings(max_examples=25)
@given(st.binary(max_size=40))
def test_a_message_is_decoded_as_by_protobuf(message):
    try:
        decoded = name_serving(_decode_serving(message))
    except MalformedError:
        return
    try:
        expected = Serving.FromString(message).status
    except Exception:  # noqa: BLE001  # protobuf refuses more, such as a field with the number 0
        return
    assert decoded == name_serving(expected) or expected < 0


@pytest.mark.parametrize("options", [{"verifyTLS": True}, {"serverName": NAME}, {"mode": "mTLS"}], ids=str)
def test_options_for_tls_require_the_mode(options):
    with pytest.raises(ValidationError):
        Grpc(port=9, **options)
