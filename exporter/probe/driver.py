"""Base classes of the kinds that query a database server through its driver."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from exporter.model import Deadline, Outcome
from exporter.net.errors import DialError
from exporter.probe.latency import LatencyTimer
from exporter.probe.limits import Limited
from exporter.probe.options import Host, Port, Text, find_host_risk
from exporter.probe.secret import Secret, hide
from exporter.redaction import find_strings, redact
from exporter.text import format_endpoint

MAX_RESPONSE = 64 * 1024  # bytes of all responses in a run, for drivers that set no maximum themselves


class DatabaseProbe(Limited):
    """A kind that fetches a value from a server and compares it with limits."""

    measurement: ClassVar[str]
    """The name of the measurement that a returned number becomes."""

    port: Port
    """Port to connect to."""
    host: Host = "127.0.0.1"
    """Address or name to connect to."""
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
            text = hide(str(error.with_endpoint(self.target)), password)
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
    query: Text = "SELECT 1"
    """SQL query to run."""

    @property
    def confidential(self) -> Sequence[str]:
        return find_strings(self.query)

    @property
    def target(self) -> str:
        return f"{super().target}/{self.database}" if self.database else super().target
