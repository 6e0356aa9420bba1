"""An application that listens at one of its two addresses only: 127.0.0.2 is the pod's own in these tests."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from make import FAIL, PASS, UNKNOWN, WARN
from support import Exporter, ended, eventually, free_port

from exporter.kinds import kinds
from exporter.model import Measurement, Outcome, Reason, Status
from exporter.probe.check import Probe
from exporter.probe.pod import compare_addresses

POD = {"POD_IP": "127.0.0.2"}
ONLY_LOOPBACK = (
    "nothing listens at the pod's address 127.0.0.2:{port}, where the kubelet and Services connect: "
    "write host: $(POD_IP), or host: 127.0.0.1 if only this pod may connect"
)
ONLY_POD = "the application listens at the pod's address 127.0.0.2:{port}: write host: $(POD_IP)"
NOT_POD = "the application listens only at 127.0.0.1, where the kubelet and Services cannot connect"
WITH_HOST = [name for name, kind in kinds().items() if {"host", "port"} <= kind.model_fields.keys()]
REQUIRED = {"mysql": {"username": "u"}, "postgresql": {"username": "u"}}


@contextmanager
def listening(*addresses: str) -> Iterator[int]:
    """Listen at these addresses on one port."""
    with ExitStack() as cleanup:
        port = free_port()
        for address in addresses:
            cleanup.enter_context(socket.create_server((address, port)))
        yield port


def make(kind: str, port: int, **options: object) -> Probe:
    return kinds()[kind].model_validate({"port": port, **REQUIRED.get(kind, {}), **options})


def test_these_kinds_have_a_host():
    assert {"httpGet", "tcpSocket", "grpc", "certificate", "redis", "mysql", "postgresql"} <= set(WITH_HOST)


@pytest.mark.parametrize("kind", WITH_HOST)
def test_a_pass_at_127_0_0_1_is_a_warning_if_nothing_listens_at_the_pods_address(kind):
    passed = Outcome.passed("well", Measurement("load1", 1))
    with listening("127.0.0.1") as port:
        outcome = compare_addresses(make(kind, port), passed, POD)
        warned = compare_addresses(make(kind, port), WARN, POD)

    assert outcome == Outcome(
        Status.WARN, Reason.CONNECT, f"well; {ONLY_LOOPBACK.format(port=port)}", passed.measurements
    )
    assert (warned.status, warned.reason) == (Status.WARN, WARN.reason)
    assert warned.summary.startswith("high; nothing listens")


@pytest.mark.parametrize("kind", WITH_HOST)
def test_a_refused_connection_names_the_address_at_which_the_application_listens(kind):
    with listening("127.0.0.2") as port:
        default = compare_addresses(make(kind, port), FAIL, POD)
        written = compare_addresses(make(kind, port, host="127.0.0.1"), FAIL, POD)
    with listening("127.0.0.1") as port_of_loopback:
        at_the_pod = compare_addresses(make(kind, port_of_loopback, host="127.0.0.2"), FAIL, POD)

    assert default == written == Outcome.failed(Reason.CONNECT, f"refused; {ONLY_POD.format(port=port)}")
    assert at_the_pod == Outcome.failed(Reason.CONNECT, f"refused; {NOT_POD}")


SAME = {
    "both addresses": (("127.0.0.1", "127.0.0.2"), {}, PASS, POD),
    "all addresses": (("0.0.0.0",), {}, PASS, POD),
    "loopback is written": (("127.0.0.1",), {"host": "127.0.0.1"}, PASS, POD),
    "the pod's address is written": (("127.0.0.2",), {"host": "127.0.0.2"}, PASS, POD),
    "another host": (("127.0.0.1",), {"host": "127.0.0.3"}, FAIL, POD),
    "no address of a pod": (("127.0.0.1",), {}, PASS, {}),
    "an empty address": (("127.0.0.1",), {}, PASS, {"POD_IP": ""}),
    "the address of another pod": (("127.0.0.1",), {}, PASS, {"POD_IP": "192.0.2.1"}),
    "not an address": (("127.0.0.1",), {}, PASS, {"POD_IP": "$(POD_IP)"}),
    "nothing listens": ((), {}, FAIL, POD),
    "no listener is shown": ((), {}, PASS, POD),
    "another failure": (("127.0.0.2",), {}, Outcome.failed(Reason.STATUS, "500"), POD),
    "unknown": (("127.0.0.2",), {}, UNKNOWN, POD),
}


@pytest.mark.parametrize(("addresses", "options", "outcome", "environment"), SAME.values(), ids=SAME)
def test_anything_else_stays_as_it_is(addresses, options, outcome, environment):
    with listening(*addresses) as port:
        assert compare_addresses(make("tcpSocket", port, **options), outcome, environment) is outcome


def test_a_unix_socket_has_no_address():
    with listening("127.0.0.1") as port:
        probe = make("httpGet", port, unixSocket="/run/app.sock")
        assert compare_addresses(probe, PASS, POD) is PASS


def test_a_kind_without_a_host_stays_as_it_is():
    assert compare_addresses(kinds()["loadAverage"](), PASS, POD) is PASS


# The whole exporter

CHECKS = """
checks:
  - {name: http, httpGet: {port: PORT}, periodSeconds: 1, failureThreshold: 1}
  - {name: tcp, tcpSocket: {port: PORT}, periodSeconds: 1, failureThreshold: 1}
  - {name: pod, httpGet: {host: $(POD_IP), port: PORT}, periodSeconds: 1, failureThreshold: 1}
"""


class Application(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def application(address: str) -> Iterator[int]:
    with http.server.ThreadingHTTPServer((address, free_port()), Application) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("address", "statuses", "hints"),
    [
        ("127.0.0.1", {"http": "warn", "tcp": "warn", "pod": "fail"}, {ONLY_LOOPBACK: 2, NOT_POD: 1, ONLY_POD: 0}),
        ("127.0.0.2", {"http": "fail", "tcp": "fail", "pod": "pass"}, {ONLY_LOOPBACK: 0, NOT_POD: 0, ONLY_POD: 2}),
        ("0.0.0.0", {"http": "pass", "tcp": "pass", "pod": "pass"}, {ONLY_LOOPBACK: 0, NOT_POD: 0, ONLY_POD: 0}),
    ],
)
def test_a_verdict_that_depends_on_the_address_says_so(tmp_path, address, statuses, hints):
    with application(address) as port:
        config = tmp_path / "health.yml"
        config.write_text(CHECKS.replace("PORT", str(port)))
        with ended(Exporter(config=config, env=POD)) as exporter:
            for name, status in statuses.items():
                kind = "tcpSocket" if name == "tcp" else "httpGet"
                sample = f'health_check_status{{check="{name}",kind="{kind}",status="{status}"}}'
                eventually(lambda sample=sample: exporter.metrics().get(sample) == 1, what=sample)
            checks = json.loads(exporter.get("/healthz?format=json").text)["checks"]
            ready = [exporter.get(f"/readyz/{name}").status for name in statuses]

    texts = [entry["output"] for entries in checks.values() for entry in entries]
    assert {hint: sum(hint.format(port=port) in text for text in texts) for hint in hints} == hints
    assert ready == [503 if status == "fail" else 200 for status in statuses.values()]
