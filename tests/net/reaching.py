"""Helpers for the tests of connections: deadlines, failures, and resolvers with given addresses."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from exporter.net.errors import DialError
from exporter.net.resolver import Resolver


def failure(act: Callable[..., Any], *arguments: Any) -> DialError:
    """The DialError that this call raises."""
    with pytest.raises(DialError) as raised:
        act(*arguments)
    return raised.value


def resolving(*addresses: str) -> Resolver:
    """A resolver that returns these addresses for every name."""

    def look_up(_: str, __: None, **___: Any) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 0, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
            for address in addresses
        ]

    return Resolver(look_up)


class SlowLookup:
    """A lookup that returns when it is released, and records its names and threads."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.names: list[str] = []
        self.threads: set[int] = set()

    def __call__(self, host: str, port: None, **_: Any) -> list[Any]:
        self.names.append(host)
        self.threads.add(threading.get_ident())
        self.release.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
