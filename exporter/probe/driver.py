"""Base classes of the kinds that query a database server through its driver."""

import struct
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import model_validator

from exporter.model import Deadline, Measurement, Outcome, Reason
from exporter.net.errors import DialError
from exporter.probe.fields import ABSENT, Field, Table, judge_fields
from exporter.probe.latency import LatencyTimer
from exporter.probe.limits import Limited
from exporter.probe.options import Host, Port, Query, Text, find_host_risk
from exporter.probe.secret import Secret, hide, hint_at_password
from exporter.redaction import find_strings, quote, redact
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
    field_measurement: ClassVar[str]
    """The name of the measurement that a number becomes which is one of several fields."""

    port: Port
    """Port to connect to."""
    host: Host = "127.0.0.1"
    """Address or name to connect to. `$(POD_IP)` is the pod's own address."""
    password: Secret | None = None
    """Password of the user."""
    fields: tuple[Field, ...] = ()
    """Values to check by their names, instead of a single one. The worst one decides."""

    @model_validator(mode="after")
    def _validate_fields(self) -> Self:
        names = [field.name.casefold() for field in self.fields]
        if len(set(names)) < len(names):
            raise ValueError("fields must not have the same name twice")
        if self.fields and self._has_limits:
            raise ValueError("warn and fail compare a single value: set them in each of the fields")
        return self

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
        summary = f"{self.target} responded to {self.statement}"
        if self.fields:
            return judge_fields(self.fields, value, self.field_measurement, summary, latency)
        return self.compare(self.measurement, summary, value, latency)

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
        """Fetch the value: of several rows the first value of the first one, None without a row. Raises DialError.

        If there are fields, the value is a mapping with at least those of them that the server has, by their names.
        """


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
    row: Mapping[str, str] = {}
    """Names of columns, each with the value that it has in the row that counts. By default, the first row counts."""

    @model_validator(mode="after")
    def _validate_column(self) -> Self:
        if self.fields and self.column is not None:
            raise ValueError("column selects a single value: remove it, or fields")
        if self.needs_all_rows and "query" not in self.model_fields_set:
            raise ValueError(f"{'fields' if self.fields else 'row'} requires a query")
        return self

    @property
    def confidential(self) -> Sequence[str]:
        return find_strings(self.query)

    @property
    def target(self) -> str:
        return f"{super().target}/{self.database}" if self.database else super().target

    def compare(self, name: str, summary: str, value: Any, *others: Measurement, field: str | None = None) -> Outcome:
        """Compare a value with the limits, and mention `column` if the first column holds no number."""
        outcome = super().compare(name, summary, value, *others, field=field)
        if outcome.reason is Reason.BODY and self.column is None:
            hint = "; if the number is not in the first column, set column"
            return replace(outcome, summary=outcome.summary + hint)
        return outcome

    @property
    def needs_all_rows(self) -> bool:
        """Whether more than the first row of the result counts."""
        return bool(self.row or self.fields)

    def select(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
        """Return what `fetch_value` does, of a result with these columns. Raises DialError."""
        table = Table(names, rows)
        row = table.find_row(self.row)
        if self.fields:
            found = {field.name: table.find_field(field.name, row) for field in self.fields}
            return {name: value for name, value in found.items() if value is not ABSENT}
        return None if row is None else row[table.find_column(self.column)]
