"""The keeper's server over real sockets, in this process."""

import _socket
import os
import select
import socket
from collections.abc import Iterator

import pytest
from support import PATIENCE, eventually

from exporter.addresses import listen
from exporter.keeper.link import PROBE, RELOAD, STOP, WEB, Link, send_connection
from exporter.keeper.server import CLIENT_TIMEOUT, MAX_CONNECTIONS, MAX_HEAD, Server
from exporter.keeper.shared import Shared

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
READYZ = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


class Door:
    """A server, its clients, and a worker that takes connections while `takes` is true."""

    def __init__(self) -> None:
        self.listener = listen("127.0.0.1:0")
        self.poller = select.poll()
        self.counted: list[int] = []
        self.taken: list[socket.socket] = []
        self.takes = False
        self.server = Server([self.listener], self.poller, self.hand_over, self.counted.append)
        self.server.accept_connections(accepting=True)
        self.clients: list[socket.socket] = []

    def hand_over(self, connection: int, listener: int) -> bool:
        assert listener == self.listener.fileno()
        if self.takes:
            self.taken.append(socket.socket(fileno=os.dup(connection)))
        return self.takes

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection(self.listener.getsockname(), timeout=PATIENCE)
        client.sendall(data)
        self.clients.append(client)
        return client

    def work(self) -> None:
        """Do all that can be done without waiting, and then what is done at each tick."""
        while ready := self.poller.poll(20):
            for descriptor, _ in ready:
                self.server.receive(descriptor)
        self.server.tick()

    def answer(self, client: socket.socket) -> bytes:
        received = b""
        client.settimeout(0.01)

        def over() -> bool:
            nonlocal received
            self.work()
            try:
                data = client.recv(65536)
            except TimeoutError:
                return False
            received += data
            return not data

        eventually(over)
        return received

    def close(self) -> None:
        self.server.close_connections()
        self.listener.close()
        for sock in (*self.clients, *self.taken):
            sock.close()


def readable(client: socket.socket) -> bool:
    """Whether an answer has arrived, or the end of the connection."""
    return bool(select.select([client], [], [], 0)[0])


def is_over(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:  # the server has not read what the client has sent
        return True


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


def test_a_request_is_answered_and_the_connection_closed(door):
    client = door.connect(LIVEZ)

    assert door.answer(client).endswith(b"\r\n\r\nok")
    assert door.counted == [0]


def test_a_request_in_parts_is_answered_when_it_is_complete(door):
    client = door.connect()
    for byte in READYZ[:-1]:
        client.sendall(bytes([byte]))
    door.work()
    assert not readable(client)

    client.sendall(READYZ[-1:])
    assert door.answer(client).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert door.counted == [1]


def test_lines_may_end_without_a_carriage_return(door):
    client = door.connect(b"GET /livez HTTP/1.1\nHost: exporter\n\n")

    assert door.answer(client).endswith(b"\r\n\r\nok")
    assert door.counted == [0]


def test_a_body_does_not_cost_the_client_its_answer(door):
    """If the connection were closed with unread bytes, the client would get a reset."""
    client = door.connect(b"POST /-/reload HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)

    assert door.answer(client).startswith(b"HTTP/1.1 503")


def test_a_head_that_is_too_long_is_refused(door):
    client = door.connect(b"GET /livez HTTP/1.1\r\nX: " + b"x" * MAX_HEAD)

    assert door.answer(client).startswith(b"HTTP/1.1 431 ")


def test_the_oldest_connection_is_closed_for_a_new_one(door):
    first = door.connect(b"GET /livez")
    others = [door.connect() for _ in range(MAX_CONNECTIONS - 1)]
    door.work()
    last = door.connect(LIVEZ)

    assert door.answer(last).endswith(b"ok")
    assert is_over(first)
    assert not readable(others[0])


def test_a_client_that_sends_nothing_is_disconnected(door):
    client = door.connect(b"GET /li")
    door.work()
    (connection,) = door.server._connections.values()
    connection.deadline -= CLIENT_TIMEOUT

    door.work()

    assert is_over(client)
    assert door.server._connections == {}


def test_a_client_that_has_gone_leaves_nothing_behind(door):
    for data in (b"", b"GET", LIVEZ):
        door.connect(data).close()
    eventually(lambda: door.work() or not door.server._connections)

    assert door.server._waiting == []


def test_while_requests_are_held_only_liveness_is_answered(door):
    door.server.hold = True
    held, live = door.connect(READYZ), door.connect(LIVEZ)

    assert door.answer(live).endswith(b"ok")
    assert not readable(held)
    door.server.hold = False
    assert door.answer(held).startswith(b"HTTP/1.1 503")


def test_a_worker_that_is_back_gets_the_whole_request(door):
    door.server.hold = True
    client = door.connect(READYZ)
    door.work()
    door.takes = True

    door.work()

    (connection,) = door.taken
    assert connection.recv(1000) == READYZ
    connection.sendall(b"from the worker")
    connection.close()
    assert client.recv(1000) == b"from the worker"
    assert door.counted == []


def test_commands_and_connections_arrive_in_order(door):
    keeper, worker = _socket.socketpair()
    link = Link(Shared(), worker, -1, [], [], 1)
    for data, command in ((b"first", WEB), (b"second", PROBE)):
        keeper.send(RELOAD)
        door.connect(data)
        accepted, _ = eventually(lambda: accept(door.listener))
        send_connection(keeper, command, accepted)
        os.close(accepted)
    keeper.send(STOP)
    read = []
    while len(read) < 5:
        read += link.read()

    assert [command for command, _ in read] == [RELOAD, WEB, RELOAD, PROBE, STOP]
    connections = [sock for _, sock in read if sock]
    assert [sock.recv(10) for sock in connections] == [b"first", b"second"]
    assert not any(os.get_inheritable(sock.fileno()) for sock in connections)
    for sock in (keeper, worker, *connections):
        sock.close()


def accept(listener: _socket.socket) -> tuple[int, object] | None:
    try:
        return listener._accept()
    except BlockingIOError:
        return None


def test_an_event_of_a_closed_connection_whose_number_was_reused_is_ignored(door):
    """The poller reports many events at once; those of a connection closed since name another one that waits."""
    door.connect(b"GET /li")
    door.work()
    (number,) = door.server._connections

    for _ in range(3):
        door.server.receive(number)

    assert door.server._waiting == [number]
    door.clients[0].sendall(LIVEZ[len(b"GET /li") :])
    assert door.answer(door.clients[0]).startswith(b"HTTP/1.1 200 ")
