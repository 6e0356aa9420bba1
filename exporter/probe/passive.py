"""PassiveProbe, the base class of kinds that judge what a job has reported, in place of asking a target.

A job reports with a token, which only it and the exporter know. The runs of the check read the token, as they read
every secret: a request that brings one must not wait for a file.
"""

import hashlib
import hmac
import os
from collections.abc import Callable

from pydantic import PrivateAttr

from exporter.model import Beat, Deadline, ProbeError, Reason
from exporter.probe.check import Probe
from exporter.probe.secret import Secret

MIN_TOKEN = 16
"""Characters of a token. A shorter one can be guessed through the network."""


class PassiveProbe(Probe):
    """Judges what a job has reported to the exporter."""

    token: Secret
    """Token that the job sends as `Authorization: Bearer TOKEN`, at least 16 characters."""

    _recall: Callable[[], Beat | None] | None = PrivateAttr(default=None)
    _key: bytes = PrivateAttr(default_factory=lambda: os.urandom(16))
    _digest: bytes | None = PrivateAttr(default=None)

    def attach(self, recall: Callable[[], Beat | None]) -> None:
        """Judge what `recall` returns from now on."""
        self._recall = recall

    def recall(self, deadline: Deadline) -> tuple[int | None, float]:
        """Return the exit code of the latest report, and the seconds since it.

        It is None if there has been no report; the seconds are then those since the wait for one began.

        Reads the token. Raises ProbeError if that is not possible, or if it is too short: until it is read again, no
        token is accepted.
        """
        try:
            self._digest = self._hash(self._read_token(deadline))
        except ProbeError:
            self._digest = None
            raise
        beat = self._recall() if self._recall else None
        return (beat.exit_code, max(0.0, deadline.clock() - beat.clock)) if beat else (None, 0.0)

    def _read_token(self, deadline: Deadline) -> bytes:
        token = self.token.read(deadline)
        if len(token) < MIN_TOKEN:
            raise ProbeError(Reason.ERROR, f"the token has fewer than {MIN_TOKEN} characters, so it can be guessed")
        return token.encode()

    def accepts(self, token: bytes) -> bool | None:
        """Return whether this is the token; None if the latest run could not read it. Any thread may call it."""
        digest = self._digest
        return None if digest is None else hmac.compare_digest(digest, self._hash(token))

    def _hash(self, token: bytes) -> bytes:
        return hashlib.blake2b(token, key=self._key).digest()
