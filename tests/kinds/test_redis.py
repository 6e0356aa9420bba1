"""The kind `redis` against a real Redis server, and against scripted servers that break its protocol."""

import time

import pytest
import trustme
from faults.namespaces import namespaces
from kinds.daemons import frozen, run_probe
from kinds.servers import drip, flood, hang, serving
from pydantic import ValidationError
from support import Process, command, ended, eventually, free_port

from exporter.kinds.redis import Redis
from exporter.model import Deadline, ProbeError, Reason, Status

PASSWORD = "open sesame"
CONFIGURATION = """
port {port}
bind 127.0.0.1
save ""
requirepass "open sesame"
user reader on >reader-secret ~* +llen +ping
user lister on >reader-secret ~* +llen
user euro on >grün€🔑 ~* +ping
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Redis server with a password, a user `reader` who may only read, and a queue of three."""
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    (folder / "redis.conf").write_text(CONFIGURATION.format(port=port))
    process = Process([command("redis-server"), "redis.conf"], cwd=folder)
    with ended(process):
        process.line("Ready to accept connections")
        process.port = port
        yield process


@pytest.fixture(autouse=True)
def passwords(monkeypatch):
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setenv("READER", "reader-secret")
    monkeypatch.setenv("WRONG", "shibboleth")


def redis(server, *, password="PASSWORD", **options) -> Redis:
    return Redis(port=server.port, password={"env": password} if password else None, **options)


def test_a_server_that_responds_passes(server):
    outcome = run_probe(redis(server))

    assert outcome.status is Status.PASS
    assert outcome.summary == f"127.0.0.1:{server.port} responded to PING"
    (latency,) = outcome.measurements
    assert latency.name == "endpoint_latency_seconds"
    assert latency.value > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"password": "WRONG"}, "invalid username-password pair or user is disabled."),
        ({"password": None}, "Authentication required."),
        ({"password": "READER", "username": "reader", "command": ["GET", "a"]}, "no permissions to run the 'get'"),
    ],
    ids=["wrong password", "no password", "a command that is not allowed"],
)
def test_denied_access_fails_with_permission(server, options, words):
    outcome = run_probe(redis(server, **options))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.PERMISSION)
    assert words in outcome.summary
    assert "shibboleth" not in outcome.summary


def test_a_user_in_the_access_control_list_passes(server):
    assert run_probe(redis(server, password="READER", username="reader")).status is Status.PASS


def test_a_user_who_may_only_run_the_command_passes(server):
    lister = redis(server, password="READER", username="lister", command=["LLEN", "nothing"])

    assert run_probe(lister).measurements[0].value == 0


def test_a_password_outside_ascii_passes(server, monkeypatch):
    monkeypatch.setenv("PASSWORD", "grün€🔑")

    assert run_probe(redis(server, username="euro")).status is Status.PASS


def test_a_wrong_password_that_ends_with_white_space_is_named(server, monkeypatch):
    monkeypatch.setenv("PASSWORD", f"{PASSWORD} ")

    assert run_probe(redis(server)).summary.endswith(" (the password begins or ends with white space)")


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({}, "pass"),
        ({"fail": 4}, "pass"),
        ({"fail": 3}, "fail"),
        ({"warn": 3}, "warn"),
        ({"fail": 3, "falling": True}, "fail"),
    ],
    ids=str,
)
def test_a_number_is_compared_with_its_limits(server, limits, status):
    run_probe(redis(server, command=["DEL", "queue"]))
    run_probe(redis(server, command=["RPUSH", "queue", "a", "b", "c"]))
    outcome = run_probe(redis(server, command=["LLEN", "queue"], **limits))

    assert outcome.status == status
    value = outcome.measurements[0]
    assert (value.name, value.value, value.falling) == ("redis_value", 3, limits.get("falling", False))
    assert outcome.reason == (None if status == "pass" else Reason.THRESHOLD)


def test_the_text_of_a_number_is_a_number(server):
    run_probe(redis(server, command=["SET", "temperature", "21.5"]))

    assert run_probe(redis(server, command=["GET", "temperature"])).measurements[0].value == 21.5


def test_a_command_runs_in_the_configured_database(server):
    run_probe(redis(server, command=["SET", "place", "3"], database=3))

    assert run_probe(redis(server, command=["GET", "place"], database=3, fail=10)).status is Status.PASS
    assert run_probe(redis(server, command=["GET", "place"], database=4, fail=10)).reason is Reason.MISSING


def test_with_limits_a_value_that_is_not_a_number_fails(server):
    run_probe(redis(server, command=["SET", "name", "private words"]))
    outcome = run_probe(redis(server, command=["GET", "name"], fail=1))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.BODY)
    assert "private words" not in outcome.summary
    assert run_probe(redis(server, command=["GET", "name"])).status is Status.PASS


@pytest.mark.parametrize(
    ("command", "text", "found"),
    [
        (["INFO", "replication"], "role:master", True),
        (["INFO", "replication"], "master_link_status:up", False),
        (["PING"], "PONG", True),
        (["LLEN", "nothing"], "0", True),
        (["GET", "nothing"], "grün", False),
        (["CONFIG", "GET", "port"], "port\n", True),
    ],
    ids=str,
)
def test_the_response_contains_the_expected_text(server, command, text, found):
    outcome = run_probe(redis(server, command=command, expect=text))

    assert outcome.status is (Status.PASS if found else Status.FAIL)
    if not found:
        assert outcome.reason is Reason.BODY
        assert f"the response to {command[0]} does not contain the expected text; received " in outcome.summary


def field(name: str, **expected) -> dict:
    return {"name": name, **expected}


@pytest.mark.parametrize(
    ("command", "fields", "reason", "words"),
    [
        (["INFO"], [field("role", equals="master"), field("maxclients", warn=1e9)], None, "role is as expected; max"),
        (["INFO"], [field("Connected_Clients", warn=1)], Reason.THRESHOLD, "Connected_Clients is 1: warn limit 1 "),
        (["INFO"], [field("role", equals="slave")], Reason.BODY, 'role is "master", expected "slave"'),
        (["INFO"], [field("role", fail=1)], Reason.BODY, "role is not a number"),
        (["INFO", "clients"], [field("role"), field("maxclients")], Reason.MISSING, "role is missing"),
        (["CONFIG", "GET", "maxclients"], [field("maxclients", fail=1, falling=True)], None, "maxclients is 10000"),
        (["PING"], [field("role")], Reason.MISSING, "role is missing"),
    ],
    ids=str,
)
def test_fields_are_checked_by_their_names(server, command, fields, reason, words):
    outcome = run_probe(redis(server, command=command, fields=fields))

    assert outcome.reason is reason, outcome.summary
    assert words in outcome.summary


def test_numbers_of_fields_are_measured(server):
    outcome = run_probe(redis(server, command=["INFO"], fields=[field("maxclients"), field("uptime_in_days")]))

    assert [measurement.key for measurement in outcome.measurements] == [
        "redis_field:maxclients",
        "redis_field:uptime_in_days",
        "endpoint_latency_seconds",
    ]


def test_sentinel_is_asked_for_the_state_of_a_primary(server, tmp_path):
    port, nobody = free_port(), free_port()
    (tmp_path / "sentinel.conf").write_text(
        f"port {port}\nbind 127.0.0.1\n"
        f'sentinel monitor shop 127.0.0.1 {server.port} 1\nsentinel auth-pass shop "{PASSWORD}"\n'
        f"sentinel monitor gone 127.0.0.1 {nobody} 1\nsentinel down-after-milliseconds gone 100\n"
    )
    fields = [field("flags", equals="master"), field("num-slaves", fail=100)]
    with ended(Process([command("redis-server"), "sentinel.conf", "--sentinel"], cwd=tmp_path)) as sentinel:
        sentinel.line("sentinel monitor|\\+monitor")
        shop = Redis(port=port, command=["SENTINEL", "MASTER", "shop"], fields=fields)
        gone = Redis(port=port, command=["SENTINEL", "MASTER", "gone"], fields=fields)
        assert eventually(lambda: run_probe(shop).status is Status.PASS)
        down = eventually(lambda: found if "s_down" in (found := run_probe(gone)).summary else None)
        unknown = run_probe(Redis(port=port, command=["SENTINEL", "MASTER", "other"], fields=fields))

    assert (down.status, down.reason) == (Status.FAIL, Reason.BODY)
    assert (unknown.reason, "No such " in unknown.summary) == (Reason.STATUS, True)


def test_the_state_of_a_cluster_is_checked(tmp_path):
    port = free_port()
    arguments = f"--port {port} --bind 127.0.0.1 --save  --cluster-enabled yes --cluster-node-timeout 500"
    state = Redis(port=port, command=["CLUSTER", "INFO"], fields=[field("cluster_state", equals="ok")])
    with ended(Process([command("redis-server"), *arguments.split(" ")], cwd=tmp_path)) as node:
        node.line("Ready to accept connections")
        without_slots = run_probe(state)
        run_probe(Redis(port=port, command=["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]))
        assert eventually(lambda: run_probe(state).status is Status.PASS)

    assert (without_slots.status, without_slots.reason) == (Status.FAIL, Reason.BODY)
    assert 'cluster_state is "fail", expected "ok"' in without_slots.summary


def test_a_replica_without_its_primary_fails(server, tmp_path):
    port, nobody = free_port(), free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--replicaof", f"127.0.0.1 {nobody}"]
    with ended(Process([command("redis-server"), *arguments], cwd=tmp_path)) as replica:
        replica.line("Ready to accept connections")
        outcome = run_probe(Redis(port=port, command=["INFO", "replication"], expect="master_link_status:up"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.BODY)
    assert outcome.summary.endswith('; received "master_link_status:down"')


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A Redis server that speaks only TLS, and requires a client certificate; its folder has the files for clients."""
    folder, port, authority = tmp_path_factory.mktemp("tls"), free_port(), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name in ("redis.internal", "client"):
        authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    files = "--tls-cert-file redis.internal.pem --tls-key-file redis.internal.pem --tls-ca-cert-file ca.pem"
    arguments = f"--port 0 --tls-port {port} --bind 127.0.0.1 --save  {files}"
    with ended(Process([command("redis-server"), *arguments.split(" ")], cwd=folder)) as process:
        process.line("Ready to accept connections")
        process.port, process.folder = port, folder
        yield process


def redis_over_tls(secured, **options) -> Redis:
    pem = secured.folder / "client.pem"
    return Redis(port=secured.port, tls=True, **{"clientCertificate": {"certFile": pem, "keyFile": pem}, **options})


@pytest.mark.parametrize("verifies", [False, True], ids=["any certificate", "verified"])
def test_a_server_with_tls_passes(secured, verifies):
    options = {"verifyTLS": True, "caFile": secured.folder / "ca.pem", "serverName": "redis.internal"}
    outcome = run_probe(redis_over_tls(secured, **(options if verifies else {}), command=["DBSIZE"]))

    assert outcome.status is Status.PASS, outcome.summary
    assert outcome.measurements[0].value == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"verifyTLS": True, "serverName": "redis.internal"}, "self-signed certificate in certificate chain"),
        ({"verifyTLS": True, "caFile": "ca.pem"}, "IP address mismatch"),
        ({"clientCertificate": None}, "the server refused the TLS handshake: certificate required"),
    ],
    ids=["unknown authority", "another name", "no client certificate"],
)
def test_a_handshake_that_fails_has_the_reason_tls(secured, options, words):
    options = {**options, **({"caFile": secured.folder / "ca.pem"} if "caFile" in options else {})}
    outcome = run_probe(redis_over_tls(secured, **options))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TLS)
    assert words in outcome.summary


def test_a_server_that_expects_tls_is_named_as_one(secured):
    outcome = run_probe(Redis(port=secured.port))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert outcome.summary.endswith(", before any response: does the server require TLS (tls: true)?")


def test_a_server_that_does_not_speak_tls_fails_at_the_deadline(server):
    """Redis waits for the end of a line, which the client's first message may not have."""
    outcome = run_probe(redis(server, tls=True), timeout=0.5)

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)
    assert outcome.summary.endswith("the TLS handshake did not end in time")


def test_protected_mode_fails_with_permission(tmp_path):
    """It accepts connections only from loopback, as long as there is no password."""
    with namespaces("network") as inside:
        inside.run("ip", "address", "add", "10.213.7.1/24", "dev", "lo")
        arguments = ["--port", "6379", "--bind", "10.213.7.1", "--save", ""]
        with ended(inside(Process, [command("redis-server"), *arguments], cwd=tmp_path)) as protected:
            protected.line("Ready to accept connections")
            outcome = inside(run_probe, Redis(host="10.213.7.1"))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.PERMISSION)
    assert "protected mode" in outcome.summary


def test_a_blocking_command_that_times_out_ends_on_the_server(server):
    assert run_probe(redis(server, command=["BLPOP", "nothing", "0"]), timeout=0.3).reason is Reason.TIMEOUT

    clients = redis(server, command=["INFO", "clients"], expect="blocked_clients:0")
    assert eventually(lambda: run_probe(clients).status is Status.PASS)


def test_a_command_is_not_left_behind_at_a_server_that_is_busy(server):
    run_probe(redis(server, command=["CONFIG", "SET", "requirepass", ""]))
    try:
        with frozen(server):
            for _ in range(3):
                probe = redis(server, password=None, command=["INCR", "runs"])
                assert run_probe(probe, timeout=0.3).reason is Reason.TIMEOUT
        eventually(lambda: run_probe(redis(server, password=None)).status is Status.PASS)

        runs = redis(server, password=None, command=["GET", "runs"], fail=1)
        assert run_probe(runs).reason is Reason.MISSING
    finally:
        run_probe(redis(server, password=None, command=["CONFIG", "SET", "requirepass", PASSWORD]))


def test_an_error_response_fails(server):
    outcome = run_probe(redis(server, command=["NONSENSE"]))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)
    assert "unknown command 'NONSENSE'" in outcome.summary


@pytest.mark.parametrize("command", [["NONSENSE", "canary"], ["NONSENSE canary"], ["NONSENSE", "x y", "CANARY"]])
def test_an_error_response_is_shown_without_the_arguments(server, command):
    outcome = run_probe(redis(server, command=command))

    assert "unknown command 'NONSENSE" in outcome.summary
    assert "canary" not in outcome.summary.lower()


def test_a_database_that_does_not_exist_fails(server):
    outcome = run_probe(redis(server, database=99))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.STATUS)


def test_a_closed_port_fails():
    port = free_port()
    outcome = run_probe(Redis(port=port))

    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.CONNECT)
    assert outcome.summary == f"127.0.0.1:{port}: Connection refused"


def test_a_frozen_server_fails_at_the_deadline_and_passes_afterwards(server):
    with frozen(server):
        outcome = run_probe(redis(server), timeout=0.3)
    assert (outcome.status, outcome.reason) == (Status.FAIL, Reason.TIMEOUT)

    assert eventually(lambda: run_probe(redis(server)).status is Status.PASS)


def echo(server, connection):
    """Return what was received, like the echo service: a request of Redis is also a valid response."""
    connection.sendall(connection.recv(65536))
    hang(server, connection)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ((hang,), Reason.TIMEOUT),
        ((drip(b"+" + b"P" * 1000),), Reason.TIMEOUT),
        ((), Reason.CONNECT),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n", hang), Reason.STATUS),
        ((b":one\r\n", hang), Reason.STATUS),
        ((echo,), Reason.STATUS),
        ((b"+OK\r\n", hang), Reason.STATUS),
        ((b"*1\r\n" * 5000, hang), Reason.STATUS),
        ((b"$" + b"9" * 20 + b"\r\n", hang), Reason.STATUS),
        ((flood(b"+" + b"P" * 65536),), Reason.STATUS),
        ((b"-LOADING Redis is loading the dataset in memory\r\n", hang), Reason.STATUS),
        ((b"-ERR max number of clients reached\r\n",), Reason.CONNECT),
    ],
    ids=[
        "silent",
        "dripping",
        "closing",
        "HTTP",
        "not a number",
        "echo",
        "OK",
        "nested",
        "long",
        "flooding",
        "loading",
        "full",
    ],
)
def test_a_server_that_breaks_the_protocol_fails(script, reason):
    with serving(script, listens=False) as server:
        outcome = run_probe(Redis(port=server.port), timeout=1.0)

    assert (outcome.status, outcome.reason) == (Status.FAIL, reason), outcome.summary


def test_a_password_in_a_response_is_hidden():
    with serving((b"-ERR open sesame is wrong\r\n", hang), listens=False) as server:
        outcome = run_probe(redis(server))

    assert outcome.summary.endswith(": *** is wrong")


def test_without_its_password_the_check_cannot_run(server):
    with pytest.raises(ProbeError) as raised:
        redis(server, password="NOT_SET").probe(Deadline(time.monotonic() + 1))

    assert raised.value.reason is Reason.MISSING


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"username": "reader"}, "username needs a password"),
        ({"falling": True}, "falling needs a limit"),
        ({"warn": 2, "fail": 1}, "warn must not be above fail"),
        ({"warn": 1, "fail": 2, "falling": True}, "warn must not be below fail"),
        ({"command": []}, "at least 1 item"),
        ({"fields": [{"name": "role"}]}, "fields requires a command, such as INFO"),
        ({"fields": [{"name": "a"}, {"name": "A"}]}, "fields must not have the same name twice"),
        ({"fields": [{"name": "a"}], "fail": 1}, "set them in each of the fields"),
        ({"fields": [{"name": "a", "equals": "b", "fail": 1}]}, "equals compares a text"),
        ({"verifyTLS": True}, "verifyTLS requires tls: true"),
        ({"serverName": "redis.internal"}, "serverName requires tls: true"),
        ({"tls": True, "caFile": "ca.pem"}, "caFile requires verifyTLS: true"),
        ({"fail": float("nan")}, "finite"),
    ],
    ids=str,
)
def test_invalid_options_are_rejected(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Redis(**options)


def test_nothing_that_is_shown_contains_the_password(server):
    probe = redis(server)

    assert PASSWORD not in f"{probe!r} {probe.target} {probe.model_dump_json()} {run_probe(probe)}"
