"""The attempts to authenticate that wait for bcrypt, in a bounded and fair queue.

A guesser who sends many wrong passwords must not delay anybody else. So the addresses take turns, however much each of
them sends, and an address that fills the queue loses its own newest attempt to the attempt of another address. An
address whose latest password was wrong waits until no other does, so many guessing addresses delay nobody for long.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from exporter.server.credentials import Credentials

MAX_WAITING = 16  # attempts
MAX_REQUESTS = 16  # requests with the same credentials from the same address that share one attempt
MAX_SUSPECTS = 1000  # addresses that are remembered because their latest password was wrong


class Request(NamedTuple):
    """A request that waits for an attempt.

    `done` receives whether the credentials are right, or None if there was no room or bcrypt could not run. `gone`
    returns whether the client has disconnected.
    """

    done: Callable[[bool | None], object]
    gone: Callable[[], bool]


@dataclass(slots=True)
class Attempt:
    """Credentials to verify, the address they came from (see `name_source`), and the requests that wait."""

    peer: str
    credentials: Credentials
    requests: list[Request] = field(default_factory=list)

    def join(self, other: "Attempt") -> bool:
        """Add the requests of another attempt if it is the same. Returns whether they were added."""
        same = (self.peer, self.credentials) == (other.peer, other.credentials)
        if not same or len(self.requests) + len(other.requests) > MAX_REQUESTS:
            return False
        self.requests += other.requests
        return True

    def is_abandoned(self) -> bool:
        """Forget the requests whose client has disconnected. Returns whether none is left."""
        self.requests = [request for request in self.requests if not request.gone()]
        return not self.requests


def name_source(address: str) -> str:
    """Return the name under which an address takes its turn: itself or, for IPv6, its network of 64 bits.

    One machine can use every address of such a network (RFC 4291, section 2.5.4).
    """
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


class Waiting:
    """The attempts that wait: at most one per address and user, and at most `size`. It is not thread-safe."""

    def __init__(self, size: int = MAX_WAITING) -> None:
        self._size = size
        self._peers: dict[str, dict[str, Attempt]] = {}  # the next address, and its next user, come first
        self._suspects: dict[str, None] = {}  # addresses whose latest password was wrong, the latest last

    def __len__(self) -> int:
        return sum(map(len, self._peers.values()))

    def add(self, attempt: Attempt) -> Attempt | None:
        """Add an attempt. Returns the one that has no place: this one, another that it displaces, or None."""
        self._forget_abandoned()
        same = self._peers.get(attempt.peer, {}).get(attempt.credentials.user)
        if same is not None:
            return None if same.join(attempt) else attempt
        displaced = None
        if len(self) >= self._size:
            displaced = self._displace(attempt.peer)
            if displaced is None:
                return attempt
        self._peers.setdefault(attempt.peer, {})[attempt.credentials.user] = attempt
        return displaced

    def take(self) -> Attempt | None:
        """Remove and return the next attempt: of each address in turn, its oldest. Suspects come last."""
        if not self._peers:
            return None
        peer = min(self._peers, key=self._suspects.__contains__)  # the first of those that come first
        attempts = self._peers.pop(peer)
        attempt = attempts.pop(next(iter(attempts)))
        if attempts:
            self._peers[peer] = attempts  # at the end
        return attempt

    def note(self, peer: str, *, right: bool) -> None:
        """Note whether the password of this address was right."""
        self._suspects.pop(peer, None)
        if right:
            return
        self._suspects[peer] = None
        if len(self._suspects) > MAX_SUSPECTS:
            del self._suspects[next(iter(self._suspects))]

    def _forget_abandoned(self) -> None:
        for peer, attempts in list(self._peers.items()):
            kept = {user: attempt for user, attempt in attempts.items() if not attempt.is_abandoned()}
            if kept:
                self._peers[peer] = kept
            else:
                del self._peers[peer]

    def _displace(self, newcomer: str) -> Attempt | None:
        """Remove the newest attempt of the address that has the most: of a suspect, if one waits.

        Return None if that address is as good as the newcomer and has at most one attempt more than it: they would only
        take turns in displacing each other.
        """
        peer = max(self._peers, key=lambda peer: (peer in self._suspects, len(self._peers[peer])))
        preferred = peer in self._suspects and newcomer not in self._suspects
        if not preferred and len(self._peers[peer]) < len(self._peers.get(newcomer, {})) + 2:
            return None
        attempt = self._peers[peer].popitem()[1]
        if not self._peers[peer]:
            del self._peers[peer]
        return attempt
