"""Comparing a password with a bcrypt hash, at the same cost for every user."""

import importlib
from collections.abc import Mapping
from typing import Any

from exporter.server.credentials import Credentials

MAX_PASSWORD = 72  # bytes; bcrypt reads no more


def compare(credentials: Credentials, hashes: Mapping[str, str]) -> bool:
    """Return whether the password is the user's. A wrong one costs the same for every user and for unknown users.

    Otherwise the response time would reveal which users exist. The time of bcrypt is proportional to 2^cost, so a run
    of cost c, followed by runs of c, c + 1, ... and h - 1, takes as long as one run of cost h.
    """
    if not hashes:
        return True
    bcrypt: Any = importlib.import_module("bcrypt")  # an extra
    password, hashed = credentials.password[:MAX_PASSWORD], hashes.get(credentials.user)
    highest = max(map(_read_cost, hashes.values()))
    if hashed is None:
        bcrypt.checkpw(password, _make_hash(highest))
        return False
    if bcrypt.checkpw(password, hashed.encode()):
        return True
    for cost in range(_read_cost(hashed), highest):
        bcrypt.checkpw(password, _make_hash(cost))
    return False


def _read_cost(hashed: str) -> int:
    return int(hashed.split("$")[2])


def _make_hash(cost: int) -> bytes:
    """Return a hash that takes as long to compare with as any other of this cost."""
    return f"$2b${cost:02}${'.' * 53}".encode()
