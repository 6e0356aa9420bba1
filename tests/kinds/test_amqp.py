"""The kind `amqp` against a real RabbitMQ, and against servers that break its protocol."""

import time

import amqp
import pytest
import trustme
from kinds.daemons import run_probe
from kinds.rabbitmq import rabbitmq
from kinds.servers import drip, flood, hang, serving
from pydantic import ValidationError

from exporter.kinds.amqp import Amqp
from exporter.model import Deadline, Reason, Status

PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def ports(tmp_path_factory, authority):
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq"), authority, {"reader": PASSWORD, "guest": "guest"}) as found:
        yield found


@pytest.fixture(autouse=True)
def passwords(monkeypatch):
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG", "shibboleth")


def run_check(ports, password="PASSWORD", **options):
    values = {"port": ports[0], "username": "reader", "virtual_host": "shop", **options}
    return run_probe(Amqp(password={"env": password} if password else None, **values))


def test_a_server_that_responds_passes(ports):
    outcome = run_check(ports)

    assert outcome.status is Status.PASS
    assert outcome.summary == f"127.0.0.1:{ports[0]} responded to connection.open in the virtual host shop"
    assert [measurement.name for measurement in outcome.measurements] == ["endpoint_latency_seconds"]


@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        ({"password": "WRONG"}, Reason.PERMISSION, "ACCESS_REFUSED - Login was refused"),
        ({"username": "nobody"}, Reason.PERMISSION, "ACCESS_REFUSED - Login was refused"),
        ({"virtual_host": "closed"}, Reason.PERMISSION, "access to vhost 'closed' refused for user 'reader'"),
        ({"virtual_host": "none"}, Reason.MISSING, "vhost none not found"),
        ({"queue": "none"}, Reason.MISSING, "no queue 'none' in vhost 'shop'"),
        ({"username": "guest", "password": None}, Reason.PERMISSION, "refused for user 'guest'"),
    ],
    ids=["wrong password", "unknown user", "no access", "no virtual host", "no queue", "default user without access"],
)
def test_what_the_server_refuses_fails_with_its_reason(ports, options, reason, words):
    outcome = run_check(ports, **options)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason)
    assert words in outcome.summary
    assert "shibboleth" not in outcome.summary


@pytest.fixture
def orders(ports):
    """The channel of a client with a queue of two messages in the default virtual host."""
    with amqp.Connection(f"127.0.0.1:{ports[0]}", "guest", "guest", virtual_host="/") as connection:
        channel = connection.channel()
        channel.queue_declare("orders", auto_delete=False)
        for _ in range(3):
            channel.basic_publish(amqp.Message("one"), routing_key="orders")
        channel.basic_get("orders", no_ack=True)  # what is published has arrived
        yield channel
        channel.queue_delete("orders")


GUEST = {"username": "guest", "password": None, "virtual_host": "/", "queue": "orders"}


@pytest.mark.parametrize(
    ("limits", "status"), [({}, "pass"), ({"fail": 3}, "pass"), ({"warn": 2}, "warn"), ({"fail": 2}, "fail")], ids=str
)
def test_the_messages_of_a_queue_are_compared_with_the_limits(ports, orders, limits, status):
    outcome = run_check(ports, **GUEST, **limits)

    assert outcome.status == status
    assert (outcome.measurements[0].name, outcome.measurements[0].value) == ("amqp_messages", 2)


def test_a_queue_without_consumers_fails(ports, orders):
    fields = [{"name": "Messages", "fail": 100}, {"name": "consumers", "fail": 0, "falling": True}]
    outcome = run_check(ports, **GUEST, fields=fields)
    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.THRESHOLD)
    assert "consumers is 0: fail limit 0 reached" in outcome.summary

    consumer = orders.basic_consume("orders", callback=lambda _: None)
    outcome = run_check(ports, **GUEST, fields=fields)
    orders.basic_cancel(consumer)

    assert outcome.status is Status.PASS
    assert [(measurement.field, measurement.value) for measurement in outcome.measurements[:2]][1] == ("consumers", 1)


def test_a_user_without_permissions_may_look_at_a_queue(ports):
    assert run_check(ports, queue="orders").measurements[0].value == 0


def test_tls_is_verified(ports, authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    options = {"port": ports[1], "host": "localhost", "tls": True}

    assert run_check(ports, **options).status is Status.PASS
    verified = run_check(ports, **options, verify_tls=True, ca_file=tmp_path / "ca.pem")
    assert verified.status is Status.PASS
    refused = run_check(ports, **options, verify_tls=True, ca_file=tmp_path / "other.pem")
    assert (refused.status, refused.reason) == (Status.FAIL, Reason.TLS)
    assert run_check(ports, port=ports[0], tls=True).status is Status.FAIL
    assert run_check(ports, port=ports[1]).status is Status.FAIL


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n", hang), Reason.STATUS, 'does not follow AMQP 0-9-1; received "HTTP'),
        ((b"AMQP\0\0\x09\x01", hang), Reason.STATUS, 'does not follow AMQP 0-9-1; received "AMQP'),
        ((b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a\x00", hang), Reason.STATUS, "does not follow AMQP 0-9-1"),
        ((b"\x01\0\0\xff\xff\xff\xff", flood(b"x")), Reason.STATUS, "the response is too long"),
        ((), Reason.CONNECT, "127.0.0.1:"),
    ],
    ids=["HTTP", "another version", "a frame without its end", "an endless frame", "nothing"],
)
def test_a_server_that_breaks_the_protocol_fails(script, reason, words):
    with serving(script, listens=False) as server:
        outcome = run_check((server.port, 0))

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary
    assert words in outcome.summary


def test_a_server_without_passwords_fails():
    """Connection.Start with the mechanism EXTERNAL alone."""
    payload = b"\0\x0a\0\x0a\0\x09" + bytes(4) + b"\0\0\0\x08EXTERNAL" + b"\0\0\0\x05en_US"
    start = b"\x01\0\0" + len(payload).to_bytes(4) + payload + b"\xce"
    with serving((start, hang), listens=False) as server:
        outcome = run_check((server.port, 0))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert "the server does not offer PLAIN, the mechanism for a user and a password" in outcome.summary


def test_the_longest_names_are_sent(ports):
    outcome = run_check(ports, **{**GUEST, "queue": "q" * 255})

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.MISSING)


@pytest.mark.parametrize("act", [hang, drip(b"\x01\0\0\0\0\x01\xff" + b"\0" * 500)], ids=["hang", "drip"])
def test_a_server_that_does_not_respond_in_time_fails(act):
    with serving((act,), listens=False) as server:
        probe = Amqp(port=server.port)
        outcome = probe.probe(Deadline(time.monotonic() + 0.3))
        assert not server.gave_up.is_set()

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"fail": 3}, "require a queue"),
        ({"fields": [{"name": "messages", "fail": 1}]}, "require a queue"),
        ({"queue": "a", "fields": [{"name": "size", "fail": 1}]}, "a field is one of messages, consumers, not size"),
        ({"verify_tls": True}, "verifyTLS requires tls: true"),
        ({"queue": "ö" * 128}, "queue must have at most 255 bytes in UTF-8"),
        ({"virtual_host": "x" * 256}, "virtualHost must have at most 255 bytes in UTF-8"),
    ],
    ids=["limit", "fields", "field", "TLS", "queue", "virtual host"],
)
def test_options_that_do_not_fit_are_refused(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Amqp(**options)
