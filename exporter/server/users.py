"""The users of basic authentication."""

import hashlib
import importlib
import threading
from collections.abc import Mapping
from typing import Any

MAX_KNOWN = 100  # credentials that are remembered, so that not every scrape runs bcrypt


class Users:
    """The users of basic authentication.

    Only one bcrypt runs at a time, so that requests cannot use up the CPU. It also runs for unknown users, so that the
    response time does not reveal which users exist.
    """

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._bcrypt: Any = importlib.import_module("bcrypt")
        self._hashes = {user: password.encode() for user, password in hashes.items()}
        cost = max((hashed.split("$")[2] for hashed in hashes.values()), default="10")
        self._nobody = f"$2b${cost}${'.' * 53}".encode()  # as slow to compare; matches nothing
        self._lock = threading.Lock()
        self._known: set[bytes] = set()

    def authorize(self, user: str, password: str) -> bool:
        """Return whether this user has this password. bcrypt reads its first 72 bytes."""
        key = hashlib.sha256(repr((user, password)).encode()).digest()
        if key in self._known:
            return True
        with self._lock:
            matches: bool = self._bcrypt.checkpw(
                password.encode("utf-8", "replace")[:72], self._hashes.get(user, self._nobody)
            )
        right = matches and user in self._hashes
        if right and len(self._known) < MAX_KNOWN:
            self._known.add(key)
        return right
