"""When queries over UDP are sent. The kind `dns` tests the rest, against name servers."""

import itertools
import socket

import pytest

from exporter.model import Deadline
from exporter.net.datagrams import ROUNDS, Peer, exchange
from exporter.net.errors import DialError


class Counting(Peer):
    """Counts the queries that it sends."""

    sent = 0

    def send(self) -> None:
        super().send()
        self.sent += 1


def test_after_a_delay_every_query_is_still_sent_before_the_deadline():
    """By a clock that jumps to shortly before the deadline after the first query, and to it after the last."""
    moments, ticks = {0: 0.0, 1: 2.9, 2: 2.9}, itertools.count()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        peer = Counting("silent", socket.AF_INET, silent.getsockname(), b"query", b"plain")
        with pytest.raises(DialError, match="did not respond in time"):
            exchange([peer], lambda *_: None, Deadline(3.0, lambda: moments.get(peer.sent, 3.0) + next(ticks) / 1000))

    assert peer.sent == ROUNDS
