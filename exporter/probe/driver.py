"""Base classes of the kinds that query a database server through its driver."""

import struct
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

from exporter.model import Deadline, Measurement, Outcome, Reason
from exporter.net.errors import DialError
from exporter.probe.latency import LatencyTimer
from exporter.probe.limits import Limited
from exporter.probe.options import Host, Port, Query, Text, find_host_risk
from exporter.probe.secret import Secret, hide, hint_at_password
from exporter.redaction import find_strings, quote, redact, show_key
from exporter.text import format_endpoint

MAX_RESPONSE = 64 * 1024  # bytes of all responses in a run, for drivers that set no maximum themselves


_PARSER_ERRORS = (
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    NameError,
    AssertionError,
    RecursionError,
    struct.error,
)
"""What drivers raise, in addition to their own exceptions, when a response breaks the protocol."""


@contextmanager
def blame_server(package: str, protocol: str, received: Callable[[], bytes] = bytes) -> Iterator[None]:
    """Turn an exception with which the driver's own code failed at a response into a DialError `status`.

    `received` returns what the message shows of the response.

    Any other exception has a cause on this side, such as a password that cannot be encoded, a missing package or
    patched sockets. It is no evidence against the server, so it passes, and the result of the run is `unknown`.
    """
    try:
        yield
    except _PARSER_ERRORS as error:
        if isinstance(error, UnicodeEncodeError) or not _is_raised_in(package, error):
            raise
        raise describe_breach(protocol, received()) from None


def describe_breach(protocol: str, received: bytes) -> DialError:
    """Return the error of a response that is not in this protocol, with the beginning of what was received."""
    shown = f"; received {quote(received)}" if received else ""
    return DialError(Reason.STATUS, f"the response does not follow {protocol}{shown}")


def _is_raised_in(package: str, error: Exception) -> bool:
    """Return whether the code of this package raised the exception. Recursion ends anywhere."""
    if isinstance(error, RecursionError):
        return True
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_globals["__name__"].partition(".")[0] == package


class DatabaseProbe(Limited):
    """A kind that fetches a value from a server and compares it with limits."""

    measurement: ClassVar[str]
    """The name of the measurement that a returned number becomes."""

    port: Port
    """Port to connect to."""
    host: Host = "127.0.0.1"
    """Address or name to connect to. `$(POD_IP)` is the pod's own address."""
    password: Secret | None = None
    """Password of the user."""

    @property
    def target(self) -> str:
        return format_endpoint(self.host, self.port)

    def liveness_risk(self) -> str | None:
        return find_host_risk(self.host)

    def probe(self, deadline: Deadline) -> Outcome:
        password = self.password.read(deadline) if self.password else ""
        timer = LatencyTimer()
        try:
            value = self.fetch_value(password, deadline)
        except DialError as error:
            hint = hint_at_password(password) if error.reason is Reason.PERMISSION else ""
            text = hide(f"{error.with_endpoint(self.target)}{hint}", password)
            return Outcome.failed(error.reason, redact(text, self.confidential, f"{self.target} {self.statement}"))
        latency = timer.stop()
        return self.compare(self.measurement, f"{self.target} responded to {self.statement}", value, latency)

    @property
    def statement(self) -> str:
        """What is sent to the server, as the summary names it."""
        return "the query"

    @property
    def confidential(self) -> Sequence[str]:
        """Texts in the query that may be secrets, which no error of the server may show."""
        return ()

    @abstractmethod
    def fetch_value(self, password: str, deadline: Deadline) -> Any:
        """Fetch the value: of several rows the first value of the first one, None without a row. Raises DialError."""


class SqlProbe(DatabaseProbe):
    """A kind that runs an SQL query."""

    username: Text
    """User to authenticate as."""
    database: str | None = None
    """Database to connect to."""
    query: Query = "SELECT 1"
    """SQL query to run."""
    column: Text | None = None
    """Name of the column whose value counts, in any case. By default, the first column."""

    @property
    def confidential(self) -> Sequence[str]:
        return find_strings(self.query)

    @property
    def target(self) -> str:
        return f"{super().target}/{self.database}" if self.database else super().target

    def compare(self, name: str, summary: str, value: Any, *others: Measurement) -> Outcome:
        """Compare a value with the limits, and mention `column` if the first column holds no number."""
        outcome = super().compare(name, summary, value, *others)
        if outcome.reason is Reason.BODY and self.column is None:
            hint = "; if the number is not in the first column, set column"
            return replace(outcome, summary=outcome.summary + hint)
        return outcome

    def find_column(self, names: Sequence[str]) -> int:
        """Return the index of the configured column among those of a result. Raises DialError if it is not there."""
        if self.column is None:
            return 0
        for index, name in enumerate(names):
            if name.casefold() == self.column.casefold():
                return index
        message = f"the result has no column {show_key(self.column)}, only {', '.join(names)}"
        raise DialError(Reason.MISSING, message)
