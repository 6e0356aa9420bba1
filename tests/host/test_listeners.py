"""The listening sockets for a port, as the kernel shows them."""

import socket

import pytest
from support import free_port

from exporter.host.listeners import Listeners

CANDIDATES = ("127.0.0.1", "127.0.0.2", "10.1.2.3", "::1", "fd00::1")


@pytest.mark.parametrize(
    ("address", "covered"),
    [
        ("127.0.0.1", {"127.0.0.1"}),
        ("127.0.0.2", {"127.0.0.2"}),
        ("0.0.0.0", {"127.0.0.1", "127.0.0.2", "10.1.2.3"}),
        ("::1", {"::1"}),
        ("::", {*CANDIDATES}),
        ("::ffff:127.0.0.2", {"127.0.0.2"}),
    ],
)
def test_a_listener_covers_the_addresses_at_which_it_accepts_connections(address, covered):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as server:
        port = free_port()  # not 0, which may be the port of another test at another address
        server.bind((address, port))
        before = Listeners(port)
        server.listen()
        listeners = Listeners(port)

    assert not before
    assert listeners
    assert {candidate for candidate in CANDIDATES if listeners.cover(candidate)} == covered


def test_all_listeners_of_a_port_count_and_its_connections_do_not():
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as first, socket.create_server(("127.0.0.2", port)):
        client = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.3", 0))
        with client, first.accept()[0]:
            both, of_the_client = Listeners(port), Listeners(client.getsockname()[1])

    assert [both.cover(address) for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3")] == [True, True, False]
    assert not of_the_client


def test_a_port_at_which_nobody_listens_has_none():
    assert not Listeners(free_port())


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_a_system_that_does_not_show_them_has_none(error):
    def refuse() -> socket.socket:
        raise error

    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not Listeners(server.getsockname()[1], refuse)
