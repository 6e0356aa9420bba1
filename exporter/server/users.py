"""The users of basic authentication.

bcrypt is slow on purpose, so it never runs on the event loop and only in one thread at a time. `Users.check` settles
nearly every request from memory, in microseconds. The rest waits in a bounded queue that is fair between addresses.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Mapping

from exporter.server.attempts import Attempt, Request, Waiting, name_source
from exporter.server.credentials import Credentials, parse
from exporter.server.passwords import compare

MAX_WRONG = 1000  # wrong credentials that are remembered, so that a client with an old password runs bcrypt once
CHALLENGE = 'Basic realm="health-exporter", charset="UTF-8"'
"""The value of WWW-Authenticate in a 401."""

Compare = Callable[[Credentials, Mapping[str, str]], bool]


class Users:
    """The users, with a memory of right and wrong credentials.

    `hashes` returns the current bcrypt hash of every user. Its result may change at any time: the memory is keyed by
    the hash too, so a removed user or a changed password counts from the next request on.
    """

    def __init__(self, hashes: Callable[[], Mapping[str, str]], compare: Compare = compare) -> None:
        self._hashes = hashes
        self._compare = compare
        self._memory = _Memory()
        self._waiting = Waiting()
        self._busy = False  # whether the thread runs
        self._lock = threading.Lock()  # guards the fields above; never held while bcrypt runs

    def check(self, header: bytes | None) -> bool | None:
        """Return whether a request with this Authorization header is allowed; None if only `verify` can tell.

        A request with several such headers is malformed: pass None.
        """
        hashes = self._hashes()
        if not hashes:
            return True
        credentials = parse(header)
        if credentials is None:
            return False
        with self._lock:
            return self._memory.find(credentials, hashes)

    def verify(
        self,
        header: bytes | None,
        peer: str,
        done: Callable[[bool | None], object],
        gone: Callable[[], bool] = lambda: False,
    ) -> None:
        """Compare the credentials with the user's hash in a thread, and call `done` with the result.

        `done` is called in that thread: with whether the credentials are right, or with None if the queue has no room
        for them (then possibly before this method returns) or if bcrypt could not run. `peer` is the client's address
        without the port. If `gone` returns True when the attempt's turn comes, its client has disconnected, and `done`
        is not called. Neither function may block.
        """
        credentials = parse(header)
        if credentials is None:
            done(False)  # noqa: FBT003  # the result
            return
        attempt = Attempt(name_source(peer), credentials, [Request(done, gone)])
        with self._lock:
            refused = self._waiting.add(attempt)
        self._start()
        if refused is not None:
            _report(refused.requests, right=None)

    def _start(self) -> None:
        """Start the thread unless it runs. It ends when nothing waits."""
        with self._lock:
            if self._busy or not self._waiting:
                return
            self._busy = True
        try:
            threading.Thread(target=self._run, name="bcrypt", daemon=True).start()
        except RuntimeError:  # the system cannot start another thread
            self._refuse_all()

    def _refuse_all(self) -> None:
        with self._lock:
            self._busy = False
            attempts = list(iter(self._waiting.take, None))
        for attempt in attempts:
            _report(attempt.requests, right=None)

    def _run(self) -> None:
        try:
            while attempt := self._take():
                self._settle(attempt)
        finally:
            with self._lock:
                self._busy = False
            self._start()  # another thread, if attempts still wait

    def _take(self) -> Attempt | None:
        """Return the next attempt that a client still waits for, or None."""
        with self._lock:
            while (attempt := self._waiting.take()) and attempt.is_abandoned():
                pass
            return attempt

    def _settle(self, attempt: Attempt) -> None:
        """Verify an attempt, remember the result, and report it.

        An equal attempt that began to wait while this one ran finds the result in the memory.
        """
        hashes = self._hashes()
        with self._lock:
            right = self._memory.find(attempt.credentials, hashes)
        try:
            right = self._compare(attempt.credentials, hashes) if right is None else right
        finally:
            if right is not None and hashes:
                with self._lock:
                    self._memory.add(attempt.credentials, hashes, right=right)
                    self._waiting.note(attempt.peer, right=right)
            _report(attempt.requests, right=right)


class _Memory:
    """Digests of credentials that bcrypt has compared with a hash.

    One right one per user, so that no user can displace another; and the latest wrong ones.
    """

    def __init__(self) -> None:
        self._key = os.urandom(32)  # so that the digests of passwords are of no use outside this process
        self._right: dict[str, bytes] = {}
        self._wrong: dict[bytes, None] = {}  # the latest last

    def find(self, credentials: Credentials, hashes: Mapping[str, str]) -> bool | None:
        """Return what is remembered of these credentials, or None."""
        digest = self._digest(credentials, hashes)
        if self._right.get(credentials.user) == digest:
            return True
        if digest not in self._wrong:
            return None
        self._wrong[digest] = self._wrong.pop(digest)
        return False

    def add(self, credentials: Credentials, hashes: Mapping[str, str], *, right: bool) -> None:
        """Remember whether these credentials are right."""
        digest = self._digest(credentials, hashes)
        if right:
            self._right = {user: known for user, known in self._right.items() if user in hashes}
            self._right[credentials.user] = digest
            return
        self._wrong[digest] = None
        if len(self._wrong) > MAX_WRONG:
            del self._wrong[next(iter(self._wrong))]

    def _digest(self, credentials: Credentials, hashes: Mapping[str, str]) -> bytes:
        user, password = credentials
        text = b"\0".join((hashes.get(user, "").encode(), user.encode(), password))  # parse() allows no NUL
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()


def _report(requests: list[Request], *, right: bool | None) -> None:
    for request in requests:
        with contextlib.suppress(RuntimeError):  # the event loop has closed
            request.done(right)
