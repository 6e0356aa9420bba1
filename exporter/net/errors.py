"""DialError: why an endpoint was not reached, with a Reason, for every protocol."""

import ssl

from exporter import tls
from exporter.model import Outcome, Reason


class DialError(Exception):
    """The endpoint was not reached, or it stopped responding.

    `where` is the endpoint as the message names it; empty if it does not.
    """

    def __init__(self, reason: Reason, message: str, where: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.where = where

    def with_endpoint(self, where: str) -> "DialError":
        """Return this error with a message that names the endpoint: `where`, unless it already names one."""
        return self if self.where else DialError(self.reason, f"{where}: {self}", where)

    def outcome(self, where: str = "") -> Outcome:
        """Return the failed Outcome of a check whose endpoint is `where`."""
        return Outcome.failed(self.reason, str(self.with_endpoint(where) if where else self))


def hint_at_tls(url: str) -> str:
    """Return a hint for the message about a server that ends the connection instead of responding without TLS."""
    return " (does it expect TLS?)" if url.startswith(("http:", "ws:")) else ""


def describe(error: Exception) -> str:
    """Return the cause of a socket or TLS error in words, without error numbers and names of functions."""
    if isinstance(error, ssl.SSLError):
        return tls.describe(error)
    return getattr(error, "strerror", None) or str(error)
