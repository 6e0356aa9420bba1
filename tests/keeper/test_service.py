"""What the keeper sends to a service manager, over a socket as systemd's (man 3 sd_notify)."""

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from types import MappingProxyType

import pytest
from support import eventually

from exporter.keeper.service import Service
from exporter.keeper.shared import SERVING, Shared
from exporter.keeper.worker import DEATH, SILENT, Worker

CHECKS = """
    checks:
      - name: first
        exec: {command: [sh, -c, 'env > %s']}
      - name: second
        loadAverage: {failRatio: 1000}
    """


class Manager:
    """The manager's side: a datagram socket, and the messages that have arrived so far."""

    def __init__(self, address: str) -> None:
        self.variables = {"NOTIFY_SOCKET": address}
        self.messages: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0") if address.startswith("@") else address)
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def read(self) -> list[dict[str, str]]:
        """All messages so far, each as its variables."""
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except BlockingIOError:
                return self.messages
            self.messages.append(dict(line.split("=", 1) for line in text.split("\n")))

    def find(self, key: str) -> list[str]:
        return [message[key] for message in self.read() if key in message]

    def wait(self, key: str, count: int = 1) -> str:
        """The value of a variable in its message number `count`."""
        return eventually(lambda: len(self.find(key)) >= count and self.find(key)[count - 1], what=f"{count} {key}")


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    address = str(tmp_path / "notify") if request.param == "path" else f"@health-exporter-test-{os.getpid()}"
    made = Manager(address)
    yield made
    made.close()


@pytest.fixture
def one_manager(tmp_path):
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


def serve(start, manager, tmp_path, *flags, **variables):
    return start(CHECKS % (tmp_path / "environment"), *flags, env={**manager.variables, **variables})


def test_the_service_is_ready_when_the_exporter_serves(start, manager, tmp_path):
    exporter = serve(start, manager, tmp_path)
    assert manager.wait("READY") == "1"

    ready = next(message for message in manager.read() if "READY" in message)
    assert ready["STATUS"] == "2 checks"
    assert manager.find("STATUS")[0] == "starting"
    assert exporter.get("/-/ready").status == 200


def test_the_commands_of_checks_do_not_get_the_managers_variables(start, one_manager, tmp_path):
    variables = {"WATCHDOG_USEC": "60000000", "OTHER": "kept"}
    serve(start, one_manager, tmp_path, **variables)
    text = eventually(lambda: (tmp_path / "environment").exists() and (tmp_path / "environment").read_text())

    assert "OTHER=kept" in text
    assert "NOTIFY_SOCKET" not in text
    assert "WATCHDOG" not in text


def test_a_reload_begins_and_ends(start, one_manager, tmp_path):
    exporter = serve(start, one_manager, tmp_path)
    one_manager.wait("READY")
    before = time.monotonic_ns() // 1000
    (tmp_path / "health.yml").write_text("checks: [{name: only, loadAverage: {failRatio: 1000}}]")
    os.kill(exporter.pid, signal.SIGHUP)
    one_manager.wait("READY", 2)

    words = [key for message in one_manager.read() for key in message if key in ("READY", "RELOADING")]
    began = next(message for message in one_manager.read() if "RELOADING" in message)
    assert words == ["READY", "RELOADING", "READY"]
    assert before <= int(began["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert one_manager.find("STATUS")[-1] == "1 check"


def test_a_rejected_file_is_in_the_status(start, one_manager, tmp_path):
    exporter = serve(start, one_manager, tmp_path)
    one_manager.wait("READY")
    (tmp_path / "health.yml").write_text("checks: 1")
    os.kill(exporter.pid, signal.SIGHUP)
    one_manager.wait("READY", 2)

    assert one_manager.find("STATUS")[-1] == "2 checks; the configuration is rejected, see the log"


def test_a_reload_while_no_worker_serves_ends_with_the_next_one(start, one_manager, tmp_path):
    exporter = serve(start, one_manager, tmp_path)
    one_manager.wait("READY")
    os.kill(exporter.worker, signal.SIGKILL)
    os.kill(exporter.pid, signal.SIGHUP)

    assert one_manager.wait("RELOADING") == "1"
    assert one_manager.wait("READY", 2) == "1"


def test_stopping_is_reported_before_the_drain(start, one_manager, tmp_path):
    exporter = serve(start, one_manager, tmp_path, "--shutdown-delay=60")
    one_manager.wait("READY")
    exporter.signal(signal.SIGTERM)

    assert one_manager.wait("STOPPING") == "1"
    assert exporter.get("/livez").status == 200
    exporter.signal(signal.SIGTERM)
    assert exporter.wait() == 0
    assert one_manager.find("READY") == ["1"]
    assert one_manager.find("STATUS")[-1] == "shutting down"


def test_the_watchdog_is_fed_also_while_the_worker_is_replaced(start, one_manager, tmp_path):
    exporter = serve(start, one_manager, tmp_path, WATCHDOG_USEC="500000")
    one_manager.wait("READY")
    one_manager.wait("WATCHDOG", 3)
    os.kill(exporter.worker, signal.SIGSTOP)
    eventually(lambda: "restarting" in one_manager.find("STATUS"), what="the worker is replaced")
    count = len(one_manager.find("WATCHDOG"))
    one_manager.wait("WATCHDOG", count + 3)

    eventually(lambda: one_manager.find("STATUS")[-1] == "2 checks", what="the next worker serves")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "9" * 400},
        {"WATCHDOG_USEC": "9" * 5000},
    ],
    ids=["none", "other_process", "text", "overflow", "too_many_digits"],
)
def test_the_watchdog_of_another_process_is_left_alone(one_manager, monkeypatch, variables):
    with served(one_manager, monkeypatch, variables) as (service, worker, _):
        service.update(worker, "")

    assert one_manager.find("READY") == ["1"]
    assert one_manager.find("WATCHDOG") == []


@pytest.mark.parametrize("address", ["", "vsock:2:1", "relative", "/missing/socket"])
def test_without_a_usable_socket_nothing_is_sent(one_manager, monkeypatch, address):
    one_manager.variables = {"NOTIFY_SOCKET": address}
    with served(one_manager, monkeypatch) as (service, worker, _):
        service.update(worker, "")
        service.reload()
        service.stop()

    assert one_manager.read() == []


def test_the_exporter_serves_without_a_usable_socket(start):
    exporter = start("checks: [{name: a, loadAverage: {failRatio: 1000}}]", env={"NOTIFY_SOCKET": "/missing/socket"})

    eventually(lambda: exporter.get("/readyz").status == 200)


@contextmanager
def served(manager, monkeypatch, watchdog=MappingProxyType({"WATCHDOG_USEC": "2"})):
    """A service whose worker serves, as a process that does nothing."""
    for name, value in {**manager.variables, **watchdog}.items():
        monkeypatch.setenv(name, value)
    shared = Shared()
    service = Service(shared)
    with subprocess.Popen(["sleep", "3600"]) as process:
        worker = Worker(process.pid, shared, None, -1)
        shared.state = SERVING
        worker.update()
        shared.condition = [1, 1, 3, 0]
        try:
            yield service, worker, shared
        finally:
            service.close()
            process.kill()


def feeds(manager, service, worker) -> bool:
    before = len(manager.find("WATCHDOG"))
    service.update(worker, "restarting")
    return len(manager.find("WATCHDOG")) > before


def test_the_watchdog_is_fed_as_long_as_the_exporter_is_healthy(one_manager, monkeypatch):
    with served(one_manager, monkeypatch) as (service, worker, shared):
        fed = {"serves": feeds(one_manager, service, worker)}
        shared.condition = [0, 1, 3, 0]
        fed["schedule does not run"] = feeds(one_manager, service, worker)
        assert one_manager.find("STATUS")[-1] == "3 checks; the schedule is not running"
        worker.silence = SILENT
        fed["hangs, and will be killed"] = feeds(one_manager, service, worker)
        worker.kill()
        fed["is killed"] = feeds(one_manager, service, worker)
        worker.silence = DEATH
        fed["does not end, and is not replaced"] = feeds(one_manager, service, worker)
        fed["is replaced"] = feeds(one_manager, service, None)

    assert fed == {
        "serves": True,
        "schedule does not run": False,
        "hangs, and will be killed": True,
        "is killed": True,
        "does not end, and is not replaced": False,
        "is replaced": True,
    }


def test_a_reload_ends_when_its_own_load_has_ended(one_manager, monkeypatch):
    """Not when an earlier one has."""
    with served(one_manager, monkeypatch) as (service, worker, shared):
        service.update(worker, "")
        service.reload()
        worker.reloads = 2
        for reloads in (1, 2):
            shared.condition = [1, 1, 3, reloads]
            service.update(worker, "")
            assert len(one_manager.find("READY")) == reloads


def fill(address: str) -> None:
    """Send until the socket takes nothing more, from anybody: one sender may have a lower limit."""
    sent = 1
    while sent:
        sent = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(BlockingIOError):
            sender.setblocking(False)
            while True:
                sent += sender.sendto(b"X=1", address)


def test_a_full_socket_does_not_lose_the_readiness(one_manager, monkeypatch):
    with served(one_manager, monkeypatch) as (service, worker, _):
        fill(one_manager.variables["NOTIFY_SOCKET"])
        service.update(worker, "")
        assert one_manager.find("READY") == []
        service.update(worker, "")
        assert one_manager.find("READY") == ["1"]
